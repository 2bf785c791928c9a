"""The official Tablestore SDK, unmodified, against the local cloud."""

import importlib
import logging
import uuid

import pytest

from alilocal.tablestore.plainbuffer import Cell

logging.getLogger("tablestore").setLevel(logging.ERROR)
ots = importlib.import_module("tablestore")

EXISTENCE = ots.RowExistenceExpectation


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
    """Tables are created, described, changed and deleted."""
    assert list(client.list_table()) == ["t"]
    described = client.describe_table("t")
    assert (described.table_options.time_to_live, described.table_options.max_version) == (-1, 1)
    assert described.table_meta.schema_of_primary_key == [("k", "STRING")]
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


COMPARATOR = ots.ComparatorType


def regex(value, pattern, comparator, cast=ots.CastType.VT_INTEGER):
    return ots.SingleColumnRegexCondition("s", comparator, value, ots.RegexRule(pattern, cast))


@pytest.mark.parametrize(
    ("condition", "met"),
    [
        (ots.SingleColumnRegexCondition("s", COMPARATOR.EXIST), True),
        (ots.SingleColumnRegexCondition("gone", COMPARATOR.EXIST), False),
        (ots.SingleColumnRegexCondition("gone", COMPARATOR.NOT_EXIST), True),
        (regex(5, "size:([0-9]+)", COMPARATOR.GREATER_THAN), True),
        (regex(70, "size:([0-9]+)", COMPARATOR.GREATER_THAN), False),
        (regex("x", "^(.)", COMPARATOR.EQUAL, ots.CastType.VT_STRING), False),
        (regex(5, "weight:([0-9]+)", COMPARATOR.GREATER_THAN), False),
        (regex(5, "(size)", COMPARATOR.GREATER_THAN), False),
    ],
)
def test_conditions_on_parts_of_a_text(client, condition, met):
    put(client, "a", s="a size:42 thing")
    assert (get(client, "a", column_filter=condition) is not None) == met


def test_a_condition_on_every_version(server):
    """One version that fits is enough, unless the filter looks at the newest only."""
    client = connect(server)
    create(client, max_version=3)
    for value in (1, 2):
        change = {"PUT": [("v", value)]}
        client.update_row("t", ots.Row([("k", "a")], change), ots.Condition(EXISTENCE.IGNORE))
        server.cloud.clock.advance(0.01)
    for newest, met in ((True, False), (False, True)):
        old = ots.SingleColumnCondition("v", 1, COMPARATOR.EQUAL, latest_version_only=newest)
        _, row, _ = client.get_row("t", [("k", "a")], column_filter=old, max_version=3)
        assert (row is not None) == met


def test_a_filter_sees_what_is_read(client):
    """A column that is not asked for is missing to it."""
    put(client, "a", v=1, w=2)
    other = single("w", 3, missing=True)
    assert get(client, "a", column_filter=other) is None
    assert get(client, "a", columns_to_get=["v"], column_filter=other) == {"v": 1}


def versions(row):
    return [(name, value) for name, value, _ in row.attribute_columns]


def test_reads_of_some_columns_and_versions(server):
    """Versions in a range of time, columns in a range of names, alone, of a batch and of a range of rows."""
    client = connect(server)
    create(client, max_version=10)
    now = server.cloud.clock.now_ms()
    cells = [(name, step, now + step) for name in ("a", "b", "c") for step in range(3)]
    client.put_row("t", ots.Row([("k", "x")], cells), ots.Condition(EXISTENCE.IGNORE))
    low, high = [("k", ots.INF_MIN)], [("k", ots.INF_MAX)]
    for asked, expected in (
        ({"time_range": (now, now + 2), "columns_to_get": ["a"]}, [("a", 1), ("a", 0)]),
        ({"time_range": (now, now + 3), "columns_to_get": ["a"], "max_version": 1}, [("a", 2)]),
        ({"time_range": now + 1}, [("a", 1), ("b", 1), ("c", 1)]),
        ({"max_version": 1, "start_column": "b"}, [("b", 2), ("c", 2)]),
        ({"max_version": 1, "start_column": "a", "end_column": "c"}, [("a", 2), ("b", 2)]),
        ({"max_version": 1, "end_column": "b"}, [("a", 2)]),
    ):
        _, row, _ = client.get_row("t", [("k", "x")], **{"max_version": None, **asked})
        assert versions(row) == expected
        _, _, [row], _ = client.get_range("t", "FORWARD", low, high, **{"max_version": None, **asked})
        assert versions(row) == expected
        request = ots.BatchGetRowRequest()
        request.add(ots.TableInBatchGetRowItem("t", [[("k", "x")]], **{"max_version": None, **asked}))
        [item] = client.batch_get_row(request).get_result_by_table("t")
        assert versions(item.row) == expected
    _, row, _ = client.get_row("t", [("k", "x")], time_range=(1, 2))
    assert (row.primary_key, row.attribute_columns) == ([("k", "x")], [])
    for nothing in ({"time_range": (2, 2)}, {"max_version": 0}, {"max_version": None}):
        read = lambda nothing=nothing: client.get_row("t", [("k", "x")], **nothing)  # noqa: E731
        assert refused(read) == ("OTSParameterInvalid", 400)


