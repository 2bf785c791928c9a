"""Lambda handlers on Function Compute: context, event, failures, environment."""

import base64
import contextlib
import functools
import importlib.util
import json
import os
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from aws_lambda_powertools import Logger
from aws_lambda_powertools.middleware_factory import lambda_handler_decorator
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes import SQSEvent, event_source
from aws_lambda_powertools.utilities.parser.models import SqsModel
from fcevents import smq_delivery, smq_event, smq_stream_event
from hypothesis import given
from hypothesis import strategies as st

from fcruntime import Fc2Context, Fc3Context, json_handler, lambda_context, lambda_handler
from fcruntime.awslambda import ENCODING, sqs_event
from fcruntime.batch import BatchFailed
from fcruntime.context import ContextCredentials, FunctionInfo, ServiceInfo
from fcruntime.powertools import NotAnEvent, running_context
from fcruntime.triggers import UnsupportedCall, decode
from fcruntime.triggers.message import Message

TRIGGERS = sorted((Path(__file__).parents[3] / "events/triggers").rglob("*.json"))
CONTEXT = Fc3Context("r-1", FunctionInfo(name="orders", memory=256, timeout=60), "cn-hangzhou", "42")


@pytest.fixture(autouse=True)
def no_function_name(monkeypatch):
    monkeypatch.delenv("AWS_LAMBDA_FUNCTION_NAME", raising=False)
    yield
    os.environ.pop("AWS_LAMBDA_FUNCTION_NAME", None)


def fc2_context(service):
    return Fc2Context("r", FunctionInfo(name="f"), service=service, region="r", account_id="1")


class Ticks:
    def __init__(self):
        self.at = 100.0

    def __call__(self):
        return self.at


def test_the_context_is_lambdas():
    """The context has Lambda's members, and its remaining time counts down to zero."""
    ticks = Ticks()
    made = lambda_context(CONTEXT, monotonic=ticks)
    assert (made.function_name, made.memory_limit_in_mb, made.aws_request_id) == ("orders", 256, "r-1")
    assert made.invoked_function_arn == "acs:fc:cn-hangzhou:42:functions/orders"
    assert made.function_version == "LATEST"
    assert made.fc_context is CONTEXT
    assert made.get_remaining_time_in_millis() == 60_000
    ticks.at += 59.5
    assert made.get_remaining_time_in_millis() == 500
    ticks.at += 1000
    assert made.get_remaining_time_in_millis() == 0


def test_the_time_of_a_triggered_call_ends_before_a_long_time_out():
    """A triggered call has five minutes, however long the function's time-out is."""
    made = lambda_context(Fc3Context("r", FunctionInfo(timeout=3600)), monotonic=Ticks())
    assert made.get_remaining_time_in_millis() == 300_000


_CALL = b'{"order": 1}'
_REQUEST = json.dumps(
    {"version": "v1", "rawPath": "/", "headers": {}, "requestContext": {}, "body": "{}"}
).encode()
_CLOUD_EVENT = b'{"specversion": "1.0", "id": "1", "source": "s", "type": "t", "data": {}}'


@pytest.mark.parametrize(
    ("wrap", "event", "seconds"),
    [
        *((wrap, event, 3600) for wrap in (lambda_handler, json_handler) for event in (_CALL, _REQUEST)),
        *((wrap, _CLOUD_EVENT, 300) for wrap in (lambda_handler, json_handler)),
        (lambda_handler, b'[{"requestId": "r", "messageId": "m", "messageBody": "b"}]', 300),
        (json_handler, b'[{"requestId": "r", "messageId": "m", "messageBody": "b"}]', 300),
        (json_handler, b'{"requestId": "r", "messageId": "m", "messageBody": "b"}', 300),
        (json_handler, b'{"triggerTime": "2026-11-30T00:00:00Z", "triggerName": "t", "payload": ""}', 3600),
    ],
)
def test_only_deliveries_of_messages_end_after_five_minutes(wrap, event, seconds):
    """An HTTP trigger, a timer or a client waits for the whole time-out, and no claim may end earlier."""
    left = []
    wrap(lambda _, context: left.append(context.get_remaining_time_in_millis()))(
        event, Fc3Context("r", FunctionInfo(timeout=3600))
    )
    assert left[0] == pytest.approx(seconds * 1000, abs=30_000)


