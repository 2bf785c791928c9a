"""What the store in Redis asks of its server; `tests/contract/test_redis.py` has the server."""

from dataclasses import replace

import pytest
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoPermissionError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as Unreachable
from redis.exceptions import TimeoutError as Silent

from hpoq.errors import Denied, RecordUnreadable, SettingsError, StoreUnavailable
from hpoq.idempotency import redis
from hpoq.idempotency.record import Record, State, encode
from hpoq.idempotency.redis import RedisStore

CLAIM = Record("k", State.IN_PROGRESS, "f", "owner", 1.0, 2.0, 3.5)
NEXT = replace(CLAIM, owner="next")
PUBLISHED = replace(CLAIM, state=State.COMPLETED, event="{}", published_at=3.0)
KEPT = 7 * 86_400


class Server:
    """A client that answers from `texts` by name, and to scripts with `answers`; it notes what is asked."""

    def __init__(self, texts=None, answers=(), error=None):
        self.texts, self.answers, self.error = texts or {}, list(answers), error
        self.calls, self.sent, self.is_closed = [], [], False
        self.connection_pool, self.dropped = self, 0

    def _fail(self):
        if self.error:
            raise self.error

    def get(self, name):
        self._fail()
        self.calls.append(("get", name))
        return self.texts.get(name)

    def mget(self, names):
        self._fail()
        return [self.texts.get(name) for name in names]

    def scan_iter(self, *, match, count):
        self._fail()
        assert (match[-1], count) == ("*", 500)
        return [name for name in [*self.texts, "p:gone", "other"] if name.startswith(match[:-1])]

    def pipeline(self, *, transaction):
        assert transaction is False, "a script is atomic, and EXEC would hide the answer of WAIT"
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def eval(self, script, number, *arguments):
        self.sent = [(script, number, *arguments)]

    def wait(self, replicas, millis):
        self.sent.append(("WAIT", replicas, millis))

    def execute(self):
        self._fail()
        self.calls.append(tuple(self.sent))
        return [self.answers.pop(0) if self.answers else None, *[1] * (len(self.sent) - 1)]

    def disconnect(self, *, inuse_connections):
        assert inuse_connections is False, "the calls of other threads go on"
        self.dropped += 1

    def close(self):
        self.is_closed = True


def open_store(server, **options):
    """Return a store over the stub `server`, with the prefix `p:`."""
    store = RedisStore("redis://h", prefix="p:", **options)
    store._client = server
    return store


def test_a_call_is_bounded_and_repeated_once():
    """The ledger repeats what fails for longer; texts are decoded by the client."""
    store = RedisStore("redis://h:1/2", timeout_seconds=1.5)
    options = store._client.get_connection_kwargs()
    assert (options["socket_timeout"], options["socket_connect_timeout"]) == (1.5, 1.5)
    assert (options["decode_responses"], options["host"], options["port"], options["db"]) == (True, "h", 1, 2)
    tries = []

    def fail():
        tries.append(None)
        raise Unreachable

    with pytest.raises(Unreachable):
        options["retry"].call_with_retry(fail, lambda error: None)
    assert len(tries) == 2


@pytest.mark.parametrize(
    ("query", "settings"),
    [
        ("", ("hpoq:", 0, 3.0)),
        ("?prefix=x:", ("x:", 0, 3.0)),
        ("?replicas=2", ("hpoq:", 2, 3.0)),
        ("?timeout=1.5", ("hpoq:", 0, 1.5)),
    ],
)
def test_the_options_of_a_url(query, settings):
    """What the URL does not set has its default, which is that of the class."""
    store = RedisStore.open(f"redis://h{query}")
    assert (store._prefix, store._replicas, store._timeout_seconds) == settings
    if not query:
        plain = RedisStore("redis://h")
        assert (plain._prefix, plain._replicas, plain._timeout_seconds) == settings


