"""The program inside an instance. It runs alone: nothing of the local cloud is on its path.

Loading, contexts, results, errors and log lines follow Function Compute's Python runtimes:
https://www.alibabacloud.com/help/en/functioncompute/fc/user-guide/event-handlers-7 and .../context-1. Requests arrive
on one pipe and answers leave on another; each is a line of JSON followed by as many bytes as it announces. A third
pipe closes when the process that started this one ends.
"""

from __future__ import annotations

import datetime
import decimal
import faulthandler
import importlib
import json
import logging
import os
import resource
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

_KEPT = {
    "FC_FUNC_CODE_PATH",
    "FC_ACCOUNT_ID",
    "FC_FUNCTION_NAME",
    "FC_FUNCTION_HANDLER",
    "FC_FUNCTION_MEMORY_SIZE",
    "FC_REGION",
    "FC_INSTANCE_ID",
    "FC_CUSTOM_LISTEN_PORT",
    "FC_VER_ID",
    "FC_FUNCTION_VERSION",
    "FC_RUNTIME_VERSION",
}


class LoadError(Exception):
    """User code cannot be loaded; `kind` is FC's name for the reason."""

    def __init__(self, kind: str, message: str, trace: list[str]) -> None:
        self.kind = kind
        self.trace = trace
        super().__init__(message)


class Credentials(SimpleNamespace):
    """Temporary keys, with both spellings of their names."""

    def __init__(self, access_key_id: str, access_key_secret: str, security_token: str) -> None:
        super().__init__(
            access_key_id=access_key_id,
            access_key_secret=access_key_secret,
            security_token=security_token,
            accessKeyId=access_key_id,
            accessKeySecret=access_key_secret,
            securityToken=security_token,
        )

    def __repr__(self) -> str:
        return "Credentials(...)"


class Context(SimpleNamespace):
    """The second argument of a handler."""

    def getLogger(self) -> logging.Logger:  # noqa: N802 - FC's own name
        """Return the root logger."""
        return logging.getLogger()

    def to_json(self) -> dict[str, Any]:
        """Return the context's members as JSON."""
        return {name: _convert_namespace(value) for name, value in vars(self).items()}


def _convert_namespace(value: Any) -> Any:
    return (
        {name: _convert_namespace(one) for name, one in vars(value).items()}
        if isinstance(value, SimpleNamespace)
        else value
    )


class Formatter(logging.Formatter):
    """Formats log lines as `2017-07-05T05:13:35.920Z <request id> [INFO] text`."""

    request_id = ""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        head = f"{moment}.{int(record.msecs):03d}Z {self.request_id} [{record.levelname}] "
        return head + super().format(record)


