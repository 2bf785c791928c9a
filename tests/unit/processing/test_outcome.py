"""What an end looks like in events, reports and the log."""

import pytest
from structlog.testing import capture_logs

from fcruntime.dataclass import replace
from hpoq.clock import Budget
from hpoq.contract.events import EventError, ServiceError
from hpoq.contract.identity import derive_event_id, derive_key
from hpoq.errors import (
    Ambiguous,
    ClockOff,
    Denied,
    Invalid,
    NoCredentials,
    NotFound,
    StoreUnavailable,
    Unavailable,
    Violation,
)
from hpoq.idempotency.record import Record, State
from hpoq.observability.measures import trace_message
from hpoq.observability.redaction import known_secrets
from hpoq.processing.intake import Rejected, Shown
from hpoq.processing.lifecycle import Delivery
from hpoq.processing.outcome import (
    Announcer,
    BatchReport,
    Outcome,
    Result,
    Retry,
    as_event_error,
    log_configuration_fault,
    log_operator_needed,
    needs_operator,
)
from hpoq.publishers import FilePublisher
from hpoq.testing import FakeClock


def test_an_answer_is_quoted_with_its_request():
    """The support of the service asks for the id of the request."""
    answered = Denied("no", service="smq", operation="Send", code="C", request_id="R", http_status=403)
    error = as_event_error(answered)
    assert (error.code, error.message) == ("C", "smq Send: no (request R)")
    assert error.service == ServiceError("C", "no", "R", 403)


def test_a_call_without_an_answer_has_the_name_of_its_error():
    error = as_event_error(Unavailable("down", service="smq", operation="Send"))
    assert (error.code, error.message) == ("Unavailable", "smq Send: down")
    assert error.service is None


def test_an_answer_without_a_code_has_none():
    """Only the error as a whole is named after its class."""
    with known_secrets(["hunter22-hunter22"]):
        error = as_event_error(Denied("no", service="smq", operation="Send", http_status=403))
    assert (error.code, error.service.code) == ("Denied", None)


def test_what_a_service_quotes_is_masked():
    """A service may repeat a secret of the request wherever it answers with text."""
    with known_secrets(["hunter22-hunter22"]):
        error = as_event_error(
            Denied(
                "bad hunter22-hunter22",
                service="smq",
                operation="Send",
                code="hunter22-hunter22",
                http_status=403,
                access_denied_detail=[("AuthAction", "hunter22-hunter22")],
            )
        )
    assert "hunter22" not in repr(error)


def test_only_a_refusal_is_not_worth_another_try():
    """A call may succeed later, unless the service says that it is wrong."""
    details = {"service": "smq", "operation": "Send", "http_status": 400}
    assert as_event_error(Denied("no", **details)).retryable
    assert not as_event_error(Invalid("no", **details)).retryable


def test_an_error_that_is_not_of_a_call_is_named_after_its_class():
    """A store may quote a secret of its URL."""
    with known_secrets(["hunter22-hunter22"]):
        error = as_event_error(StoreUnavailable("sqlite: hunter22-hunter22"))
    assert error == EventError("StoreUnavailable", "sqlite: ***", retryable=True)


@pytest.mark.parametrize(
    ("kind", "is_needed"),
    [
        (Ambiguous, True),
        (ClockOff, True),
        (Denied, True),
        (NoCredentials, True),
        (Unavailable, False),
        (Invalid, True),
    ],
)
def test_which_faults_last_until_somebody_acts(kind, is_needed):
    """Others pass by themselves, or end the message."""
    assert needs_operator(kind("no", service="smq", operation="Send")) is is_needed


ACTION = ("AuthAction", "pai:ListTrials")


@pytest.mark.parametrize(
    ("advice", "detail", "shown"),
    [
        (None, [ACTION], "grant pai:ListTrials to the function's role"),
        ("ask somebody", [ACTION], "ask somebody"),
        (None, [("AuthPrincipal", "me")], "run: hpoq doctor"),
        (None, [], "run: hpoq doctor"),
    ],
)
def test_the_advice_for_an_operator_is_logged(advice, detail, shown):
    """The permission that is missing, if the service names it."""
    denied = Denied(
        "no",
        service="smq",
        operation="Send",
        code="C",
        request_id="R",
        http_status=403,
        access_denied_detail=detail,
    )
    with capture_logs() as lines:
        log_operator_needed(denied, advice, experiment_id="s1")
    (line,) = lines
    assert (line["event"], line["code"], line["cloud_request_id"]) == ("operator.needed", "C", "R")
    assert line["access_denied_detail"] == (dict(detail) or None)
    assert line["advice"].startswith(shown)
    assert line["experiment_id"] == "s1"


def test_a_call_without_an_answer_is_logged_for_the_operator():
    """No permission is known then."""
    with capture_logs() as lines:
        log_operator_needed(NoCredentials("none", service="smq", operation="Send"))
    assert (lines[0]["access_denied_detail"], lines[0]["advice"]) == (None, "run: hpoq doctor")


