"""Mutation tests: change the code in small ways, and list the changes that no test notices."""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
os.environ.setdefault("TEST_BUDGET", "0.2")
os.environ["TEST_APART"] = "1"  # a mutant is tried with the case that notices it, not with the whole table

import yaml
from mutants import Mutant, parse
from suite import Project, try_all

ROOT = Path(__file__).parents[2]
STATUSES = ("killed", "timeout", "survived", "untested", "equivalent")


class Score:
    """How the mutants of one module, or of all, ended."""

    def __init__(self, name: str, statuses: list[str]) -> None:
        self.name = name
        self.counts = Counter(statuses)

    @property
    def percent(self) -> float:
        """The share of the mutants that were noticed, without those that change nothing."""
        noticed = self.counts["killed"] + self.counts["timeout"]
        missed = self.counts["survived"] + self.counts["untested"]
        return 100.0 * noticed / (noticed + missed) if noticed + missed else 100.0

    def as_json(self) -> dict[str, object]:
        counts = {status: self.counts[status] for status in STATUSES}
        return {"module": self.name, **counts, "percent": round(self.percent, 2)}

    def __str__(self) -> str:
        numbers = "".join(f"{self.counts[status]:>12}" for status in STATUSES)
        return f"{self.name:<44}{numbers}{self.percent:>9.1f} %"


def find_stale(equivalent: dict, mutants: list[Mutant], modules: list[str], source: Path) -> list[str]:
    """Return the entries of `modules` in the list of equivalent mutants that match no mutant."""
    known = {mutant.identity for mutant in mutants}
    return [
        f"{name} {entry['function']}: {entry['change']}"
        for name in modules
        for entry in equivalent.get(name) or ()
        if (source / name, entry["function"], entry["change"]) not in known
    ]


def read_survivors(report: Path) -> set[tuple[str, str, str]]:
    """Return module, function and change of each mutant that no test noticed in a run whose `--json` this is."""
    rows = json.loads(report.read_text())["mutants"]
    missed = ("survived", "untested")
    return {(row["module"], row["function"], row["change"]) for row in rows if row["status"] in missed}


def make_row(name: str, mutant: Mutant, status: str, seconds: float) -> dict[str, object]:
    """Return what `--json` shows of a mutant of the module `name`."""
    return {
        "module": name,
        "line": mutant.lines.start,
        "function": mutant.function,
        "change": mutant.change,
        "status": status,
        "seconds": round(seconds, 2),
    }


def main() -> int:
    """Try the mutants, print each that survived and a report by module; return the exit code."""
    parser = argparse.ArgumentParser(prog="python tests/mutation", description=__doc__)
    parser.add_argument(
        "modules", metavar="MODULE", nargs="*", help="a part of the paths of the modules to mutate"
    )
    parser.add_argument("--sample", metavar="N", type=int, help="N mutants of each module, always the same")
    parser.add_argument("--json", action="store_true", help="print one JSON object with every mutant")
    parser.add_argument(
        "--again",
        metavar="FILE",
        type=Path,
        help="only what survived in a run whose --json output is in FILE, with five times as many tests",
    )
    parser.add_argument(
        "--listed", action="store_true", help="try also the mutants that are listed as equivalent"
    )
    parser.add_argument("--project", metavar="FILE", type=Path, default=Path(__file__).with_name("core.yaml"))
    options = parser.parse_args()
    core = yaml.safe_load(options.project.read_text())
    root = (options.project.parent / core["root"]).resolve()
    source = root / core["source"]
    equivalent = yaml.safe_load(options.project.with_name("equivalent.yaml").read_text()) or {}
    all_modules = sorted({path for pattern in core["modules"] for path in source.glob(pattern)})
    project = Project(root, tuple(all_modules), tuple(core["tests"]), keep=root / ".mutation")
    if options.again:
        project = replace(project, seconds=5 * project.seconds, outside_seconds=5 * project.outside_seconds)
    modules = [
        m for m in all_modules if not options.modules or any(part in str(m) for part in options.modules)
    ]

    again = options.again and read_survivors(options.again)
    chosen, mutants = [], []
    for module in modules:
        found = parse(module)
        mutants += found
        if again is not None:
            found = [
                one for one in found if (str(module.relative_to(source)), one.function, one.change) in again
            ]
        is_sampled = options.sample is not None and options.sample < len(found)
        chosen += random.Random(0).sample(found, options.sample) if is_sampled else found
    names = [str(module.relative_to(source)) for module in modules]
    stale = find_stale(equivalent, mutants, names, source)
    for entry in stale:
        sys.stderr.write(f"equivalent.yaml lists a mutant that does not exist: {entry}\n")
    listed = {
        (source / name, entry["function"], entry["change"])
        for name in names
        for entry in equivalent.get(name) or ()
    }
    rows: list[dict[str, object]] = []
    began = time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        for mutant, status, seconds in try_all(project, chosen, set() if options.listed else listed):
            name = str(mutant.module.relative_to(source))
            is_listed = mutant.identity in listed
            if is_listed and status in ("killed", "timeout"):
                stale.append(str(mutant))
                sys.stderr.write(f"listed as equivalent, but a test notices it: {name}:{mutant}\n")
            row = make_row(name, mutant, "equivalent" if is_listed else status, seconds)
            rows.append(row)
            if row["status"] in ("survived", "untested"):
                sys.stderr.write(f"{status}: {name}:{mutant}\n")
    except KeyboardInterrupt:
        sys.stderr.write(f"interrupted: {len(rows)} of {len(chosen)} mutants were tried\n")
    scores = [Score(name, [row["status"] for row in rows if row["module"] == name]) for name in names]
    total = Score("all", [row["status"] for row in rows])
    passed = len(rows) == len(chosen) and not stale and total.percent >= core["goal"]
    passed &= all(score.percent == 100.0 for score in scores if score.name in core["complete"])
    if options.json:
        shown = {"modules": [score.as_json() for score in scores], "all": total.as_json(), "mutants": rows}
        sys.stdout.write(json.dumps(shown, indent=1) + "\n")
    else:
        sys.stdout.write(f"{'module':<44}" + "".join(f"{status:>12}" for status in STATUSES) + "   noticed\n")
        sys.stdout.write("".join(f"{score}\n" for score in [*scores, total]))
        sys.stdout.write(f"{time.monotonic() - began:.0f} seconds\n")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
