"""Calls of Tablestore that the SDK for Python cannot send, and others send: atomic batches, transactions, streams."""

from __future__ import annotations

import struct
import zlib
from datetime import datetime, timezone

import pytest

import alilocal
from alilocal.tablestore import plainbuffer, signature
from alilocal.tablestore.errors import InvalidKey
from alilocal.tablestore.model import INTEGER, STRING, Options
from alilocal.tablestore.plainbuffer import Bound, Cell, crc8, decode_row, encode_rows
from alilocal.tablestore.proto import Message, encode

CAPACITY = encode({1: encode({1: 0, 2: 0})})
PUT, UPDATE, DELETE = 1, 2, 3
IGNORE, EXPECT_NOT_EXIST = encode({1: 0}), encode({1: 2})


@pytest.fixture
def table(cloud):
    return cloud.tables.create("t", [("p", STRING), ("k", STRING)], Options(max_versions=5))


def call(cloud, operation, members):
    """One call, signed by hand: the answer's message, or the code and the message of the error."""
    is_done, message = send(cloud, operation, members, cloud.access_key_id)
    return message if is_done else (message.text(1), message.text(2))


def send(cloud, operation, members, key_id, body=None, **more):
    """One call with the key `key_id`: whether it was carried out, and the answer's message.

    `body` replaces the message of `members`; `more` are headers, with underscores for hyphens.
    """
    body = encode(members) if body is None else body
    moment = datetime.fromtimestamp(cloud.clock.now(), timezone.utc)
    headers = {
        "x-ots-accesskeyid": key_id,
        "x-ots-apiversion": signature.VERSION,
        "x-ots-contentmd5": signature.digest(body),
        "x-ots-date": moment.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "x-ots-instancename": "local",
        **{name.replace("_", "-"): value for name, value in more.items()},
    }
    headers = dict(sorted(headers.items()))
    credential = cloud.credentials.get(key_id)
    headers["x-ots-signature"] = signature._signature(f"/{operation}", headers, credential)
    with cloud.session() as session:
        answer = session.post(f"{cloud.endpoint}/{operation}", data=body, headers=headers)
    return answer.ok, Message(answer.content)


def row(partition, key, *cells):
    return encode_rows([([Cell("p", partition), Cell("k", key)], cells)])


def write(kind, data, condition=IGNORE):
    return encode({1: kind, 2: data, 3: condition})


def batch(cloud, *writes, table="t"):
    """Return the outcome of each row of an atomic batch: None, or its error's code."""
    answer = call(cloud, "BatchWriteRow", {1: [encode({1: table, 2: list(writes)})], 3: 1})
    return [one.message(2).text(1) or None for one in answer.messages(1)[0].messages(2)]


def increment(key, name, by):
    """Return a row change that adds `by` to a column, which `encode_rows` cannot write."""
    parts = [plainbuffer._encode_cell(cell) for cell in key]
    number = struct.pack("<Bq", 0, by)
    check = crc8(name + number + b"\x04")
    cell = struct.pack("<BBI", 3, 4, len(name)) + name + struct.pack("<BI", 5, len(number)) + number
    out = struct.pack("<IB", plainbuffer.HEADER, 1) + b"".join(data for data, _ in parts) + b"\x02" + cell
    return out + bytes([6, 4, 10, check, 9, crc8(bytes([*(one for _, one in parts), check, 0]))])


def test_an_increment_returns_the_new_cell(cloud, table):
    """The row after a change has timestamps, and an increment reads the row, which consumes capacity.

    The sample UpdateRowIncrease of the SDK for PHP shows both.
    """
    key = [Cell("p", "a"), Cell("k", "1")]
    table.put(("a", "1"), [Cell("v", 5), Cell("w", 1)])
    content = encode({1: 2, 2: [b"v"]})
    answer = call(cloud, "UpdateRow", {1: "t", 2: increment(key, b"v", 3), 3: IGNORE, 4: content})
    (cell,) = decode_row(answer.data(2)).cells
    assert (cell.name, cell.value) == ("v", 8)
    assert abs(cell.timestamp - cloud.clock.now_ms()) < 60_000
    consumed = answer.message(1).message(1)
    assert (consumed.number(1), consumed.number(2)) == (1, 1)
    plain = call(cloud, "UpdateRow", {1: "t", 2: row("a", "1", Cell("v", 1)), 3: IGNORE})
    assert plain.message(1).message(1).number(1) == 0


def test_an_update_may_number_its_row(cloud):
    """UpdateRow creates a row whose key the service numbers, as testAutoPkWrite of the SDK for Java does."""
    table = cloud.tables.create("n", [("p", STRING), ("k", INTEGER)], automatic="k")
    key = [Cell("p", "a"), Cell("k", Bound.AUTO)]
    answer = call(cloud, "UpdateRow", {1: "n", 2: increment(key, b"v", 1), 3: IGNORE, 4: encode({1: 1})})
    numbered = decode_row(answer.data(2)).key
    assert table.rows == {("a", numbered[1].value): {"v": 1}}


def test_an_atomic_batch_writes_rows_of_one_partition(cloud, table):
    """All rows of an atomic batch are written if they have one partition key."""
    first, second = row("a", "1", Cell("v", 1)), row("a", "2", Cell("v", 2))
    assert batch(cloud, write(PUT, first), write(PUT, second)) == [None, None]
    assert table.rows == {("a", "1"): {"v": 1}, ("a", "2"): {"v": 2}}


