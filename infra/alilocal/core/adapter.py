"""The local cloud as a transport of `requests`: without a port, a thread or a patch."""

from __future__ import annotations

import http.client
import io
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import urlsplit

import requests
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict
from urllib3 import HTTPHeaderDict, HTTPResponse
from urllib3.exceptions import NewConnectionError, ProtocolError

from alilocal.core.http import Broken, Refused, Request, Response, Stalled

Handle = Callable[[Request], Response]


class LocalAdapter(BaseAdapter):
    """Hands every request of a session to a cloud, whatever its host, and raises what `HTTPAdapter` would raise.

    A stall raises ReadTimeout at once, without waiting.
    """

    def __init__(self, handle: Handle) -> None:
        super().__init__()
        self._handle = handle

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: FBT001, FBT002 - the signature is that of requests
        timeout: float | tuple[float, float] | tuple[float, None] | None = None,  # noqa: ARG002
        verify: bool | str = True,  # noqa: ARG002, FBT001, FBT002
        cert: bytes | str | tuple[bytes | str, bytes | str] | None = None,  # noqa: ARG002
        proxies: Mapping[str, str] | None = None,  # noqa: ARG002
    ) -> requests.Response:
        """Answer `request`; raises the exceptions of requests for broken connections."""
        try:
            answer = self._handle(_to_request(request))
        except Broken as broken:
            raise _to_exception(broken, request) from broken
        if answer.drip is not None:
            raise requests.ReadTimeout("Read timed out.", request=request)
        response = _to_response(answer, request, self)
        if not stream:
            _ = response.content
        return response

    def close(self) -> None:
        """Do nothing: there is no connection to close."""


def _to_request(prepared: requests.PreparedRequest) -> Request:
    headers = [
        (name, value) if type(name) is type(value) is str else (_text(name), _text(value))
        for name, value in prepared.headers.items()
    ]
    if not any(name.lower() == "host" for name, _ in headers):
        headers.append(("Host", urlsplit(prepared.url or "").netloc.rpartition("@")[2]))
    return Request(prepared.method or "GET", prepared.path_url, tuple(headers), _body(prepared))


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _body(prepared: requests.PreparedRequest) -> bytes:
    body: object = prepared.body
    if body is None:
        return b""
    if isinstance(body, (str, bytes, bytearray)):
        return _bytes(body)
    # Files and generators, which requests sends in chunks.
    read = getattr(body, "read", None)
    parts = [read()] if callable(read) else body
    if not isinstance(parts, Iterable):
        raise TypeError(
            f"a body must be text, bytes, a file or an iterable of bytes, not {type(body).__name__}"
        )
    return b"".join(map(_bytes, parts))


def _bytes(part: str | bytes | bytearray) -> bytes:
    return part.encode() if isinstance(part, str) else bytes(part)


def _to_exception(broken: Broken, request: requests.PreparedRequest) -> requests.RequestException:
    if isinstance(broken, Stalled):
        return requests.ReadTimeout("Read timed out.", request=request)
    if isinstance(broken, Refused):
        cause: Exception = NewConnectionError(None, "Connection refused")  # type: ignore[arg-type]
    else:
        cause = ProtocolError("Connection aborted.", ConnectionResetError(104, "Connection reset by peer"))
    return requests.ConnectionError(cause, request=request)


def _to_response(
    answer: Response, request: requests.PreparedRequest, adapter: LocalAdapter
) -> requests.Response:
    headers = answer.sent_headers
    response = requests.Response()
    response.status_code = answer.status
    response.headers = CaseInsensitiveDict(headers)
    response.raw = HTTPResponse(
        io.BytesIO(b"" if request.method == "HEAD" else answer.sent_body),
        headers=HTTPHeaderDict(headers),
        status=answer.status,
        preload_content=False,
        request_method=request.method,
        enforce_content_length=True,
    )
    response.reason = http.client.responses.get(answer.status, "")
    response.encoding = requests.utils.get_encoding_from_headers(response.headers)
    response.url = request.url or ""
    response.request = request
    response.connection = adapter  # type: ignore[assignment]
    return response
