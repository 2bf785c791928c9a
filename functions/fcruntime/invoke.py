"""A local invoker: calls a handler as FC's built-in Python runtimes do, and returns what FC would answer.

A result that is `str` or `bytes` is the answer as it is; anything else becomes JSON with `indent=4, sort_keys=True`.
An exception becomes FC's error JSON (FC documentation, "error handling") without the frames of the runtime.
"""

from __future__ import annotations

import datetime
import decimal
import importlib
import io
import json
import os
import signal
import sys
import threading
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import replace
from itertools import dropwhile
from types import ModuleType
from typing import Any, TextIO

from fcruntime.context import Fc3Context
from fcruntime.dataclass import dataclass
from fcruntime.jsonvalue import JsonValue

# Any, because handlers annotate their context with a type of their own, such as Fc3Context.
Handler = Callable[[bytes, Any], object]
_PACKAGE = __file__.removesuffix("invoke.py")


@dataclass(frozen=True)
class InvokeResult:
    """What FC would answer.

    `error_type` is the header `X-Fc-Error-Type`, or None on success. `exception` is what the handler raised, for
    callers in this process. `output` is what was written to standard output during the call, if that was requested.
    """

    request_id: str
    body: bytes
    error_type: str | None = None
    exception: Exception | None = None
    output: str = ""

    @property
    def ok(self) -> bool:
        """Whether the call succeeded."""
        return self.error_type is None


class LoadError(Exception):
    """The handler cannot be loaded. `kind` is FC's `errorType` for the reason, and `trace` its `stackTrace`."""

    def __init__(self, kind: str, message: str, trace: list[str] | None = None) -> None:
        self.kind = kind
        self.trace = trace or []
        super().__init__(message)


def load(handler: str) -> Handler:
    """Import and return the function that a handler string such as `package.module.function` names.

    Packages may be separated by dots or slashes. Raises LoadError with the names of errors that the built-in
    runtimes use.
    """
    module_name, dot, name = handler.rpartition(".")
    if not dot or not module_name or not name:
        raise LoadError("InvalidHandleName", f"handler {handler!r} is not of the form module.function")
    function = getattr(_import_module(module_name), name, None)
    if not callable(function):
        raise LoadError("HandlerNotFound", f"handler {name!r} is missing in module {module_name!r}")
    found: Handler = function
    return found


def _import_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name.replace("/", "."))
    except Exception as exc:
        raise LoadError(*_describe_import_failure(name, exc), traceback.format_exc().splitlines()) from exc


def _describe_import_failure(module: str, exc: Exception) -> tuple[str, str]:
    if isinstance(exc, SyntaxError):
        return "UserCodeSyntaxError", _read_message(exc)
    if isinstance(exc, ImportError):
        return "ImportModuleError", f"Unable to import module {module!r}: {_read_message(exc)}"
    return "UserCodeError", f"Module initialization error: {_read_message(exc)!r}"


def _read_message(exc: Exception) -> str:
    try:
        return str(exc)
    except Exception:  # noqa: BLE001 - the text of an exception can be the user's code, too
        return f"<unprintable {type(exc).__name__}>"


def _convert_to_json(value: object) -> JsonValue:
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, (datetime.datetime, datetime.date)):
        return value.isoformat()
    to_json: Callable[[], JsonValue] | None = getattr(value, "to_json", None)
    if callable(to_json):
        return to_json()
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _render_result(result: object) -> bytes:
    if isinstance(result, bytes):
        return result
    if isinstance(result, str):
        return result.encode()
    return json.dumps(result, indent=4, sort_keys=True, default=_convert_to_json).encode()


def _render_error(exc: Exception) -> bytes:
    kind = exc.kind if isinstance(exc, LoadError) else type(exc).__name__
    trace = exc.trace if isinstance(exc, LoadError) else _read_frames(exc)
    body = {"errorMessage": _read_message(exc), "errorType": kind, "stackTrace": trace}
    return json.dumps(body, indent=4, sort_keys=True).encode()


