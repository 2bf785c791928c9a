"""Our Tablestore client against the official SDK: the same requests, to the byte; answers read as it reads them."""

import importlib
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import alilocal
from alilocal.tablestore import messages
from alilocal.tablestore.model import STRING
from hpoq.clock import SystemClock
from hpoq.cloud import ots_wire
from hpoq.cloud.connections import new_session
from hpoq.cloud.ots_wire import Absent, Holds, WireError, crc8, decode_error, decode_row, decode_rows
from hpoq.cloud.signing import Credentials
from hpoq.cloud.tablestore import MOST_ROWS, Tablestore, signature
from hpoq.cloud.transport import Transport
from hpoq.errors import CallError, Denied, Invalid, Throttled, UnknownEnd
from support.budget import examples

logging.getLogger("tablestore").setLevel(logging.ERROR)
tablestore = importlib.import_module("tablestore")

ERROR = b"\x0a\x13OTSParameterInvalid\x12\x01m"


class Captured:
    """Keeps every request; answers each with the same error."""

    def __init__(self):
        self.requests = []
        self.answer = (400, ERROR)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            disable_nagle_algorithm = True

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                outer.requests.append((self.path, headers, body))
                status, answer = outer.answer
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.block_on_close = False
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def captured():
    server = Captured()
    yield server
    server.close()


@pytest.fixture
def ours(captured):
    with new_session() as session:
        credentials = Credentials("ak", "sk", "token")
        yield Tablestore(Transport(session, SystemClock()), captured.url, "inst", lambda: credentials)


@pytest.fixture
def theirs(captured):
    return tablestore.OTSClient(
        captured.url, "ak", "sk", "inst", sts_token="token", retry_policy=tablestore.NoRetryPolicy()
    )


def condition_of_the_sdk(condition):
    if isinstance(condition, Absent):
        return tablestore.Condition(tablestore.RowExistenceExpectation.EXPECT_NOT_EXIST)
    terms = [
        tablestore.SingleColumnCondition(
            name, value, tablestore.ComparatorType.EQUAL, pass_if_missing=False, latest_version_only=True
        )
        for name, value in condition.columns.items()
    ]
    whole = terms[0]
    for term in terms[1:]:
        both = tablestore.CompositeColumnCondition(tablestore.LogicalOperator.AND)
        both.add_sub_condition(whole)
        both.add_sub_condition(term)
        whole = both
    return tablestore.Condition(tablestore.RowExistenceExpectation.EXPECT_EXIST, whole)


NAMES = st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=8)
VALUES = st.integers(-(2**63), 2**63 - 1) | st.text(max_size=40)
COLUMNS = st.dictionaries(NAMES, VALUES, min_size=1, max_size=4)
CONDITIONS = st.just(Absent()) | COLUMNS.map(Holds)


def sent(captured, call):
    captured.requests.clear()
    with pytest.raises((CallError, tablestore.OTSServiceError)):
        call()
    ((path, headers, body),) = captured.requests
    return path, headers, body


@settings(max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.text(max_size=40), columns=COLUMNS, condition=CONDITIONS)
def test_put_row(captured, ours, theirs, key, columns, condition):
    """A PutRow of ours is the SDK's, whatever the row and the condition."""
    row = tablestore.Row([("key", key)], list(columns.items()))
    want = sent(captured, lambda: theirs.put_row("records", row, condition_of_the_sdk(condition)))
    got = sent(captured, lambda: ours.put_row("records", {"key": key}, columns, condition))
    assert (got[0], got[2]) == (want[0], want[2])


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.text(max_size=40))
def test_get_row(captured, ours, theirs, key):
    """A GetRow of ours is the SDK's, whatever the key."""
    want = sent(captured, lambda: theirs.get_row("records", [("key", key)], max_version=1))
    got = sent(captured, lambda: ours.get_row("records", {"key": key}))
    assert (got[0], got[2]) == (want[0], want[2])


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keys=st.lists(st.text(max_size=10), min_size=1, max_size=5))
def test_batch_get_row(captured, ours, theirs, keys):
    """A BatchGetRow of one table is the SDK's, whatever the keys."""
    wanted = tablestore.BatchGetRowRequest()
    rows = [[("key", key)] for key in keys]
    wanted.add(tablestore.TableInBatchGetRowItem("records", rows, [], max_version=1))
    want = sent(captured, lambda: theirs.batch_get_row(wanted))
    got = sent(captured, lambda: ours.batch_get_row("records", [{"key": key} for key in keys]))
    assert (got[0], got[2]) == (want[0], want[2])


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(after=st.none() | st.text(max_size=40), limit=st.integers(1, 5000))
def test_get_range(captured, ours, theirs, after, limit):
    """A GetRange of ours is the SDK's, from the first row or from any key."""
    start = [("key", tablestore.INF_MIN if after is None else after)]
    end = [("key", tablestore.INF_MAX)]
    want = sent(
        captured, lambda: theirs.get_range("records", "FORWARD", start, end, limit=limit, max_version=1)
    )
    got = sent(captured, lambda: ours.get_range("records", "key", after, limit))
    assert (got[0], got[2]) == (want[0], want[2])


