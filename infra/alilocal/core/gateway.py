"""What the services behind the API gateway share: PAI AutoML, STS and EventBridge.

That is the form of answers and errors, the check of a request's time, and the memory of signature nonces. The
signatures themselves are in `signatures.py`. Source:
https://www.alibabacloud.com/help/doc-detail/50285.htm.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from datetime import datetime, timezone
from urllib.parse import quote
from xml.sax.saxutils import escape

from alilocal.core.clock import CloudClock
from alilocal.core.credentials import Credential, Credentials, TokenProblem
from alilocal.core.http import Request, Response, ServiceError
from alilocal.core.jsonvalue import JsonObject, JsonValue
from alilocal.core.switches import GatewaySwitches

TOKEN_ERRORS: dict[TokenProblem, tuple[str, str]] = {
    "missing": ("MissingSecurityToken", "SecurityToken is mandatory for this action."),
    "mismatch": (
        "InvalidSecurityToken.MismatchWithAccessKey",
        "Specified SecurityToken mismatch with the AccessKey.",
    ),
    "expired": ("InvalidSecurityToken.Expired", "Specified SecurityToken is expired."),
}
_MOMENT = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.\d+)?Z", re.ASCII)
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def json_response(status: int, body: JsonObject, request_id: str) -> Response:
    """Return an answer with `body` as JSON."""
    headers = (
        ("Content-Type", "application/json;charset=utf-8"),
        ("x-acs-request-id", request_id),
        ("x-acs-trace-id", request_id.replace("-", "").lower()),
    )
    text = _ENCODER.encode(body)
    # A request may contain half a surrogate pair, which UTF-8 cannot carry back.
    return Response(status, headers, text.encode(errors="replace"))


def error_response(
    error: ServiceError, request: Request, request_id: str, product: str, *, lower: bool = False
) -> Response:
    """Return `error` as the gateway writes it; `lower` spells the members with small initial letters."""
    recommend = f"https://api.aliyun.com/troubleshoot?q={quote(error.code)}&product={product}"
    body: JsonObject = {
        "RequestId": request_id,
        "HostId": request.authority,
        "Code": error.code,
        "Message": error.message,
        "Recommend": f"{recommend}&requestId={request_id}",
        **({"AccessDeniedDetail": dict(error.detail)} if error.detail else {}),
    }
    if lower:
        body = {name[0].lower() + name[1:]: value for name, value in body.items()}
    answer = json_response(error.status, body, request_id)
    return Response(answer.status, (*answer.headers, *error.headers), answer.body)


def as_xml(answer: Response, root: str) -> Response:
    """Return an answer that is JSON as XML: `root` with one element per member, and one per item of a list."""
    members = json.loads(answer.body)
    text = f"<?xml version='1.0' encoding='UTF-8'?><{root}>{_elements(members)}</{root}>"
    headers = (("Content-Type", "text/xml;charset=utf-8"), *answer.headers[1:])
    return answer._replace(headers=headers, body=text.encode(errors="replace"))


def _elements(value: JsonValue, name: str = "") -> str:
    if isinstance(value, dict):
        inner = "".join(_elements(one, key) for key, one in value.items())
    elif isinstance(value, list):
        return "".join(_elements(one, name) for one in value)
    elif value is None:
        return ""
    else:
        # As JSON, because `str` would write a boolean as `True`.
        inner = escape(_FORBIDDEN.sub("", value if isinstance(value, str) else json.dumps(value)))
    # The names of members may come from a request.
    name = re.sub(r"[^\w.-]", "_", name)
    return f"<{name}>{inner}</{name}>" if name else inner


def wants_xml(request: Request, form: str | None = None) -> bool:
    """Return whether a caller asks for XML: with the parameter Format, whose value is `form`, or with Accept."""
    if form:
        return form.upper() == "XML"
    accepted = (request.header("Accept") or "").lower()
    return "xml" in accepted and "json" not in accepted and "*/*" not in accepted


def check_key(credentials: Credentials, key_id: str, token: str | None, now: float) -> Credential:
    """Return the credential `key_id`; raises the gateway's error for a key or a security token that is not valid."""
    credential = credentials.get(key_id)
    if credential is None:
        raise ServiceError(404, "InvalidAccessKeyId.NotFound", "Specified access key is not found.")
    if not credential.active:
        raise ServiceError(400, "InvalidAccessKeyId.Inactive", "Specified access key is disabled.")
    problem = credential.token_problem(token, now)
    if problem is not None:
        raise ServiceError(400, *TOKEN_ERRORS[problem])
    return credential


def signature_mismatch(string_to_sign: str) -> ServiceError:
    """Return the error for a wrong signature of version 1.

    Older SDKs split the message at its colon, and compare what follows it with the text that they have signed.
    """
    message = "Specified signature is not matched with our calculation. server string to sign is:"
    return ServiceError(400, "SignatureDoesNotMatch", f"{message}{string_to_sign}")


def check_time(text: str, clock: CloudClock) -> None:
    """Raise the gateway's error for a time that is not well formed, or too far from the cloud's."""
    try:
        moment = _read_moment(text)
    except ValueError:
        raise ServiceError(
            400, "InvalidTimeStamp.Format", "Specified time stamp or date value is not well formatted."
        ) from None
    if not clock.is_near(moment):
        raise ServiceError(400, "InvalidTimeStamp.Expired", "Specified time stamp or date value is expired.")


def _read_moment(text: str) -> float:
    """Return the seconds since the epoch of `yyyy-mm-ddThh:mm:ssZ`; raises ValueError.

    aliyun-sdk for Node.js sends milliseconds as well, which are ignored.
    """
    # `strptime` takes ten times as long.
    found = _MOMENT.fullmatch(text)
    if found is None:
        raise ValueError(text)
    year, month, day, hour, minute, second = map(int, found.groups())
    return datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc).timestamp()


class Nonces:
    """The signature nonces that a gateway remembers for `nonce_memory_seconds`."""

    def __init__(self, clock: CloudClock, switches: GatewaySwitches) -> None:
        self._clock = clock
        self._switches = switches
        self._used: dict[tuple[str, str], float] = {}
        """The time of each use, oldest first."""

    def use(self, key_id: str, nonce: str) -> None:
        """Remember `nonce`; raises ServiceError if it is remembered already."""
        self._forget_old()
        if (key_id, nonce) in self._used:
            raise ServiceError(400, "SignatureNonceUsed", "Specified signature nonce was used already.")
        self._used[key_id, nonce] = self._clock.now()

    def _forget_old(self) -> None:
        until = self._clock.now() - self._switches.nonce_memory_seconds
        while self._used:
            oldest = next(iter(self._used))
            if self._used[oldest] > until:
                return
            del self._used[oldest]


def sign_sha1(secret: str, text: str) -> str:
    """Return the signature of `text` that all older generations of the services use, as base64."""
    return base64.b64encode(hmac.new(secret.encode(), text.encode(), hashlib.sha1).digest()).decode()
