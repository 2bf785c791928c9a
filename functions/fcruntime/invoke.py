"""A local invoker: calls a handler as FC's built-in Python runtimes do, and answers in FC's own terms.

Results: `str` and `bytes` go back as they are, anything else as JSON with `indent=4, sort_keys=True`.
Exceptions become FC's error JSON (FC documentation, "error handling"; the runtime's frames are left out).
"""

from __future__ import annotations

import datetime
import decimal
import importlib
import io
import json
import os
import threading
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import replace
from types import ModuleType

from fcruntime.context import Fc3Context
from fcruntime.dataclass import dataclass
from fcruntime.jsonvalue import JsonValue

Handler = Callable[[bytes, object], object]


@dataclass(frozen=True)
class InvokeResult:
    """What FC would answer.

    `error_type` is the header `X-Fc-Error-Type`, None on success; `exception` is what the handler raised, for
    callers in this process. `output` is what was printed meanwhile, if it was asked for.
    """

    request_id: str
    body: bytes
    error_type: str | None = None
    exception: Exception | None = None
    output: str = ""

    @property
    def ok(self) -> bool:
        return self.error_type is None


class LoadError(Exception):
    """There is no function to call; `kind` is FC's `errorType` for that, and `trace` its `stackTrace`."""

    def __init__(self, kind: str, message: str, trace: list[str] | None = None) -> None:
        self.kind = kind
        self.trace = trace or []
        super().__init__(message)


def load(handler: str) -> Handler:
    """The function that a handler string such as `package.module.function` or `dir/module.function` names.

    Raises LoadError, as the built-in runtimes tell it.
    """
    module_name, dot, name = handler.rpartition(".")
    if not dot or not module_name or not name:
        raise LoadError("InvalidHandleName", f"handler {handler!r} is not of the form module.function")
    function = getattr(_module(module_name), name, None)
    if not callable(function):
        raise LoadError("HandlerNotFound", f"handler {name!r} is missing in module {module_name!r}")
    found: Handler = function
    return found


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name.replace("/", "."))
    except Exception as exc:
        raise LoadError(*_failure(name, exc), traceback.format_exc().splitlines()) from exc


def _failure(module: str, exc: Exception) -> tuple[str, str]:
    if isinstance(exc, SyntaxError):
        return "UserCodeSyntaxError", _said(exc)
    if isinstance(exc, ImportError):
        return "ImportModuleError", f"Unable to import module {module!r}: {_said(exc)}"
    return "UserCodeError", f"Module initialization error: {_said(exc)!r}"


def _said(exc: Exception) -> str:
    try:
        return str(exc)
    except Exception:  # noqa: BLE001 - even its text is the user's code
        return f"<unprintable {type(exc).__name__}>"


def _default(value: object) -> JsonValue:
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, (datetime.datetime, datetime.date)):
        return value.isoformat()
    to_json: Callable[[], JsonValue] | None = getattr(value, "to_json", None)
    if callable(to_json):
        return to_json()
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _rendered(result: object) -> bytes:
    if isinstance(result, bytes):
        return result
    if isinstance(result, str):
        return result.encode()
    return json.dumps(result, indent=4, sort_keys=True, default=_default).encode()


def _error_body(exc: Exception) -> bytes:
    kind = exc.kind if isinstance(exc, LoadError) else type(exc).__name__
    trace = exc.trace if isinstance(exc, LoadError) else _frames(exc)
    body = {"errorMessage": _said(exc), "errorType": kind, "stackTrace": trace}
    return json.dumps(body, indent=4, sort_keys=True).encode()


def _frames(exc: Exception) -> list[list[str]]:
    return [
        [f'File "{frame.filename}"', f"line {frame.lineno}", f"in {frame.name}", frame.line or ""]
        for frame in traceback.extract_tb(exc.__traceback__)[1:]
    ]


def invoke(
    handler: str | Handler,
    event: bytes,
    context: object = None,
    *,
    environ: Mapping[str, str] | None = None,
    timeout: float | None = None,
    captures: bool = False,
) -> InvokeResult:
    """Call `handler` with `event` and `context` (by default a context of FC 3.0 with a fresh request id).

    `environ` is added to the environment meanwhile. After `timeout` seconds the result is that of a time-out; the
    call itself goes on in its thread, for nothing can end it in this process. `captures` keeps what is printed.
    Environment and output are the process's: calls that set them must not overlap. Only `Exception` is caught, as
    on FC: `SystemExit` and its like pass, to end the process.
    """
    if context is None:
        context = Fc3Context(request_id=f"1-{uuid.uuid4().hex[:8]}-{uuid.uuid4().hex[:24]}")
    printed = io.StringIO()
    with _added(environ or {}), redirect_stdout(printed) if captures else nullcontext():
        whole = timeout is None
        result = _call(handler, event, context) if whole else _within(timeout, handler, event, context)
    return replace(result, output=printed.getvalue())


def _within(seconds: float | None, handler: str | Handler, event: bytes, context: object) -> InvokeResult:
    ends: list[InvokeResult | BaseException] = []

    def run() -> None:
        try:
            ends.append(_call(handler, event, context))
        except BaseException as exc:  # noqa: BLE001 - raised again in the caller's thread
            ends.append(exc)

    thread = threading.Thread(target=run, name="fcruntime-invoke", daemon=True)
    thread.start()
    thread.join(seconds)
    for end in ends:
        if isinstance(end, BaseException):
            raise end
        return end
    body = json.dumps({"errorMessage": f"Function time out after {seconds or 0:g} seconds"}).encode()
    return InvokeResult(str(getattr(context, "request_id", "")), body, "FunctionTimeoutError")


@contextmanager
def _added(environ: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in environ}
    os.environ.update(environ)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _call(handler: str | Handler, event: bytes, context: object) -> InvokeResult:
    request_id = str(getattr(context, "request_id", ""))
    try:
        function = load(handler) if isinstance(handler, str) else handler
        return InvokeResult(request_id, _rendered(function(event, context)))
    except Exception as exc:  # noqa: BLE001 - FC reports whatever the handler raises
        return InvokeResult(request_id, _error_body(exc), "UnhandledInvocationError", exc)
