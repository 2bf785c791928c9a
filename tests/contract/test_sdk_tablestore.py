"""The official Tablestore SDK, unmodified, against the local cloud."""

import importlib
import logging
import uuid

import pytest

import alilocal
from alilocal.tablestore.plainbuffer import Cell

logging.getLogger("tablestore").setLevel(logging.ERROR)
ots = importlib.import_module("tablestore")

EXISTENCE = ots.RowExistenceExpectation


@pytest.fixture
def server():
    with alilocal.serve() as running:
        yield running


def connect(server, key_id=None, secret=None, **options):
    return ots.OTSClient(
        server.url,
        key_id or server.cloud.access_key_id,
        secret or server.cloud.access_key_secret,
        "local",
        retry_policy=ots.NoRetryPolicy(),
        **options,
    )


def create(client, name="t", schema=(("k", "STRING"),), **options):
    meta = ots.TableMeta(name, list(schema))
    throughput = ots.ReservedThroughput(ots.CapacityUnit(0, 0))
    client.create_table(meta, ots.TableOptions(**options), throughput)


@pytest.fixture
def client(server):
    made = connect(server)
    create(made)
    return made


def put(client, key, condition=None, **columns):
    row = ots.Row([("k", key)], list(columns.items()))
    client.put_row("t", row, condition or ots.Condition(EXISTENCE.IGNORE))


def get(client, key, **options):
    _, row, _ = client.get_row("t", [("k", key)], max_version=1, **options)
    return None if row is None else {name: value for name, value, _ in row.attribute_columns}


def refused(call):
    with pytest.raises(ots.OTSServiceError) as caught:
        call()
    return caught.value.get_error_code(), caught.value.get_http_status()


def test_tables(client):
    """Tables are made, told, changed and removed."""
    assert list(client.list_table()) == ["t"]
    told = client.describe_table("t")
    assert (told.table_options.time_to_live, told.table_options.max_version) == (-1, 1)
    assert told.table_meta.schema_of_primary_key == [("k", "STRING")]
    client.update_table("t", ots.TableOptions(86400, 2))
    assert client.describe_table("t").table_options.max_version == 2
    assert refused(lambda: create(client)) == ("OTSObjectAlreadyExist", 409)
    client.delete_table("t")
    assert refused(lambda: client.describe_table("t")) == ("OTSObjectNotExist", 404)


def test_rows(client):
    """A row comes back with every type of value, is changed, and goes."""
    values = {"i": -(2**63), "d": 1.5, "b": True, "s": "测试", "x": bytearray(b"\x00\xff")}
    put(client, "a", **values)
    assert get(client, "a") == values
    assert get(client, "a", columns_to_get=["s"]) == {"s": "测试"}
    assert get(client, "none") is None
    change = {"PUT": [("s", "new")], "DELETE_ALL": ["d"], "INCREMENT": [("i", 5)]}
    client.update_row("t", ots.Row([("k", "a")], change), ots.Condition(EXISTENCE.EXPECT_EXIST))
    assert get(client, "a") == {"i": -(2**63) + 5, "b": True, "s": "new", "x": bytearray(b"\x00\xff")}
    client.delete_row("t", [("k", "a")], ots.Condition(EXISTENCE.IGNORE))
    assert get(client, "a") is None


@pytest.mark.parametrize(
    ("expectation", "there", "absent"),
    [
        (EXISTENCE.IGNORE, True, True),
        (EXISTENCE.EXPECT_EXIST, True, False),
        (EXISTENCE.EXPECT_NOT_EXIST, False, True),
    ],
)
def test_existence(client, expectation, there, absent):
    """Each expectation, of a row that is there and of one that is not."""
    put(client, "there", v=1)
    for key, allowed in (("there", there), ("absent", absent)):
        call = lambda key=key: put(client, key, ots.Condition(expectation), v=2)  # noqa: E731
        if allowed:
            call()
        else:
            assert refused(call) == ("OTSConditionCheckFail", 403)


def single(name, value, comparator=ots.ComparatorType.EQUAL, *, missing=False):
    return ots.SingleColumnCondition(name, value, comparator, pass_if_missing=missing)


def combined(kind, *parts):
    whole = ots.CompositeColumnCondition(kind)
    for part in parts:
        whole.add_sub_condition(part)
    return whole


AND, OR, NOT = ots.LogicalOperator.AND, ots.LogicalOperator.OR, ots.LogicalOperator.NOT
ONE, TWO, MISSING = single("v", 1), single("v", 2), single("gone", 1)


@pytest.mark.parametrize(
    ("condition", "met"),
    [
        (ONE, True),
        (TWO, False),
        (MISSING, False),
        (single("gone", 1, missing=True), True),
        (single("v", "1"), False),
        (single("v", 0, ots.ComparatorType.GREATER_THAN), True),
        (single("v", 1, ots.ComparatorType.LESS_THAN), False),
        (single("v", 2, ots.ComparatorType.NOT_EQUAL), True),
        (combined(AND, ONE, single("s", "x")), True),
        (combined(AND, ONE, TWO), False),
        (combined(OR, TWO, ONE), True),
        (combined(NOT, TWO), True),
        (combined(AND, combined(NOT, MISSING), combined(OR, TWO, ONE)), True),
    ],
)
def test_column_conditions(client, condition, met):
    """A write takes place if its condition holds, and changes nothing if it does not."""
    put(client, "a", v=1, s="x")
    call = lambda: put(client, "a", ots.Condition(EXISTENCE.EXPECT_EXIST, condition), v=9)  # noqa: E731
    if met:
        call()
        assert get(client, "a") == {"v": 9}
    else:
        assert refused(call) == ("OTSConditionCheckFail", 403)
        assert get(client, "a") == {"v": 1, "s": "x"}


