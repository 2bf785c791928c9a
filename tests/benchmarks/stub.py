"""Services that only answer: a transport in memory, and a server on loopback whose creates take 200 ms."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import itertools
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import requests
from requests.adapters import BaseAdapter
from urllib3 import HTTPResponse

CREATE_SECONDS = 0.2
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *([0-9]+)")
_MESSAGE = (
    b'<?xml version="1.0"?><Message xmlns="http://mns.aliyuncs.com/doc/v1/"><MessageId>1</MessageId>'
    b"<MessageBodyMD5>C</MessageBodyMD5></Message>"
)
_PUT_ROW = b"\x0a\x04\x0a\x02\x08\x00"
_ids = itertools.count()


def answer(method: str, path: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body for a create, a publication, or a row that is written."""
    if path.startswith("/api/automl"):
        body = b'{"ExperimentId":"s%d","RequestId":"r"}' % next(_ids)
        return 200, {"Content-Type": "application/json"}, body
    if path.startswith(("/topics", "/queues")):
        return 201, {"Content-Type": "text/xml", "x-mns-request-id": "r"}, _MESSAGE
    digest = base64.b64encode(hashlib.md5(_PUT_ROW).digest()).decode()
    return 200, {"x-ots-contentmd5": digest, "x-ots-requestid": "r"}, _PUT_ROW


class InMemory(BaseAdapter):
    """A transport of `requests` that answers at once; `calls` counts."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def send(self, request: requests.PreparedRequest, **_: object) -> requests.Response:  # type: ignore[override]
        self.calls += 1
        status, headers, body = answer(request.method or "", request.path_url)
        raw = HTTPResponse(io.BytesIO(body), headers, status, preload_content=False)
        made = requests.Response()
        made.status_code, made.raw, made.request, made.url = status, raw, request, request.url or ""
        made.headers.update(headers)
        return made

    def close(self) -> None:
        """Do nothing, because nothing is open."""


def in_memory() -> tuple[requests.Session, InMemory]:
    """Return a session whose every request is answered in memory."""
    session, adapter = requests.Session(), InMemory()
    for scheme in ("http://", "https://"):
        session.mount(scheme, adapter)
    return session, adapter


class _Connection(asyncio.Protocol):
    """HTTP/1.1 that is kept alive, without a thread for each: what the server costs is not what is measured."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self._received = cast("asyncio.Transport", transport), b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, blank, body = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not blank or len(body) < (int(length[1]) if length else 0):
            return
        self._received = b""
        method, path, _ = head.partition(b"\r\n")[0].decode().split(" ")
        wait = CREATE_SECONDS if path.startswith("/api/automl") else 0
        asyncio.get_running_loop().call_later(wait, self._answer, method, path)

    def _answer(self, method: str, path: str) -> None:
        status, headers, body = answer(method, path)
        lines = [f"HTTP/1.1 {status} -", *(f"{name}: {value}" for name, value in headers.items())]
        lines += [f"Content-Length: {len(body)}", "", ""]
        self._transport.write("\r\n".join(lines).encode() + body)


@contextmanager
def server() -> Iterator[str]:
    """Yield the URL of a server."""
    loop = asyncio.new_event_loop()
    listening = loop.run_until_complete(loop.create_server(_Connection, "127.0.0.1", 0, backlog=256))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
