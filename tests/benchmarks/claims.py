"""How long a claim takes in a store of a thousand records, and of a million.

    python tests/benchmarks/claims.py [redis://HOST:PORT/DB]

Without a URL an SQLite file is measured. Both sizes are measured in turns in one run, and what counts is their ratio.
"""

import statistics
import sys
import tempfile
import time
import uuid
from pathlib import Path

from hpoq.idempotency.record import Record, State, encode
from hpoq.idempotency.store import open_store

SMALL, LARGE = 1_000, 1_000_000
CLAIMS, ROUNDS = 200, 10


def record():
    return Record(str(uuid.uuid4()), State.IN_PROGRESS, "f" * 64, "owner", 1.0, 2.0, 4e9)


def fill(store, count):
    """Put `count` records into `store`, faster than by claims."""
    if hasattr(store, "_client"):
        pipeline = store._client.pipeline(transaction=False)
        for number in range(count):
            made = record()
            pipeline.set(store._prefix + made.key, encode(made))
            if number % 10_000 == 0:
                pipeline.execute()
        pipeline.execute()
        return
    with store._transaction() as connection:
        for _ in range(count):
            store._write(connection, record())


def claims(store):
    """Seconds that a claim takes, on average over many."""
    began = time.perf_counter()
    for _ in range(CLAIMS):
        store.insert(record())
    return (time.perf_counter() - began) / CLAIMS


def stores(folder):
    """A small and a large store of the kind asked for."""
    if len(sys.argv) > 1:
        return [open_store(f"{sys.argv[1]}?prefix={uuid.uuid4()}:") for _ in range(2)]
    return [open_store(f"sqlite:///{Path(folder) / name}") for name in ("small", "large")]


def main():
    with tempfile.TemporaryDirectory() as folder:
        small, large = stores(folder)
        fill(small, SMALL)
        fill(large, LARGE)
        claims(small), claims(large)
        pairs = [(claims(small), claims(large)) for _ in range(ROUNDS)]
        small.close()
        large.close()
    medians = [statistics.median(column) * 1e6 for column in zip(*pairs, strict=True)]
    ratio = statistics.median(late / early for early, late in pairs)
    sys.stdout.write(
        f"{SMALL} records: {medians[0]:.0f} us a claim; {LARGE}: {medians[1]:.0f} us; ratio {ratio:.2f}\n"
    )


if __name__ == "__main__":
    main()