def test_an_atomic_batch_of_several_partitions_fails(cloud, table):
    """No row of an atomic batch is written if their partition keys differ, and each of them fails."""
    writes = [write(PUT, row(part, "1", Cell("v", 1))) for part in ("a", "a", "b")]
    answer = call(cloud, "BatchWriteRow", {1: [encode({1: "t", 2: writes})], 3: 1})
    outcomes = [one.message(2) for one in answer.messages(1)[0].messages(2)]
    # As testAtomicBatchWriteRowWithDiffPartKey of the SDK for Java expects.
    problem = "Data out of scope of atomic. Atomic PartKey:a. Data PartKey:b"
    assert [(one.text(1), one.text(2)) for one in outcomes] == [("OTSDataOutOfRange", problem)] * 3
    assert table.rows == {}


def test_an_atomic_batch_of_several_tables_fails(cloud, table):
    """No row of an atomic batch is written if their tables differ."""
    cloud.tables.create("u", [("p", STRING), ("k", STRING)])
    data = write(PUT, row("a", "1", Cell("v", 1)))
    answer = call(cloud, "BatchWriteRow", {1: [encode({1: name, 2: [data]}) for name in ("t", "u")], 3: 1})
    codes = [one.messages(2)[0].message(2).text(1) for one in answer.messages(1)]
    assert codes == ["OTSParameterInvalid"] * 2
    assert table.rows == {}


def test_an_atomic_batch_fails_as_a_whole(cloud, table):
    """If one condition of an atomic batch fails, nothing is written, changed or deleted."""
    table.put(("a", "1"), [Cell("v", 1)])
    outcomes = batch(
        cloud,
        write(PUT, row("a", "2", Cell("v", 2))),
        write(UPDATE, row("a", "3", Cell("v", 7))),
        write(PUT, row("a", "1", Cell("v", 3)), EXPECT_NOT_EXIST),
    )
    assert set(outcomes) == {"OTSConditionCheckFail"}
    assert table.rows == {("a", "1"): {"v": 1}}


@pytest.mark.parametrize("operation", ["PutRow", "UpdateRow"])
def test_a_column_cannot_have_the_name_of_a_key_column(cloud, table, operation):
    """An attribute column named like a column of the primary key is refused, alone and in a batch."""
    problem = "Duplicated attribute column name with primary key column: `k`."
    data = row("a", "1", Cell("v", 1), Cell("k", 1))
    assert call(cloud, operation, {1: "t", 2: data, 3: IGNORE}) == ("OTSParameterInvalid", problem)
    kind = PUT if operation == "PutRow" else UPDATE
    answer = call(cloud, "BatchWriteRow", {1: [encode({1: "t", 2: [write(kind, data)]})]})
    (outcome,) = answer.messages(1)[0].messages(2)
    assert (outcome.message(2).text(1), outcome.message(2).text(2)) == ("OTSParameterInvalid", problem)
    assert table.rows == {}


@pytest.mark.parametrize("expectation", [0, 1, 2])
def test_a_numbered_row_has_no_column_condition(cloud, expectation):
    """A row whose key the service numbers cannot be put on a condition on its columns."""
    table = cloud.tables.create("n", [("p", STRING), ("k", INTEGER)], automatic="k")
    data = encode_rows([([Cell("p", "a"), Cell("k", Bound.AUTO)], [Cell("v", 1)])])
    condition = encode({1: expectation, 2: negated(0)})
    assert call(cloud, "PutRow", {1: "n", 2: data, 3: condition}) == (
        "OTSParameterInvalid",
        "Can't set condition when modify row with pk auto increment.",
    )
    assert table.rows == {}


@pytest.mark.parametrize(
    ("operation", "members", "feature"),
    [
        ("PutRow", {1: "t", 2: row("a", "1", Cell("v", 1)), 3: IGNORE, 5: "txn"}, "transactions"),
        ("UpdateRow", {1: "t", 2: row("a", "1", Cell("v", 1)), 3: IGNORE, 5: "txn"}, "transactions"),
        ("GetRow", {1: "t", 2: row("a", "1"), 5: 1, 11: "txn"}, "transactions"),
        ("BatchWriteRow", {1: [], 2: "txn"}, "transactions"),
        ("StartLocalTransaction", {}, "transactions"),
        ("CommitTransaction", {}, "transactions"),
        ("CreateIndex", {}, "secondary indexes"),
        ("CreateSearchIndex", {}, "search indexes"),
        ("ListStream", {}, "records of streams"),
        (
            "CreateTable",
            {1: encode({1: "n", 2: [encode({1: "k", 2: STRING})]}), 2: CAPACITY, 7: [encode({1: "i"})]},
            "secondary indexes",
        ),
    ],
)
def test_what_is_not_here_is_refused_by_name(cloud, table, operation, members, feature):
    """A call that needs a feature that the local cloud lacks is refused with its name, and changes nothing."""
    code, message = call(cloud, operation, members)
    assert code == "OTSParameterInvalid"
    assert message.startswith(f"The local cloud has no {feature}: ")
    assert (cloud.tables.list(), table.rows) == (["t"], {})


def test_a_stream_that_is_switched_off_is_taken(cloud, table):
    """Clients send the specification of a stream without switching it on, and read its details in every answer."""
    answer = call(cloud, "UpdateTable", {1: "t", 2: CAPACITY, 4: encode({1: 0})})
    assert answer.message(3).number(1, 9) == 0
    described = call(cloud, "DescribeTable", {1: "t"})
    assert (described.number(4), described.message(5).number(1, 9)) == (1, 0)


