"""Read the outcomes of messages from the function's log in Simple Log Service.

Source: https://www.alibabacloud.com/help/en/sls/developer-reference/api-sls-2020-12-30-getlogs and the signature v1
of the vendor's SDK, aliyun-log-python-sdk 0.9.52.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from email.utils import formatdate
from urllib.parse import urlencode

from hpoq.cloud.caller import ServiceClient
from hpoq.cloud.signing import Credentials
from hpoq.cloud.transport import Response
from hpoq.errors import CallError, Denied, NotFound, UnknownEnd
from hpoq.processing.outcome import Outcome

_SERVICE = "sls"
_OPERATION = "GetLogs"
_SUMS = ", ".join(f'sum("message.messages.{one.value}") AS {one.value}' for one in Outcome)
_QUERY = f"message.event: invocation | SELECT {_SUMS} FROM log"  # noqa: S608 - nothing in it comes from outside
_KINDS: dict[int, type[CallError]] = {401: Denied, 403: Denied, 404: NotFound}


class LogService(ServiceClient):
    """Reads one log store. The endpoint is that of its project. Every method raises CallError."""

    service = _SERVICE

    def count_outcomes(self, logstore: str, since: float, until: float) -> dict[str, int]:
        """Return the number of messages with each outcome between two times, in seconds since the epoch."""
        parameters = {"type": "log", "from": str(int(since)), "to": str(int(until)), "query": _QUERY}
        path = f"/logstores/{logstore}"
        return self._call(
            _OPERATION,
            "GET",
            f"{path}?{urlencode(parameters)}",
            lambda credentials: (
                sign(path, parameters, credentials, self._transport.clock.now())
                | {"Host": self._endpoint.host, "User-Agent": "hpoq"}
            ),
            _read_outcomes,
        )


def sign(path: str, parameters: Mapping[str, str], credentials: Credentials, now: float) -> dict[str, str]:
    """Return the headers of a GET request, including `Authorization`. `now` is in seconds since the epoch."""
    headers = {"x-log-apiversion": "0.6.0", "x-log-bodyrawsize": "0", "x-log-signaturemethod": "hmac-sha1"}
    if credentials.security_token is not None:
        headers["x-acs-security-token"] = credentials.security_token
    date = formatdate(now, usegmt=True)
    listed = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    resource = f"{path}?" + "&".join(f"{name}={parameters[name]}" for name in sorted(parameters))
    text = f"GET\n\n\n{date}\n{listed}{resource}"
    digest = hmac.new(credentials.access_key_secret.encode(), text.encode(), hashlib.sha1).digest()
    signature = base64.b64encode(digest).decode()
    return headers | {"Date": date, "Authorization": f"LOG {credentials.access_key_id}:{signature}"}


def _read_outcomes(response: Response, _credentials: Credentials) -> dict[str, int]:
    """Return the counts in an answer. Those of an hour without an invocation are null."""
    try:
        document = json.loads(response.body)
        if response.status == 200:
            row = document[0] if document else {}
            return {one.value: _read_number(row.get(one.value)) for one in Outcome}
        code = str(document["errorCode"])
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as exc:
        raise UnknownEnd("unreadable answer", service=_SERVICE, operation=_OPERATION) from exc
    kind = _KINDS.get(response.status, UnknownEnd)
    raise kind(f"HTTP status {response.status}", service=_SERVICE, operation=_OPERATION, code=code[:120])


def _read_number(text: object) -> int:
    return 0 if text in (None, "", "null") else int(float(str(text)))
