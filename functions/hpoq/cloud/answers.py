"""Read the answers of services, and classify the errors that they report.

    read_json, read_xml ──▶ Answer ──▶ error_of ──▶ a CallError

The class of an error decides what happens to a message (see `hpoq.errors`), so an answer that is not recognizably the
service's own is never taken as proof that the service did not act.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

from fcruntime.dataclass import dataclass, field
from fcruntime.jsonvalue import JsonObject, JsonValue
from hpoq.cloud.transport import Response
from hpoq.cloud.xml import Element, XmlError, parse
from hpoq.errors import CallError, Conflict, Denied, Invalid, NotFound, Throttled, UnknownEnd
from hpoq.observability.redaction import redact

FOREIGN_ANSWER = "not the service's own answer"
"""How the error begins if something between the function and the service answered."""
_MAX_MESSAGE_LENGTH = 500
_MAX_CODE_LENGTH = 120
_MAX_REQUEST_ID_LENGTH = 120
_MAX_RETRY_AFTER_SECONDS = 3600.0
_SUCCESS_CODES = {"", "success", "ok", "200", "0"}


@dataclass(frozen=True)
class Answer:
    """The members that all answers have in common, read leniently: from JSON or XML, with keys in either case.

    `document` is the JSON object of the body, empty if there is none. `code` is None if the service reports
    success. `retry_after` is in seconds. `names_request` is true if the body contains a request id, as every
    error of a service does; a request id in a header may come from a proxy.
    """

    status: int
    code: str | None
    message: str
    request_id: str | None
    retry_after: float | None
    document: JsonObject = field(default_factory=dict, repr=False)
    is_json: bool = False
    names_request: bool = False

    @property
    def is_own_error(self) -> bool:
        """Whether this is recognizably an error of the service, not of a proxy in front of it."""
        return self.names_request and self.code is not None

    @property
    def is_success(self) -> bool:
        """Whether the service reports success."""
        return 200 <= self.status < 300 and self.code is None


def read_json(response: Response) -> Answer:
    """Read the answer of a gateway API. An error may be XML, a proxy's HTML, or have no body."""
    document = response.document
    if document is None:
        return read_xml(response)
    return _answer(response, document, document, is_json=True)


def read_xml(response: Response) -> Answer:
    """Read the answer of SMQ. Anything except its `<Error>` element has neither a code nor a message."""
    members: dict[str, JsonValue] = {}
    # Most answers report success, and their callers parse them. UTF-16 has a zero byte in each character.
    if b"Error" in response.body or b"\0" in response.body:
        try:
            root = parse(response.body)
        except XmlError:
            root = Element("")
        if root.name == "Error":
            members = {child.name: child.text for child in root.children}
    return _answer(response, members, {}, is_json=False)


def find_member(members: Mapping[str, JsonValue], name: str) -> JsonValue:
    """Return the member `name`, also with a lower-case first letter, or None if there is none."""
    return members.get(name, members.get(name[0].lower() + name[1:]))


def text_member(members: Mapping[str, JsonValue], name: str) -> str | None:
    """Return the member `name`, also with a lower-case first letter, as text; None if it is not a scalar."""
    for key in (name, name[0].lower() + name[1:]):
        value = members.get(key)
        if isinstance(value, (str, int, float)) and not isinstance(value, bool):
            return str(value)
    return None


def scrub(text: str, secrets: Iterable[str]) -> str:
    """Return `text` without any of `secrets`, on one line and shortened."""
    text = redact(text, secrets)
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _MAX_MESSAGE_LENGTH else f"{line[:_MAX_MESSAGE_LENGTH]}..."