def test_a_stream_is_described_until_it_is_switched_off(cloud, table):
    """Tables of the documentation's samples for Node.js have a stream, so it is taken, although nothing reads it."""
    schema = encode({1: "n", 2: [encode({1: "k", 2: STRING})]})
    call(cloud, "CreateTable", {1: schema, 2: CAPACITY, 5: encode({1: 1, 2: 24})})
    details = call(cloud, "DescribeTable", {1: "n"}).message(5)
    since = details.number(4)
    assert (details.number(1), details.text(2), details.number(3)) == (1, f"n_{since}", 24)
    cloud.clock.advance(60)
    assert call(cloud, "UpdateTable", {1: "n", 2: CAPACITY}).message(3).number(4) == since
    answer = call(cloud, "UpdateTable", {1: "n", 4: encode({1: 1, 2: 48})})
    assert (answer.message(3).number(3), answer.message(3).number(4)) == (48, since)
    with alilocal.LocalCloud() as other:
        other.load(cloud.snapshot())
        assert other.tables.get("n").stream == cloud.tables.get("n").stream
    assert call(cloud, "UpdateTable", {1: "n", 4: encode({1: 0})}).message(3).number(1, 9) == 0
    again = call(cloud, "UpdateTable", {1: "n", 4: encode({1: 1})}).message(3)
    assert (again.number(3), again.number(4) > since) == (168, True)
    for hours in (0, 169, -1):
        code, message = call(cloud, "UpdateTable", {1: "t", 4: encode({1: 1, 2: hours})})
        assert (code, "between 1 and 168 hours" in message) == ("OTSParameterInvalid", True)
    assert table.stream is None


def test_there_are_no_search_indexes_and_timeseries_tables(cloud, table):
    """Programs list a table's search indexes before they delete the table: there are none, which is no error."""
    for operation, members in (
        ("ListSearchIndex", {1: "t"}),
        ("ListSearchIndex", {}),
        ("ListTimeseriesTable", {}),
    ):
        assert not call(cloud, operation, members).has(1)
    assert call(cloud, "ListSearchIndex", {1: "missing"})[0] == "OTSObjectNotExist"


def test_zeros_behind_a_row_are_ignored(cloud):
    """The SDK for Node.js writes a zero too many for each value without a content; other bytes are refused."""
    cloud.tables.create("n", [("p", STRING), ("k", INTEGER)], automatic="k")
    key = encode_rows([([Cell("p", "a"), Cell("k", Bound.AUTO)], [Cell("v", 1)])])
    for tail in (b"\x00", b"\x00\x00\x00"):
        assert not isinstance(call(cloud, "PutRow", {1: "n", 2: key + tail, 3: IGNORE}), tuple)
    code, message = call(cloud, "PutRow", {1: "n", 2: key + b"\x00\x01", 3: IGNORE})
    assert (code, "Cell data broken" in message) == ("OTSParameterInvalid", True)
    bounds = [
        encode_rows([([Cell("p", bound), Cell("k", bound)], [])]) + b"\x00\x00"
        for bound in (Bound.LEAST, Bound.MOST)
    ]
    answer = call(cloud, "GetRange", {1: "n", 2: 0, 5: 1, 7: bounds[0], 8: bounds[1]})
    assert answer.data(2).count(b"\x04\x01\x00\x00\x00v") == 2


def test_a_time_without_versions_keeps_the_row(cloud, table):
    """A range of time in which no version lies returns the row's key without columns."""
    table.put(("a", "1"), [Cell("v", 1)])
    times = encode({1: 1, 2: 2})
    answer = call(cloud, "GetRow", {1: "t", 2: row("a", "1"), 4: times})
    found = decode_row(answer.data(2))
    assert ([cell.value for cell in found.key], found.cells) == (["a", "1"], [])
    low, high = (encode_rows([([Cell("p", b), Cell("k", b)], [])]) for b in (Bound.LEAST, Bound.MOST))
    answer = call(cloud, "GetRange", {1: "t", 2: 0, 4: times, 7: low, 8: high})
    assert decode_row(answer.data(2)).cells == []


@pytest.mark.parametrize("times", [{1: 1, 2: 2}, {3: 1}])
def test_requested_columns_without_versions_leave_the_row_out(cloud, table, times):
    """If columns are requested, a row without a version of them in the range of time is not returned.

    The SDKs' own tests say so: TestPutGetRowWithTimestamp for Go, testDeleteCell for Java.
    """
    table.put(("a", "1"), [Cell("v", 1), Cell("w", 1)])
    members = {1: "t", 2: row("a", "1"), 3: [b"v"], 4: encode(times)}
    assert call(cloud, "GetRow", members).data(2) == b""
    low, high = (encode_rows([([Cell("p", b), Cell("k", b)], [])]) for b in (Bound.LEAST, Bound.MOST))
    answer = call(cloud, "GetRange", {1: "t", 2: 0, 3: [b"v"], 4: encode(times), 7: low, 8: high})
    assert answer.data(2) == b""


def test_a_row_without_the_requested_columns_is_left_out(cloud, table):
    """A row that has none of the requested columns is not returned, whatever the versions."""
    table.put(("a", "1"), [Cell("v", 1)])
    assert call(cloud, "GetRow", {1: "t", 2: row("a", "1"), 3: [b"w"], 5: 1}).data(2) == b""