class Runtime:
    """Answers the requests of one instance. FC's own log lines are written to the descriptor `out`."""

    def __init__(self, settings: dict[str, Any], out: int) -> None:
        self._settings = settings
        self._out = out
        if settings.get("cloud_url"):
            _take_over(settings["cloud_url"])
        self._formatter = Formatter("%(message)s")
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(self._formatter)
        logging.root.addHandler(handler)
        logging.root.setLevel(logging.INFO)
        self._write_line("FunctionCompute python3 runtime inited.")

    def answer(self, request: dict[str, Any], event: bytes) -> tuple[dict[str, Any], bytes]:
        """Answer a request, and return the header and the body of the answer."""
        kind, request_id = request["kind"], request["request_id"]
        word = {"initialize": "Initialize", "pre_stop": "PreStop", "invoke": "Invoke"}[kind]
        self._formatter.request_id = request_id
        self._write_line(f"FC {word} Start RequestId: {request_id}")
        context = self._context(request)
        began = time.monotonic()
        try:
            if kind == "invoke":
                body, error = _render(self._load(self._settings["handler"])(event, context)), None
            else:
                hook = self._load(self._settings["initializer" if kind == "initialize" else kind])
                if hasattr(hook(context), "__await__"):
                    raise TypeError("the hook is a coroutine function")
                body, error = b"", None
        except LoadError as exc:
            body, error = _load_error(exc), "UnhandledInvocationError"
            logging.root.error("\n".join([str(exc), *exc.trace]))
        # FC reports every exception that a handler raises.
        except Exception as exc:  # noqa: BLE001
            body, error = _error(exc), "UnhandledInvocationError"
            logging.root.error("", exc_info=True)
        failed = ", Error: Unhandled function error" if error else ""
        self._flush()
        self._write_line(f"FC {word} End RequestId: {request_id}{failed}")
        duration = (time.monotonic() - began) * 1000
        return {"error": error, "duration_ms": duration, "memory_mb": _most_memory_mb()}, body

    def _write_line(self, line: str) -> None:
        # Not with sys.stdout, which the function may have closed.
        os.write(self._out, f"{line}\n".encode())

    @staticmethod
    def _flush() -> None:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError, AttributeError):
                continue

    def _context(self, request: dict[str, Any]) -> Context:
        settings, modern = self._settings, self._settings["runtime"] == "python3.12"
        function = SimpleNamespace(
            name=settings["name"],
            handler=settings["handler"],
            memory=settings["memory"],
            timeout=settings["timeout"],
        )
        members: dict[str, Any] = {
            "request_id": request["request_id"],
            "function": function,
            "region": settings["region"],
            "account_id": settings["account_id"],
            "logger": None,
        }
        if modern:
            function.version_id, function.qualifier = settings["version_id"], settings["qualifier"]
            return Context(**members, log_project="", log_store="")
        service = SimpleNamespace(
            name="",
            log_project="",
            log_store="",
            qualifier=settings["qualifier"],
            version_id=settings["version_id"],
        )
        return Context(
            **members,
            requestId=request["request_id"],
            service=service,
            tracing=SimpleNamespace(span_context="", span_baggages={}, jaeger_endpoint=""),
            credentials=Credentials(*settings["credentials"]),
            retry_count=request.get("retry_count", 0),
        )

    @staticmethod
    def _load(handler: str) -> Any:
        module_name, dot, name = handler.rpartition(".")
        if not dot or not module_name:
            raise LoadError("InvalidHandleName", f"Invalid handler {handler!r}", [])
        try:
            module = importlib.import_module(module_name.replace("/", "."))
        except SyntaxError as exc:
            raise LoadError("UserCodeSyntaxError", str(exc), traceback.format_exc().splitlines()) from exc
        except ImportError as exc:
            trace = traceback.format_exc().splitlines()
            raise LoadError(
                "ImportModuleError", f"Unable to import module {module_name!r}: {exc}", trace
            ) from exc
        except Exception as exc:
            trace = traceback.format_exc().splitlines()
            raise LoadError("UserCodeError", f"Module initialization error: {str(exc)!r}", trace) from exc
        function = getattr(module, name, None)
        if not callable(function):
            raise LoadError("HandlerNotFound", f"Handler {name!r} is missing on module {module_name!r}", [])
        return function


def _default(value: Any) -> Any:
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, (datetime.datetime, datetime.date)):
        return value.isoformat()
    if callable(getattr(value, "to_json", None)):
        return value.to_json()
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _render(result: Any) -> bytes:
    if isinstance(result, (bytes, bytearray)):
        return bytes(result)
    if isinstance(result, str):
        return result.encode()
    return json.dumps(result, indent=4, sort_keys=True, default=_default).encode()


def _error(exc: Exception) -> bytes:
    frames = [
        [f'File "{frame.filename}"', f"line {frame.lineno}", f"in {frame.name}", frame.line or ""]
        for frame in traceback.extract_tb(exc.__traceback__)
        if frame.filename != __file__
    ]
    body = {"errorMessage": str(exc), "errorType": type(exc).__name__, "stackTrace": frames}
    return json.dumps(body, indent=4, sort_keys=True).encode()