def test_versions_that_a_writer_chooses(server, client):
    """A version that a writer chooses must lie within the table's deviation of the present time."""
    now = server.cloud.clock.now_ms()
    day = 86_400_000
    for at, allowed in (
        (now - day + 5000, True),
        (now - day - 1, False),
        (now + day + 5000, False),
        (1, False),
    ):
        row = ots.Row([("k", str(at))], [("v", 1, at)])
        write = lambda row=row: client.put_row("t", row, ots.Condition(EXISTENCE.IGNORE))  # noqa: E731
        if allowed:
            write()
        else:
            assert refused(write) == ("OTSParameterInvalid", 400)


def test_a_key_that_is_numbered(server):
    """The service numbers such a column, returns the key on request, and never reuses a number."""
    client = connect(server)
    create(client, schema=(("k", "STRING"), ("n", "INTEGER", ots.PK_AUTO_INCR)))
    schema = client.describe_table("t").table_meta.schema_of_primary_key
    assert schema == [("k", "STRING"), ("n", "INTEGER", ots.PK_AUTO_INCR)]
    keys = []
    for value in range(3):
        row = ots.Row([("k", "a"), ("n", ots.PK_AUTO_INCR)], [("v", value)])
        _, made = client.put_row("t", row, ots.Condition(EXISTENCE.IGNORE), ots.ReturnType.RT_PK)
        keys.append(made.primary_key)
    client.delete_row("t", keys[-1], ots.Condition(EXISTENCE.EXPECT_EXIST))
    assert [key[0][1] for key in keys] == ["a"] * 3
    numbers = [key[1][1] for key in keys]
    assert numbers == sorted(set(numbers))
    _, row, _ = client.get_row("t", keys[1], max_version=1)
    assert versions(row) == [("v", 1)]
    unsure = ots.Condition(EXISTENCE.EXPECT_NOT_EXIST)
    row = ots.Row([("k", "a"), ("n", ots.PK_AUTO_INCR)], [("v", 0)])
    assert refused(lambda: client.put_row("t", row, unsure)) == ("OTSParameterInvalid", 400)
    first = (("n", "INTEGER", ots.PK_AUTO_INCR),)
    assert refused(lambda: create(client, "u", first)) == ("OTSParameterInvalid", 400)


def test_an_unsupported_call_is_refused_by_name(client):
    with pytest.raises(ots.OTSServiceError, match="DeleteSearchIndex") as caught:
        client.delete_search_index("t", "i")
    assert (caught.value.get_error_code(), caught.value.get_http_status()) == ("OTSParameterInvalid", 400)


def test_a_table_has_no_search_indexes(client):
    """Programs list the indexes of a table before they delete it."""
    assert list(client.list_search_index("t")) == []


def test_declared_columns_are_described(server):
    client = connect(server)
    meta = ots.TableMeta("t", [("k", "STRING")], [("v", "INTEGER"), ("s", "STRING")])
    client.create_table(meta, ots.TableOptions(), ots.ReservedThroughput(ots.CapacityUnit(0, 0)))
    assert client.describe_table("t").table_meta.defined_columns == [("v", "INTEGER"), ("s", "STRING")]


def test_limits(client):
    """What the documentation says is too much is refused by its code."""
    too_long = lambda: put(client, "a", v="x" * (2 * 1024 * 1024 + 1))  # noqa: E731
    assert refused(too_long) == ("OTSParameterInvalid", 400)
    put(client, "a", v="x" * (2 * 1024 * 1024))
    too_large = {f"v{number}": "x" * (2 * 1024 * 1024 - 100) for number in range(3)}
    assert refused(lambda: put(client, "b", **too_large))[1] in (400, 413)
    assert refused(lambda: create(client, "u", time_to_live=86_399)) == ("OTSParameterInvalid", 400)
    put(client, "c", v=2**63 - 1)
    more = ots.Row([("k", "c")], {"INCREMENT": [("v", 1)]})
    add = lambda: client.update_row("t", more, ots.Condition(EXISTENCE.IGNORE))  # noqa: E731
    assert refused(add) == ("OTSParameterInvalid", 400)
    for number in range(63):
        create(client, f"t{number}")
    assert refused(lambda: create(client, "t63")) == ("OTSQuotaExhausted", 403)


def test_a_range_ends_after_so_many_bytes(client):
    """With the key to go on from."""
    for key in "abc":
        put(client, key, v="x" * (2 * 1024 * 1024), w="x" * 1024 * 1024)
    _, following, rows, _ = client.get_range(
        "t", "FORWARD", [("k", ots.INF_MIN)], [("k", ots.INF_MAX)], max_version=1
    )
    assert [row.primary_key for row in rows] == [[("k", "a")], [("k", "b")]]
    assert following == [("k", "c")]


