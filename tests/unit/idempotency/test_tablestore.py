"""The store in Tablestore: what its URL names, what it writes, and what it asks for."""

from dataclasses import replace

import pytest

import alilocal
from alilocal.tablestore.model import STRING
from hpoq.clock import SystemClock
from hpoq.cloud.ots_wire import Absent, Holds
from hpoq.cloud.signing import Credentials
from hpoq.cloud.tablestore import Tablestore
from hpoq.cloud.transport import Transport
from hpoq.errors import RecordUnreadable, SettingsError, StoreUnavailable, Unavailable
from hpoq.idempotency.record import Record, State, encode
from hpoq.idempotency.store import open_store
from hpoq.idempotency.tablestore import TablestoreStore
from hpoq.testing import run_store_conformance

CLAIM = Record("k", State.IN_PROGRESS, "f", "owner", 1.0, 2.0, 3.75)
NOT_REACHED = Unavailable("no route to host", service="tablestore", operation="any")


class Rows:
    """A client of the table `t` that keeps whole rows by key, and notes each call."""

    def __init__(self, answers=()):
        self.rows = {}
        self.calls = []
        self.answers = list(answers)  # to the first calls, instead of what the rows say

    def _answer(self, *call):
        self.calls.append(call)
        return self.answers.pop(0) if self.answers else None

    def put_row(self, table, key, columns, condition):
        answer = self._answer("put", table, key, columns, condition)
        if answer is None:
            self.rows[key["key"]] = columns
        return answer is None

    def get_row(self, table, key):
        self._answer("get", table, key)
        return self.rows.get(key["key"])

    def batch_get_row(self, table, keys):
        self._answer("batch", table, keys)
        return [self.rows.get(key["key"]) for key in keys]


class Unreachable:
    """A client all of whose calls fail."""

    def __getattr__(self, name):
        def fail(*_):
            raise NOT_REACHED

        return fail


class Recording:
    """A transport that keeps the headers of each request, and reaches nothing."""

    clock = SystemClock()

    def __init__(self):
        self.sent = []

    def send(self, request, **_):
        self.sent.append((str(request.endpoint), dict(request.sign())))
        raise NOT_REACHED


def test_conformance():
    """The store keeps every rule of the protocol over the local cloud, without a network."""
    with alilocal.LocalCloud(seed=1) as cloud:
        cloud.tables.create("t", [("key", STRING)])
        credentials = Credentials(cloud.access_key_id, cloud.access_key_secret)
        client = Tablestore(
            Transport(cloud.session(), SystemClock()), cloud.endpoint, "local", lambda: credentials
        )
        run_store_conformance(lambda: TablestoreStore(client, "t"))


@pytest.mark.parametrize(
    ("url", "endpoint", "instance", "table"),
    [
        ("tablestore://i.cn-x.ots.aliyuncs.com/t", "https://i.cn-x.ots.aliyuncs.com", "i", "t"),
        ("tablestore://i.cn-x.ots.aliyuncs.com/t/", "https://i.cn-x.ots.aliyuncs.com", "i", "t"),
        ("tablestore://h.example:8443/t?instance=other", "https://h.example:8443", "other", "t"),
        ("tablestore://127.0.0.1:80/t?instance=local&scheme=http", "http://127.0.0.1", "local", "t"),
    ],
)
def test_what_a_url_names(url, endpoint, instance, table):
    """The instance is the first part of the host, unless the URL names another one; connections are encrypted."""
    transport = Recording()
    store = open_store(url, transport, lambda: Credentials("ak", "sk"))
    assert store.table == table
    with pytest.raises(StoreUnavailable, match="no route to host"):
        store.get("k")
    ((sent_to, headers),) = transport.sent
    assert (sent_to, headers["x-ots-instancename"]) == (endpoint, instance)
    assert headers["x-ots-accesskeyid"] == "ak"


