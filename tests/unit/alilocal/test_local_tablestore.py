"""Tablestore's encoding against published vectors and arbitrary bytes."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

import alilocal
from alilocal.core.http import ServiceError
from alilocal.core.requestlog import Notes
from alilocal.tablestore.conditions import holds, passes
from alilocal.tablestore.errors import ConditionCheckFail, ParameterInvalid
from alilocal.tablestore.model import STRING, Options
from alilocal.tablestore.plainbuffer import Cell, Operation, crc8, decode_row, encode_rows
from alilocal.tablestore.proto import Message, encode
from alilocal.tablestore.row_calls import RowCalls

PUT = "75000000010304010000006b05060000000301000000610a51020304010000007605090000000001000000000000000a930991"
DELETE_ALL = "75000000010304010000006b05060000000301000000610a51020304010000007606010adb0962"
DELETE_ROW = "75000000010304010000006b05060000000301000000610a5108091e"
CONDITION = "080012180801121408011201761a0900010000000000000020012801"


def test_vectors():
    """Rows agree with those that the official SDK writes."""
    assert crc8(b"123456789") == 0xF4
    row = decode_row(bytes.fromhex(PUT))
    assert (row.key, row.cells) == ([Cell("k", "a")], [Cell("v", 1)])
    assert encode_rows([(row.key, row.cells)]).hex() == PUT
    assert decode_row(bytes.fromhex(DELETE_ALL)).cells == [Cell("v", None, operation=Operation.DELETE_ALL)]
    assert decode_row(bytes.fromhex(DELETE_ROW)).deleted
    condition = Message(bytes.fromhex(CONDITION))
    assert holds(condition, {"v": {0: 1}}, exists=True)
    assert not holds(condition, {"v": {0: 2}}, exists=True)


VALUES = (
    st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.booleans() | st.text() | st.binary()
)
TIMES = st.none() | st.integers(0, 2**62)
CELLS = st.lists(st.builds(Cell, st.text(max_size=5), VALUES, TIMES, st.none()), max_size=4)


@given(CELLS, CELLS)
def test_rows_come_back(key, cells):
    """A row is read as it was written."""
    data = encode_rows([(key, cells)])
    row = decode_row(data)
    assert (row.key, row.cells) == (key, cells)


@given(st.binary(max_size=600), st.integers(0, 255))
def test_the_checksum_of_any_bytes(data, before):
    """The checksum agrees with a division by the polynomial, bit by bit."""
    rest = before
    for byte in data:
        rest ^= byte
        for _ in range(8):
            rest = (rest << 1) ^ 0x107 if rest & 0x80 else rest << 1
    assert crc8(data, before) == rest


@given(st.binary(max_size=100), st.integers(0, 60))
def test_any_bytes_are_a_row_or_refused(noise, at):
    """Bytes that are not a row are an error of the service, and never a defect of the server."""
    whole = bytes.fromhex(PUT)
    for data in (noise, whole[: at % len(whole)] + noise + whole[at % len(whole) :]):
        with suppress(ParameterInvalid):
            decode_row(data)


def test_a_damaged_row_is_refused():
    """A single changed bit that a checksum covers is detected."""
    whole = bytes.fromhex(PUT)
    for place, bit in product(range(len(whole)), range(8)):
        data = bytearray(whole)
        data[place] ^= 1 << bit
        with pytest.raises(ParameterInvalid):
            decode_row(bytes(data))


@given(
    st.binary(max_size=200),
    st.sampled_from(["put", "update", "delete", "get", "get_range", "batch_get", "batch_write"]),
)
def test_any_request(data, operation):
    """Every request body gets an answer or an error with a code."""
    cloud = alilocal.LocalCloud()
    cloud.tables.create("t", [("k", STRING)])
    try:
        assert isinstance(
            getattr(RowCalls(cloud.tables, Notes(), cloud.behaviour), operation)(Message(data)), bytes
        )
    except ServiceError as error:
        assert error.code.startswith("OTS")


@given(st.binary(max_size=60))
def test_any_condition(data):
    """Every condition gets a result or an error with a code."""
    try:
        passes(Message(data), {"v": {0: 1}})
    except ServiceError as error:
        assert error.code == "OTSParameterInvalid"


def test_of_conditional_puts_one_wins():
    """Of several threads that put the same row if it is absent, exactly one succeeds."""
    with alilocal.LocalCloud() as cloud:
        cloud.tables.create("t", [("k", STRING)])
        rows = RowCalls(cloud.tables, Notes(), cloud.behaviour)
        request = encode({1: "t", 2: bytes.fromhex(PUT), 3: encode({1: 2})})

        def put(_number):
            with cloud.changed:
                try:
                    return rows.put(Message(request)) is not None
                except ConditionCheckFail:
                    return False

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(put, range(64))) == 1


@pytest.mark.parametrize(("seen", "taken"), [("absent", True), ("present", False)])
def test_a_condition_on_a_row_that_has_expired(seen, taken):
    """A read does not find an expired row; whether a condition does is a switch."""
    with alilocal.LocalCloud() as cloud:
        cloud.behaviour.expired_row = seen
        table = cloud.tables.create("t", [("k", STRING)], Options(time_to_live=86_400))
        rows = RowCalls(cloud.tables, Notes(), cloud.behaviour)
        request = Message(encode({1: "t", 2: bytes.fromhex(PUT), 3: encode({1: 2})}))
        rows.put(request)
        cloud.clock.advance(86_401)
        assert table.rows == {}
        with nullcontext() if taken else pytest.raises(ConditionCheckFail):
            rows.put(request)
        assert table.rows == ({("a",): {"v": 1}} if taken else {})


def test_columns_a_page_at_a_time():
    """The column pagination filter, which the Python SDK does not have, returns a page of columns."""
    with alilocal.LocalCloud() as cloud:
        table = cloud.tables.create("t", [("k", STRING)])
        table.put(("a",), [Cell(name, 1) for name in "vwxyz"])
        rows = RowCalls(cloud.tables, Notes(), cloud.behaviour)
        key = encode_rows([([Cell("k", "a")], ())])

        def names(offset, limit):
            page = encode({1: 3, 2: encode({1: offset, 2: limit})})
            answer = rows.get(Message(encode({1: "t", 2: key, 5: 1, 7: page})))
            return [cell.name for cell in decode_row(Message(answer).data(2)).cells]

        assert names(0, 2) == ["v", "w"]
        assert names(3, 5) == ["y", "z"]
        assert names(7, 5) == []
        with pytest.raises(ParameterInvalid):
            names(0, 0)


def test_other_methods_are_refused(cloud):
    with cloud.session() as session:
        answer = session.get(f"{cloud.endpoint}/ListTable", headers={"x-ots-apiversion": "2015-12-31"})
    assert (answer.status_code, Message(answer.content).text(1)) == (405, "OTSMethodNotAllowed")


@pytest.mark.parametrize("name", ["", "1a", "a-b", "x" * 256])
def test_names(name):
    """Names of tables and of the columns of a primary key are letters, digits and underscores."""
    cloud = alilocal.LocalCloud()
    with pytest.raises(ParameterInvalid):
        cloud.tables.create(name, [("k", STRING)])
    with pytest.raises(ParameterInvalid):
        cloud.tables.create("t", [(name, STRING)])


@pytest.mark.parametrize("name", ["", "#", "#abc", "x" * 256, "公" * 86])
def test_names_of_attribute_columns(name):
    """A name of an attribute column has 1 to 255 bytes and does not begin with #."""
    table = alilocal.LocalCloud().tables.create("t", [("k", STRING)])
    with pytest.raises(ParameterInvalid, match="Invalid column name"):
        table.put(("a",), [Cell(name, 1)])


@pytest.mark.parametrize("options", [{"max_versions": 0}, {"time_to_live": 86_399}, {"time_to_live": 0}])
def test_options_that_a_table_cannot_have(options):
    """A table keeps at least one version, and versions for at least a day or for ever."""
    with pytest.raises(ParameterInvalid):
        alilocal.LocalCloud().tables.create("t", [("k", STRING)], Options(**options))
    alilocal.LocalCloud().tables.create("t", [("k", STRING)], Options(max_versions=1, time_to_live=86_400))
