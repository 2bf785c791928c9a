"""Many random schedules of the machines in `test_schedules.py` and `test_margins.py`, each chosen by a seed.

    python tests/reliability/schedules.py [--count 10000] [--minutes 60] [--first SEED] [--steps 6] [--only FarApart]

A schedule that breaks an invariant is shortened and printed as the calls that repeat it. Nothing is logged. Exit
code 1: an invariant broke.
"""

import argparse
import logging
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import structlog
from test_margins import AtTheMargins
from test_schedules import FarApart, Followed, Schedules

from support.schedules import draw_schedule
from support.seeds import add_options, each_seed

# Each as often as it stands here.
MACHINES = (Schedules, Schedules, Schedules, FarApart, Followed, AtTheMargins)
SHOW_EVERY = 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser, 10_000)
    parser.add_argument("--steps", type=int, default=6, help="the most steps of a schedule")
    parser.add_argument("--only", metavar="MACHINE", choices=sorted({one.__name__ for one in MACHINES}))
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    machines = [one for one in MACHINES if options.only in (None, one.__name__)]
    began, counts, broken = time.monotonic(), Counter(), []
    for seed in each_seed(options, "schedules", SHOW_EVERY):
        schedule = draw_schedule(seed, machines, options.steps)
        if schedule.find_broken() is not None:
            broken.append(seed)
            shortest, error = schedule.shorten()
            sys.stdout.write(f"seed {seed}: {type(error).__name__}: {error}\n{shortest}\n\n")
            sys.stdout.flush()
        counts[schedule.machine.__name__] += 1
    by_machine = ", ".join(f"{count} {name}" for name, count in counts.most_common())
    sys.stdout.write(
        f"{counts.total()} schedules ({by_machine}), {time.monotonic() - began:.0f} s; "
        f"seeds that break an invariant: {', '.join(map(str, broken)) or 'none'}\n"
    )
    raise SystemExit(1 if broken else 0)


if __name__ == "__main__":
    main()
