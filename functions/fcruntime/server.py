"""Function Compute's HTTP protocol for custom runtimes and containers, for a handler of the built-in runtimes.

    FC ──HTTP──▶ a thread for each connection ──call──▶ main thread: handler(event, context)
       ◀─answer──                             ◀─result─

An instance with a concurrency of one gets one request at a time, and then every call of the handler and of a hook
runs in the thread that called `run`: the main thread, always the same one, as on AWS Lambda and on the built-in
runtimes. So handlers may use signals, event loops and database connections that belong to one thread. A request that
arrives while a call runs, which a higher concurrency allows, does not wait: it is handled in the thread of its
connection.

Sources: https://www.alibabacloud.com/help/en/functioncompute/fc/user-guide/how-custom-runtimes-work and
.../custom-runtime. FC regards a call as successful unless the answer has the header `x-fc-status` with a value
other than 200, so every answer has that header.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import signal
import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Sequence
from email.errors import FirstHeaderLineIsContinuationDefect, MissingHeaderBodySeparatorDefect
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias, cast

from fcruntime.context import ContextCredentials, Fc2Context, FunctionInfo, ServiceInfo, TracingInfo
from fcruntime.httptrigger import http_answer, http_event
from fcruntime.invoke import Handler, InvokeResult, invoke, load
from fcruntime.jsonvalue import read_whole_number
from fcruntime.log import configure_log, log_error, note_request, write_line

Hook = Callable[[Any], object]  # Any, as in Handler
_Call: TypeAlias = Callable[[], InvokeResult]

DEFAULT_PORT = 9000
_LAST_PORT = 65_535
_PORT_VARIABLES = ("FC_CUSTOM_LISTEN_PORT", "FC_SERVER_PORT")
_POLL_SECONDS = 0.1
_RECEIVING_SECONDS = 5.0
_LONGEST_LINE = 65_536
_LONGEST_READ = 1 << 20
# Other defects are those of a body, which the parser of headers does not see.
_LOST_HEADERS = (FirstHeaderLineIsContinuationDefect, MissingHeaderBodySeparatorDefect)
# `int` would also take signs, underscores and the prefix 0x.
_DIGITS = {10: "[0-9]{1,19}", 16: "[0-9a-fA-F]{1,16}"}
_NOT_ASCII = re.compile(rb"[\x80-\xff]")
_ENDINGS = (signal.SIGTERM, signal.SIGINT)
_STATUS = "x-fc-status"
_UNHANDLED = "UnhandledInvocationError"
_OCTETS = (("Content-Type", "application/octet-stream"),)
_HOOKS = {
    ("POST", "/initialize"): "initialize",
    ("GET", "/pre-stop"): "pre_stop",
    ("GET", "/pre-freeze"): "pre_freeze",
}
_LOGGED_AS = {"initialize": "Initialize", "pre_stop": "PreStop", "pre_freeze": "PreFreeze"}


def serve(
    handler: str | Handler,
    *,
    initialize: str | Hook | None = None,
    pre_stop: str | Hook | None = None,
    pre_freeze: str | Hook | None = None,
    host: str = "0.0.0.0",  # noqa: S104 - FC reaches its instances from outside
    port: int | None = None,
) -> None:
    """Answer FC's requests with `handler` and the hooks until SIGTERM, then finish the requests in progress.

    A second SIGINT does not wait for them, because a call that a developer interrupts may never end. Call this in the
    main thread, where the handler then runs. Handlers may be strings, as in FC's settings; the module of the handler
    is imported by its first call, as on FC. `port` is FC_CUSTOM_LISTEN_PORT by default, or 9000 if that is not set.
    If the root logger has no handlers, it gets one as on the built-in runtimes. Raises OSError if the port is not
    available, ValueError if it is invalid, and whatever ends the process in a handler: SystemExit, KeyboardInterrupt.
    """
    server = RuntimeServer(
        handler, initialize=initialize, pre_stop=pre_stop, pre_freeze=pre_freeze, host=host, port=port
    )
    configure_log()
    signals: SimpleQueue[int] = SimpleQueue()
    is_stopping = False

    def stop(arrived: int, _: object) -> None:
        nonlocal is_stopping
        if is_stopping and arrived == signal.SIGINT:
            raise KeyboardInterrupt
        is_stopping = True
        # It runs between any two steps of the main thread, so it takes no lock: `put` needs none.
        signals.put(arrived)

    def leave_to_default() -> None:
        # The thread that waits for `signals` does not exist in a forked child, which could not be ended otherwise.
        for number in _ENDINGS:
            if signal.getsignal(number) is stop:
                signal.signal(number, signal.SIG_DFL)

    before = {number: signal.signal(number, stop) for number in _ENDINGS}
    if hasattr(os, "register_at_fork"):  # not on Windows
        os.register_at_fork(after_in_child=leave_to_default)
    # In a thread, because stopping waits for threads that may wait for the one that a signal interrupts.
    threading.Thread(target=_stop_after, args=(signals, server), name="fcruntime-stop", daemon=True).start()
    try:
        server.run()
    finally:
        for number, handler_before in before.items():
            if signal.getsignal(number) is stop:  # the user's code may have set another one
                signal.signal(number, handler_before or signal.SIG_DFL)


def _stop_after(signals: SimpleQueue[int], server: RuntimeServer) -> None:
    signals.get()
    server.stop()


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
        """Listen on `port`. Raises OSError if the port is not available, and ValueError if it is invalid."""
        port = _read_port() if port is None else _check_port("port", port, port)
        self._handler = handler
        self._hooks = {"initialize": initialize, "pre_stop": pre_stop, "pre_freeze": pre_freeze}
        self._ending: BaseException | None = None
        self._process = os.getpid()
        self._calls = _MainThread()
        try:
            self._http = _Http((host, port), self)
        except OSError as exc:
            raise type(exc)(exc.errno, f"cannot listen on {host}, port {port}: {exc.strerror}") from None
        self.port: int = self._http.server_address[1]

    def run(self) -> None:
        """Answer until stopped, with the handler in this thread. Raises what ended the process in a handler."""
        self._process = os.getpid()
        http = threading.Thread(target=self._serve_http, name="fcruntime-http")
        http.start()
        try:
            self._calls.run()
        finally:
            self._http.shutdown()
            http.join()
        if self._ending is not None:
            raise self._ending

    def _serve_http(self) -> None:
        try:
            self._http.serve_forever(_POLL_SECONDS)
        finally:
            self._http.server_close()  # waits for the requests in progress, which may still need the main thread
            self._calls.end()

    def stop(self) -> None:
        """End `run`, from another thread."""
        self._http.shutdown()

    def call(self, event: bytes, context: Fc2Context) -> InvokeResult:
        """Run one invocation."""
        return self._calls.run_call(
            lambda: self._log_call("Invoke", context, lambda: invoke(self._handler, event, context))
        )

    def hook(self, name: str, context: Fc2Context) -> InvokeResult:
        """Call a hook, or succeed if it is not set."""
        hook = self._hooks[name]
        if hook is None:
            return InvokeResult(context.request_id, b"")

        def run(_event: bytes, given: object) -> object:
            found = cast("Hook", load(hook) if isinstance(hook, str) else hook)
            if hasattr(found(given), "__await__"):
                raise TypeError("the hook is a coroutine function, which FC does not run")
            return ""

        return self._calls.run_call(
            lambda: self._log_call(_LOGGED_AS[name], context, lambda: invoke(run, b"", context))
        )

    def _log_call(self, name: str, context: Fc2Context, call: _Call) -> InvokeResult:
        """Run `call` between the two lines by which FC divides its logs into requests. Never raises."""
        note_request(context.request_id)
        write_line(f"FC {name} Start RequestId: {context.request_id}")
        try:
            result = call()
        except BaseException as exc:  # noqa: BLE001 - of the handler of a signal, or what ends the process
            self._end_child(exc)
            reason = "the call was interrupted"
            if not isinstance(exc, Exception):
                # FC must be told that the call has failed before `run` raises it again.
                reason, self._ending = "the process ends", exc
                threading.Thread(target=self.stop).start()
            failure = _render_failure(f"{reason}: {exc}", type(exc).__name__)
            result = InvokeResult(context.request_id, failure, _UNHANDLED)
        self._end_child(result.exception)
        if not result.ok:
            log_error(result.body.decode())
        failed = "" if result.ok else ", Error: Unhandled function error"
        write_line(f"FC {name} End RequestId: {context.request_id}{failed}")
        return result

    def _end_child(self, exc: BaseException | None) -> None:
        """End this process if it is a child that was forked in the handler: only its parent may answer."""
        if os.getpid() == self._process:
            return
        code = (exc.code or 0) if isinstance(exc, SystemExit) else int(exc is not None)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code if isinstance(code, int) else 1)


class _Handed:
    """A call that was handed to the main thread, and its result, which says until then that it was interrupted."""

    def __init__(self, call: _Call) -> None:
        self.call = call
        self.began = False
        self.result = InvokeResult("", _render_failure("the call was interrupted", "Interrupted"), _UNHANDLED)
        self.results: SimpleQueue[InvokeResult] = SimpleQueue()


class _MainThread:
    """Runs calls in the thread that is in `run`, one at a time.

    The handler of a signal may raise between any two steps of the main thread. So a call stays in `_handed` until the
    thread that handed it over, in which no such handler runs, has its result.
    """

    def __init__(self) -> None:
        self._free = threading.Semaphore()
        self._handed: _Handed | None = None
        self._news: SimpleQueue[None] = SimpleQueue()
        self._ended = False

    def run_call(self, call: _Call) -> InvokeResult:
        """Run `call` in the main thread, or in this thread if the main thread is occupied."""
        if not self._free.acquire(blocking=False):
            return call()
        handed = self._handed = _Handed(call)
        self._news.put(None)
        result = handed.results.get()
        # Free before the answer leaves, so that the next request finds the main thread free.
        self._handed = None
        self._free.release()
        return result

    def run(self) -> None:
        """Run calls until `end`. What the handler of a signal raises between two calls is only logged."""
        while not self._ended:
            try:
                self._run_calls()
            except Exception as exc:  # noqa: BLE001 - the user's code has set the handler, which may raise anything
                log_error(f"raised between two calls, for example by a late alarm: {exc!r}")
            except BaseException:
                # The process ends. A call that was handed over in this moment must not wait forever, and later ones
                # run in their own threads.
                while not self._free.acquire(timeout=_POLL_SECONDS):
                    self._run_handed()
                raise

    def _run_calls(self) -> None:
        # With a time limit, because a signal that arrives just before the wait begins would not end it, and its
        # Python handler can only run in this thread.
        while not self._ended:
            with contextlib.suppress(Empty):
                self._news.get(timeout=_POLL_SECONDS)
            self._run_handed()

    def _run_handed(self) -> None:
        handed = self._handed
        if handed is None:
            return
        if not handed.began:
            handed.began = True
            handed.result = handed.call()
        handed.results.put(handed.result)

    def end(self) -> None:
        """End `run`. No call may be handed over any more."""
        self._ended = True
        self._news.put(None)


class _Http(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], runtime: RuntimeServer) -> None:
        self.runtime = runtime
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        self._closing = False
        self._idle: set[socket.socket] = set()
        self._receiving: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(address, _Requests)

    def mark_idle(self, connection: socket.socket) -> bool:
        """Note that `connection` waits for a request. Return False if no more requests are accepted."""
        with self._lock:
            self._idle.add(connection)
            return not self._closing

    def mark_receiving(self, connection: socket.socket) -> None:
        """Note that a request begins to arrive over `connection`."""
        with self._lock:
            self._idle.discard(connection)
            self._receiving.add(connection)

    def mark_busy(self, connection: socket.socket) -> None:
        """Note that a request has arrived over `connection` as a whole."""
        with self._lock:
            self._idle.discard(connection)
            self._receiving.discard(connection)

    def server_close(self) -> None:
        """Close idle connections at once, and wait for those on which a request is in progress.

        A request that does not arrive as a whole soon is not waited for: its client may be gone.
        """
        with self._lock:
            self._closing = True
        self._stop_reading(self._idle)
        patience = threading.Timer(_RECEIVING_SECONDS, self._stop_reading, (self._receiving,))
        patience.start()
        super().server_close()
        patience.cancel()

    def _stop_reading(self, connections: set[socket.socket]) -> None:
        with self._lock:
            for connection in connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RD)

    def handle_error(self, request: object, client_address: object) -> None:
        """Log what went wrong with a connection, unless only its client is gone."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    def server_bind(self) -> None:
        # HTTPServer would look up the machine's full name, which may take seconds. TCPServer sets SO_REUSEADDR,
        # without which the port stays blocked for a minute after the last run.
        socketserver.TCPServer.server_bind(self)


