"""A process that races with others for records."""

import uuid
from dataclasses import replace

from hpoq.idempotency.record import Record, State
from hpoq.idempotency.store import open_store

# Far off, for a store may drop what has expired.
NOW = 4_000_000_000.0


def race(url, name, start, answers):
    """Insert fifty records, and take each over from its present owner; return how often either succeeded.

    All racers begin with each record together. A fast one would else be done before the next one has connected.
    """
    store = open_store(url)
    inserted = taken = 0
    for number in range(50):
        start.wait()
        key = str(uuid.UUID(int=number))
        mine = Record(key, State.IN_PROGRESS, "f", name, 1.0, 2.0, NOW)
        standing = store.insert(mine)
        inserted += standing is None
        if standing is not None and standing.attempts == 1:
            taken += store.replace(replace(mine, attempts=2), standing.version)
    store.close()
    answers.put((inserted, taken))