def test_other_options_of_a_url_are_the_clients():
    """The client knows more of them."""
    store = RedisStore.open("redis://h?replicas=0&health_check_interval=9")
    assert store._client.get_connection_kwargs()["health_check_interval"] == 9
    assert "replicas" not in store._client.get_connection_kwargs()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis://canary@h:port", "not a Redis URL"),
        ("redis://:canary@h/zero", "DB is a number"),
        ("redis://h/0?pasword=canary", "does not accept an option"),
        ("redis://:canary@h/0?protocol=9", "does not accept an option"),
        ("rediss://:canary@h/0?ssl_cert_reqs=canary", "does not accept an option"),
        ("redis://canary@h?replicas=x", "must be numbers"),
        ("redis://canary@h?timeout=x", "must be numbers"),
    ],
)
def test_a_wrong_url_is_a_wrong_setting_and_is_not_quoted(url, message):
    """It may contain a password."""
    with pytest.raises(SettingsError, match=f"HPOQ_STORE.*{message}") as caught:
        RedisStore.open(url)
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_the_check_of_a_url_takes_no_connection_of_the_pool():
    """With `max_connections=1` it would be the only one."""
    store = RedisStore.open("redis://127.0.0.1:1/0?max_connections=1")
    with pytest.raises(StoreUnavailable, match=r"redis: ConnectionError"):
        store.get("k")


def test_records_are_read_under_their_prefix():
    """Others may use the same server."""
    store = open_store(Server({"p:k": encode(CLAIM), "other": "?"}))
    assert store.get("k") == CLAIM
    assert store.get("unknown") is None
    assert store.get_many(["unknown", "k"]) == {"k": CLAIM}
    assert list(store.scan()) == [("k", encode(CLAIM))]


@pytest.mark.parametrize("text", ["{", "[7]", "{}", '{"key": 7}', '{"key": "other"}', "[" * 100_000])
def test_a_scan_finds_damaged_records_but_none_of_a_longer_prefix(text):
    """A second deployment may have a prefix that begins with the first one's."""
    server = Server({"p:staging:k": encode(CLAIM), "p:damaged": text})
    assert list(open_store(server).scan()) == [("damaged", text)]


@pytest.mark.parametrize(("answer", "found"), [(None, None), (CLAIM, None), (NEXT, NEXT)])
def test_an_insert_is_one_script(answer, found):
    """The record that stands there is the script's answer; an equal one counts as written."""
    server = Server(answers=[answer and encode(answer)])
    assert open_store(server).insert(CLAIM) == found
    assert server.calls == [((redis._INSERT, 1, "p:k", encode(CLAIM), ""),)]


def test_a_replacement_swaps_the_text_that_was_read():
    """Its condition was decided on that text."""
    server = Server({"p:k": encode(CLAIM)}, [1])
    assert open_store(server).replace(NEXT, CLAIM.version) is True
    assert server.calls == [("get", "p:k"), ((redis._SWAP, 1, "p:k", encode(CLAIM), encode(NEXT), ""),)]


@pytest.mark.parametrize(
    ("standing", "is_written"),
    [(None, False), (replace(CLAIM, owner="other"), False), (CLAIM, True), (NEXT, True)],
)
def test_what_a_replacement_replaces(standing, is_written):
    """The expected version, or the record itself, which an earlier try of the same write left."""
    server = Server({"p:k": encode(standing)} if standing else {}, [1])
    assert open_store(server).replace(NEXT, CLAIM.version) is is_written
    assert (len(server.calls) == 2) == is_written


@pytest.mark.parametrize(("changes", "is_written"), [(7, True), (8, False)])
def test_a_record_that_changes_during_a_replacement_is_read_again(changes, is_written):
    """Eight times, after which the caller may repeat the whole."""
    server = Server({"p:k": encode(CLAIM)}, [0] * changes + [1])
    store = open_store(server)
    if is_written:
        assert store.replace(NEXT, CLAIM.version)
    else:
        with pytest.raises(StoreUnavailable, match="changes too fast"):
            store.replace(NEXT, CLAIM.version)
    assert server.calls.count(("get", "p:k")) == 8


def test_a_published_record_expires_a_week_after_its_retention():
    """The server gets its lifetime in milliseconds, rounded up, and no time that its own clock would decide about."""
    server = Server({"p:k": encode(CLAIM)}, [None, 1])
    store = open_store(server)
    store.insert(replace(PUBLISHED, expires_at=4.0005))
    store.replace(replace(PUBLISHED, expires_at=2.0), CLAIM.version)
    inserted, (swapped,) = server.calls[0][0], server.calls[-1]
    assert (inserted[-1], swapped[-1]) == (str(KEPT * 1000 + 1001), str(KEPT * 1000))
    assert all("'PEXPIRE'" in script for script in (inserted[0], swapped[0]))


