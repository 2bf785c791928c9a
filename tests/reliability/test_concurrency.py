import threading
from concurrent.futures import ThreadPoolExecutor

from hpoq.idempotency.sqlite import SqliteStore
from hpoq.testing import smq_event, smq_stream_event
from support.request import REQUEST

DELIVERIES = 32


def test_32_concurrent_deliveries_of_one_message(world, tmp_path):
    """However many instances get the same message at once, there is one experiment and one event id.

    An instance that comes between another's create and its publishing publishes the stored event as well.
    """
    world.store = SqliteStore(str(tmp_path / "records.sqlite3"))
    gate = threading.Barrier(DELIVERIES, timeout=60)
    event = smq_event("M1", REQUEST)

    def deliver(_):
        gate.wait()
        return world.deliver(event)[0]["outcome"]

    with ThreadPoolExecutor(DELIVERIES) as pool:
        outcomes = list(pool.map(deliver, range(DELIVERIES)))
    assert outcomes.count("created") >= 1
    assert len({event["id"] for event in world.events}) == 1
    assert set(outcomes) <= {"created", "duplicate", "retry"}
    assert len(world.cloud.experiments) == 1
    assert [row["outcome"] for row in world.deliver(event)] == ["duplicate"]
    assert world.broken(finished=True) == []
    world.store.close()


def test_one_message_32_times_in_one_batch(world):
    """A batch that holds one message many times over creates once."""
    batch = b"[" + b",".join([smq_event("M1", REQUEST)] * DELIVERIES) + b"]"
    outcomes = [row["outcome"] for row in world.deliver(batch)]
    assert outcomes == ["created"] + ["duplicate"] * (DELIVERIES - 1)
    assert len(world.cloud.experiments) == 1


def test_a_batch_of_different_messages(world):
    """Each of many different messages makes its own experiment."""
    world.deliver(smq_stream_event({f"M{n}": REQUEST for n in range(40)}))
    assert len(world.cloud.experiments) == 40
    assert len({event["id"] for event in world.events}) == 40
    assert world.broken(finished=True) == []