class _Context(Fc2Context):
    """The context of a custom runtime: that of runtimes up to python3.10, with the members of python3.12's."""

    @property
    def log_project(self) -> str:
        return self.service.log_project

    @property
    def log_store(self) -> str:
        return self.service.log_store


class _Requests(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Http

    def setup(self) -> None:
        super().setup()
        # FC needs connections that stay open, whatever the handler passed to socket.setdefaulttimeout.
        self.connection.settimeout(None)

    def handle_one_request(self) -> None:
        try:
            if self.server.mark_idle(self.connection):
                super().handle_one_request()
            else:
                self.close_connection = True
        finally:
            # Also for a connection that broke, which the server would keep otherwise.
            self.server.mark_busy(self.connection)

    def parse_request(self) -> bool:
        self.server.mark_receiving(self.connection)
        # Some clients, such as curl, send UTF-8 that is not percent-encoded. `http.server` would read it as Latin-1,
        # in which some of its bytes are white space and end the target.
        line: bytes = self.raw_requestline  # type: ignore[has-type]
        self.raw_requestline = _NOT_ASCII.sub(lambda found: b"%%%02X" % ord(found[0]), line)
        return super().parse_request()

    def do_GET(self) -> None:
        try:
            event = self._read_body()
        except ValueError as exc:
            self.send_error(400, str(exc))
            return
        self.server.mark_busy(self.connection)
        if self.headers.get("x-fc-control-path") == "/http-invoke":
            # The path of such a request is the caller's choice and must not reach the hooks.
            self._answer_http_trigger(event)
        else:
            self._answer_runtime(event)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = do_GET  # noqa: N815 - names of http.server

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer a request that is invalid or incomplete, so that FC does not regard it as a successful call."""
        self.close_connection = True
        # To a client whose version is unknown http.server would send no headers.
        self.request_version = self.protocol_version
        error = {"errorMessage": message or explain or "", "errorType": "BadRequest"}
        self._write(code, json.dumps(error).encode(), ok=False)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's name
        """Log nothing: each call has FC's own two lines."""

    def _answer_runtime(self, event: bytes) -> None:
        runtime, path = self.server.runtime, self.path.partition("?")[0]
        if (self.command, path) == ("POST", "/invoke"):
            result = runtime.call(event, self._make_context())
            self._write(200 if result.ok else 404, result.body, ok=result.ok)
        elif (self.command, path) in _HOOKS:
            result = runtime.hook(_HOOKS[self.command, path], self._make_context())
            self._write(200 if result.ok else 500, result.body, ok=result.ok)
        elif (self.command, path) == ("GET", "/health"):
            self._write(200, b"", ok=True)
        else:
            message = (
                f"{self.command} {path} is not a call of FC. "
                "Requests of an HTTP trigger have the header x-fc-control-path: /http-invoke."
            )
            error = {"errorMessage": message, "errorType": "NotFound"}
            self._write(404, json.dumps(error).encode(), ok=False)

    def _answer_http_trigger(self, body: bytes) -> None:
        context = self._make_context()
        # Not `path`, in which http.server replaces several slashes at the beginning by one.
        target = self.requestline.split()[1]
        event = http_event(self.command, target, self.headers.items(), body, context)
        result = self.server.runtime.call(event, context)
        status, headers, answer = http_answer(result)
        self._write(status, answer, headers, ok=result.ok)

    def _write(
        self, status: int, body: bytes, headers: Sequence[tuple[str, str]] = _OCTETS, *, ok: bool
    ) -> None:
        self.send_response(status)
        self.send_header(_STATUS, "200" if ok else "404")
        for name, value in headers:
            self.send_header(name, value)
        # Neither status has a body; what follows the headers would be read as the next answer.
        has_body = status not in (204, 304)
        if has_body:
            self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if has_body and self.command != "HEAD":
            self.wfile.write(body)

    def _read_body(self) -> bytes:
        """Return the whole body. Raises ValueError if its length is invalid or it is incomplete.

        A header that cannot be read may have been the length, without which the event would be empty.
        """
        if any(isinstance(one, _LOST_HEADERS) for one in self.headers.defects) or any(
            name != name.rstrip() for name in self.headers
        ):
            raise ValueError("a header of the request is not of the form 'name: value'")
        encoding = (self.headers.get("Transfer-Encoding") or "").strip().lower()
        if not encoding:
            lengths = set(self.headers.get_all("Content-Length") or ["0"])
            if len(lengths) > 1:
                raise ValueError("the request has several lengths")
            return self._read_exactly(_parse_size(lengths.pop(), 10))
        if encoding != "chunked":
            raise ValueError(f"the transfer encoding {encoding!r} is not supported")
        parts = []
        while size := _parse_size(self._read_line().partition(";")[0], 16):
            parts.append(self._read_exactly(size))
            if self._read_line():
                raise ValueError("a chunk of the request's body is longer than its size says")
        while self._read_line():
            continue
        return b"".join(parts)

    def _read_line(self) -> str:
        """Return a line without its end. Raises ValueError if it was cut off: it may then state a smaller size."""
        line = self.rfile.readline(_LONGEST_LINE)
        if not line.endswith(b"\n"):
            raise ValueError("the request's body is incomplete")
        return line.decode("latin-1").rstrip("\r\n")

    def _read_exactly(self, size: int) -> bytes:
        parts = []
        while size:
            # In parts, because memory for the whole size, which may be any number, would be allocated at once.
            parts.append(self.rfile.read(min(size, _LONGEST_READ)))
            if not parts[-1]:
                raise ValueError("the request's body is incomplete")
            size -= len(parts[-1])
        return b"".join(parts)

    def _make_context(self) -> Fc2Context:
        """Make a context of the headers, with credentials from the environment if the headers have none."""

        def header(name: str) -> str:
            return self.headers.get(f"x-fc-{name}") or ""

        keys = [header(name) for name in ("access-key-id", "access-key-secret", "security-token")]
        if not all(keys):
            variables = ("ACCESS_KEY_ID", "ACCESS_KEY_SECRET", "SECURITY_TOKEN")
            keys = [os.environ.get(f"ALIBABA_CLOUD_{name}", "") for name in variables]
        return _Context(
            header("request-id"),
            FunctionInfo(
                header("function-name") or os.environ.get("FC_FUNCTION_NAME", ""),
                header("function-handler"),
                read_whole_number(header("function-memory")) or 0,
                read_whole_number(header("function-timeout")) or 0,
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
            read_whole_number(header("retry-count")) or 0,
            TracingInfo(
                header("tracing-opentracing-span-context"),
                _decode_baggages(header("tracing-opentracing-span-baggages")),
                header("tracing-jaeger-endpoint"),
            ),
        )


def _read_port() -> int:
    for name in _PORT_VARIABLES:
        if text := os.environ.get(name):
            return _check_port(name, text, read_whole_number(text))
    return DEFAULT_PORT


def _check_port(name: str, given: object, port: int | None) -> int:
    if port is None or not 0 <= port <= _LAST_PORT:
        raise ValueError(f"{name} is {given!r}. Set it to a port number from 0 to {_LAST_PORT}.")
    return port


def _parse_size(text: str, base: int) -> int:
    digits = text.strip(" \t")
    if not re.fullmatch(_DIGITS[base], digits):
        raise ValueError("the length of the request's body, or of a part of it, is not a valid number")
    return int(digits, base)


def _decode_baggages(text: str) -> dict[str, str]:
    try:
        found = json.loads(base64.b64decode(text))
    except ValueError:
        return {}
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}


def _render_failure(message: str, kind: str) -> bytes:
    error = {"errorMessage": message, "errorType": kind, "stackTrace": []}
    return json.dumps(error, indent=4, sort_keys=True).encode()