def _answer(
    response: Response, members: Mapping[str, JsonValue], document: JsonObject, *, is_json: bool
) -> Answer:
    code = (text_member(members, "Code") or "").strip()
    own_id = text_member(members, "RequestId")
    headers = response.headers
    request_id = own_id or headers.get("x-acs-request-id") or headers.get("x-mns-request-id")
    return Answer(
        status=response.status,
        code=None if code.lower() in _SUCCESS_CODES else code,
        message=text_member(members, "Message") or "",
        # It is shown in an event, which must fit into a message whatever the service answers.
        request_id=None if request_id is None else request_id[:_MAX_REQUEST_ID_LENGTH],
        retry_after=_retry_after(headers),
        document=document,
        is_json=is_json,
        names_request=bool(own_id),
    )


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the wait that the service asks for, in seconds.

    `x-acs-retry-after` is in milliseconds: that is how the runtime of the vendor's SDK
    (`alibabacloud-tea-openapi`) reads it. The standard `Retry-After`, which proxies set, is in seconds.
    """
    for name, per_second in (("x-acs-retry-after", 1000.0), ("retry-after", 1.0)):
        if name not in headers:
            continue
        try:
            seconds = float(headers[name]) / per_second
        except ValueError:
            continue
        if math.isfinite(seconds) and seconds > 0:
            return min(seconds, _MAX_RETRY_AFTER_SECONDS)
    return None


_UNKNOWN_END = (
    "EXECUTION_FAILURE ExecutionFailure InternalError InternalServerError ServiceUnavailable UnknownError "
    # An earlier request with this nonce reached the gateway, and may have acted.
    "SignatureNonceUsed"
)
_THROTTLED = (
    "Throttling Throttling.User Throttling.Api Throttling.Api.Concurrency Throttling.System TooManyRequests "
    "QpsLimitExceeded "
    # The body was damaged on its way; the next try may arrive intact.
    "ContentLengthDoesNotMatch ContentMD5NotMatched InvalidDegist InvalidDigest"
)
_DENIED = (
    "Forbidden Forbidden.RAM Forbidden.NoPermission Forbidden.AccessKeyDisabled NoPermission AccessDenied "
    "IncompleteSignature SignatureDoesNotMatch InvalidSignatureMethod "
    "InvalidTimeStamp.Format InvalidTimeStamp.Expired IllegalTimestamp TimeExpired "
    "InvalidAccessKeyId InvalidAccessKeyId.NotFound InvalidAccessKeyId.Inactive "
    "MissingSecurityToken InvalidSecurityToken.Malformed InvalidSecurityToken.MismatchWithAccessKey "
    "InvalidSecurityToken.Expired "
    "InvalidAuthorizationHeader InvalidDateHeader MissingAuthorizationHeader MissingDateHeader "
    "MissingVersionHeader "
    # The endpoint, a proxy in front of it or the version of hpoq is not what the service expects.
    "InvalidVersion NoSuchVersion InvalidAction.NotFound InvalidApi.NotFound InvalidProduct.NotFound "
    "InvalidProtocol.NeedSsl UnsupportedHTTPMethod"
)
_INVALID = (
    "INVALID_INPUT_PARAMS MissingParameter InvalidParameter InvalidParameter.Format InvalidParameter.Accept "
    "InvalidArgument InvalidRequestURL InvalidQueryString MalformedXML MissingReceiptHandle "
    "MissingVisibilityTimeout InvalidQueueName QueueNameLengthError TopicNameInvalid TopicNameLengthError "
    "SubscriptionNameInvalid SubscriptionNameLengthError EndpointInvalid"
)
_CONFLICT = "QueueAlreadyExist TopicAlreadyExist SubscriptionAlreadyExist QueueDeletedRecently"
_NOT_FOUND = (
    "QueueNotExist TopicNotExist SubscriptionNotExist MessageNotExist EventBusNotExist "
    # The visibility time-out of a message has ended; the documentation names this code and MessageNotExist.
    "ReceiptHandleError"
)
USER_OR_EXPERIMENT = "INVALID_USER_OR_EXP"
"""The only code that the service documents for an experiment that does not exist. It also means a wrong user."""
# The service does not know who calls it, which no change of the request can fix.
_IDENTITY_FAULT = r"(?i)missing '?user_?id"
_MOST_DENIED_DETAILS = 12

_BY_KIND: tuple[tuple[type[CallError], str], ...] = (
    (UnknownEnd, _UNKNOWN_END),
    (Throttled, _THROTTLED),
    (Denied, _DENIED),
    (Invalid, _INVALID),
    (Conflict, _CONFLICT),
    (NotFound, _NOT_FOUND),
)


def _normalize(code: str) -> str:
    return code.replace("_", "").lower()


_KIND_BY_CODE = {_normalize(code): kind for kind, codes in _BY_KIND for code in codes.split()}

# For codes that are not documented. Compiled when they are first needed, not at every cold start.
_FAMILIES: tuple[tuple[str, type[CallError]], ...] = (
    (r"throttl|toomanyrequest|qpslimit|flowcontrol|ratelimit", Throttled),
    (r"accesskey|token|signature|timestamp|credential|authoriz", Denied),
    (r"^forbidden|^nopermission|accessdenied", Denied),
    (r"quota|limitexceed|exceedlimit|overdue|arrears|insufficientbalance|notactivated", Denied),
    (r"alreadyexists?$|conflict", Conflict),
    (r"^internal|^serviceunavailable|^unknown|executionfail|timeout", UnknownEnd),
)
_VALIDATION = r"^(invalid|missing|illegal|malformed)"
_REQUEST_ERROR_STATUSES = {400, 413, 422}
# Words of codes after which the service may have acted: something exists already, the request was seen before, or
# it was carried out in part.
_MAY_HAVE_ACTED = r"nonce|exists?$|conflict|duplicate|repeat|response|result|execut|fail|timeout"
_SIGNING = r"(?i)signature|digest|degist|md5"


def documented_codes() -> dict[str, type[CallError]]:
    """Return the class of each documented code, except INVALID_USER_OR_EXP, whose class depends on the call.

    For tests and tools that compare the classes with a service's documentation.
    """
    return {code: kind for kind, codes in _BY_KIND for code in codes.split()}


def error_of(
    answer: Answer,
    *,
    service: str,
    operation: str,
    names_resource: bool = False,
    creates: bool = False,
    secrets: Iterable[str] = (),
) -> CallError:
    """Return the error that `answer` reports.

    Set `names_resource` if the call was about one existing resource, which may be missing. Set `creates` if the
    call must not act twice: then only a documented code proves that the service has not acted. `secrets` are
    removed from the error. A message about the signature is left out completely, because the gateway quotes the
    signed headers in it, and the security token is one of them.
    """
    secrets = tuple(secrets)
    kind = _classify(answer, names_resource=names_resource)
    if creates and not _proves_inaction(answer):
        kind = UnknownEnd
    is_withheld = answer.code is not None and re.search(_SIGNING, answer.code) is not None
    message = (
        "the service's message is not shown, because it may quote credentials"
        if is_withheld
        else scrub(answer.message, secrets)
    )
    if not answer.is_own_error:
        message = f"{FOREIGN_ANSWER}, HTTP status {answer.status} {message}".strip()
    return kind(
        message or f"HTTP status {answer.status}",
        service=service,
        operation=operation,
        code=None if answer.code is None else scrub(answer.code, secrets)[:_MAX_CODE_LENGTH],
        request_id=answer.request_id,
        http_status=answer.status,
        retry_after=answer.retry_after,
        access_denied_detail=_read_denied_detail(answer.document, secrets),
    )


def make_unreadable(
    answer: Answer, why: str, *, service: str, operation: str, kind: type[UnknownEnd] = UnknownEnd
) -> UnknownEnd:
    """Return the error of an answer that reports success and cannot be read: the service may have acted."""
    return kind(
        f"unreadable answer: {why}",
        service=service,
        operation=operation,
        code=answer.code,
        request_id=answer.request_id,
        http_status=answer.status,
    )


def _read_denied_detail(document: JsonObject, secrets: Iterable[str]) -> list[tuple[str, str]]:
    """Return the scalar members of AccessDeniedDetail, without secrets and cut to a bounded size."""
    detail = find_member(document, "AccessDeniedDetail")
    members = detail.items() if isinstance(detail, dict) else ()
    texts = [(name, str(value)) for name, value in members if isinstance(value, (str, int, bool))]
    return [(name[:120], scrub(value, secrets)) for name, value in texts[:_MOST_DENIED_DETAILS]]


def _proves_inaction(answer: Answer) -> bool:
    """Return whether the code of an answer, regardless of its status, proves that the service has not acted."""
    if answer.code is None or re.search(_MAY_HAVE_ACTED, _normalize(answer.code)):
        return False
    return kind_of_code(answer.code, answer.status) not in (None, Conflict)


def _classify(answer: Answer, *, names_resource: bool) -> type[CallError]:
    if answer.status >= 500 or answer.code is None or not answer.names_request:
        return UnknownEnd
    known = kind_of_code(answer.code, answer.status, names_resource=names_resource)
    if known in (Invalid, NotFound) and re.search(_IDENTITY_FAULT, answer.message):
        return Denied
    if known is not None:
        return known
    if answer.retry_after is not None and answer.status >= 400:
        return Throttled
    return _classify_status(answer.status, names_resource=names_resource)


def kind_of_code(code: str, status: int, *, names_resource: bool = False) -> type[CallError] | None:
    """Return the class of an error with this code, also if it only resembles documented ones, or None if unknown."""
    plain = _normalize(code)
    if plain == _normalize(USER_OR_EXPERIMENT):
        return NotFound if names_resource else Denied
    if plain in _KIND_BY_CODE:
        return _KIND_BY_CODE[plain]
    for family, kind in _FAMILIES:
        if re.search(family, plain):
            return kind
    if re.search(_VALIDATION, plain) and (status < 300 or status in _REQUEST_ERROR_STATUSES):
        return Invalid
    return None


def _classify_status(status: int, *, names_resource: bool) -> type[CallError]:
    if status < 300:
        return UnknownEnd
    if status in (404, 410) and names_resource:
        return NotFound
    return {408: Throttled, 425: Throttled, 429: Throttled, 409: Conflict, 413: Invalid}.get(status, Denied)
