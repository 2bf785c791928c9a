"""Everything that is measured: `python tests/benchmarks` prints a table of ratios.

Each comparison is measured in turns in one run, against peers in venvs of their own, which are made once from the
package index. Other work on the machine disturbs wall times more than ratios, but both.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

import burst
import coldstart
import cpu
import growth
import localcloud
import makespan
import redelivery
import startup
import trials
from harness import RUNTIMES, Peers, Row, as_json

PARTS = {
    "B1": coldstart,
    "B2": cpu,
    "B3": makespan,
    "B4": redelivery,
    "B5": growth,
    "B7": localcloud,
    "B8": trials,
    "B9": startup,
    "B10": burst,
}


def main() -> None:
    """Run the benchmarks, print the table, and write or compare the results if that is requested."""
    parser = argparse.ArgumentParser(prog="python tests/benchmarks", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--only", metavar="B1,B2", help="these parts alone: " + ", ".join(PARTS) + " (B6 is in B1)"
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds, and growth up to 100,000 records")
    parser.add_argument("--venvs", metavar="DIR", type=Path, help="keep the peers here")
    parser.add_argument("--json", metavar="FILE", type=Path, help="keep the rows")
    parser.add_argument("--compare", metavar="FILE", type=Path, help="show what an earlier run's rows had")
    parser.add_argument(
        "--runtime", choices=RUNTIMES, help="the Python of cold starts; by default the newest"
    )
    options = parser.parse_args()
    names = dict.fromkeys(options.only.replace("B6", "B1").split(",")) if options.only else PARTS
    if unknown := [name for name in names if name not in PARTS]:
        parser.error(f"unknown parts: {', '.join(unknown)}")
    folder = options.venvs or Path(tempfile.gettempdir()) / "hpoq-benchmarks"
    peers = Peers(folder, [options.runtime] if options.runtime else RUNTIMES)
    before = json.loads(options.compare.read_text()) if options.compare else {}
    rows: list[Row] = []
    for name in names:
        for row in PARTS[name].measure(peers, 4 if options.quick else 15):
            rows.append(row)
            earlier = before.get(f"{row.part} {row.what}")
            sys.stdout.write(row.line() + (f"  before {earlier['value']:.2f}" if earlier else "") + "\n")
            sys.stdout.flush()
    if options.json:
        options.json.write_text(as_json(rows) + "\n")


if __name__ == "__main__":
    main()
