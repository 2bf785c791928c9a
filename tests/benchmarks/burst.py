"""B10: bursts against a quota in simulated time, by the function's own code; in processes with `--processes`.

`python tests/benchmarks/burst.py --messages 100000` runs the bursts of the operations guide and prints its table.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from harness import Peers, Row

sys.path.insert(0, str(Path(__file__).parents[1]))

import alilocal
import hpoq
from alilocal.eventstream import EventStream
from hpoqctl.pipeline import DEAD_LETTER_QUEUE, QUEUE, TABLE, create_pipeline, make_environment
from support.burst import BATCH, CREATE, FUNCTION_SECONDS, NO_TIME, SHIPPED, Burst, Figures, run
from support.request import request
from support.world import marked_experiments

QUOTA = 10.0
OUTAGE_SECONDS = 6 * 3600.0
_IN_BENCHMARKS = 10_000


def scenarios(messages: int) -> dict[str, Burst]:
    """Return the bursts of `messages`, by what happens in them. Changes come after a quarter, and after the half."""
    once, ideal = [(0.0, messages)], messages / QUOTA
    change, end = ideal / 4, ideal / 4 + OUTAGE_SECONDS
    outage = ((0.0, QUOTA), (change, 0.0), (end, QUOTA))
    return {
        "a constant quota": Burst(once),
        "calls that take no time": Burst(once, times=NO_TIME),
        "a quota that halves, then doubles": Burst(
            once, ((0.0, QUOTA), (change, QUOTA / 2), (2 * change, 2 * QUOTA))
        ),
        "6 hours of throttling": Burst(once, outage),
        # Each of its creates has an unknown end. With markers in descriptions, too, every search reads everything.
        "6 hours of errors 503, markers in tags": Burst(
            once, outage, outage={"kind": "status", "status": 503}, settings={"HPOQ_MARKER": "tag"}
        ),
        "a second deployment": Burst([(0.0, messages * 2 // 3), (change, messages - messages * 2 // 3)]),
    }


def table_row(name: str, figures: Figures) -> str:
    """Return the row of the guide's table."""
    cells = [
        name,
        f"{figures.quota_used:.0%}",
        f"{figures.creates_per_experiment:.2f}",
        f"{figures.deliveries_per_message:.2f}",
        f"{figures.longest_wait:.2f}",
        f"{figures.instance_seconds / figures.messages:.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def measure(_: Peers, rounds: int) -> Iterator[Row]:
    """Run the burst of a constant quota, small enough for a minute or two."""
    messages = _IN_BENCHMARKS if rounds > 4 else _IN_BENCHMARKS // 5
    figures = run(scenarios(messages)["a constant quota"])
    wrong = figures.lost_or_double + figures.failed + figures.dead_lettered
    what = f"{messages} messages, 100 instances:"
    yield Row("B10", f"{what} lost, double, failed", wrong, target=0)
    yield Row("B10", f"{what} end : ideal", figures.longest_wait, target=1.5)
    yield Row("B10", f"{what} deliveries per message", figures.deliveries_per_message, target=3)
    yield Row("B10", f"{what} creates per experiment", figures.creates_per_experiment)
    yield Row("B10", f"{what} quota used, %", 100 * figures.quota_used)


def run_processes(messages: int, instances: int) -> None:
    """Send messages through the event stream to instances that are processes, in real time, and print the figures."""
    with alilocal.LocalCloud() as cloud, alilocal.serve(port=0, cloud=cloud) as server:
        create_pipeline(cloud)
        limit = cloud.limits.add(QUOTA, service="paiautoml", operation=CREATE)
        store = f"tablestore://127.0.0.1:{server.port}/{TABLE}?instance=local&scheme=http"
        function = cloud.functions.create(
            "hpoq",
            handler="hpoq.handler.handler",
            initializer="hpoq.handler.initialize",
            code=Path(hpoq.__file__).parent.parent,
            environment={**make_environment(cloud, server.url, store), **SHIPPED, "HPOQ_LOG_LEVEL": "ERROR"},
            timeout=FUNCTION_SECONDS,
            max_instances=instances,
        )
        stream = EventStream(
            cloud,
            queue=QUEUE,
            invoke=function,
            batch_size=BATCH,
            batch_window_seconds=3,
            retry="EXPONENTIAL_DECAY_RETRY",
            dead_letter_queue=DEAD_LETTER_QUEUE,
            concurrency=instances,
        )
        queue = cloud.queues.get(QUEUE)
        for number in range(messages):
            queue.send(request(f"burst-{number}"))
        began = time.monotonic()
        stream.start()
        while queue.messages:
            time.sleep(1)
        seconds = time.monotonic() - began
        stream.stop()
        keys = {key for key, _ in marked_experiments(cloud)}
        deliveries = sum(len(one.message_ids) for one in stream.deliveries)
        sys.stdout.write(
            f"{messages} messages, {instances} processes: {len(cloud.experiments)} experiments of {len(keys)} keys, "
            f"{len(cloud.queues.get(DEAD_LETTER_QUEUE).messages)} dead letters, {seconds:.0f} s "
            f"(ideal {messages / QUOTA:.0f} s), {1 + limit.refused / messages:.2f} creates per experiment, "
            f"{deliveries / messages:.2f} deliveries per message\n"
        )


def main() -> None:
    """Print the table, or the figures of processes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--messages", type=int, help="100,000 by default, with --processes 1,000")
    parser.add_argument("--only", choices=list(scenarios(1)), help="only this burst")
    parser.add_argument("--processes", type=int, metavar="N", help="in real time, with N instances")
    options = parser.parse_args()
    if options.processes:
        run_processes(options.messages or 1000, options.processes)
        return
    for name, burst in scenarios(options.messages or 100_000).items():
        if options.only in (None, name):
            figures = run(burst)
            missed = "; ".join(figures.missed())
            sys.stdout.write(f"{table_row(name, figures)} {missed}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
