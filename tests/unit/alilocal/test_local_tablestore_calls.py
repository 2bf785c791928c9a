"""Calls of Tablestore that the SDK for Python cannot send, and others send: atomic batches, transactions, streams."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from alilocal.tablestore import signature
from alilocal.tablestore.model import INTEGER, STRING, Options
from alilocal.tablestore.plainbuffer import Bound, Cell, decode_row, encode_rows
from alilocal.tablestore.proto import Message, encode

CAPACITY = encode({1: encode({1: 0, 2: 0})})
PUT, UPDATE, DELETE = 1, 2, 3
IGNORE, EXPECT_NOT_EXIST = encode({1: 0}), encode({1: 2})


@pytest.fixture
def table(cloud):
    return cloud.tables.create("t", [("p", STRING), ("k", STRING)], Options(max_versions=5))


def call(cloud, operation, members):
    """One call, signed by hand: the answer's message, or the code and the message of the error."""
    body = encode(members)
    moment = datetime.fromtimestamp(cloud.clock.now(), timezone.utc)
    headers = {
        "x-ots-accesskeyid": cloud.access_key_id,
        "x-ots-apiversion": signature.VERSION,
        "x-ots-contentmd5": signature.digest(body),
        "x-ots-date": moment.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "x-ots-instancename": "local",
    }
    credential = cloud.credentials.get(cloud.access_key_id)
    headers["x-ots-signature"] = signature._signature(f"/{operation}", headers, credential)
    with cloud.session() as session:
        answer = session.post(f"{cloud.endpoint}/{operation}", data=body, headers=headers)
    message = Message(answer.content)
    return message if answer.ok else (message.text(1), message.text(2))


def row(partition, key, *cells):
    return encode_rows([([Cell("p", partition), Cell("k", key)], cells)])


def write(kind, data, condition=IGNORE):
    return encode({1: kind, 2: data, 3: condition})


def batch(cloud, *writes, table="t"):
    """The outcome of each row of an atomic batch: None, or its error's code."""
    answer = call(cloud, "BatchWriteRow", {1: [encode({1: table, 2: list(writes)})], 3: 1})
    return [one.message(2).text(1) or None for one in answer.messages(1)[0].messages(2)]


def test_an_atomic_batch_writes_rows_of_one_partition(cloud, table):
    """All rows of an atomic batch are written if they have one partition key."""
    first, second = row("a", "1", Cell("v", 1)), row("a", "2", Cell("v", 2))
    assert batch(cloud, write(PUT, first), write(PUT, second)) == [None, None]
    assert table.rows == {("a", "1"): {"v": 1}, ("a", "2"): {"v": 2}}


def test_an_atomic_batch_of_several_partitions_fails(cloud, table):
    """No row of an atomic batch is written if their partition keys differ, and each of them fails."""
    writes = [write(PUT, row(part, "1", Cell("v", 1))) for part in ("a", "a", "b")]
    assert batch(cloud, *writes) == ["OTSParameterInvalid"] * 3
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
        ("ListStream", {}, "streams"),
        ("UpdateTable", {1: "t", 4: encode({1: 1, 2: 24})}, "streams"),
        (
            "CreateTable",
            {1: encode({1: "n", 2: [encode({1: "k", 2: STRING})]}), 2: CAPACITY, 5: encode({1: 1})},
            "streams",
        ),
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


@pytest.mark.parametrize("names", [{}, {3: [b"v"]}])
def test_a_time_without_versions_keeps_the_row(cloud, table, names):
    """A range of time in which no version lies returns the row's key without columns."""
    table.put(("a", "1"), [Cell("v", 1)])
    times = encode({1: 1, 2: 2})
    answer = call(cloud, "GetRow", {1: "t", 2: row("a", "1"), **names, 4: times})
    found = decode_row(answer.data(2))
    assert ([cell.value for cell in found.key], found.cells) == (["a", "1"], [])
    low, high = (encode_rows([([Cell("p", b), Cell("k", b)], [])]) for b in (Bound.LEAST, Bound.MOST))
    answer = call(cloud, "GetRange", {1: "t", 2: 0, **names, 4: times, 7: low, 8: high})
    assert decode_row(answer.data(2)).cells == []


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


def get_row(cloud, **members):
    """The answer of a GetRow of the row `a`, `1`, with further members of the request by number."""
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


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (
            [f"c{number}" for number in range(129)],
            "The number of columns from the request exceeds the limit.",
        ),
        (["a-b"], "Invalid column name: 'a-b'."),
    ],
)
def test_the_columns_to_get_have_limits(cloud, table, names, said):
    """At most 128 columns, each with a valid name, can be requested."""
    assert get_row(cloud, _3=[name.encode() for name in names]) == ("OTSParameterInvalid", said)


def test_a_batch_has_each_table_once_and_a_hundred_rows_to_read(cloud, table):
    """BatchGetRow reads up to 100 rows, and no batch names a table twice."""
    one = encode({1: "t", 2: [row("a", "1")], 6: 1})
    many = encode({1: "t", 2: [row("a", str(number)) for number in range(101)], 6: 1})
    assert call(cloud, "BatchGetRow", {1: [many]}) == (
        "OTSParameterInvalid",
        "Rows count exceeds the upper limit.",
    )
    twice = ("OTSParameterInvalid", "Duplicated table name: 't'.")
    assert call(cloud, "BatchGetRow", {1: [one, one]}) == twice
    written = encode({1: "t", 2: [write(PUT, row("a", "1", Cell("v", 1)))]})
    assert call(cloud, "BatchWriteRow", {1: [written, written]}) == twice
    assert table.rows == {}


def negated(times):
    """A filter that negates a condition on `v` so many times."""
    found = encode({1: 1, 2: encode({1: 7, 2: "v"})})
    for _ in range(times):
        found = encode({1: 2, 2: encode({1: 1, 2: [found]})})
    return found


@pytest.mark.parametrize(
    "condition",
    [
        encode({1: 2, 2: encode({1: 3, 2: [negated(0)] * 33})}),
        negated(400),
    ],
)
def test_a_filter_has_a_limit(cloud, table, condition):
    """A filter has up to 32 conditions; one that is nested without end is refused, and not a failure."""
    table.put(("a", "1"), [Cell("v", 1)])
    code, _ = get_row(cloud, _7=condition)
    assert code == "OTSParameterInvalid"
    most = encode({1: 2, 2: encode({1: 3, 2: [negated(0)] * 32})})
    assert decode_row(get_row(cloud, _7=most).data(2)).cells


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
