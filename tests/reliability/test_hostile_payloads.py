"""Generated events: none crashes the handler, and no message in one vanishes."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fcruntime.triggers import EventUnreadable, Undecodable, decode
from hpoq.function import EventFailed
from hpoq.testing.events import encode_body, smq_raw_data
from support.budget import examples
from support.deployment import CONTEXT, TOPIC

EXAMPLES = examples(150)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
REQUEST_MEMBERS = st.sampled_from(
    [
        "experiment",
        "idempotencyKey",
        "schemaVersion",
        "traceparent",
        "Name",
        "Tag",
        "specversion",
        "data",
        "hpoq",
    ]
)
CONFIG_MEMBERS = st.sampled_from(
    ["platform_config", "metric_config", "search_space", "yml_config", "oss_config", "monitor_config"]
)
NEAR_REQUESTS = st.dictionaries(
    REQUEST_MEMBERS,
    JSON
    | st.dictionaries(
        st.sampled_from(["Name", "HpoExperimentConfiguration", "Tag"]),
        JSON | st.dictionaries(CONFIG_MEMBERS, JSON, max_size=4),
        max_size=3,
    ),
    max_size=4,
)
BODIES = st.one_of(
    st.text(max_size=60),
    JSON.map(json.dumps),
    NEAR_REQUESTS.map(json.dumps),
    NEAR_REQUESTS.map(json.dumps).map(encode_body),
    st.binary(max_size=60).map(encode_body),
)
IDS = st.text(max_size=12)
DELIVERIES = st.one_of(
    st.builds(smq_raw_data, IDS, BODIES),
    st.builds(
        lambda ident, body: {"TopicName": "t", "MessageId": ident, "Message": body}, IDS | JSON, BODIES
    ),
    st.builds(
        lambda place, value: {"topic": "t", "partition": 0, "offset": place, "value": value},
        st.integers() | JSON,
        BODIES | JSON,
    ),
    st.builds(
        lambda ident, body: {"systemProperties": {"UNIQ_KEY": ident}, "body": body}, IDS, BODIES | JSON
    ),
    st.builds(
        lambda ident, body: {"envelope": {}, "props": {"messageId": ident}, "body": body}, IDS, BODIES | JSON
    ),
    st.builds(
        lambda ident, body, encoded: {
            "rawPath": "/",
            "headers": {},
            "body": body,
            "isBase64Encoded": encoded,
            "requestContext": {"requestId": ident},
        },
        IDS,
        BODIES,
        st.booleans(),
    ),
    st.builds(
        lambda ident, data: {"specversion": "1.0", "source": "s", "id": ident, "data": data},
        IDS,
        NEAR_REQUESTS,
    ),
)
ITEMS = (
    DELIVERIES | JSON | DELIVERIES.map(lambda data: {"id": "c", "data": data}) | DELIVERIES.map(json.dumps)
)
UNKNOWN_SOURCE = ("trigger.unknown-source", "trigger.ambiguous")
STRATEGIES = {
    "bytes": st.binary(max_size=200),
    "json": JSON.map(lambda value: json.dumps(value).encode()),
    "deliveries": DELIVERIES.map(lambda data: json.dumps(data).encode()),
    "batches": st.lists(ITEMS, max_size=4).map(lambda items: json.dumps(items).encode()),
}


@pytest.mark.parametrize("shape", STRATEGIES)
def test_nothing_crashes_or_vanishes(world, shape):
    """Every item of an event ends in an outcome, and every final outcome in an event; or the event fails.

    What has no id may be a second send each time, so it is answered again.
    """
    function = world.function()
    topic = world.cloud.topics.get(TOPIC)

    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(STRATEGIES[shape])
    def deliver(event):
        before = len(topic.published)
        try:
            messages = function.handle(event, CONTEXT)["messages"]
        except EventFailed as exc:
            # A source that is not known is a matter of the settings, so its items are delivered again.
            rows = exc.report.as_json()["messages"]
            unknown = [
                one for one in decode(event) if isinstance(one, Undecodable) and one.rule in UNKNOWN_SOURCE
            ]
            again = [row["error"]["code"] for row in rows if row["outcome"] == "retry"]
            assert again == ["UnknownSource"] * len(unknown) != []
            messages = [row for row in rows if row["outcome"] != "retry"]
            assert len(rows) == len(decode(event))
        except EventUnreadable:
            # It is delivered again as a whole.
            assert len(topic.published) == before
            return
        else:
            assert len(messages) == len(decode(event))
        assert {row["outcome"] for row in messages} <= {"rejected", "duplicate", "created"}
        answered = [row for row in messages if row["outcome"] != "duplicate" or row["messageId"] is None]
        assert len(topic.published) - before == len(answered)

    deliver()
