"""Function Compute's protocol for custom runtimes and containers, spoken for a handler of the built-in runtimes.

Source: https://www.alibabacloud.com/help/en/functioncompute/fc/user-guide/how-custom-runtimes-work and
.../custom-runtime. FC takes a call to have succeeded unless the answer says otherwise in the header `x-fc-status`, so
every answer has it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast

from fcruntime.context import ContextCredentials, Fc2Context, FunctionInfo, ServiceInfo, TracingInfo
from fcruntime.httptrigger import http_answer, http_event
from fcruntime.invoke import Handler, InvokeResult, invoke, load

Hook = Callable[[object], object]

DEFAULT_PORT = 9000
_LAST_PORT = 65_535
_PORT_VARIABLES = ("FC_CUSTOM_LISTEN_PORT", "FC_SERVER_PORT")
_STATUS = "x-fc-status"
_OCTETS = {"Content-Type": "application/octet-stream"}
_HOOKS = {
    ("POST", "/initialize"): "initialize",
    ("GET", "/pre-stop"): "pre_stop",
    ("GET", "/pre-freeze"): "pre_freeze",
}
_WORDS = {"initialize": "Initialize", "pre_stop": "PreStop", "pre_freeze": "PreFreeze"}


def serve(
    handler: str | Handler,
    *,
    initialize: str | Hook | None = None,
    pre_stop: str | Hook | None = None,
    pre_freeze: str | Hook | None = None,
    host: str = "0.0.0.0",  # noqa: S104 - FC reaches its instances from outside
    port: int | None = None,
) -> None:
    """Answer FC's requests with `handler` and the hooks until SIGTERM, then let requests under way end.

    Handlers may be strings, as in FC's settings; the handler is loaded with its first call, as there. `port` is by
    default FC_CUSTOM_LISTEN_PORT, else 9000. Raises OSError if the port cannot be had, and what ends the process in
    a handler: SystemExit, KeyboardInterrupt.
    """
    server = RuntimeServer(
        handler, initialize=initialize, pre_stop=pre_stop, pre_freeze=pre_freeze, host=host, port=port
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        # Shutting down waits for the loop that this signal interrupts.
        signal.signal(number, lambda *_: threading.Thread(target=server.stop).start())
    server.run()


class RuntimeServer:
    """The server of one instance; `run` answers until `stop`."""

    def __init__(
        self,
        handler: str | Handler,
        *,
        initialize: str | Hook | None = None,
        pre_stop: str | Hook | None = None,
        pre_freeze: str | Hook | None = None,
        host: str = "0.0.0.0",  # noqa: S104
        port: int | None = None,
    ) -> None:
        """Raises OSError if the port cannot be had."""
        self._handler = handler
        self._hooks = {"initialize": initialize, "pre_stop": pre_stop, "pre_freeze": pre_freeze}
        self._ending: BaseException | None = None
        self._http = _Http((host, _port() if port is None else port), self)
        self.port: int = self._http.server_address[1]

    def run(self) -> None:
        """Answer until stopped; raises what ended the process in a handler."""
        try:
            self._http.serve_forever(0.1)
        finally:
            # Waits for the requests under way.
            self._http.server_close()
        if self._ending is not None:
            raise self._ending

    def stop(self) -> None:
        """End `run`, from another thread."""
        self._http.shutdown()

    def call(self, event: bytes, context: Fc2Context) -> InvokeResult:
        """One invocation."""
        return self._told("Invoke", context, lambda: invoke(self._handler, event, context))

    def hook(self, name: str, context: Fc2Context) -> InvokeResult:
        """One call of a hook; one that is not set succeeds."""
        hook = self._hooks[name]
        if hook is None:
            return InvokeResult(context.request_id, b"")

        def run(_event: bytes, given: object) -> object:
            found = cast("Hook", load(hook) if isinstance(hook, str) else hook)
            found(given)
            return ""

        return self._told(_WORDS[name], context, lambda: invoke(run, b"", context))

    def _told(self, word: str, context: Fc2Context, run: Callable[[], InvokeResult]) -> InvokeResult:
        """Log the lines by which FC's logs are cut into requests."""
        _say(f"FC {word} Start RequestId: {context.request_id}")
        try:
            result = run()
        except BaseException as exc:  # noqa: BLE001 - raised again by `run`
            # It ends the process, but not before FC knows that the call has failed.
            self._ending = exc
            threading.Thread(target=self.stop).start()
            result = InvokeResult(context.request_id, _ended(exc), "UnhandledInvocationError")
        failed = "" if result.ok else ", Error: Unhandled function error"
        _say(f"FC {word} End RequestId: {context.request_id}{failed}")
        return result


class _Http(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], runtime: RuntimeServer) -> None:
        self.runtime = runtime
        self._closing = False
        self._idle: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(address, _Requests)

    def waits(self, connection: socket.socket) -> bool:
        """Note that `connection` waits for a request; False if none is to be taken any more."""
        with self._lock:
            self._idle.add(connection)
            return not self._closing

    def works(self, connection: socket.socket) -> None:
        """Note that a request came over `connection`."""
        with self._lock:
            self._idle.discard(connection)

    def server_close(self) -> None:
        """End connections that wait, and let those end that a request is under way on."""
        with self._lock:
            self._closing = True
            for connection in self._idle:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RD)
        super().server_close()

    def server_bind(self) -> None:
        # HTTPServer would look up the machine's full name, which may take seconds.
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()