CALLED = FunctionInfo(name="f", version_id="3", qualifier="live")
IN_SERVICE = {"qualifier": "live", "version_id": "3"}


@pytest.mark.parametrize(
    ("context", "version", "resource"),
    [
        (Fc3Context("r", FunctionInfo(name="f"), "r", "1"), "LATEST", "functions/f"),
        (Fc3Context("r", CALLED, "r", "1"), "3", "functions/f/live"),
        (Fc3Context("r", FunctionInfo(name="f", qualifier="live"), "r", "1"), "live", "functions/f/live"),
        (Fc3Context("r", FunctionInfo(name="f", version_id="3"), "r", "1"), "3", "functions/f/3"),
        (fc2_context(ServiceInfo(**IN_SERVICE)), "3", "functions/f/live"),
        (fc2_context(ServiceInfo(qualifier="LATEST")), "LATEST", "functions/f"),
        (fc2_context(ServiceInfo("shop", **IN_SERVICE)), "3", "services/shop.live/functions/f"),
        (fc2_context(ServiceInfo("shop")), "LATEST", "services/shop/functions/f"),
    ],
)
def test_the_version_is_the_one_that_runs_and_the_arn_the_one_that_was_called(context, version, resource):
    """An alias is part of the ARN alone, as on Lambda; runtimes up to python3.10 have both in the service."""
    made = lambda_context(context)
    assert (made.function_version, made.invoked_function_arn) == (version, f"acs:fc:r:1:{resource}")


def test_the_names_of_the_log_come_from_the_service():
    """Runtimes up to python3.10 have the project and the log store in the service."""
    made = lambda_context(fc2_context(ServiceInfo(log_project="project", log_store="store")))
    assert (made.log_group_name, made.log_stream_name) == ("project", "store")


def test_the_environment_completes_the_context(monkeypatch):
    """What FC's context does not contain is read from FC's environment variables."""
    reported = {"FUNCTION_NAME": "orders", "FUNCTION_MEMORY_SIZE": "512", "REGION": "r", "ACCOUNT_ID": "1"}
    for name, value in reported.items():
        monkeypatch.setenv(f"FC_{name}", value)
    made = lambda_context(None)
    assert (made.function_name, made.memory_limit_in_mb) == ("orders", 512)
    assert made.invoked_function_arn == "acs:fc:r:1:functions/orders"
    monkeypatch.setenv("FC_FUNCTION_MEMORY_SIZE", "much")
    assert lambda_context(None).memory_limit_in_mb == 0
    assert lambda_context(CONTEXT).memory_limit_in_mb == 256


@pytest.mark.parametrize("context", [None, object(), Fc3Context("r"), Fc2Context("r")])
def test_the_context_has_no_other_members(context):
    """The context has no other members, because Powertools takes one that has for a durable execution's."""
    made = lambda_context(context)
    for name in ("state", "lambda_context", "anything"):
        assert not hasattr(made, name)
    assert isinstance(made.get_remaining_time_in_millis(), int)


def test_the_context_takes_attributes():
    """Middleware hands values on in attributes of the context, and handlers log `vars(context)`."""
    made = lambda_context(CONTEXT)
    made.tenant = "t-1"
    assert vars(made).items() >= {"tenant": "t-1", "aws_request_id": "r-1", "function_name": "orders"}.items()


def test_the_context_writes_to_the_log_as_lambdas_does(capsys):
    """`log` of Lambda's runtime writes its argument as it is, without ending the line."""
    made = lambda_context(CONTEXT)
    made.log("a")
    made.log({"n": 1})
    assert capsys.readouterr().out == "a{'n': 1}"


