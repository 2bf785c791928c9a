"""Services that only answer: a transport in memory, and a server on loopback whose creates take 200 ms."""

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests
from requests.adapters import BaseAdapter
from urllib3 import HTTPResponse

CREATE_SECONDS = 0.2
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
        """Nothing is open."""


def in_memory() -> tuple[requests.Session, InMemory]:
    """A session whose every request is answered in memory."""
    session, adapter = requests.Session(), InMemory()
    for scheme in ("http://", "https://"):
        session.mount(scheme, adapter)
    return session, adapter


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith("/api/automl"):
            time.sleep(CREATE_SECONDS)
        status, headers, body = answer(self.command, self.path)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET = do_PUT = _answer

    def log_message(self, *_: object) -> None:
        """A benchmark says enough."""


class _Server(ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True


@contextmanager
def server() -> Iterator[str]:
    """The URL of a server."""
    running = _Server(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()
