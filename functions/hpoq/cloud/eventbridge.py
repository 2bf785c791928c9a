"""The client of EventBridge: PutEvents of the first generation of its API.

That generation carries extension attributes and has a RAM action of its own; the second one documents neither.

Sources: https://www.alibabacloud.com/help/en/eventbridge/developer-reference/putevents, and for the signature the
official SDK alibabacloud-eventbridge 1.3.8, which the documentation contradicts.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from email.utils import formatdate
from functools import partial

from fcruntime.dataclass import replace
from fcruntime.jsonvalue import JsonValue, write_compact
from hpoq.clock import Budget
from hpoq.cloud.answers import Answer, error_of, make_unreadable, read_json, text_member
from hpoq.cloud.caller import ServiceClient
from hpoq.cloud.endpoint import check_account, check_region
from hpoq.cloud.signing import Credentials
from hpoq.cloud.transport import Response
from hpoq.errors import CallError, UnknownEnd

SERVICE = "eventbridge"
_OPERATION = "PutEvents"
_PATH = "/openapi/putEvents"
_BATCH = "application/cloudevents-batch+json; charset=utf-8"
# The documentation gives an accepted event no ErrorCode; the service's open-source kernel says Success.
_ACCEPTED = ("", "success")


def default_endpoint(account_id: str, region: str) -> str:
    """Return the public endpoint of an account.

    Source: https://www.alibabacloud.com/help/en/eventbridge/regions-and-endpoints.
    """
    return f"https://{check_account(account_id)}.eventbridge.{check_region(region)}.aliyuncs.com"


class EventBridge(ServiceClient):
    """Puts CloudEvents on buses."""

    service = SERVICE

    def put_events(
        self, bus: str, events: Sequence[Mapping[str, JsonValue]], *, budget: Budget | None = None
    ) -> None:
        """Put up to 16 CloudEvents of up to 64 KB on `bus`. Raises CallError, also if only one of them is refused.

        The call is repeated like a read: the service does not recognize an event that it gets twice, but its
        consumers do, by its source and id.
        """
        batch = [{**event, "aliyuneventbusname": bus} for event in events]
        body = write_compact(batch).encode()
        self._call(
            _OPERATION,
            "POST",
            _PATH,
            self._sign,
            partial(_read_answer, len(events)),
            body=body,
            budget=budget,
        )

    def _sign(self, credentials: Credentials) -> dict[str, str]:
        clock = self._transport.clock
        headers = sign_call(credentials, formatdate(clock.now(), usegmt=True), clock.new_id())
        return {**headers, "Host": self._endpoint.host, "User-Agent": "hpoq"}


def sign_call(credentials: Credentials, date: str, nonce: str) -> dict[str, str]:
    """Return the headers of a call, including `Authorization`. The body is not signed."""
    signed = {
        "x-acs-signature-method": "HMAC-SHA1",
        "x-acs-signature-nonce": nonce,
        "x-acs-signature-version": "1.0",
    }
    if credentials.security_token is not None:
        signed["x-acs-accesskey-id"] = credentials.access_key_id
        signed["x-acs-security-token"] = credentials.security_token
    # The empty line is that of Content-MD5, which is not sent.
    lines = ["POST", "", _BATCH, date, *(f"{name}:{signed[name]}" for name in sorted(signed)), _PATH]
    digest = hmac.new(
        credentials.access_key_secret.encode(), "\n".join(lines).encode(), hashlib.sha1
    ).digest()
    return {
        **signed,
        "Accept": "application/json",
        "Content-Type": _BATCH,
        "Date": date,
        "x-eventbridge-version": "2015-06-06",
        "Authorization": f"acs:{credentials.access_key_id}:{base64.b64encode(digest).decode()}",
    }


def _read_answer(count: int, response: Response, credentials: Credentials) -> None:
    """Raise the error that an answer reports for the call or, in an answer with status 200, for one event.

    An answer that does not account for each of the `count` events never counts as success.
    """
    answer = read_json(response)
    if not answer.is_success:
        raise _make_error(answer, credentials)
    entries = answer.document.get("EntryList")
    failed = text_member(answer.document, "FailedEntryCount")
    if not isinstance(entries, list) or failed is None:
        raise _make_unreadable(answer)
    for entry in entries:
        members = entry if isinstance(entry, dict) else {}
        code = text_member(members, "ErrorCode") or ""
        if code.lower() not in _ACCEPTED:
            message = text_member(members, "ErrorMessage") or ""
            raise _make_error(replace(answer, code=code, message=message, names_request=True), credentials)
    if failed != "0" or sum(isinstance(entry, dict) for entry in entries) != count:
        raise _make_unreadable(answer)


def _make_error(answer: Answer, credentials: Credentials) -> CallError:
    secrets = credentials.secrets()
    return error_of(answer, service=SERVICE, operation=_OPERATION, names_resource=True, secrets=secrets)


def _make_unreadable(answer: Answer) -> UnknownEnd:
    why = "it does not say which events failed"
    return make_unreadable(answer, why, service=SERVICE, operation=_OPERATION)