def test_the_text_of_the_context_shows_lambdas_members_without_credentials():
    """A handler that prints its context shows the members, and not FC's context with its credentials."""
    fc_context = Fc2Context(
        "r-1", credentials=ContextCredentials("id-canary", "secret-canary", "token-canary")
    )
    made = lambda_context(fc_context)
    made.tenant = "t-1"
    assert re.fullmatch(
        r"LambdaContext\(\[function_name=hpoq,.*aws_request_id=r-1,.*tenant_id=None\]\)", repr(made)
    )
    assert "canary" not in repr(made)
    assert "fc_context" not in repr(made)


def test_the_context_has_an_identity_without_a_caller():
    """As for an SQS event on Lambda, `identity` is an object whose members are None."""
    made = lambda_context(CONTEXT)
    assert (made.identity.cognito_identity_id, made.identity.cognito_identity_pool_id) == (None, None)
    assert made.client_context is None


@pytest.mark.parametrize("path", TRIGGERS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_source_becomes_an_event_that_the_strictest_parser_takes(path):
    """Every message of every source is one record with its own id and body."""
    data = path.read_bytes()
    made = sqs_event(data, CONTEXT)
    items = decode(data, request_id="r-1")
    every = [item for item in items if isinstance(item, Message)]
    messages = [one for index, one in enumerate(every) if one.id is None or one not in every[:index]]
    assert len(made.event["Records"]) == len(messages)
    assert len(made.unreadable) == len(items) - len(every)
    if messages:
        parsed = SqsModel.model_validate(made.event)
        assert [record.messageId for record in parsed.Records] == list(made.messages)
    for record, message in zip(SQSEvent(made.event).records, messages, strict=True):
        assert record.body == message.body.decode()
        assert made.messages[record.message_id] == message
        assert record.queue_url


@given(st.lists(st.tuples(st.sampled_from(["a", "a#2", "b"]), st.sampled_from(["x", "y", "z"])), max_size=6))
def test_every_message_is_one_record_with_an_id_of_its_own(pairs):
    """The ids of records are unique, even if the ids of messages are not; a repeated message is no second record."""
    items = [json.loads(smq_event(name, body)) for name, body in pairs]
    made = sqs_event(json.dumps(items), CONTEXT)
    ids = [record["messageId"] for record in made.event["Records"]]
    assert len(set(ids)) == len(ids) == len(set(pairs))
    assert list(made.messages) == ids


def test_a_message_that_occurs_twice_is_one_record():
    """A message that occurs twice in an event is one record, so that it is not processed twice."""
    event = b"[" + b",".join([smq_event("M1", "a"), smq_event("M1", "a"), smq_event("M2", "a")]) + b"]"
    sent = []
    handler = lambda_handler(policy="requeue", requeue=lambda message: sent.append(message.id) is None)(
        lambda event, context: {
            "batchItemFailures": [{"itemIdentifier": record["messageId"]} for record in event["Records"]]
        }
    )
    handler(event, CONTEXT)
    assert sent == ["M1", "M2"]


def test_a_body_that_is_not_text_is_base64():
    """A body that is not text is base64, and an attribute says so."""
    (record,) = sqs_event(b"\xff\x00", CONTEXT, source="invocation").event["Records"]
    assert record["body"] == "/wA="
    assert record["messageAttributes"][ENCODING]["stringValue"] == "base64"
    assert record["messageId"] == "r-1"


@pytest.mark.parametrize(
    ("subject", "arn"),
    [
        ("acs:mns:cn-shenzhen:42:queues/orders", "arn:acs:mns:cn-shenzhen:42:orders"),
        ("acs:alikafka:instance:topic:orders", "arn:acs:alikafka:cn-hangzhou:42:orders"),
        ("acs:alikafka_pre-cn-i7:topic:orders", "arn:acs:alikafka:cn-hangzhou:42:orders"),
        ("acs:mq:cn-shenzhen:42:MQ_INST_42_B%orders", "arn:acs:mq:cn-shenzhen:42:orders"),
        ("acs:amqp:cn-shenzhen:42:/instances/i/vhosts/v/queues/orders", "arn:acs:amqp:cn-shenzhen:42:orders"),
        (None, "arn:acs:smq:cn-hangzhou:42:smq"),
        ("orders", "arn:acs:smq:cn-hangzhou:42:orders"),
        ("acs:mns:cn-shenzhen:42:queues/", "arn:acs:mns:cn-shenzhen:42:smq"),
    ],
)
def test_a_record_names_its_queue(subject, arn):
    """The source ARN has the form of SQS, whose last part is the queue's name, as far as the event has it."""
    event = smq_delivery("M1", "body") | {"subject": subject}
    (record,) = SQSEvent(sqs_event(json.dumps(event), CONTEXT).event).records
    assert record.event_source_arn == arn
    assert record.queue_url.split("/")[3:] == arn.split(":")[4:]


@pytest.mark.parametrize(
    ("event", "arn", "sent"),
    [
        (
            {"TopicName": "orders", "MessageId": "M", "Message": "b", "PublishTime": 5},
            "arn:acs:smq-topic:cn-hangzhou:42:orders",
            "5",
        ),
        (
            [{"topic": "orders", "partition": 1, "offset": 2, "timestamp": 5, "value": "b"}],
            "arn:acs:kafka:cn-hangzhou:42:orders",
            "5",
        ),
        (
            {"specversion": "1.0", "source": "s", "id": "1", "time": "2026-01-02T03:04:05Z", "data": {}}
            | {"aliyuneventbusname": "default"},
            "arn:acs:eventbridge:cn-hangzhou:42:default",
            "1767323045000",
        ),
    ],
)
def test_a_record_has_what_the_source_itself_says(event, arn, sent):
    """Without a trigger's CloudEvent, name and time come from the payload."""
    (record,) = SQSEvent(sqs_event(json.dumps(event), CONTEXT).event).records
    assert (record.event_source_arn, record.attributes.sent_timestamp) == (arn, sent)


@pytest.mark.parametrize(
    "event",
    [
        {"body": "b", "attrs": {"tenant": "t-1"}},
        {"TopicName": "t", "MessageId": "M", "Message": "b", "tenant": "t-1"},
        [
            {
                "msgId": "M",
                "topic": "t",
                "systemProperties": {},
                "userProperties": {"tenant": "t-1"},
                "body": "b",
            }
        ],
    ],
)
def test_a_record_has_the_attributes_of_its_message(event):
    """Attributes that FC delivers are message attributes, as the strictest parser takes them."""
    made = sqs_event(json.dumps(event), CONTEXT).event
    (record,) = SQSEvent(made).records
    attribute = record.message_attributes["tenant"]
    assert (attribute.string_value, attribute.data_type) == ("t-1", "String")
    assert SqsModel.model_validate(made).Records[0].messageAttributes["tenant"].stringValue == "t-1"


@pytest.mark.parametrize(
    ("time", "sent"),
    [
        ("2026-01-02T03:04:05.678Z", "1767323045678"),
        ("2026-01-02T03:04:05.6789123Z", "1767323045678"),
        ("2026-01-02T03:04:05.9Z", "1767323045900"),
        ("2026-01-02T03:04:05Z", "1767323045000"),
        ("2026-01-02T11:04:05.678+08:00", "1767323045678"),
        ("2026-01-01 22:04:05.678-05:00", "1767323045678"),
    ],
)
def test_a_record_was_sent_at_the_time_of_its_event(time, sent):
    """SentTimestamp is the time that the trigger's CloudEvent states, in any form of RFC 3339."""
    event = smq_delivery("M1", "body") | {"time": time}
    (record,) = sqs_event(json.dumps(event), CONTEXT).event["Records"]
    assert record["attributes"]["SentTimestamp"] == sent


@pytest.mark.parametrize(
    "time", [None, "", "soon", 5, "253402300800000", "2026-13-02T03:04:05Z", "0001-01-01T00:00:00+23:59"]
)
def test_a_record_without_a_valid_time_was_sent_now(time):
    """An event without a valid time makes a record all the same."""
    event = smq_delivery("M1", "body") | {"time": time}
    (record,) = sqs_event(json.dumps(event), CONTEXT).event["Records"]
    attributes = record["attributes"]
    assert attributes["SentTimestamp"] == attributes["ApproximateFirstReceiveTimestamp"]


def test_a_topics_record_was_sent_when_it_was_published():
    """A notification of a topic has its time in itself."""
    notification = {"TopicName": "t", "MessageId": "M", "Message": "body", "PublishTime": 1658306182000}
    (record,) = sqs_event(json.dumps(notification), CONTEXT).event["Records"]
    assert record["attributes"]["SentTimestamp"] == "1658306182000"


@pytest.mark.parametrize("wrap", [lambda_handler, json_handler])
def test_a_call_of_an_fc2_http_function_is_refused(wrap):
    """FC 2.0 calls HTTP functions as WSGI applications; the error says what to set instead."""
    function = wrap(lambda event, context: pytest.fail("called"))
    with pytest.raises(UnsupportedCall, match="event function"):
        function({"REQUEST_METHOD": "POST", "fc.context": CONTEXT}, lambda status, headers: None)


BODIES = {"M1": "one", "M2": "two", "M3": "three"}
EVENT = smq_stream_event(BODIES)


def failing(*ids):
    return lambda event, context: {"batchItemFailures": [{"itemIdentifier": one} for one in ids]}


class Callable:
    def __call__(self, event, context, factor=1):
        return len(event.get("Records", "")) * factor, context.aws_request_id


@pytest.mark.parametrize(
    "handler", [Callable(), functools.partial(Callable(), factor=1), Callable().__call__]
)
def test_any_callable_is_a_handler(handler):
    """Functions, objects, methods and partial functions are handlers."""
    assert lambda_handler(handler)(event=EVENT, context=CONTEXT) == (3, "r-1")
    assert json_handler(handler)(event=b"{}", context=CONTEXT) == (0, "r-1")


@pytest.mark.parametrize(("wrap", "event"), [(lambda_handler, EVENT), (json_handler, b"{}")])
def test_a_coroutine_function_is_refused(wrap, event):
    """A coroutine function is refused, because nothing would run it and the call would seem to succeed."""

    async def handler(event, context):
        raise AssertionError

    with pytest.raises(TypeError, match="coroutine"):
        wrap(handler)(event, CONTEXT)


def test_the_context_of_the_invocation_is_known_while_it_runs():
    """`running_context` returns the context during the invocation and None after it."""
    seen = []
    for wrap, event in ((lambda_handler, EVENT), (json_handler, b"{}")):
        wrap(lambda event, context: seen.append(running_context() is context))(event, CONTEXT)
    assert (seen, running_context()) == ([True, True], None)


@pytest.mark.parametrize("result", [None, {}, "text", {"batchItemFailures": []}, {"batchItemFailures": None}])
def test_no_failures_are_success(result):
    """A result without failures is returned as it is."""
    assert lambda_handler(lambda event, context: result)(EVENT, CONTEXT) == result


def test_a_failure_fails_the_event():
    """By default one failed record fails the whole event."""
    with pytest.raises(BatchFailed) as raised:
        lambda_handler(failing("M2"))(EVENT, CONTEXT)
    assert (raised.value.failed, raised.value.total) == (1, 3)


@pytest.mark.parametrize("ids", [("M9",), ("M1", ""), (None,)])
def test_an_id_that_no_record_has_fails_everything(ids):
    """An unknown id fails the whole event, as on Lambda
    (https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html).
    """
    sent = []
    with pytest.raises(BatchFailed) as raised:
        lambda_handler(policy="requeue", requeue=sent.append)(failing(*ids))(EVENT, CONTEXT)
    assert (raised.value.failed, raised.value.total, sent) == (3, 3, [])


def test_failures_may_be_a_tuple():
    """The list of failures may be a tuple."""
    with pytest.raises(BatchFailed, match="1 of 3"):
        lambda_handler(lambda event, context: {"batchItemFailures": ({"itemIdentifier": "M2"},)})(
            EVENT, CONTEXT
        )


@pytest.mark.parametrize("encode", [str, str.encode])
def test_failures_may_be_json(encode):
    """A result that is JSON already leaves FC as it is, and its failures must not be lost."""
    answer = encode(json.dumps({"batchItemFailures": [{"itemIdentifier": "M2"}]}))
    with pytest.raises(BatchFailed, match="1 of 3"):
        lambda_handler(lambda event, context: answer)(EVENT, CONTEXT)
    broken = encode('{"batchItemFailures"')
    assert lambda_handler(lambda event, context: broken)(EVENT, CONTEXT) == broken


def test_failures_are_sent_back_one_by_one():
    """Under `requeue` each failed message is sent back once and the event succeeds."""
    sent = []
    handler = lambda_handler(policy="requeue", requeue=lambda message: sent.append(message) or True)(
        failing("M3", "M1", "M3")
    )
    handler(EVENT, CONTEXT)
    assert [(message.kind, message.id, message.body) for message in sent] == [
        ("smq", "M3", b"three"),
        ("smq", "M1", b"one"),
    ]


def test_requeue_needs_a_function():
    """The policy `requeue` without a function that sends back is an error."""
    with pytest.raises(ValueError, match="needs the argument requeue"):
        lambda_handler(policy="requeue")


@pytest.mark.parametrize(
    ("options", "said"),
    [({"policy": "requeu"}, "'requeu' is not a policy"), ({"source": "sqs"}, "'sqs' is not an event source")],
)
def test_an_invalid_option_is_an_error_before_the_first_event(options, said):
    """A misspelt option fails when the module is imported, and not with each event."""
    with pytest.raises(ValueError, match=said):
        lambda_handler(**options)


def test_a_message_that_cannot_be_sent_back_fails_the_event():
    """A message that could not be sent back fails the event, so that it is not lost."""
    with pytest.raises(BatchFailed):
        lambda_handler(policy="requeue", requeue=lambda message: message.id != "M2")(failing("M1", "M2"))(
            EVENT, CONTEXT
        )


def test_an_item_without_a_message_fails_the_event_after_its_neighbours():
    """An unreadable item fails the event, but its neighbours are processed first."""
    seen = []
    event = b"[17," + smq_event("M1", "body") + b"]"
    with pytest.raises(BatchFailed) as raised:
        lambda_handler(lambda event, context: seen.append(len(event["Records"])))(event, CONTEXT)
    assert (raised.value.failed, raised.value.total, seen) == (1, 2, [1])
    with pytest.raises(BatchFailed):
        lambda_handler(failing())(b"17", CONTEXT)


def test_the_error_says_why_messages_failed():
    """It names the first reasons, at most three, and quotes no message."""
    handler = lambda_handler(failing("M1"))
    with pytest.raises(BatchFailed) as raised:
        handler(b'[{"order_id": "canary"}, ' + smq_event("M1", "body") + b"]", CONTEXT)
    reasons = (
        "trigger.unknown-source: the item does not have the shape of any source",
        "the handler reported 1 as failed",
    )
    assert raised.value.reasons == reasons
    assert str(raised.value) == f"2 of 2 messages must be delivered again: {'; '.join(reasons)}"
    with pytest.raises(BatchFailed, match=r"^4 of 4 messages") as raised:
        handler(b"[1, 2, 3, 4]", CONTEXT)
    assert len(raised.value.reasons) == 3
    with pytest.raises(BatchFailed, match="batchItemFailures has an id that no record has"):
        lambda_handler(failing("canary"))(EVENT, CONTEXT)
    requeue = lambda_handler(policy="requeue", requeue=lambda _: False)(failing("M1"))
    with pytest.raises(BatchFailed, match="reported 1 as failed"):
        requeue(EVENT, CONTEXT)


@pytest.mark.parametrize(
    "event", [b"[1, 2]", b'[{"a": 1}]', b"5", b"text", b"\xa1\x67Version\x67Sync-v1", b""]
)
def test_a_direct_call_with_any_event_is_one_record_if_the_source_is_named(event):
    """The event need not be a JSON object then; what is not text, such as Tablestore's CBOR, is base64."""
    (record,) = sqs_event(event, CONTEXT, source="invocation").event["Records"]
    is_base64 = ENCODING in record["messageAttributes"]
    assert (base64.b64decode(record["body"]) if is_base64 else record["body"].encode()) == event
    assert record["messageId"] == "r-1"


def test_an_empty_event_does_not_reach_the_handler():
    """The handler is not called for an event without messages."""
    assert lambda_handler(failing("M1"))(b"[]", CONTEXT) == {"batchItemFailures": []}


def test_exceptions_of_the_handler_are_raised():
    """An exception of the handler is raised, and the environment is restored."""

    def handler(event, context):
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        lambda_handler(handler)(EVENT, CONTEXT)
    assert "_X_AMZN_TRACE_ID" not in os.environ


def test_the_result_is_a_function_with_the_handlers_name():
    """The result is a function with the handler's name, which Powertools' decorators need."""

    @lambda_handler_decorator
    def around(handler, event, context):
        return handler(event, context)

    @lambda_handler
    @around
    @event_source(data_class=SQSEvent)
    def named(event, context):
        """Documented."""
        return {"seen": [record.body for record in event.records]}

    assert named(EVENT, CONTEXT) == {"seen": ["one", "two", "three"]}
    assert named.__name__ == "named"
    assert around(named)(EVENT, CONTEXT)["seen"]


def test_the_environment_is_lambdas_during_a_call(monkeypatch):
    """The function's name and a trace id of the call are in the environment."""
    seen = []

    def handler(event, context):
        seen.append((os.environ["AWS_LAMBDA_FUNCTION_NAME"], os.environ["_X_AMZN_TRACE_ID"]))

    for _ in range(2):
        lambda_handler(handler)(EVENT, CONTEXT)
    assert [name for name, _ in seen] == ["orders", "orders"]
    assert len({trace for _, trace in seen}) == 2
    assert all(trace.startswith("Root=1-") for _, trace in seen)
    assert "_X_AMZN_TRACE_ID" not in os.environ
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "chosen")
    lambda_handler(handler)(EVENT, CONTEXT)
    assert seen[-1][0] == "chosen"


