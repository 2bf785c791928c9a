import datetime
import decimal
import json
import os
import sys
import threading

import pytest

from fcruntime import Fc2Context, invoke


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


def test_an_exception_that_cannot_be_told_is_an_error_all_the_same():
    class Odd(Exception):
        def __str__(self):
            raise ValueError

    def handler(event, context):
        raise Odd

    result = invoke(handler, b"")
    assert json.loads(result.body)["errorMessage"] == "<unprintable Odd>"
    assert (result.ok, result.error_type) == (False, "UnhandledInvocationError")


def test_a_result_that_is_not_json_is_an_error():
    """A result that cannot be serialised is reported as the function's TypeError."""
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
def test_code_that_cannot_be_loaded_is_told_as_fc_does(tmp_path, monkeypatch, name, kind):
    """By the names of the built-in runtimes, with a stack trace of one level where there is one."""
    (tmp_path / "broken_code.py").write_text("def f(:")
    (tmp_path / "failing_code.py").write_text("{}['absent']")
    monkeypatch.syspath_prepend(str(tmp_path))
    result = invoke(name, b"")
    told = json.loads(result.body)
    assert (result.error_type, told["errorType"]) == ("UnhandledInvocationError", kind)
    assert bool(told["stackTrace"]) == (kind in ("ImportModuleError", "UserCodeSyntaxError", "UserCodeError"))
    assert all(isinstance(line, str) for line in told["stackTrace"])


@pytest.mark.parametrize("timeout", [None, 10])
def test_system_exit_ends_the_process(timeout):
    """Only Exception is caught, as on FC."""

    def handler(event, context):
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        invoke(handler, b"", timeout=timeout)


def test_the_environment_is_added_and_taken_back(monkeypatch):
    monkeypatch.setenv("STANDING", "before")

    def handler(event, context):
        return [os.environ["STANDING"], os.environ["FRESH"]]

    result = invoke(handler, b"", environ={"STANDING": "meanwhile", "FRESH": "x"})
    assert json.loads(result.body) == ["meanwhile", "x"]
    assert os.environ["STANDING"] == "before"
    assert "FRESH" not in os.environ


def test_what_is_printed_is_kept_when_asked_for():
    assert invoke(lambda event, context: sys.stdout.write("said\n"), b"", captures=True).output == "said\n"
    assert invoke(lambda event, context: None, b"").output == ""


def test_a_call_that_takes_too_long_is_a_time_out():
    free = threading.Event()
    result = invoke(lambda event, context: free.wait(10), b"", timeout=0.05)
    free.set()
    assert (result.ok, result.error_type) == (False, "FunctionTimeoutError")
    assert json.loads(result.body) == {"errorMessage": "Function time out after 0.05 seconds"}
    assert invoke(lambda event, context: "in time", b"", timeout=10).body == b"in time"
