import contextlib
import datetime
import decimal
import importlib
import json
import logging
import os
import signal
import sqlite3
import sys
import threading

import pytest
from fcevents import smq_event

from fcruntime import Fc2Context, invoke, lambda_handler


def test_a_stack_trace_begins_in_the_users_code():
    """The frames of `lambda_handler` are as little of interest as those of the invoker."""

    @lambda_handler
    def handler(event, context):
        raise ValueError

    body = json.loads(invoke(handler, smq_event("M1", "body")).body)
    assert [frame[2] for frame in body["stackTrace"]] == ["in handler"]


def test_text_and_bytes_go_back_verbatim():
    """A handler's str and bytes are the answer as they are."""
    assert invoke(lambda event, _: event, b"\xff").body == b"\xff"
    assert invoke(lambda *_: "é", b"").body == "é".encode()


def test_other_results_become_fcs_json():
    """Anything else is JSON with sorted keys and four spaces, dates and decimals as FC writes them."""
    result = invoke(lambda *_: {"b": decimal.Decimal("1.5"), "a": datetime.date(2026, 1, 2)}, b"")
    assert result.body == b'{\n    "a": "2026-01-02",\n    "b": 1.5\n}'


def test_an_exception_becomes_fcs_error():
    """A handler's exception is FC's error document, without the runtime's own frame."""

    def handler(event, context):
        raise ValueError("wrong")

    result = invoke(handler, b"")
    body = json.loads(result.body)
    assert (result.ok, result.error_type) == (False, "UnhandledInvocationError")
    assert (body["errorMessage"], body["errorType"]) == ("wrong", "ValueError")
    assert len(body["stackTrace"]) == 1
    assert body["stackTrace"][0][2] == "in handler"


def test_output_is_captured_as_from_a_real_stream():
    """A handler may write bytes, text that is not Unicode, and close its output."""

    def handler(event, context):
        sys.stdout.write("text\ud800\n")
        sys.stdout.buffer.write(b"bytes\n")
        sys.stdout.close()
        return "done"

    result = invoke(handler, b"", captures=True)
    assert (result.body, result.output) == (b"done", "text\\ud800\nbytes\n")


def test_an_exception_without_printable_text_is_reported():
    """An exception whose text cannot be read is reported by its type."""

    class Odd(Exception):
        def __str__(self):
            raise ValueError

    def handler(event, context):
        raise Odd

    result = invoke(handler, b"")
    assert json.loads(result.body)["errorMessage"] == "<unprintable Odd>"
    assert (result.ok, result.error_type) == (False, "UnhandledInvocationError")


def test_a_result_that_is_not_json_is_an_error():
    """A result that cannot be serialized is reported as the function's TypeError."""
    assert json.loads(invoke(lambda *_: object(), b"").body)["errorType"] == "TypeError"


def test_handler_strings(tmp_path, monkeypatch):
    """A handler is named module.function, with packages by dot or slash."""
    package = tmp_path / "shop_pkg"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "index.py").write_text("def handler(event, context):\n    return context.request_id\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    context = Fc2Context("r-9")
    for name in ("shop_pkg.index.handler", "shop_pkg/index.handler"):
        assert invoke(name, b"", context).body == b"r-9"
    for module in ("shop_pkg", "shop_pkg.index"):
        sys.modules.pop(module)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("nohandler", "InvalidHandleName"),
        (".f", "InvalidHandleName"),
        ("json.", "InvalidHandleName"),
        ("json.no_such", "HandlerNotFound"),
        ("no_such_module.f", "ImportModuleError"),
        ("broken_code.f", "UserCodeSyntaxError"),
        ("failing_code.f", "UserCodeError"),
    ],
)
def test_code_that_cannot_be_loaded_is_reported_as_by_fc(tmp_path, monkeypatch, name, kind):
    """Errors have the names that the built-in runtimes use, and a stack trace if there is one."""
    (tmp_path / "broken_code.py").write_text("def f(:")
    (tmp_path / "failing_code.py").write_text("{}['absent']")
    monkeypatch.syspath_prepend(str(tmp_path))
    result = invoke(name, b"")
    error = json.loads(result.body)
    assert (result.error_type, error["errorType"]) == ("UnhandledInvocationError", kind)
    assert bool(error["stackTrace"]) == (
        kind in ("ImportModuleError", "UserCodeSyntaxError", "UserCodeError")
    )
    assert all(isinstance(line, str) for line in error["stackTrace"])


@pytest.mark.parametrize("timeout", [None, 10])
def test_system_exit_ends_the_process(timeout):
    """Only Exception is caught, as on FC."""

    def handler(event, context):
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        invoke(handler, b"", timeout=timeout)