@pytest.mark.parametrize("wrap", [lambda_handler, json_handler])
def test_the_environment_names_the_service_of_fc_2(wrap):
    """Functions of two services may have one name, which begins the keys of Powertools' idempotency."""
    seen = []
    context = Fc2Context("r-1", FunctionInfo(name="orders"), service=ServiceInfo(name="staging"))
    wrap(lambda *_: seen.append(os.environ["AWS_LAMBDA_FUNCTION_NAME"]))(EVENT, context)
    assert seen == ["staging$orders"]


@pytest.mark.parametrize("wrap", [lambda_handler, json_handler])
def test_a_service_alone_does_not_name_a_function(wrap):
    """Its functions would otherwise share the keys of Powertools' idempotency."""
    seen = []
    context = Fc2Context("r-1", FunctionInfo(name=""), service=ServiceInfo(name="staging"))
    wrap(lambda *_: seen.append(os.environ.get("AWS_LAMBDA_FUNCTION_NAME")))(EVENT, context)
    assert seen == [None]


def test_the_environment_names_the_function_that_runs():
    """A local process may run several functions; each must have idempotency keys of its own, as on FC."""
    seen = []
    for name in ("orders", "payments", "orders"):
        context = Fc3Context("r-1", FunctionInfo(name=name))
        json_handler(lambda *_: seen.append(os.environ["AWS_LAMBDA_FUNCTION_NAME"]))(b"{}", context)
    assert seen == ["orders", "payments", "orders"]


