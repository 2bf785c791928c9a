"""From what a service answered to the class of the error: the table of every documented code.

The order of judgement:

1. Any 5xx leaves the end unknown, whatever its code: the service may have acted before it failed.
2. A code in the table decides, not the status: throttling usually is a 400, a failure may be a 200.
3. A code of a known family decides (`InvalidAccessKeyId.*`, `Throttling.*`, `Forbidden.*`, ...). A
   validation family (`Invalid<Name>`, `Missing<Name>`, `INVALID_*`) rejects for good only with a status that
   speaks of the request (2xx, 400, 413, 422): with 403 or 404 such words name credentials or resources.
4. A wait that the service asks for makes a 4xx Throttled, as in the vendor's SDK.
5. The status decides. What stays is an unknown code: with a 2xx the end is unknown; with a 3xx or 4xx the
   service has not acted, and the call is Denied. So a code nobody has documented never rejects a message for
   good: it comes back, an operator sees the error, and the dead-letter queue is its worst end (under the
   batch policy `requeue` it goes round until it is mended).

Sources of the codes: the API pages of paiautoml 2022-08-28, the gateway's common errors
(https://error-center.alibabacloud.com/status/product/Public), SMQ's error codes
(https://alibabacloud.com/help/en/mns/error-codes).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from hpoq.cloud.answers import Answer, scrub
from hpoq.errors import CallError, Conflict, Denied, Invalid, NotFound, Throttled, UnknownEnd

_UNKNOWN_END = (
    "EXECUTION_FAILURE ExecutionFailure InternalError InternalServerError ServiceUnavailable UnknownError "
    # An earlier request with this nonce reached the gateway, and may have acted.
    "SignatureNonceUsed"
)
_THROTTLED = (
    "Throttling Throttling.User Throttling.Api Throttling.Api.Concurrency Throttling.System TooManyRequests "
    "QpsLimitExceeded "
    # The body was damaged on the way: built anew it may pass.
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
    # The endpoint, a proxy before it or the version of hpoq is not what the service expects.
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
    "QueueNotExist TopicNotExist SubscriptionNotExist MessageNotExist "
    # The lease on a message is lost; the documentation gives this code and MessageNotExist for it.
    "ReceiptHandleError"
)
_USER_OR_EXPERIMENT = "INVALID_USER_OR_EXP"

_BY_KIND: tuple[tuple[type[CallError], str], ...] = (
    (UnknownEnd, _UNKNOWN_END),
    (Throttled, _THROTTLED),
    (Denied, _DENIED),
    (Invalid, _INVALID),
    (Conflict, _CONFLICT),
    (NotFound, _NOT_FOUND),
)


def _plain(code: str) -> str:
    return code.replace("_", "").lower()


_TABLE = {_plain(code): kind for kind, codes in _BY_KIND for code in codes.split()}

# Compiled when they are first needed, not at every cold start.
_FAMILIES: tuple[tuple[str, type[CallError]], ...] = (
    (r"throttl|toomanyrequest|qpslimit|flowcontrol|ratelimit", Throttled),
    (r"accesskey|token|signature|timestamp|credential|authoriz", Denied),
    (r"^forbidden|^nopermission|accessdenied", Denied),
    (r"quota|limitexceed|exceedlimit|overdue|arrears|insufficientbalance|notactivated", Denied),
    (r"alreadyexists?$|conflict", Conflict),
    (r"^internal|^serviceunavailable|^unknown|executionfail|timeout", UnknownEnd),
)
_VALIDATION = r"^(invalid|missing|illegal|malformed)"
_OF_THE_REQUEST = {400, 413, 422}
_SIGNING = r"(?i)signature|digest|degist|md5"


def documented_codes() -> dict[str, type[CallError]]:
    """Each code of the table with its class, save INVALID_USER_OR_EXP, whose class depends on the call."""
    return {code: kind for kind, codes in _BY_KIND for code in codes.split()}


def error_of(
    answer: Answer, *, service: str, operation: str, names_resource: bool = False, secrets: Iterable[str] = ()
) -> CallError:
    """The error that `answer` amounts to.

    `names_resource` says that the call was about one existing resource, which may be missing. None of
    `secrets` appears in the error, and a complaint about the signature is not quoted at all: the gateway is
    known to echo the headers that it was computed over, the security token among them.
    """
    kind = _kind(answer, names_resource=names_resource)
    withheld = answer.code is not None and re.search(_SIGNING, answer.code) is not None
    message = "the message of the service is withheld" if withheld else scrub(answer.message, secrets)
    return kind(
        message or f"HTTP status {answer.status}",
        service=service,
        operation=operation,
        code=None if answer.code is None else scrub(answer.code, secrets)[:120],
        request_id=answer.request_id,
        http_status=answer.status,
        retry_after=answer.retry_after,
    )


def _kind(answer: Answer, *, names_resource: bool) -> type[CallError]:
    if answer.status >= 500:
        return UnknownEnd
    if answer.code is not None:
        known = _kind_of_code(answer.code, answer.status, names_resource=names_resource)
        if known is not None:
            return known
    if answer.retry_after is not None and answer.status >= 400:
        return Throttled
    return _kind_of_status(answer.status, names_resource=names_resource)


def _kind_of_code(code: str, status: int, *, names_resource: bool) -> type[CallError] | None:
    plain = _plain(code)
    if plain == _plain(_USER_OR_EXPERIMENT):
        return NotFound if names_resource else Denied
    if plain in _TABLE:
        return _TABLE[plain]
    for family, kind in _FAMILIES:
        if re.search(family, plain):
            return kind
    if re.search(_VALIDATION, plain) and (status < 300 or status in _OF_THE_REQUEST):
        return Invalid
    return None


def _kind_of_status(status: int, *, names_resource: bool) -> type[CallError]:
    if status < 300:
        return UnknownEnd
    if status in (404, 410) and names_resource:
        return NotFound
    return {408: Throttled, 425: Throttled, 429: Throttled, 409: Conflict, 413: Invalid}.get(status, Denied)
