"""What an error looks like in events and reports."""

from hpoq.contract.events import ServiceError
from hpoq.errors import Denied, Unavailable
from hpoq.observability.redaction import known_secrets
from hpoq.processing.outcome import as_event_error


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