def test_buffered_lines_appear_after_an_error(capsys):
    """The logger's buffer works, which drops lines silently without a trace id."""
    buffers = pytest.importorskip("aws_lambda_powertools.logging.buffer", reason="came with 3.5")
    logger = Logger(
        service="s", level="INFO", buffer_config=buffers.LoggerBufferConfig(flush_on_error_log=True)
    )

    @lambda_handler
    @logger.inject_lambda_context
    def handler(event, context):
        logger.debug("kept back")
        logger.error("broken")

    handler(EVENT, CONTEXT)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["message"] for line in lines] == ["kept back", "broken"]
    assert lines[1]["function_name"] == "orders"
    assert lines[1]["function_request_id"] == "r-1"


class Watched(BatchProcessor):
    """A processor that signals when it has noted a failure."""

    def __init__(self):
        super().__init__(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
        self.noted = threading.Event()

    def failure_handler(self, record, exception):
        answer = super().failure_handler(record, exception)
        self.noted.set()
        return answer


def overlapping(wrap, patience):
    """Return what two overlapping calls with a shared processor report: one fails its record while the other works.

    Each waits up to `patience` seconds for the other to overlap with it.
    """
    processor, both, results = Watched(), threading.Barrier(2, timeout=patience), {}

    def record_handler(record):
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait()
        if record.body == "bad":
            raise ValueError
        processor.noted.wait(patience)

    def handler(event, context):
        return process_partial_response(event, record_handler, processor, context)

    function = wrap(handler)

    def run(body):
        try:
            results[body] = function(smq_event(body, body), CONTEXT)["batchItemFailures"]
        except BatchFailed as exc:
            results[body] = exc.failed

    threads = [threading.Thread(target=run, args=(body,)) for body in ("good", "bad")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_a_shared_processor_does_not_mix_up_calls():
    """Calls run one after another, so that each reports only its own failures."""
    assert overlapping(lambda_handler, 0.3) == {"good": [], "bad": 1}


def test_a_shared_processor_mixes_up_calls_that_overlap():
    """With `concurrent` and a shared processor, a call reports the failure of another."""
    assert overlapping(lambda_handler(concurrent=True), 60)["good"] != []


@pytest.mark.parametrize(
    ("wrap", "may_overlap"), [(json_handler, False), (json_handler(concurrent=True), True)]
)
def test_calls_of_a_json_handler_overlap_only_if_they_may(wrap, may_overlap):
    """A resolver of Powertools that calls share would answer with the event of another call."""
    entered, gate = [], threading.Event()

    def handler(event, context):
        entered.append(event)
        if len(entered) == 2:
            gate.set()
        return gate.wait(60 if may_overlap else 0.3)

    function = wrap(handler)
    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(lambda n: function(b"%d" % n, CONTEXT), range(2))) == [may_overlap, True]


def test_a_json_handler_gets_the_decoded_value():
    """`json_handler` passes any JSON value on, as Lambda does, and refuses what is not JSON."""
    handler = json_handler(lambda event, context: (event["a"], context.function_name))
    assert handler(b'{"a": 1}', CONTEXT) == (1, "orders")
    for data in (b"[1]", b'"text"', b"null", b"5", b'{"headers": ["text"]}'):
        value = json.loads(data)
        assert json_handler(lambda event, context: [event])(data, CONTEXT) == [value]
    for data in (b"{", b"\xff"):
        with pytest.raises(NotAnEvent):
            handler(data, CONTEXT)


@pytest.mark.parametrize("has_boto3", [False, True])
def test_idempotency_is_importable_without_boto3_and_unchanged_with_it(tmp_path, has_boto3):
    """In a new process, the idempotency utility can be imported; its DynamoDB layer names an alternative."""
    if not has_boto3 and importlib.util.find_spec("boto3"):
        pytest.skip("boto3 is installed")
    if has_boto3:
        for name, text in {
            "boto3/__init__.py": "",
            "boto3/dynamodb/__init__.py": "",
            "boto3/dynamodb/types.py": "class TypeDeserializer: ...",
            "botocore/__init__.py": "",
            "botocore/config.py": "class Config: ...",
            "botocore/exceptions.py": "class ClientError(Exception): ...",
        }.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
    script = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
import fcruntime.powertools as shim
assert not any(name.startswith(("boto", "aws_lambda_powertools")) for name in sys.modules)
assert shim.idempotency_without_boto3() is {not has_boto3}
assert shim.idempotency_without_boto3() is False
from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer, idempotent
assert ("boto3" in sys.modules) is {has_boto3}
assert (DynamoDBPersistenceLayer.__module__ == "fcruntime.powertools") is {not has_boto3}
if not {has_boto3}:
    try:
        DynamoDBPersistenceLayer("table")
    except RuntimeError as exc:
        assert "StorePersistenceLayer" in str(exc)
    else:
        raise AssertionError
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