def test_a_row_twice_in_a_batch(client):
    """A batch may hold a row twice without conditions, but not with one."""

    def write(*conditions):
        row = ots.Row([("k", "a")], [("v", 1)])
        request = ots.BatchWriteRowRequest()
        request.add(ots.TableInBatchWriteRowItem("t", [ots.PutRowItem(row, one) for one in conditions]))
        return client.batch_write_row(request)

    free, bound = ots.Condition(EXISTENCE.IGNORE), ots.Condition(EXISTENCE.EXPECT_NOT_EXIST)
    assert write(free, free).is_all_succeed()
    assert refused(lambda: write(free, bound)) == ("OTSParameterInvalid", 400)


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


def test_errors_that_the_sdks_own_tests_demand(client):
    """Answers that the SDK's own tests demand of the live service."""

    def error_of(call, *args, **options):
        with pytest.raises(ots.OTSServiceError) as caught:
            call(*args, **options)
        assert caught.value.get_http_status() == 400
        return caught.value.get_error_code(), caught.value.get_error_message()

    twice = "Duplicated primary key name: 'PK0'."
    wrong = (("PK0", "STRING"), ("PK0", "INTEGER"))
    assert error_of(create, client, "twice", wrong) == ("OTSParameterInvalid", twice)
    wrong = "Validate PK type fail. Input: VT_INTEGER, Meta: VT_STRING."
    assert error_of(client.get_row, "t", [("k", 1)], max_version=1) == ("OTSInvalidPK", wrong)
    low, high = [("k", "a")], [("k", "b")]
    for direction, start, end, word in (("FORWARD", high, low, "less"), ("BACKWARD", low, high, "more")):
        assert error_of(client.get_range, "t", direction, start, end, max_version=1) == (
            "OTSParameterInvalid",
            f"Begin key must {word} than end key in {direction}",
        )
    request = ots.BatchWriteRowRequest()
    assert error_of(client.batch_write_row, request)[1] == "No row is specified in BatchWriteRow."
    request.add(ots.TableInBatchWriteRowItem("t", []))
    assert error_of(client.batch_write_row, request)[1] == "No operation is specified for table: 't'."
    request = ots.BatchGetRowRequest()
    assert error_of(client.batch_get_row, request)[1] == "No row specified in the request of BatchGetRow."
    request.add(ots.TableInBatchGetRowItem("t", [], max_version=1))
    assert client.batch_get_row(request).is_all_succeed()


def test_deletions_make_no_row(client):
    """Deleting all cells of an existing row leaves its key; deleting from a missing row creates none."""
    nothing = {"DELETE_ALL": ["v"]}
    put(client, "there", v=1)
    for key, left in (("absent", None), ("there", {})):
        client.update_row("t", ots.Row([("k", key)], nothing), ots.Condition(EXISTENCE.IGNORE))
        assert get(client, key) == left


def test_capacity(client):
    """The reserved capacity is described; consumed units depend on kind and size, and a condition is a read."""
    meta = ots.TableMeta("u", [("k", "STRING")])
    reserved = lambda name: client.describe_table(name).reserved_throughput_details.capacity_unit  # noqa: E731
    client.create_table(meta, ots.TableOptions(), ots.ReservedThroughput(ots.CapacityUnit(1, 2)))
    assert (reserved("u").read, reserved("u").write) == (1, 2)
    client.update_table("u", reserved_throughput=ots.ReservedThroughput(ots.CapacityUnit(3, 4)))
    assert (reserved("u").read, reserved("u").write) == (3, 4)
    row = ots.Row([("k", "a")], [("v", "x" * 5000)])
    for condition, read in ((EXISTENCE.IGNORE, 0), (EXISTENCE.EXPECT_EXIST, 1)):
        consumed, _ = client.put_row("u", row, ots.Condition(condition))
        assert (consumed.read, consumed.write) == (read, 2)
    consumed, _, _ = client.get_row("u", [("k", "a")], max_version=1)
    assert (consumed.read, consumed.write) == (2, 0)
    consumed, _, _ = client.get_row("u", [("k", "none")], max_version=1)
    assert (consumed.read, consumed.write) == (1, 0)


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


def test_a_client_whose_clock_is_late(server_ahead):
    with pytest.raises(ots.OTSServiceError, match="Mismatch between system time and x-ots-date") as caught:
        connect(server_ahead).list_table()
    assert (caught.value.get_error_code(), caught.value.get_http_status()) == ("OTSAuthFailed", 403)


@pytest.mark.parametrize("status", [503, 409])
def test_faults(server, client, status):
    """Faults apply to Tablestore as to any other service."""
    server.cloud.faults.add(
        "status", service="tablestore", operation="PutRow", status=status, code="OTSServerBusy"
    )
    assert refused(lambda: put(client, "a", v=1)) == ("OTSServerBusy", status)
    assert get(client, "a") is None
    server.cloud.faults.add("reset", service="tablestore", operation="PutRow", when="after")
    with pytest.raises(Exception, match=r"aborted|reset"):
        put(client, str(uuid.uuid4()), v=1)
    assert len(server.cloud.tables.get("t").rows) == 1