def test_a_specific_time_excludes_max_versions(cloud, table):
    """A read names either a specific time or a number of versions."""
    table.put(("a", "1"), [Cell("v", 1)])
    low, high = (encode_rows([([Cell("p", b), Cell("k", b)], [])]) for b in (Bound.LEAST, Bound.MOST))
    both = {4: encode({3: 5}), 5: 1}
    assert call(cloud, "GetRow", {1: "t", 2: row("a", "1"), **both})[0] == "OTSParameterInvalid"
    assert call(cloud, "GetRange", {1: "t", 2: 0, **both, 7: low, 8: high})[0] == "OTSParameterInvalid"
    times = {4: encode({1: 1, 2: 2**62}), 5: 1}
    assert not isinstance(call(cloud, "GetRow", {1: "t", 2: row("a", "1"), **times}), tuple)


def test_options_that_an_update_leaves_out_are_kept(cloud, table):
    """UpdateTable changes the options that it names, and no others."""
    call(cloud, "UpdateTable", {1: "t", 3: encode({2: 3})})
    assert (table.options.time_to_live, table.options.max_versions) == (-1, 3)
    call(cloud, "UpdateTable", {1: "t", 3: encode({1: 86_400})})
    assert (table.options.time_to_live, table.options.max_versions) == (86_400, 3)


def compressed(cloud, data, size, kind="deflate"):
    """Return a GetRow whose body is `data`, said to have `size` bytes before it was compressed."""
    headers = {"x_ots_request_compress_type": kind, "x_ots_request_compress_size": str(size)}
    is_done, message = send(cloud, "GetRow", {}, cloud.access_key_id, body=data, **headers)
    return message if is_done else (message.text(1), message.text(2))


def test_a_request_may_be_compressed(cloud, table):
    """The SDK for Java compresses requests if `enableRequestCompression` is set."""
    table.put(("a", "1"), [Cell("v", "x" * 3000)])
    body = encode({1: "t", 2: row("a", "1"), 5: 1})
    answer = compressed(cloud, zlib.compress(body), len(body))
    assert [cell.value for cell in decode_row(answer.data(2)).cells] == ["x" * 3000]


@pytest.mark.parametrize(
    ("data", "size", "kind", "code"),
    [
        (zlib.compress(b"abc"), 4, "deflate", "OTSParameterInvalid"),
        (zlib.compress(b"abc")[:-2], 3, "deflate", "OTSParameterInvalid"),
        (b"abc", 3, "deflate", "OTSParameterInvalid"),
        (zlib.compress(b"abc"), "x", "deflate", "OTSParameterInvalid"),
        (zlib.compress(b"abc"), 3, "gzip", "OTSParameterInvalid"),
        (zlib.compress(bytes(6 * 1024 * 1024)), 6 * 1024 * 1024, "deflate", "OTSRequestBodyTooLarge"),
    ],
)
def test_a_request_that_is_wrongly_compressed(cloud, table, data, size, kind, code):
    """It gets an error of the service, also if it would become too large."""
    assert compressed(cloud, data, size, kind)[0] == code


def test_a_denied_call_says_which_permission_is_missing(cloud, table):
    """Member 3 of an error is the AccessDeniedDetail, all of whose members the SDK for Java requires."""
    nothing = {"Version": "1", "Statement": []}
    cloud.credentials.register("other", "secret", user_id="2000", policy=nothing)
    is_done, error = send(cloud, "DescribeTable", {1: "t"}, "other")
    assert (is_done, error.text(1)) == (False, "OTSNoPermissionAccess")
    account = cloud.account_id
    assert [error.message(3).text(number) for number in range(1, 7)] == [
        *("ots:DescribeTable", "SubUser", account, "2000"),
        *("AccountLevelIdentityBasedPolicy", "ImplicitDeny"),
    ]
    assert not send(cloud, "DescribeTable", {1: "absent"}, cloud.access_key_id)[1].has(3)


def test_an_update_of_one_capacity_keeps_the_other(cloud, table):
    """UpdateTable may name one of the capacities, as testCUReadOnly of the SDK for PHP does."""
    table.throughput = (10, 20)
    call(cloud, "UpdateTable", {1: "t", 2: encode({1: encode({1: 100})})})
    assert table.throughput == (100, 20)
    call(cloud, "UpdateTable", {1: "t", 2: encode({1: encode({2: 300})})})
    assert table.throughput == (100, 300)


def get_row(cloud, **members):
    """Return the answer of a GetRow of the row `a`, `1`, with further members of the request by number."""
    return call(
        cloud,
        "GetRow",
        {1: "t", 2: row("a", "1"), 5: 1, **{int(name[1:]): one for name, one in members.items()}},
    )


def test_a_column_of_the_key_can_be_requested(cloud, table):
    """As documented, the columns to get may be columns of the primary key, which every row has."""
    table.put(("a", "1"), [Cell("v", 1)])
    found = decode_row(get_row(cloud, _3="k").data(2))
    assert ([cell.value for cell in found.key], found.cells) == (["a", "1"], [])
    assert get_row(cloud, _3="absent").data(2) == b""


TOO_MANY = "The number of {} exceeds the limit, limit count: 1024, column count: 1025."


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([f"c{number}" for number in range(1025)], TOO_MANY.format("columns from the request")),
        (["#b"], "Invalid column name: '#b'."),
    ],
)
def test_the_columns_to_get_have_limits(cloud, table, names, said):
    """At most 1024 columns, each with a valid name, can be requested; this comes before the version condition."""
    asked = {3: [name.encode() for name in names]}
    key = row("a", "1")
    refused = ("OTSParameterInvalid", said)
    assert call(cloud, "GetRow", {1: "t", 2: key, **asked}) == refused
    assert call(cloud, "GetRange", {1: "t", 2: 0, **asked, 7: key, 8: row("b", "1")}) == refused
    batched = encode({1: "t", 2: [key], 4: asked[3], 6: 1})
    assert call(cloud, "BatchGetRow", {1: [batched]}) == refused