def _load_error(exc: LoadError) -> bytes:
    body = {"errorMessage": str(exc), "errorType": exc.kind, "stackTrace": exc.trace}
    return json.dumps(body, indent=4, sort_keys=True).encode()


def _most_memory_mb() -> int:
    """Return the largest memory of this process so far, in MB."""
    try:
        # On Linux, the figure of getrusage starts with the memory of the parent process.
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return int(status.partition("VmHWM:")[2].split()[0]) // 1024
    except (OSError, IndexError, ValueError):
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most // (2**20 if sys.platform == "darwin" else 1024)


def _take_over(url: str) -> None:
    """Direct connections to Alibaba Cloud's hosts to the local cloud at `url`, without TLS.

    So a function runs with the endpoints that it has in the real cloud.
    """
    # The function's code comes first on the path, but its modules must not replace those that `ssl` imports.
    code = sys.path.pop(0)
    import ssl

    sys.path.insert(0, code)
    host, _, port = url.partition("://")[2].rpartition(":")
    look_up, wrap = socket.getaddrinfo, ssl.SSLContext.wrap_socket

    def is_cloud(name: Any) -> bool:
        text = name.decode("ascii", "replace") if isinstance(name, bytes) else name
        return isinstance(text, str) and text.lower().rstrip(".").endswith(".aliyuncs.com")

    def find_address(name: Any, service: Any, *given: Any, **named: Any) -> Any:
        return look_up(
            *((host.strip("[]"), int(port)) if is_cloud(name) else (name, service)), *given, **named
        )

    def wrap_socket(context: Any, sock: Any, *given: Any, **named: Any) -> Any:
        is_plain = is_cloud(named.get("server_hostname"))
        return sock if is_plain else wrap(context, sock, *given, **named)

    # `setattr`, because the types of a patch never fit.
    setattr(socket, "getaddrinfo", find_address)  # noqa: B010
    setattr(ssl.SSLContext, "wrap_socket", wrap_socket)  # noqa: B010


def _end_with(parent: int) -> None:
    """End this process when the one that started it has ended, whatever runs here."""
    os.read(parent, 1)
    os._exit(1)


def _make_clock_follow() -> Callable[[float], None]:
    """Let `time.time` and `time.time_ns` run ahead of the machine's clock; return the function that sets how far."""
    real, real_ns = time.time, time.time_ns
    ahead = [0.0]
    time.time = lambda: real() + ahead[0]
    time.time_ns = lambda: real_ns() + round(ahead[0] * 1e9)

    def set_ahead(seconds: float) -> None:
        ahead[0] = seconds

    return set_ahead


def _serve(source: BinaryIO, sink: BinaryIO, out: int) -> None:
    runtime: Runtime | None = None
    set_ahead = _make_clock_follow()
    for line in iter(source.readline, b""):
        request = json.loads(line)
        event = source.read(request["size"])
        set_ahead(request["advanced"])
        if runtime is None:
            runtime = Runtime(request["settings"], out)
        header, body = runtime.answer(request, event)
        sink.write(json.dumps({**header, "size": len(body)}).encode() + b"\n" + body)
        sink.flush()


def main() -> None:
    source, sink, parent = map(int, sys.argv[1:4])
    out = os.dup(1)
    for descriptor in (source, sink, parent, out):
        os.set_inheritable(descriptor, False)  # noqa: FBT003
    # At a time-out, FC ends the process with SIGTERM, and its runtime logs the stacks of all threads.
    faulthandler.register(signal.SIGTERM, file=out, all_threads=True, chain=True)
    # The first entry of the path is the folder of this file; the function's code takes its place.
    sys.path[0] = os.environ["FC_FUNC_CODE_PATH"]
    sys.argv = [""]
    for name in [name for name in os.environ if name.startswith(("FC_", "_FC_")) and name not in _KEPT]:
        del os.environ[name]
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    with os.fdopen(source, "rb") as requests, os.fdopen(sink, "wb") as answers:
        _serve(requests, answers, out)


if __name__ == "__main__":
    main()
