"""The lines that `hpoq local` shows on a terminal, made from the output of the function."""

import io
import json

import pytest
from rich.console import Console

from hpoqctl.livelog import LiveLog, format_banner

START, END = "FC Invoke Start RequestId: r-1\n", "FC Invoke End RequestId: r-1\n"


def show(text):
    """Return the lines that are shown for `text`, which arrives in pieces, without the time of day."""
    out = io.StringIO()
    live = LiveLog(Console(file=out, highlight=False, soft_wrap=True))
    for start in range(0, len(text), 7):
        live.write(text[start : start + 7])
    return [
        line.split(None, 1)[1] if line[:1].isdigit() else line for line in out.getvalue().splitlines()
    ], live


def entry(event, **members):
    return json.dumps({"event": event, "message_id": "M1", "key": "0123456789", **members}) + "\n"


@pytest.mark.parametrize(
    ("members", "detail"),
    [({"experiment_id": "e-1"}, "e-1"), ({"error": {"code": "InvalidRequest"}}, "InvalidRequest")],
)
def test_a_message_is_one_line(members, detail):
    """An outcome is shown with the message, the beginning of its key, and its experiment or error."""
    invocation = json.dumps({"event": "invocation", "steps": {}}) + "\n"
    text = f"FunctionCompute python3 runtime inited.\n{START}{entry('message.created', **members)}{invocation}{END}"
    lines, live = show(text)
    assert lines == [f"created    M1  01234567  {detail}"]
    assert live.summarize() == "1 created"


def test_a_function_that_does_not_start_shows_why():
    """Of a failed initializer the last line of its traceback is shown, and nothing else."""
    text = (
        "FC Initialize Start RequestId: r-1\n2026-11-29T03:11:17.244Z r-1 [ERROR] \nTraceback (most recent):\n"
        '  File "x.py", line 1, in initialize\nhpoq.errors.SettingsError: HPOQ_STORE is not set\n'
        "FC Initialize End RequestId: r-1, Error: Unhandled function error\n"
    )
    lines, _ = show(text)
    assert lines == ["The function did not start: hpoq.errors.SettingsError: HPOQ_STORE is not set"]


def test_what_code_prints_is_shown():
    """Output of a call that succeeded is shown as it is, also if it looks like markup."""
    assert show(f"{START}[bold]x{{\n{END}")[0] == ["[bold]x{"]


@pytest.mark.parametrize(
    ("runs_trials", "said"), [(False, "ends after a minute"), (True, "run on this machine")]
)
def test_the_banner_says_what_trials_do(runs_trials, said):
    """Who waits for a result knows whether trials run, and how long simulated ones take."""
    described = {"smq": "http://127.0.0.1:1", "console": "", "queue": "q", "topic": "t"}
    lines = [line.plain for line in format_banner(described, "", runs_trials=runs_trials)]
    (line,) = (line for line in lines if line.strip().startswith("trials"))
    assert said in line