def test_only_a_column_that_is_incremented_can_be_returned(cloud, table):
    """A write that must return another column fails, as testReturnColumnNames of the SDK for Java expects."""
    content = encode({1: 2, 2: [b"v", b"w"]})
    asked = {1: "t", 2: increment(KEY, b"v", 3), 3: IGNORE, 4: content}
    refused = ("OTSParameterInvalid", "The column to return is not incremented: 'w'.")
    assert call(cloud, "UpdateRow", asked) == refused
    assert call(cloud, "PutRow", {**asked, 2: row("a", "1", Cell("v", 1), Cell("w", 1))})[0] == refused[0]
    assert table.rows == {}
    only_key = {**asked, 4: encode({1: 1, 2: [b"w"]})}
    assert not isinstance(call(cloud, "UpdateRow", only_key), tuple)


@pytest.mark.parametrize("name", ["price-2", "公司", ".", "a b", "1n", "a#", '"', "\n", "x" * 255])
def test_an_attribute_column_can_have_almost_any_name(cloud, table, name):
    """The service takes more names than are documented, as ParameterLegalityTest of the SDK for Java shows."""
    for operation, cell in (("PutRow", Cell(name, "1")), ("UpdateRow", Cell(name, "2"))):
        assert not isinstance(call(cloud, operation, {1: "t", 2: row("a", "1", cell), 3: IGNORE}), tuple)
    found = decode_row(get_row(cloud, _3=name).data(2))
    assert [(cell.name, cell.value) for cell in found.cells] == [(name, "2")]


def test_as_many_columns_as_a_row_takes_can_be_requested(cloud, table):
    """The older limit of 128 columns is gone: the tests of the SDK for Java request 1024."""
    names = [f"c{number}" for number in range(1024)]
    table.put(("a", "1"), [Cell(name, 1) for name in names])
    found = decode_row(get_row(cloud, _3=[name.encode() for name in names]).data(2))
    assert len(found.cells) == 1024


KEY = [Cell("p", "a"), Cell("k", "1")]
LONG_KEY = "The length of primary key column: 'k' exceeds the MaxLength:1024 with CurrentLength:1025."
LONG_VALUE = "The length of attribute column: 'v' exceeds the MaxLength:2097152 with CurrentLength:2097153."