def test_the_last_clause_of_a_configuration_fault_is_its_advice():
    """The clauses before it may quote what could not be read, with semicolons of its own."""
    fault = EventError(code="C", message="unknown source 'a; b'; unset HPOQ_TRIGGER", retryable=True)
    with capture_logs() as lines:
        log_configuration_fault(fault, place="p")
    assert (lines[0]["event"], lines[0]["place"]) == ("operator.needed", "p")
    assert (lines[0]["error"], lines[0]["advice"]) == (fault.message, "unset HPOQ_TRIGGER")


def test_the_report_of_a_batch_is_pinned():
    """It is what a caller gets and what `hpoq replay` shows; each outcome is counted, also one that nothing had."""
    error = EventError("C", "m", retryable=True)
    results = [
        Result(Outcome.CREATED, "k1", "M1", "s1"),
        Retry(Outcome.RETRY, "k2", None, error=error),
        Result(Outcome.CREATED, "k3", "M3", "s3"),
    ]
    assert (results[1].throttled, results[1].unrecorded) == (False, False)
    assert BatchReport("R", results).as_json() == {
        "requestId": "R",
        "messages": [
            {"messageId": "M1", "key": "k1", "outcome": "created", "experimentId": "s1", "error": None},
            {
                "messageId": None,
                "key": "k2",
                "outcome": "retry",
                "experimentId": None,
                "error": error.as_json(),
            },
            {"messageId": "M3", "key": "k3", "outcome": "created", "experimentId": "s3", "error": None},
        ],
        "summary": {
            "created": 2,
            "duplicate": 0,
            "rejected": 0,
            "retry": 1,
            "failed": 0,
            "accepted": 0,
            "stopping": 0,
            "watching": 0,
            "finished": 0,
        },
    }


KEY = derive_key("smq", "M1")
CLAIM = Record(KEY, State.IN_PROGRESS, "f", "o", 0.0, 1.0, 2.0)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_an_event_shows_its_message_and_not_its_secrets():
    """Its id derives from the key of the record, which may not be the key that it shows."""
    clock = FakeClock(0.5)
    began_at = clock.monotonic() - 1.5
    delivery = Delivery("k", "f", "d", "b", message_id="M1", shown_key="shown", began_at=began_at)
    error, warning = EventError("C", "m", retryable=False), Violation("/a", "rule", "what")
    secret = "hunter22-hunter22"
    intake = Rejected(delivery, None, error, Shown(f"n {secret}", f"w={secret}", secret, (warning,)))
    announcer = Announcer(FilePublisher(), "source", "R", clock, Budget(clock))
    with known_secrets([secret]), trace_message(TRACE, {}):
        event = announcer.compose(
            "failed",
            replace(CLAIM, attempts=3),
            intake,
            experiment_id="s1",
            error=error,
            own={"status": "X"},
        )
    assert event == {
        "specversion": "1.0",
        "id": derive_event_id(KEY, "failed"),
        "source": "source",
        "type": "com.hpoq.experiment.failed.v1",
        "subject": "s1",
        "time": "1970-01-01T00:00:00.500Z",
        "datacontenttype": "application/json",
        "traceparent": TRACE,
        "data": {
            "idempotencyKey": "shown",
            "producerKey": "***",
            "messageId": "M1",
            "requestId": "R",
            "experimentId": "s1",
            "name": "n ***",
            "workspaceId": "w=***",
            "warnings": [dict(warning.as_dict())],
            "error": error.as_json(),
            "status": "X",
            "attempts": 3,
            "timings": {"processingMs": 1500.0},
        },
    }


def test_an_event_of_a_message_without_a_key_shows_that_of_its_record():
    """The producer's key is left out, then."""
    clock = FakeClock()
    delivery = Delivery(KEY, "f", KEY, "b", began_at=clock.monotonic())
    intake = Rejected(delivery, None, EventError("C", "m", retryable=False))
    announcer = Announcer(FilePublisher(), "source", "R", clock, Budget(clock))
    event = announcer.compose("rejected", CLAIM, intake)
    timings = {"processingMs": 0.0}
    assert event["data"] == {"idempotencyKey": KEY, "requestId": "R", "attempts": 1, "timings": timings}


def test_a_topic_that_does_not_exist_needs_an_operator():
    """No event goes out until it is made."""

    class Missing:
        def publish(self, event, budget):
            raise NotFound("no topic", service="smq", operation="PublishMessage", code="TopicNotExist")

    clock = FakeClock()
    announcer = Announcer(Missing(), "source", "R", clock, Budget(clock))
    with capture_logs() as lines:
        assert announcer.announce({}).code == "TopicNotExist"
    assert [line["event"] for line in lines] == ["publish.failed", "operator.needed"]
