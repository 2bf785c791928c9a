"""The log of a custom runtime: what the process writes to standard output, in the form of the built-in runtimes.

FC's built-in Python runtimes print two lines around each call, write every line at once, give the root logger a
handler at level INFO whose lines contain the id of the request, and log the error of a call that failed. Sources: the
page "logging" of the FC documentation (help.aliyun.com/zh/functioncompute/fc/logging-2), and the code of the
runtimes.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from contextvars import ContextVar

_FORM = "%(asctime)s.%(msecs)03dZ %(fc_request_id)s [%(levelname)s] %(message)s"

_request_id: ContextVar[str] = ContextVar("fcruntime_request_id")
_latest_request_id = ""


def note_request(request_id: str) -> None:
    """Note that a call begins in this thread. Its id is in the lines of the root logger from now on."""
    global _latest_request_id  # noqa: PLW0603 - as in FC's runtimes, for threads that the handler starts
    _latest_request_id = request_id
    _request_id.set(request_id)


def write_line(line: str) -> None:
    """Write a line to standard output at once, or nothing if that is not possible."""
    # A handler may have closed or replaced standard output. That must not cost the answers of this and later calls.
    with contextlib.suppress(Exception):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def log_error(text: str) -> None:
    """Log the error of a call, which nobody reads if a trigger made the call."""
    with contextlib.suppress(Exception):
        logging.getLogger().error("%s", text)


def configure_log() -> None:
    """Make standard output and the root logger those of a built-in runtime. Call it before the handler is imported.

    A root logger that has handlers is left as it is.
    """
    for stream in (sys.stdout, sys.stderr):
        # What a call has printed before its time-out would be lost with the process otherwise, and so would a line
        # with what is not valid Unicode, such as the name of a file.
        with contextlib.suppress(Exception):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(_make_handler())
        root.setLevel(logging.INFO)


def _make_handler() -> logging.Handler:
    formatter = logging.Formatter(_FORM, "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler = _Output()
    handler.setFormatter(formatter)
    # A logger of Powertools writes its lines itself, and takes them from the handlers that the root logger has when
    # it is made. FC and Lambda give the root logger its handler before they import the function, but `serve` may be
    # called after the function's loggers were made. Powertools marks such a logger with the attribute `init`.
    loggers = list(logging.root.manager.loggerDict.items())
    earlier = tuple(f"{name}." for name, logger in loggers if getattr(logger, "init", None) is True)
    handler.addFilter(lambda record: not f"{record.name}.".startswith(earlier))
    return handler


class _Output(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        # The second name is that of Lambda, which formats of handlers written for it use.
        record.fc_request_id = record.aws_request_id = _request_id.get(_latest_request_id)
        try:
            # Formats written for FC's or Lambda's runtimes end the line themselves.
            write_line(self.format(record).removesuffix("\n"))
        except Exception:  # noqa: BLE001 - for example arguments that do not fit the message
            self.handleError(record)