def test_a_range_is_read_page_by_page():
    """Every row of the local cloud's table is read once, in the order of the keys, whatever the page size."""
    with alilocal.LocalCloud(seed=1) as cloud:
        cloud.tables.create("records", [("key", STRING)])
        credentials = Credentials(cloud.access_key_id, cloud.access_key_secret)
        transport = Transport(cloud.session(), SystemClock())
        client = Tablestore(transport, cloud.endpoint, "local", lambda: credentials)
        assert client.get_range("records", "key", None, 2) == ([], None)
        for number in range(5):
            client.put_row("records", {"key": f"k{number}"}, {"v": number, "text": "t"}, Absent())
        found, after = [], None
        while True:
            rows, after = client.get_range("records", "key", after, 2)
            found += rows
            if after is None:
                break
    assert found == [(f"k{number}", {"text": "t", "v": number}) for number in range(5)]


def test_a_batch_has_at_most_as_many_rows_as_the_service_reads():
    """A batch of MOST_ROWS keys is answered, and one of a key more is refused."""
    with alilocal.LocalCloud(seed=1) as cloud:
        cloud.tables.create("records", [("key", STRING)])
        credentials = Credentials(cloud.access_key_id, cloud.access_key_secret)
        transport = Transport(cloud.session(), SystemClock())
        client = Tablestore(transport, cloud.endpoint, "local", lambda: credentials)
        keys = [{"key": f"k{number}"} for number in range(MOST_ROWS + 1)]
        assert client.batch_get_row("records", keys[:-1]) == [None] * MOST_ROWS
        with pytest.raises(Invalid):
            client.batch_get_row("records", keys)


MESSAGES = {
    "Throughput": ["ReservedThroughput", "ReservedThroughputDetails", "ConsumedCapacity"],
    "ColumnSchema": ["PrimaryKeySchema", "DefinedColumnSchema"],
    "TableRequest": ["DescribeTableRequest", "DeleteTableRequest"],
    "WriteRowRequest": ["PutRowRequest", "UpdateRowRequest", "DeleteRowRequest"],
    "RowResponse": ["GetRowResponse", "PutRowResponse", "UpdateRowResponse", "DeleteRowResponse"],
    "BatchRequest": ["BatchGetRowRequest", "BatchWriteRowRequest"],
    "BatchResponse": ["BatchGetRowResponse", "BatchWriteRowResponse"],
    "TableInBatchResponse": ["TableInBatchGetRowResponse", "TableInBatchWriteRowResponse"],
    "RowInBatchResponse": ["RowInBatchGetRowResponse", "RowInBatchWriteRowResponse"],
}
NEWER = {
    ("Error", "ACCESS_DENIED_DETAIL"),
    ("TableMeta", "INDEX_META"),
    ("TableOptions", "UPDATE_FULL_ROW"),
    ("DescribeTableResponse", "TABLE_STATUS"),
    ("DescribeTableResponse", "CREATION_TIME"),
    ("BatchRequest", "IS_ATOMIC"),
}


@pytest.mark.parametrize("name", [name for name, one in vars(messages).items() if isinstance(one, type)])
def test_the_local_cloud_numbers_members_as_the_sdk_does(name):
    """Each member of a message has the name and the number that the `.proto` files give it."""
    from tablestore.protobuf import table_store_filter_pb2, table_store_pb2

    known = {**table_store_pb2.DESCRIPTOR.message_types_by_name}
    known |= table_store_filter_pb2.DESCRIPTOR.message_types_by_name
    documented = {
        (field.name.upper(), field.number)
        for message in MESSAGES.get(name, [name])
        for field in known[message].fields
    }
    ours = {pair for pair in vars(getattr(messages, name)).items() if pair[0].isupper()}
    assert ours
    assert {(name, member) for member, _ in ours - documented} <= NEWER


def test_answers_of_a_batch_are_read_in_the_order_of_their_keys():
    """As the SDK's own messages have them: a row, none, and one that the service could not read."""
    from tablestore.protobuf import table_store_pb2 as pb

    made = pb.BatchGetRowResponse()
    rows = made.tables.add(table_name="records").rows
    rows.add(is_ok=True, row=ots_wire._encode_row({"key": "a"}, {"v": 1}))
    rows.add(is_ok=True, row=b"")
    rows.add(is_ok=False, error=pb.Error(code="OTSServerBusy", message="busy"))
    assert decode_rows(made.SerializePartialToString()) == [{"v": 1}, None, None]
    with pytest.raises(WireError):
        decode_rows(b"")


def test_headers_and_signature(captured, ours, theirs):
    """Both send the same headers of the protocol, and either's signature is what the other would make of them."""
    want = sent(captured, lambda: theirs.get_row("records", [("key", "k")], max_version=1))[1]
    got = sent(captured, lambda: ours.get_row("records", {"key": "k"}))[1]
    names = {name for name in want if name.startswith("x-ots-")}
    assert {name for name in got if name.startswith("x-ots-")} == names
    for headers in (want, got):
        signed = {name: headers[name] for name in names - {"x-ots-signature"}}
        assert signature("GetRow", signed, Credentials("ak", "sk")) == headers["x-ots-signature"]


