"""A create is never sent on a connection that a gateway may be closing, and a busy batch keeps its connections."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from hpoq.cloud import connections
from hpoq.cloud.connections import new_session
from hpoq.cloud.paiautoml import PaiAutoMl
from hpoq.cloud.signing import Credentials
from hpoq.cloud.transport import Transport
from support.budget import sample_by_default


class Gateway:
    """A gateway with a clock of its own, by which connections count how long they were idle.

    It closes a connection that was idle for `closes_after` only when the next request comes, as if the news of its
    end were still under way. Each answer takes `takes` seconds.
    """

    def __init__(self, answer: bytes) -> None:
        self.now = 1000.0
        self.closes_after = 1e9
        self.takes = 0.0
        self._answer = answer
        self._answered_at: dict[object, float] = {}
        self._lock = threading.Lock()

    @property
    def connected(self) -> int:
        """The number of connections that brought a request."""
        return len(self._answered_at)

    def __call__(self, connection: object, _request: bytes) -> bool:
        with self._lock:
            if self.now - self._answered_at.get(connection, self.now) >= self.closes_after:
                return False
            self.now += self.takes
            self._answered_at[connection] = self.now
        connection.sendall(self._answer)
        return True


@pytest.fixture
def gateway(answer: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch) -> Gateway:
    made = Gateway(answer(body=b'{"RequestId":"R","ExperimentId":"s1"}'))
    monkeypatch.setattr(connections, "time", SimpleNamespace(time=lambda: made.now))
    return made


@pytest.fixture
def client(gateway: Gateway, serve, clock):
    with new_session(16) as session:
        yield PaiAutoMl(
            Transport(session, clock), serve(gateway).url, lambda: Credentials("id", "secret"), read_timeout=5
        )


@pytest.mark.parametrize("closes_after", sample_by_default(range(1, 61)))
def test_a_create_has_no_unknown_end_whenever_idle_connections_are_closed(gateway, client, closes_after):
    """Whatever the idle time of a gateway is, from 1 to 60 seconds, each create ends as created."""
    gateway.closes_after = closes_after
    for idle in (0.0, 0.5, 0.99, 1.0, 1.5, 2.5, closes_after - 0.01, closes_after, closes_after + 0.5):
        gateway.now += idle
        assert client.create_hpo_experiment({}, nonce="n").experiment_id == "s1"


@pytest.mark.parametrize("takes", [0.0, 0.2, 0.9, 3.0, 15.0])
def test_creates_that_follow_one_another_share_a_connection(gateway, client, takes):
    """A connection is idle from its last answer on, not from the request before it, however long creates take."""
    gateway.takes = takes
    for _ in range(5):
        client.create_hpo_experiment({}, nonce="n")
        gateway.now += 0.3  # to record the result and to publish it
    assert gateway.connected == 1


@pytest.mark.parametrize(("idle", "connected"), [(19.9, 1), (20.0, 2), (-19.9, 1), (-20.0, 2)])
def test_a_call_that_may_be_repeated_uses_a_connection_for_20_seconds(gateway, client, idle, connected):
    """The gateway closes a connection after 25 s; one that seems to be used in the future is as little known."""
    client.get_hpo_experiment("s1")
    gateway.now += idle
    client.get_hpo_experiment("s1")
    assert gateway.connected == connected


@pytest.mark.parametrize(("takes", "connected"), [(19.9, 1), (20.0, 2), (-19.9, 1), (-20.0, 2)])
def test_a_call_that_took_long_does_not_make_its_connection_fresh(gateway, client, takes, connected):
    """If a call took as long as a connection may be idle, the instance may have been frozen meanwhile."""
    gateway.takes = takes
    client.get_hpo_experiment("s1")
    gateway.takes = 0.0
    client.create_hpo_experiment({}, nonce="n")
    assert gateway.connected == connected


def test_an_answer_after_a_freeze_does_not_make_its_connection_fresh(gateway, client):
    """An instance that was frozen during a call does not know when its connection was last used."""
    gateway.takes = connections.IDLE_SECONDS + 1
    for _ in range(2):
        client.create_hpo_experiment({}, nonce="n")
    assert gateway.connected == 2


def test_a_busy_batch_makes_no_more_connections_than_it_has_threads(gateway, client):
    """A hundred creates by sixteen threads share at most sixteen connections."""
    gateway.takes = 0.01
    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(lambda n: client.create_hpo_experiment({}, nonce=f"n{n}"), range(100)))
    assert len(made) == 100
    assert gateway.connected <= 16