@pytest.mark.parametrize(
    ("key", "cells", "said"),
    [
        ([], [Cell("v", 1)], "Cell data broken, empty PK."),
        (
            [Cell(name, "x") for name in "abcde"],
            [Cell("v", 1)],
            "The number of primary key columns must be in range: [1, 4].",
        ),
        ([Cell("p", "a"), Cell("k", "x" * 1025)], [Cell("v", 1)], LONG_KEY),
        ([Cell("p", "a"), Cell("k", "é" * 512 + "x")], [Cell("v", 1)], LONG_KEY),
        ([Cell("p", "a"), Cell("k", b"x" * 1025)], [Cell("v", 1)], LONG_KEY),
        (
            [Cell("p", "a"), Cell("k", Bound.LEAST)],
            [Cell("v", 1)],
            "VT_INF_MIN is an invalid type for the primary key.",
        ),
        (
            [Cell("p", "a"), Cell("k", Bound.MOST)],
            [Cell("v", 1)],
            "VT_INF_MAX is an invalid type for the primary key.",
        ),
        (KEY, [Cell("v", "x" * 2_097_153)], LONG_VALUE),
        (KEY, [Cell(f"v{n}", 1) for n in range(1025)], TOO_MANY.format("attribute columns")),
        (KEY, [Cell("#", 1)], "Invalid column name: '#'."),
        (KEY, [Cell("v", 1, 2**63 // 1000)], "Timestamp must be in range [0, INT64_MAX/1000)."),
        (KEY, [Cell("v", 1, -1)], "Timestamp must be in range [0, INT64_MAX/1000)."),
    ],
)
def test_a_row_that_no_table_takes_fails_the_whole_batch(cloud, table, key, cells, said):
    """Limits of rows come before tables: a batch with such a row fails as a whole, with the service's message."""
    data, good = encode_rows([(key, cells)]), write(PUT, row("a", "2", Cell("v", 1)))
    if not key:
        data = encode_rows([(KEY, cells)])[:4] + encode_rows([((), cells)])[4:]
    refused = ("OTSParameterInvalid", said)
    assert call(cloud, "PutRow", {1: "t", 2: data, 3: IGNORE}) == refused
    assert call(cloud, "PutRow", {1: "absent", 2: data, 3: IGNORE}) == refused
    assert call(cloud, "UpdateRow", {1: "t", 2: data, 3: IGNORE}) == refused
    writes = encode({1: "t", 2: [good, write(UPDATE, data)]})
    assert call(cloud, "BatchWriteRow", {1: [writes]}) == refused
    assert table.rows == {}
    if key != KEY:
        assert call(cloud, "GetRow", {1: "t", 2: data, 5: 1}) == refused
        reads = encode({1: "t", 2: [row("a", "2"), data], 6: 1})
        assert call(cloud, "BatchGetRow", {1: [reads]}) == refused


@pytest.mark.parametrize("name", ["", "3t", "a-b", "x" * 256])
def test_an_invalid_name_of_a_table_is_named(cloud, table, name):
    """Every operation refuses a name that no table can have, instead of looking for it."""
    data, key = row("a", "1", Cell("v", 1)), row("a", "1")
    calls = {
        "CreateTable": {1: encode({1: name, 2: [encode({1: "k", 2: STRING})]}), 2: CAPACITY},
        "DescribeTable": {1: name},
        "UpdateTable": {1: name},
        "DeleteTable": {1: name},
        "PutRow": {1: name, 2: data, 3: IGNORE},
        "UpdateRow": {1: name, 2: data, 3: IGNORE},
        "GetRow": {1: name, 2: key, 5: 1},
        "GetRange": {1: name, 2: 0, 5: 1, 7: key, 8: row("b", "1")},
        "BatchGetRow": {1: [encode({1: name, 2: [key], 6: 1})]},
        "BatchWriteRow": {1: [encode({1: name, 2: [write(PUT, data)]})]},
    }
    said = {("OTSParameterInvalid", f"Invalid table name: '{name}'.")}
    assert {call(cloud, operation, members) for operation, members in calls.items()} == said


@pytest.mark.parametrize("columns", [0, 5])
def test_a_primary_key_has_one_to_four_columns(cloud, columns):
    schema = [encode({1: f"k{number}", 2: STRING}) for number in range(columns)]
    assert call(cloud, "CreateTable", {1: encode({1: "n", 2: schema}), 2: CAPACITY}) == (
        "OTSParameterInvalid",
        "The number of primary key columns must be in range: [1, 4].",
    )


def test_an_update_that_a_table_does_not_take(cloud):
    """UpdateRow is refused without columns, and by a table that allows no updates."""
    cloud.tables.create("f", [("p", STRING), ("k", STRING)], Options(allow_update=False))
    for data, said in (
        (row("a", "1"), "Invalid update row request: missing cells in request"),
        (row("a", "1", Cell("v", 1)), "Update operation is not allowed in this table"),
    ):
        assert call(cloud, "UpdateRow", {1: "f", 2: data, 3: IGNORE}) == ("OTSParameterInvalid", said)


def test_a_read_batch_with_a_missing_table(cloud, table):
    """The rows of a table that does not exist fail one by one, and the others are read."""
    table.put(("a", "1"), [Cell("v", 1)])
    asked = [encode({1: name, 2: [row("a", "1")] * 2, 6: 1}) for name in ("absent", "t")]
    absent, present = call(cloud, "BatchGetRow", {1: asked}).messages(1)
    error = ("OTSObjectNotExist", "Requested table does not exist.")
    assert [
        (one.number(1), one.message(2).text(1), one.message(2).text(2)) for one in absent.messages(2)
    ] == [(0, *error)] * 2
    assert [one.number(1) for one in present.messages(2)] == [1, 1]


def test_the_size_of_a_batch_comes_before_its_tables(cloud, table):
    """A batch without rows, or with too many, is refused whether its tables exist or not."""
    one = write(PUT, row("a", "1", Cell("v", 1)))
    many = [encode({1: f"absent{number}", 2: [one]}) for number in range(201)]
    assert call(cloud, "BatchWriteRow", {1: many})[1] == "Rows count exceeds the upper limit: 200."
    empty = encode({1: "absent"})
    assert call(cloud, "BatchWriteRow", {1: [empty]})[1] == "No operation is specified for table: 'absent'."
    assert call(cloud, "BatchWriteRow", {1: many[:1]}) == (
        "OTSObjectNotExist",
        "Requested table does not exist.",
    )


def test_the_data_of_a_batch_has_a_limit(cloud, table):
    """Names, values and timestamps count, 4 MiB together; the bytes around them do not."""

    def outcome(length):
        now = cloud.clock.now_ms()
        cells = [Cell("a", "x" * 2**21, now), Cell("b", "x" * length, now)]
        answer = call(cloud, "BatchWriteRow", {1: [encode({1: "t", 2: [write(PUT, row("a", "1", *cells))]})]})
        return answer if isinstance(answer, tuple) else answer.messages(1)[0].messages(2)[0].number(1)

    # The names and values of the key take 4 bytes, the names of the columns 2 and the timestamps 16.
    most = 2**21 - 4 - 2 - 16
    assert outcome(most) == 1
    said = "The total data size of BatchWriteRow request exceeds the limit"
    refused = ("OTSParameterInvalid", f"{said}, limit size: 4194304, data size: 4194305.")
    assert outcome(most + 1) == refused


def test_rows_are_written_in_python(table):
    """Columns may be a mapping, as they are read; a key that a request could not have is refused."""
    table.put(("a", "1"), {"v": 1})
    table.update(("a", "1"), {"w": b"x"})
    assert table.rows == {("a", "1"): {"v": 1, "w": b"x"}}
    for key in (("a",), ("a", 1), "a1", ["a", "1"]):
        for write in (table.put, table.update):
            with pytest.raises(InvalidKey, match="tuple"):
                write(key, {"v": 1})


def test_the_data_of_a_range_has_a_limit(cloud):
    """A range ends after 4 MiB of names, values and timestamps, as testCase35 of the SDK for Java expects."""
    table = cloud.tables.create("r", [("pk_0", INTEGER)])
    for number in range(2081):
        table.put((number,), [Cell("attr", "a" * 2000)])
    low, high = (encode_rows([([Cell("pk_0", bound)], [])]) for bound in (Bound.LEAST, Bound.MOST))
    answer = call(cloud, "GetRange", {1: "r", 2: 0, 5: 1, 7: low, 8: high})
    (following,) = decode_row(answer.data(3)).key
    assert following == Cell("pk_0", 2073)
    assert not call(cloud, "GetRange", {1: "r", 2: 0, 5: 1, 7: answer.data(3), 8: high}).has(3)


def test_a_range_checks_its_columns_before_its_keys(cloud, table):
    """What no table has is refused before a key that does not fit this table, as testCase12 expects."""
    bounds = [encode_rows([([Cell("q", number)], [])]) for number in (1, 2)]
    asked = {1: "t", 2: 0, 3: [b"#"], 5: 1, 7: bounds[0], 8: bounds[1]}
    assert call(cloud, "GetRange", asked) == ("OTSParameterInvalid", "Invalid column name: '#'.")


def test_a_filter_names_valid_columns(cloud, table):
    """A filter or a condition on a column with an invalid name is refused, whether the row exists or not."""
    bad = encode({1: 2, 2: encode({1: 1, 2: [encode({1: 1, 2: encode({1: 7, 2: "#"})})]})})
    refused = ("OTSParameterInvalid", "Invalid column name: '#'.")
    assert get_row(cloud, _7=bad) == refused
    condition = encode({1: 0, 2: bad})
    data = row("a", "1", Cell("v", 1))
    assert call(cloud, "PutRow", {1: "t", 2: data, 3: condition}) == refused
    assert call(cloud, "BatchWriteRow", {1: [encode({1: "t", 2: [write(PUT, data, condition)]})]}) == refused


def test_the_option_update_full_row_is_kept(cloud):
    """A table has the option that it was created with; an update must not contain it."""
    meta = encode({1: "n", 2: [encode({1: "k", 2: STRING})]})
    call(cloud, "CreateTable", {1: meta, 2: CAPACITY, 3: encode({1: -1, 2: 1, 7: 1})})
    assert call(cloud, "DescribeTable", {1: "n"}).message(3).number(7) == 1
    code, message = call(cloud, "UpdateTable", {1: "n", 3: encode({2: 2, 7: 0})})
    assert (code, "contain updateFullRow" in message) == ("OTSParameterInvalid", True)
    assert call(cloud, "UpdateTable", {1: "n", 3: encode({2: 2})}).message(2).number(7) == 1


def test_a_batch_has_each_table_once_and_a_hundred_rows_to_read(cloud, table):
    """BatchGetRow reads up to 100 rows, and no batch names a table twice."""
    one = encode({1: "t", 2: [row("a", "1")], 6: 1})
    many = encode({1: "t", 2: [row("a", str(number)) for number in range(101)], 6: 1})
    assert call(cloud, "BatchGetRow", {1: [many]}) == (
        "OTSParameterInvalid",
        "Rows count exceeds the upper limit: 100.",
    )
    twice = ("OTSParameterInvalid", "Duplicated table name: 't'.")
    assert call(cloud, "BatchGetRow", {1: [one, one]}) == twice
    written = encode({1: "t", 2: [write(PUT, row("a", "1", Cell("v", 1)))]})
    assert call(cloud, "BatchWriteRow", {1: [written, written]}) == twice
    assert table.rows == {}


def negated(times):
    """Return a filter that negates a condition on `v` so many times."""
    found = encode({1: 1, 2: encode({1: 7, 2: "v"})})
    for _ in range(times):
        found = encode({1: 2, 2: encode({1: 1, 2: [found]})})
    return found


def combined(operator, *parts):
    """Return a filter that joins `parts`: 1 is not, 2 and, 3 or."""
    return encode({1: 2, 2: encode({1: operator, 2: list(parts)})})


TOO_MANY_PARTS = "The count of filter exceeds the max: 32."
FEW_PARTS = "Invalid AND/OR operator: the number of sub-filters must be more than 1."
LONG_TEXT = struct.pack("<bi", 3, 2097153) + b"x" * 2097153
ONE = struct.pack("<bq", 0, 1)
NO_RULE = "Invalid value_trans_rule: a group and a type to cast to are needed."


def transformed(pattern, kind):
    """Return a filter that compares a part of a text."""
    return encode({1: 1, 2: encode({1: 1, 2: "v", 3: ONE, 6: encode({1: pattern, 2: kind})})})


NOT_ONE_PART = "Invalid NOT operator: the number of sub-filters must be 1."


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (combined(3, *[negated(0)] * 32), TOO_MANY_PARTS),
        (combined(2, *[combined(2, negated(0), negated(0))] * 11), TOO_MANY_PARTS),
        (negated(32), TOO_MANY_PARTS),
        (negated(400), TOO_MANY_PARTS),
        (combined(2, negated(0)), FEW_PARTS),
        (combined(3), FEW_PARTS),
        (combined(1, combined(1, negated(0), negated(0))), NOT_ONE_PART),
        (encode({1: 1, 2: encode({1: 1, 2: "v", 3: LONG_TEXT})}), LONG_VALUE),
        (encode({1: 9, 2: b""}), "Unsupported filter type."),
        (combined(2, *[encode({1: 3, 2: encode({1: 0, 2: 1})})] * 2), "Unsupported filter type."),
        (encode({1: 1, 2: encode({1: 99, 2: "v", 3: ONE})}), "Unsupported comparator."),
        (encode({1: 1, 2: encode({1: 1, 2: "v"})}), "Cell data broken, the row is not well-formed."),
        (transformed("(", 1), "Invalid regular expression in value_trans_rule."),
        (transformed("(a)", 9), NO_RULE),
        (transformed("a", 1), NO_RULE),
    ],
)
def test_a_filter_has_limits(cloud, table, condition, message):
    """Up to 32 parts, those that join others included; the row need not exist, nor be asked for correctly."""
    refused = ("OTSParameterInvalid", message)
    assert get_row(cloud, _7=condition) == refused
    assert call(cloud, "GetRow", {1: "t", 2: row("a", "1"), 7: condition}) == refused
    data = row("a", "1", Cell("v", 1))
    assert call(cloud, "PutRow", {1: "t", 2: data, 3: encode({1: 0, 2: condition})}) == refused


@pytest.mark.parametrize("condition", [combined(3, *[negated(0)] * 31), negated(30)])
def test_a_filter_may_have_32_parts(cloud, table, condition):
    """As many as the limit are allowed."""
    table.put(("a", "1"), [Cell("v", 1)])
    assert decode_row(get_row(cloud, _7=condition).data(2)).cells


def test_a_table_has_the_time_of_its_creation(cloud):
    """DescribeTable returns it in microseconds, and an update of the table does not change it."""
    cloud.clock.advance(5)
    before = cloud.clock.now_ms() * 1000
    cloud.tables.create("n", [("k", STRING)])
    created = call(cloud, "DescribeTable", {1: "n"}).number(9)
    assert before <= created <= cloud.clock.now_ms() * 1000
    cloud.clock.advance(60)
    call(cloud, "UpdateTable", {1: "n", 3: encode({2: 2})})
    assert call(cloud, "DescribeTable", {1: "n"}).number(9) == created


def test_a_filter_may_name_a_column_of_the_key(cloud, table):
    """A row has the values of its primary key, whichever columns are requested."""
    table.put(("a", "1"), [Cell("v", 1)])
    for value, found in (("1", True), ("2", False)):
        keep = encode({1: 1, 2: encode({1: 1, 2: "k", 3: encode_text(value)})})
        assert bool(get_row(cloud, _3="v", _7=keep).data(2)) is found


def test_a_range_ends_after_5000_rows_that_a_filter_leaves_out(cloud, table):
    """As documented, a range scans up to 5,000 rows; an answer without rows may have a next key."""
    for number in range(5001):
        table.put(("a", f"{number:04}"), [Cell("v", number)])
    keep = encode({1: 1, 2: encode({1: 1, 2: "v", 3: struct.pack("<bq", 0, 5000)})})
    asked = {1: "t", 2: 0, 5: 1, 6: 1, 8: row("b", Bound.LEAST), 10: keep}
    first = call(cloud, "GetRange", {**asked, 7: row("a", Bound.LEAST)})
    assert (first.data(2), decode_row(first.data(3)).key[1].value) == (b"", "5000")
    second = call(cloud, "GetRange", {**asked, 7: first.data(3)})
    assert (decode_row(second.data(2)).cells[0].value, second.has(3)) == (5000, False)


def encode_text(text):
    """Return a text as the value of a filter."""
    return struct.pack("<bi", 3, len(text)) + text.encode()


def consumed(answer):
    """Return the units of reading in an answer."""
    return answer.message(1).message(1).number(1)


def test_a_filter_leaves_out_what_was_read(cloud, table):
    """As documented, a filter does not reduce the capacity that a read consumes, nor the bytes that a range scans."""
    for number in range(1, 7):
        table.put(("a", f"{number}"), [Cell("v", "x" * 1024 * 1024)])
    keep = encode({1: 1, 2: encode({1: 2, 2: "v", 3: encode_text("")})})
    none = encode({1: 1, 2: encode({1: 1, 2: "v", 3: encode_text("")})})
    bounds = {7: row("a", Bound.LEAST), 8: row("a", Bound.MOST)}
    for condition, is_found in ((keep, True), (none, False)):
        one = get_row(cloud, _7=condition)
        assert (consumed(one), bool(one.data(2))) == (257, is_found)
        many = call(cloud, "GetRange", {1: "t", 2: 0, 5: 1, 10: condition, **bounds})
        assert (consumed(many), bool(many.data(2))) == (1025, is_found)
        assert decode_row(many.data(3)).key[1].value == "5"


def test_a_signature_that_is_not_ascii_is_wrong(cloud):
    """A header may have any byte; the answer is the service's own error."""
    names = ("x-ots-apiversion", "x-ots-accesskeyid", "x-ots-contentmd5", "x-ots-date", "x-ots-instancename")
    moment = datetime.fromtimestamp(cloud.clock.now(), timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    values = (signature.VERSION, cloud.access_key_id, signature.digest(b""), moment, "local")
    headers = dict(zip(names, values, strict=True)) | {"x-ots-signature": "é".encode("latin-1")}
    with cloud.session() as session:
        answer = session.post(f"{cloud.endpoint}/ListTable", headers=headers)
    assert (answer.status_code, Message(answer.content).text(1)) == (403, "OTSAuthFailed")


def test_what_is_not_returned_is_not_in_an_answer(cloud, table):
    """The SDK for Node.js up to version 4 cannot read an empty row where the member is optional."""
    data = row("a", "1", Cell("v", 1))
    assert not call(cloud, "PutRow", {1: "t", 2: data, 3: IGNORE}).has(2)
    written = call(cloud, "BatchWriteRow", {1: [encode({1: "t", 2: [write(PUT, data)]})]})
    missing = call(cloud, "BatchGetRow", {1: [encode({1: "t", 2: [row("a", "2")], 6: 1})]})
    for answer in (written, missing):
        assert not answer.messages(1)[0].messages(2)[0].has(4)
    # Here the member is required.
    assert call(cloud, "GetRow", {1: "t", 2: row("a", "2"), 5: 1}).has(2)