@pytest.mark.parametrize(("replicas", "is_enough"), [(1, True), (2, False)])
def test_a_write_waits_for_its_replicas_half_of_the_time_for_an_answer(replicas, is_enough):
    """The client would otherwise give up before the server does. One replica answers here."""
    server = Server()
    store = open_store(server, replicas=replicas, timeout_seconds=4)
    if is_enough:
        assert store.insert(CLAIM) is None
    else:
        with pytest.raises(StoreUnavailable, match="1 of 2 replicas"):
            store.insert(CLAIM)
    assert server.calls[0][1:] == (("WAIT", replicas, 2000),)


@pytest.mark.parametrize("error", [ResponseError("canary"), OSError("canary")])
@pytest.mark.parametrize(
    "act",
    [
        lambda store: store.get("k"),
        lambda store: store.get_many(["k"]),
        lambda store: list(store.scan()),
        lambda store: store.insert(CLAIM),
        lambda store: store.replace(NEXT, CLAIM.version),
    ],
)
def test_an_error_of_the_client_is_named_and_not_quoted(error, act):
    """Its text may quote what was sent."""
    with pytest.raises(StoreUnavailable, match=type(error).__name__) as caught:
        act(open_store(Server(error=error)))
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "lasts"),
    [
        (NoPermissionError("canary"), True),
        (AuthenticationError("canary"), True),
        (ResponseError("MISCONF canary"), True),
        (ResponseError("DB index is out of range"), True),
        (MovedError("1 127.0.0.1:1"), True),
        (ResponseError("Command # 1 (EVAL ...) of pipeline caused error: NOREPLICAS canary"), False),
        (ResponseError("BUSY canary"), False),
        (ReadOnlyError("canary"), False),
        (ClusterDownError("canary"), False),
        (MasterDownError("canary"), False),
        (TryAgainError("canary"), False),
        (BusyLoadingError("canary"), False),
        (Unreachable("canary"), False),
        (Silent("canary"), False),
        (OSError("canary"), False),
    ],
)
def test_a_server_that_refuses_calls_is_distinguished_from_one_that_is_away(error, lasts):
    """An operator must fix the first; the second comes back, as a server does that starts or is taken over."""
    with pytest.raises(StoreUnavailable) as caught:
        open_store(Server(error=error)).insert(CLAIM)
    cause = caught.value.__cause__
    assert isinstance(cause, Denied) is lasts
    assert (cause.__cause__ if lasts else cause) is error
    assert not lasts or "canary" not in f"{cause} {cause.message}"
    assert not lasts or (cause.service, cause.operation) == ("redis", "command")


def test_a_trial_of_a_write_needs_what_a_write_needs():
    """It runs one script and waits for the replicas, as a write does."""
    server = Server()
    open_store(server, replicas=1, timeout_seconds=4).try_write("k")
    ((script, number, name), wait) = server.calls[0]
    assert (number, name, wait) == (1, "p:k", ("WAIT", 1, 2000))
    assert all(command in script for command in ("'GET'", "'SET'", "'PEXPIRE'", "'XX'"))


def test_connections_are_closed():
    """The store must not be used afterwards."""
    server = Server()
    open_store(server).close()
    assert server.is_closed


@pytest.mark.parametrize(
    "server", [Server(error=ReadOnlyError()), Server(error=ResponseError()), Server()], ids=["a", "b", "c"]
)
def test_a_call_that_fails_is_repeated_over_a_new_connection(server):
    """The old one may lead to a server that is no longer the primary, and stay open."""
    server.wait = lambda replicas, millis: server.sent.append("missing")
    server.execute = lambda: server._fail() or [1, 0]
    with pytest.raises(StoreUnavailable):
        open_store(server, replicas=1).insert(CLAIM)
    assert server.dropped == 1


def test_a_text_that_is_not_utf_8_is_a_damaged_record():
    """The client must not fail on it, because its error would be none of the store's."""
    store = RedisStore("redis://h")
    assert store._client.get_connection_kwargs()["encoding_errors"] == "surrogateescape"
    damaged = open_store(Server({"p:k": "\udcff"}))
    with pytest.raises(RecordUnreadable):
        damaged.get("k")