class _Requests(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Http

    def handle_one_request(self) -> None:
        if self.server.waits(self.connection):
            super().handle_one_request()
        else:
            self.close_connection = True
        self.server.works(self.connection)

    def parse_request(self) -> bool:
        self.server.works(self.connection)
        return super().parse_request()

    def do_GET(self) -> None:
        try:
            event = self._body()
        except ValueError as exc:
            self.send_error(400, str(exc))
            return
        if self.headers.get("x-fc-control-path") == "/http-invoke":
            # Whatever its path says: it comes from outside, and hooks are not for others to call.
            self._answer_http(event)
        else:
            self._answer(event)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = do_GET  # noqa: N815 - names of http.server

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What is no request, or not all of one; FC must not take it for an event that succeeded."""
        self.close_connection = True
        # To a client whose version is unknown http.server would send no headers.
        self.request_version = self.protocol_version
        told = {"errorMessage": message or explain or "", "errorType": "BadRequest"}
        self._write(code, json.dumps(told).encode(), ok=False)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's name
        """Nothing: FC's own lines stand for requests."""

    def _answer(self, event: bytes) -> None:
        runtime, path = self.server.runtime, self.path.partition("?")[0]
        if (self.command, path) == ("POST", "/invoke"):
            result = runtime.call(event, self._context())
            self._write(200 if result.ok else 404, result.body, ok=result.ok)
        elif (self.command, path) in _HOOKS:
            result = runtime.hook(_HOOKS[self.command, path], self._context())
            self._write(200 if result.ok else 500, result.body, ok=result.ok)
        elif (self.command, path) == ("GET", "/health"):
            self._write(200, b"", ok=True)
        else:
            told = {"errorMessage": f"There is no {self.command} {path} here.", "errorType": "NotFound"}
            self._write(404, json.dumps(told).encode(), ok=False)

    def _answer_http(self, body: bytes) -> None:
        context = self._context()
        event = http_event(self.command, self.path, self.headers.items(), body, context)
        result = self.server.runtime.call(event, context)
        status, headers, answer = http_answer(result)
        self._write(status, answer, headers, ok=result.ok)

    def _write(self, status: int, body: bytes, headers: Mapping[str, str] = _OCTETS, *, ok: bool) -> None:
        self.send_response(status)
        self.send_header(_STATUS, "200" if ok else "404")
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _body(self) -> bytes:
        """The whole body; raises ValueError if it has no length, or broke off."""
        if "chunked" not in (self.headers.get("Transfer-Encoding") or "").lower():
            return self._exactly(_size(self.headers.get("Content-Length") or "0", 10))
        parts = []
        while size := _size(self.rfile.readline().partition(b";")[0].decode("latin-1"), 16):
            parts.append(self._exactly(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            continue
        return b"".join(parts)

    def _exactly(self, size: int) -> bytes:
        data = self.rfile.read(size)
        if len(data) < size:
            raise ValueError("the body broke off")
        return data

    def _context(self) -> Fc2Context:
        """What the headers tell; keys that FC does not send are those of the environment."""

        def header(name: str) -> str:
            return self.headers.get(f"x-fc-{name}") or ""

        keys = [header(name) for name in ("access-key-id", "access-key-secret", "security-token")]
        if not all(keys):
            own = ("ACCESS_KEY_ID", "ACCESS_KEY_SECRET", "SECURITY_TOKEN")
            keys = [os.environ.get(f"ALIBABA_CLOUD_{name}", "") for name in own]
        return Fc2Context(
            header("request-id"),
            FunctionInfo(
                header("function-name") or os.environ.get("FC_FUNCTION_NAME", ""),
                header("function-handler"),
                _whole(header("function-memory")),
                _whole(header("function-timeout")),
                header("version-id"),
                header("qualifier") or "LATEST",
            ),
            ContextCredentials(*keys),
            ServiceInfo(
                header("service-name"),
                header("service-logproject"),
                header("service-logstore"),
                header("qualifier"),
                header("version-id"),
            ),
            header("region") or os.environ.get("FC_REGION", ""),
            header("account-id") or os.environ.get("FC_ACCOUNT_ID", ""),
            _whole(header("retry-count")),
            TracingInfo(
                header("tracing-opentracing-span-context"),
                _baggages(header("tracing-opentracing-span-baggages")),
                header("tracing-jaeger-endpoint"),
            ),
        )


def _port() -> int:
    for name in _PORT_VARIABLES:
        if text := os.environ.get(name):
            if not (text.isascii() and text.isdigit() and int(text) <= _LAST_PORT):
                raise ValueError(f"{name}: {text!r} is no port")
            return int(text)
    return DEFAULT_PORT


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0


def _size(text: str, base: int) -> int:
    size = int(text, base)
    if size < 0:
        raise ValueError("the body has no length")
    return size


def _baggages(text: str) -> dict[str, str]:
    try:
        told = json.loads(base64.b64decode(text))
    except ValueError:
        return {}
    return {str(name): str(value) for name, value in told.items()} if isinstance(told, dict) else {}


def _ended(exc: BaseException) -> bytes:
    told = {"errorMessage": f"the process ends: {exc}", "errorType": type(exc).__name__, "stackTrace": []}
    return json.dumps(told, indent=4, sort_keys=True).encode()


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