def test_the_published_vector():
    """The signature of the reference's example."""
    headers = {
        "x-ots-accesskeyid": "ak",
        "x-ots-apiversion": "2015-12-31",
        "x-ots-contentmd5": "1B2M2Y8AsgTpgAmY7PhCfg==",
        "x-ots-date": "2026-01-02T03:04:05.000Z",
        "x-ots-instancename": "inst",
    }
    assert signature("ListTable", headers, Credentials("ak", "sk")) == "BwHA3unPiW3PHcZol2exCAE/vis="
    assert crc8(b"123456789") == 0xF4


@given(st.binary(max_size=1200), st.integers(0, 255))
@settings(max_examples=200, deadline=None)
def test_the_checksum_of_long_data_is_that_of_its_definition(data, before):
    """Folding long data changes nothing: the checksum is that of dividing bit by bit."""
    rest = before
    for byte in data:
        rest ^= byte
        for _ in range(8):
            rest = (rest << 1 ^ 0x07 if rest & 0x80 else rest << 1) & 0xFF
    assert crc8(data, before) == rest


@pytest.mark.parametrize("size", [63, 64, 65, 66, 79, 80, 81, 254, 255, 381, 508])
def test_the_checksum_at_the_bounds_of_folding(size):
    """The first byte counts wherever the blocks of 127 bits begin."""
    data = bytes(range(1, 255)) * 2
    rest = 0x5A
    for byte in data[:size]:
        rest = ots_wire._CRC[rest ^ byte]
    assert crc8(data[:size], 0x5A) == rest


def field(number, value):
    return ots_wire._bytes(number, value)


@given(key=st.text(max_size=20), columns=COLUMNS)
def test_answers_are_read_back(key, columns):
    """A row comes back as it was written, without its key."""
    response = field(1, b"") + field(2, ots_wire._encode_row({"key": key}, columns))
    assert decode_row(response) == columns
    assert decode_row(field(1, b"") + field(2, b"")) is None


@given(st.binary(max_size=80), st.integers(0, 60))
def test_damaged_answers_are_never_a_row(noise, at):
    """Bytes that are no answer raise, and a row with a flipped byte is not read as another."""
    whole = field(1, b"") + field(2, ots_wire._encode_row({"key": "k"}, {"owner": "o", "v": 1}))
    damaged = whole[: at % len(whole)] + noise + whole[at % len(whole) :]
    for answer in (noise, damaged):
        try:
            found = decode_row(answer)
        except (WireError, UnicodeDecodeError):
            continue
        assert found is None or found == {"owner": "o", "v": 1}
    decode_error(noise)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "OTSAuthFailed", Denied),
        (503, "OTSServerBusy", Throttled),
        (409, "OTSRowOperationConflict", Throttled),
        (503, "OTSTimeout", UnknownEnd),
        (500, "OTSInternalServerError", UnknownEnd),
        (502, "", UnknownEnd),
    ],
)
def test_errors(captured, ours, status, code, kind):
    """The code decides what an error means; a 5xx that it does not settle leaves the end unknown."""
    captured.answer = (status, field(1, code.encode()) + field(2, b"why sk why") if code else b"<html>")
    with pytest.raises(kind) as caught:
        ours.put_row("records", {"key": "k"}, {"v": 1}, Absent())
    assert caught.value.http_status == status
    assert len(captured.requests) == 1


@pytest.mark.parametrize("status", [302, 400, 403, 404, 408, 413, 429, 503])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>403</html>",
        field(1, b"Forbidden"),
        field(2, b"OTSAuthFailed"),
        b'{"Code":"OTSAuthFailed"}',
    ],
)
def test_an_error_that_is_not_the_services(captured, ours, status, body):
    """Without a code of Tablestore's in its own form an error leaves the end unknown, whatever its status."""
    captured.answer = (status, body)
    with pytest.raises(UnknownEnd, match="not the service's own answer"):
        ours.put_row("records", {"key": "k"}, {"v": 1}, Absent())


@pytest.mark.parametrize("answer", [b"", b"<html>welcome</html>", b"\x0a\x00"])
def test_a_success_that_is_not_the_services(captured, ours, answer):
    """A 2xx without the service's digest, a proxy's page for one, says nothing of the row."""
    captured.answer = (200, answer)
    with pytest.raises(UnknownEnd):
        ours.put_row("records", {"key": "k"}, {"v": 1}, Absent())


def test_a_condition_that_fails(captured, ours):
    """A condition that fails is an answer and not an error, though its status is that of a refusal."""
    captured.answer = (403, field(1, b"OTSConditionCheckFail"))
    assert ours.put_row("records", {"key": "k"}, {"v": 1}, Absent()) is False