def _read_frames(exc: Exception) -> list[list[str]]:
    frames = traceback.extract_tb(exc.__traceback__)
    user_frames = dropwhile(lambda frame: frame.filename.startswith(_PACKAGE), frames)
    return [
        [f'File "{frame.filename}"', f"line {frame.lineno}", f"in {frame.name}", frame.line or ""]
        for frame in user_frames
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
    """Call `handler` with `event` and `context` (by default a context of FC 3.0 with a new request id).

    `environ` is added to the environment variables for the call. `captures` keeps what is printed. Both belong to
    the process: calls that use them must not overlap. Only `Exception` is caught, as on FC: `SystemExit` and the
    like pass, to end the process.

    The handler runs in the calling thread. After `timeout` seconds the result is that of a time-out. In the main
    thread the handler is then interrupted, with the signal SIGURG and an exception that `except Exception` does not
    catch; code that no signal interrupts ends first. In another thread no signal can interrupt it, so there a
    handler with a `timeout` gets a thread of its own, in which it continues after the time-out.
    """
    if context is None:
        context = Fc3Context(request_id=f"1-{uuid.uuid4().hex[:8]}-{uuid.uuid4().hex[:24]}")
    printed = _Printed()
    with _environment(environ or {}), _capture(printed) if captures else nullcontext():
        result = _call_within(timeout, lambda: _call(handler, event, context))
    if result is None:
        body = json.dumps({"errorMessage": f"Function time out after {timeout or 0:g} seconds"}).encode()
        result = InvokeResult(str(getattr(context, "request_id", "")), body, "FunctionTimeoutError")
    return replace(result, output=printed.getvalue().decode(errors="replace"))


class _Printed(io.BytesIO):
    """What was printed, as text or as bytes, even if the handler closed its output."""

    def close(self) -> None:
        pass


@contextmanager
def _capture(printed: _Printed) -> Iterator[None]:
    """Add what is written to standard output to `printed`, also by the log handlers that keep a reference to it.

    A module that is imported by the call makes its handlers with the new output, so they are given the old one back.
    """
    before = sys.stdout
    output = io.TextIOWrapper(printed, "utf-8", "backslashreplace", "", write_through=True)
    _move_log_handlers(before, output)
    try:
        with redirect_stdout(output):
            yield
    finally:
        _move_log_handlers(output, before)


def _move_log_handlers(old: TextIO, new: TextIO) -> None:
    import logging  # here, because a function on FC captures nothing

    for logger in [logging.root, *logging.root.manager.loggerDict.values()]:
        for handler in getattr(logger, "handlers", ()):
            if getattr(handler, "stream", handler) is old:
                # Not by `setStream`, which flushes the old stream, though the call may have closed it.
                handler.stream = new


def _call_within(seconds: float | None, call: Callable[[], InvokeResult]) -> InvokeResult | None:
    """Return the result of `call`, or None if it takes longer than `seconds`."""
    if seconds is None:
        return call()
    if threading.current_thread() is threading.main_thread() and hasattr(signal, "pthread_kill"):
        return _interrupt_after(seconds, call)
    return _abandon_after(seconds, call)


class _TimeUp(BaseException):
    """Raised in the main thread where the handler is when its time is up."""


def _interrupt_after(seconds: float, call: Callable[[], InvokeResult]) -> InvokeResult | None:
    """Return the result of `call` in the main thread, or None if it was interrupted or came too late.

    SIGURG is not used by handlers and has no effect by default, so a signal that arrives late does no harm. The
    alarm clock (SIGALRM) stays free for handlers that limit the time of their own work with it.
    """
    main, running, expired = threading.get_ident(), False, False

    def interrupt(*_: object) -> None:
        if running:
            raise _TimeUp

    def expire() -> None:
        nonlocal expired
        expired = True
        if running:
            signal.pthread_kill(main, signal.SIGURG)

    before = signal.signal(signal.SIGURG, interrupt)
    timer = threading.Timer(seconds, expire)
    timer.daemon = True
    timer.start()
    result = None
    try:
        try:
            running = True
            # The timer may have expired already, when there was nothing to interrupt yet.
            result = None if expired else call()
        finally:
            running = False
    except _TimeUp:
        pass
    finally:
        is_late = expired
        timer.cancel()
        signal.signal(signal.SIGURG, before)
    return None if is_late else result


def _abandon_after(seconds: float, call: Callable[[], InvokeResult]) -> InvokeResult | None:
    """Return the result of `call` in a thread of its own, or None if it still runs after `seconds`."""
    ends: list[InvokeResult | BaseException] = []

    def run() -> None:
        try:
            ends.append(call())
        except BaseException as exc:  # noqa: BLE001 - raised again in the caller's thread
            ends.append(exc)

    thread = threading.Thread(target=run, name="fcruntime-invoke", daemon=True)
    thread.start()
    thread.join(seconds)
    for end in ends:
        if isinstance(end, BaseException):
            raise end
        return end
    return None


@contextmanager
def _environment(added: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in added}
    os.environ.update(added)
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
        return InvokeResult(request_id, _render_result(function(event, context)))
    except Exception as exc:  # noqa: BLE001 - FC reports whatever the handler raises
        return InvokeResult(request_id, _render_error(exc), "UnhandledInvocationError", exc)