def test_ranges(server):
    """Rows come in the order of their keys, either way, a page at a time."""
    client = connect(server)
    create(client, schema=(("a", "STRING"), ("n", "INTEGER")))
    for number in (3, 1, 2):
        for name in ("é", "z"):
            row = ots.Row([("a", name), ("n", number)], [("v", number)])
            client.put_row("t", row, ots.Condition(EXISTENCE.IGNORE))
    low, high = [("a", ots.INF_MIN), ("n", ots.INF_MIN)], [("a", ots.INF_MAX), ("n", ots.INF_MAX)]

    def read(direction, start, end):
        found = []
        while start:
            _, start, rows, _ = client.get_range("t", direction, start, end, limit=4, max_version=1)
            found += [tuple(value for _, value in row.primary_key) for row in rows]
        return found

    everything = [("z", 1), ("z", 2), ("z", 3), ("é", 1), ("é", 2), ("é", 3)]
    assert read("FORWARD", low, high) == everything
    assert read("BACKWARD", high, low) == everything[::-1]
    assert read("FORWARD", [("a", "z"), ("n", 2)], [("a", "é"), ("n", 2)]) == everything[1:4]
    code, _ = refused(lambda: read("FORWARD", high, low))
    assert code == "OTSParameterInvalid"


def test_batches(client):
    """Each row of a batch has an answer of its own."""
    items = [
        ots.PutRowItem(ots.Row([("k", "a")], [("v", 1)]), ots.Condition(EXISTENCE.IGNORE)),
        ots.PutRowItem(ots.Row([("k", "b")], [("v", 2)]), ots.Condition(EXISTENCE.EXPECT_EXIST)),
    ]
    request = ots.BatchWriteRowRequest()
    request.add(ots.TableInBatchWriteRowItem("t", items))
    done, failed = client.batch_write_row(request).get_put()
    assert [item.is_ok for item in done] == [True]
    assert [item.error_code for item in failed] == ["OTSConditionCheckFail"]
    request = ots.BatchGetRowRequest()
    request.add(ots.TableInBatchGetRowItem("t", [[("k", "a")], [("k", "none")]], max_version=1))
    rows = client.batch_get_row(request).get_result_by_table("t")
    assert [item.row.attribute_columns[0][1] if item.row else None for item in rows] == [1, None]


def test_time_to_live(server, client):
    """What is older than the table's time to live is gone, the row with its last cell."""
    client.update_table("t", ots.TableOptions(86400, 1))
    put(client, "a", v=1)
    server.cloud.clock.advance(86_000)
    # Without the SDK, which refuses answers from another time.
    table = server.cloud.tables.get("t")
    table.update(("a",), [Cell("w", 2)])
    server.cloud.clock.advance(800)
    assert table.rows == {("a",): {"w": 2}}
    server.cloud.clock.advance(86_000)
    assert table.rows == {}


def test_wrong_keys(client):
    """Keys that do not fit the table are refused by code."""
    call = client.get_row
    assert refused(lambda: call("t", [("x", "a")], max_version=1)) == ("OTSInvalidPK", 400)
    assert refused(lambda: call("t", [("k", 1)], max_version=1)) == ("OTSInvalidPK", 400)
    assert refused(lambda: call("t", [("k", "a"), ("l", "b")], max_version=1)) == ("OTSInvalidPK", 400)
    assert refused(lambda: call("none", [("k", "a")], max_version=1)) == ("OTSObjectNotExist", 404)


def test_credentials(server):
    """Signatures of both versions are verified, and tokens."""
    assert list(connect(server).list_table()) == []
    assert list(connect(server, region="cn-hangzhou").list_table()) == []
    for options in ({"secret": "wrong"}, {"secret": "wrong", "region": "cn-hangzhou"}, {"key_id": "nobody"}):
        assert refused(lambda options=options: connect(server, **options).list_table()) == (
            "OTSAuthFailed",
            403,
        )
    server.cloud.credentials.register("STS.id", "s", user_id="2", security_token="token")
    assert list(connect(server, "STS.id", "s", sts_token="token").list_table()) == []
    assert (
        refused(lambda: connect(server, "STS.id", "s", sts_token="other").list_table())[0] == "OTSAuthFailed"
    )


@pytest.mark.parametrize("status", [503, 409])
def test_faults(server, client, status):
    """Faults strike Tablestore as any service."""
    server.cloud.faults.add(
        "status", service="tablestore", operation="PutRow", status=status, code="OTSServerBusy"
    )
    assert refused(lambda: put(client, "a", v=1)) == ("OTSServerBusy", status)
    assert get(client, "a") is None
    server.cloud.faults.add("reset", service="tablestore", operation="PutRow", when="after")
    with pytest.raises(Exception, match=r"aborted|reset"):
        put(client, str(uuid.uuid4()), v=1)
    assert len(server.cloud.tables.get("t").rows) == 1
