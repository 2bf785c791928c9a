"""What a service said when it did not simply do what was asked."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping

from fcruntime.dataclass import dataclass, field
from fcruntime.jsonvalue import JsonObject, JsonValue
from hpoq.cloud.safexml import Element, XmlError, parse
from hpoq.cloud.transport import Response

_LONGEST_MESSAGE = 500
_LONGEST_WAIT_SECONDS = 3600.0
_SUCCESS = {"", "success", "ok", "200"}


@dataclass(frozen=True)
class Answer:
    """The common members of an answer, read leniently: in JSON or XML, with keys in either case.

    `document` is the JSON object, empty if the body is none. `code` is None where the service reports
    success. `retry_after` is in seconds.
    """

    status: int
    code: str | None
    message: str
    request_id: str | None
    retry_after: float | None
    document: JsonObject = field(default_factory=dict, repr=False)
    is_json: bool = False

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300 and self.code is None


def read_json(response: Response) -> Answer:
    """The answer of a gateway API; an error may come as XML, as HTML from a proxy, or without a body."""
    document = _object(response.body)
    if document is None:
        return read_xml(response)
    return _answer(response, document, document, is_json=True)


def read_xml(response: Response) -> Answer:
    """The answer of SMQ; anything that is not its `<Error>` has neither code nor message."""
    members: dict[str, JsonValue] = {}
    try:
        root = parse(response.body)
    except XmlError:
        root = Element("")
    if root.name == "Error":
        members = {child.name: child.text for child in root.children}
    return _answer(response, members, {}, is_json=False)


def text_member(members: Mapping[str, JsonValue], name: str) -> str | None:
    """The member `name`, or the same with a small first letter, as text; None if it is no scalar."""
    for key in (name, name[0].lower() + name[1:]):
        value = members.get(key)
        if isinstance(value, (str, int, float)) and not isinstance(value, bool):
            return str(value)
    return None


def scrub(text: str, secrets: Iterable[str]) -> str:
    """`text` without any of `secrets`, on one line and shortened.

    What is shorter than four characters is no secret, and to replace it would garble the text.
    """
    for secret in sorted((secret for secret in secrets if len(secret) > 3), key=len, reverse=True):
        for form in {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}:
            text = text.replace(form, "***")
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _LONGEST_MESSAGE else f"{line[:_LONGEST_MESSAGE]}..."


def _answer(
    response: Response, members: Mapping[str, JsonValue], document: JsonObject, *, is_json: bool
) -> Answer:
    code = (text_member(members, "Code") or "").strip()
    return Answer(
        status=response.status,
        code=None if code.lower() in _SUCCESS else code,
        message=text_member(members, "Message") or "",
        request_id=text_member(members, "RequestId") or _request_id(response.headers),
        retry_after=_retry_after(response.headers),
        document=document,
        is_json=is_json,
    )


def _object(body: bytes) -> JsonObject | None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _request_id(headers: Mapping[str, str]) -> str | None:
    return headers.get("x-acs-request-id") or headers.get("x-mns-request-id")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """`x-acs-retry-after` is in milliseconds, as the runtime of the vendor's SDK (`alibabacloud-tea-openapi`)
    reads it; the standard `Retry-After`, set by proxies, in seconds."""
    for name, per_second in (("x-acs-retry-after", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) / per_second
        except ValueError:
            continue
        if math.isfinite(seconds) and seconds > 0:
            return min(seconds, _LONGEST_WAIT_SECONDS)
    return None