def test_environment_variables_are_restored(monkeypatch):
    """`environ` is set during the call and restored after it."""
    monkeypatch.setenv("STANDING", "before")

    def handler(event, context):
        return [os.environ["STANDING"], os.environ["FRESH"]]

    result = invoke(handler, b"", environ={"STANDING": "meanwhile", "FRESH": "x"})
    assert json.loads(result.body) == ["meanwhile", "x"]
    assert os.environ["STANDING"] == "before"
    assert "FRESH" not in os.environ


def test_printed_output_is_kept_on_request():
    """`captures` keeps what the handler prints."""
    assert invoke(lambda event, context: sys.stdout.write("said\n"), b"", captures=True).output == "said\n"
    assert invoke(lambda event, context: None, b"").output == ""


LOGGING = """
import logging
import sys

logger = logging.getLogger("fcruntime-captured")
logger.addHandler(logging.StreamHandler(sys.stdout))


def handler(event, context):
    logger.warning("logged")
"""


@pytest.mark.parametrize("imported_before", [True, False])
def test_log_handlers_write_to_the_output_of_each_call(tmp_path, monkeypatch, capsys, imported_before):
    """A module makes its log handlers once, with the output at that time, which is another one in the next call."""
    name = f"logging_{imported_before}"
    (tmp_path / f"{name}.py").write_text(LOGGING)
    monkeypatch.syspath_prepend(tmp_path)
    if imported_before:
        importlib.import_module(name)
    try:
        for _ in range(2):
            assert invoke(f"{name}.handler", b"", captures=True).output == "logged\n"
        assert capsys.readouterr().out == ""
        assert invoke(f"{name}.handler", b"").ok
        assert capsys.readouterr().out == "logged\n"
    finally:
        logging.getLogger("fcruntime-captured").handlers.clear()


@pytest.mark.parametrize("in_main_thread", [True, False])
def test_a_call_that_takes_too_long_is_a_time_out(in_main_thread):
    """A time-out is answered as FC answers it, whichever thread calls."""
    free = threading.Event()
    results = []

    def call():
        results.append(invoke(lambda event, context: free.wait(60), b"", timeout=0.05))
        results.append(invoke(lambda event, context: "in time", b"", timeout=60))

    if in_main_thread:
        call()
    else:
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
    free.set()
    late, in_time = results
    assert (late.ok, late.error_type) == (False, "FunctionTimeoutError")
    assert json.loads(late.body) == {"errorMessage": "Function time out after 0.05 seconds"}
    assert in_time.body == b"in time"


def test_a_call_with_a_time_out_stays_in_the_main_thread():
    """A handler may set signals and use a connection to SQLite that its module made, as on Lambda."""
    with contextlib.closing(sqlite3.connect(":memory:")) as database:

        def handler(event, context):
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            database.execute("CREATE TABLE t (n)")
            return threading.current_thread() is threading.main_thread()

        assert invoke(handler, b"", timeout=60).body == b"true"


def test_a_time_out_ends_the_handler_in_the_main_thread(monkeypatch):
    """The handler does not go on: its clean-up runs, and it cannot take the time-out for an error of its own."""
    seen, begun = [], threading.Event()

    class LateTimer(threading.Timer):
        """A timer that begins when the handler has begun, however busy the machine is."""

        def run(self):
            assert begun.wait(60)
            super().run()

    monkeypatch.setattr(threading, "Timer", LateTimer)

    def handler(event, context):
        try:
            begun.set()
            threading.Event().wait(60)
        except Exception as exc:  # noqa: BLE001 - what careless handlers do
            seen.append(exc)
        finally:
            seen.append("cleaned up")

    before = signal.getsignal(signal.SIGURG)
    assert invoke(handler, b"", timeout=0.05).error_type == "FunctionTimeoutError"
    assert seen == ["cleaned up"]
    assert signal.getsignal(signal.SIGURG) is before


def test_a_handler_that_ends_after_its_time_out_is_a_time_out():
    """A result that comes too late does not count, even if the handler ignores the interruption."""

    def handler(event, context):
        try:
            threading.Event().wait(60)
        except BaseException:  # noqa: BLE001 - what careless handlers do
            return "too late"

    assert invoke(handler, b"", timeout=0.05).error_type == "FunctionTimeoutError"


# An interruption is lost, and pytest warns of it, if it comes while the garbage collector calls back, as it does for
# hypothesis. The handler then goes on, and its result is late.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("timeout", [0.0, 0.0001, 0.0005, 0.002])
def test_a_time_out_at_any_moment_is_a_result(timeout):
    """Whenever the time is up, before, during or after the handler's work, the call ends with a result."""
    for _ in range(100):
        result = invoke(lambda event, context: sum(range(2000)), b"", timeout=timeout)
        assert result.error_type in (None, "FunctionTimeoutError")
        assert result.ok or result.body.startswith(b'{"errorMessage": "Function time out')