@pytest.mark.parametrize(
    "url",
    [
        "tablestore:///t",
        "tablestore://.cn-x.ots.aliyuncs.com/t",
        "tablestore://i.cn-x.ots.aliyuncs.com",
        "tablestore://i.cn-x.ots.aliyuncs.com/",
        "tablestore://i.cn-x.ots.aliyuncs.com/t/more",
        "tablestore://i.cn-x.ots.aliyuncs.com/t?table=x",
    ],
)
def test_a_url_that_names_no_table_is_a_wrong_setting(url):
    """The message says which setting is wrong, and shows the form of a URL."""
    with pytest.raises(SettingsError, match="HPOQ_STORE: use tablestore://"):
        open_store(url)


def test_the_row_of_a_record_is_pinned():
    """Rows outlast versions of the code; the table's time to live and the condition need these columns."""
    client = Rows()
    assert TablestoreStore(client, "t").insert(CLAIM) is None
    columns = {"state": "IN_PROGRESS", "owner": "owner", "expires_at": 3, "body": encode(CLAIM)}
    assert client.calls == [("put", "t", {"key": "k"}, columns, Absent())]


def test_a_record_is_replaced_on_condition_of_its_version():
    """Another state or owner in the row refuses the write."""
    client, ended = Rows(), replace(CLAIM, state=State.COMPLETED)
    assert TablestoreStore(client, "t").replace(ended, CLAIM.version)
    ((_, _, _, columns, condition),) = client.calls
    assert (columns["state"], condition) == ("COMPLETED", Holds({"state": "IN_PROGRESS", "owner": "owner"}))


def test_records_are_read_a_hundred_at_once():
    """One call of the service returns no more rows."""
    client = Rows()
    store = TablestoreStore(client, "t")
    records = {f"k{number}": replace(CLAIM, key=f"k{number}") for number in range(230)}
    for record in records.values():
        store.insert(record)
    client.calls.clear()
    assert store.get_many([*records, "unknown"]) == records
    assert [(call, table, len(keys)) for call, table, keys in client.calls] == [
        ("batch", "t", 100),
        ("batch", "t", 100),
        ("batch", "t", 31),
    ]


@pytest.mark.parametrize("times", [1, 3, 4])
def test_a_row_whose_time_ends_meanwhile_is_written_again(times):
    """A row that was there for the write and is not for the read has expired in between; four tries are made."""
    client = Rows([False, True] * times)
    store = TablestoreStore(client, "t")
    if times < 4:
        assert store.insert(CLAIM) is None
    else:
        with pytest.raises(StoreUnavailable, match="appearing"):
            store.insert(CLAIM)
    assert [call for call, *_ in client.calls].count("put") == min(times + 1, 4)


def test_a_row_without_a_body_is_damaged():
    """It is an error, not the absence of a record."""
    client = Rows()
    client.rows["k"] = {"state": "IN_PROGRESS"}
    store = TablestoreStore(client, "t")
    for read in (lambda: store.get("k"), lambda: store.get_many(["k"])):
        with pytest.raises(RecordUnreadable, match="record k"):
            read()


@pytest.mark.parametrize(
    "act",
    [
        lambda store: store.get("k"),
        lambda store: store.get_many(["k"]),
        lambda store: store.insert(CLAIM),
        lambda store: store.replace(CLAIM, CLAIM.version),
    ],
)
def test_a_call_that_fails_makes_the_store_unavailable(act):
    """The caller may repeat it, whatever its end was."""
    with pytest.raises(StoreUnavailable, match="no route to host"):
        act(TablestoreStore(Unreachable(), "t"))


@pytest.mark.parametrize(
    "act", [lambda store: store.insert(CLAIM), lambda store: store.replace(CLAIM, CLAIM.version)]
)
def test_a_write_that_fails_is_not_taken_for_one_that_was_refused(act):
    """Only a condition that does not hold makes a read of the row conclusive."""
    client = Rows()
    client.put_row = Unreachable().put_row
    with pytest.raises(StoreUnavailable, match="no route to host"):
        act(TablestoreStore(client, "t"))
