"""The command line of programs that try one seed after the other."""

import math
import sys
import time


def add_options(parser, count):
    """Add the options that choose the seeds: as many as `count` by default."""
    parser.add_argument("--count", type=int, default=count)
    parser.add_argument("--minutes", type=float, default=math.inf, help="end after so long")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="the first of the seeds")


def each_seed(options, what, show_every):
    """Yield the seeds that `options` choose, and report after every so many how many of `what` were tried."""
    began = time.monotonic()
    for done in range(options.count):
        if time.monotonic() > began + 60 * options.minutes:
            break
        yield options.first + done
        if (done + 1) % show_every == 0:
            sys.stderr.write(f"{done + 1} {what}, {time.monotonic() - began:.0f} s\n")
