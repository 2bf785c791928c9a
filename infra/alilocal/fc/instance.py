"""An instance of a function: a process that answers one request at a time.

How FC treats an instance that takes too long, ends or needs too much memory:
https://www.alibabacloud.com/help/en/functioncompute/fc/support/execution-issues. The bodies of these answers follow
captured ones; the body for a time-out is not documented.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from alilocal.core.clock import monotonic
from alilocal.core.descriptors import READ, wait_for
from alilocal.core.jsonvalue import JsonObject

_BOOTSTRAP = Path(__file__).with_name("bootstrap.py")
_TAIL_BYTES = 4096
_CONTINUATION_BYTES = bytes(range(0x80, 0xC0))
_MOST_LOG_BYTES = 128 * 1024
_LOOK_SECONDS = 0.05
_GRACE_SECONDS = 0.5
_KILL_SECONDS = 1.0
_LAST_LINE_SECONDS = 30.0
"""How long the collector may take for the last line of a log, which the process has written by then."""
_WORDS = {"initialize": "Initialize", "pre_stop": "PreStop", "invoke": "Invoke"}
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


@dataclass(frozen=True)
class Answer:
    """The answer of an instance; `error_type` is the value of `X-Fc-Error-Type`, or None on success."""

    body: bytes
    error_type: str | None
    duration_ms: float
    memory_mb: int
    log: str


class Instance:
    """A running process. Once `alive` is False it cannot be used again."""

    def __init__(
        self,
        instance_id: str,
        python: str,
        environ: Mapping[str, str],
        settings: JsonObject,
        on_output: Callable[[str], None] | None,
    ) -> None:
        """Start the process; raises OSError."""
        self.instance_id = instance_id
        self.alive = True
        self._settings: JsonObject | None = settings
        self._memory_limit = int(settings["memory"])  # type: ignore[arg-type]
        self._seen_mb = 0
        request_end, self._requests = os.pipe()
        self._answers, answer_end = os.pipe()
        life_end, self._life = os.pipe()
        given = (request_end, answer_end, life_end)
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the command is fixed
                [python, str(_BOOTSTRAP), *map(str, given)],
                env=dict(environ),
                cwd=environ["FC_FUNC_CODE_PATH"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=given,
                start_new_session=True,
            )
        except BaseException:
            for descriptor in (self._requests, self._answers, self._life):
                os.close(descriptor)
            raise
        finally:
            for descriptor in given:
                os.close(descriptor)
        assert self._process.stdout is not None  # noqa: S101 - for the type checker
        self._log = _Log(self._process.stdout, on_output)

    def ask(
        self,
        kind: str,
        request_id: str,
        event: bytes,
        timeout: float,
        retry_count: int = 0,
        *,
        advanced: float = 0.0,
    ) -> Answer:
        """Send a request and wait for the answer. Too much time or memory, or an end, kill the instance.

        From this request on, the wall clock of the instance is ahead by `advanced` seconds.
        """
        began = monotonic()
        header: JsonObject = {
            "kind": kind,
            "request_id": request_id,
            "size": len(event),
            "retry_count": retry_count,
            "advanced": advanced,
        }
        if self._settings is not None:
            header["settings"], self._settings = self._settings, None
        self._log.begin(request_id)
        sender = threading.Thread(
            target=self._send, args=(json.dumps(header).encode() + b"\n" + event,), daemon=True
        )
        sender.start()
        reader = _Reader(self._answers)
        end = self._wait(reader, began + timeout)
        answer = reader.answer if end is None else None
        if answer is not None:
            self._seen_mb = max(self._seen_mb, int(answer[0]["memory_mb"]))
            if self._seen_mb > self._memory_limit:
                answer, end = None, "memory"
        if answer is None:
            self.kill()
        sender.join()
        duration = (monotonic() - began) * 1000
        if answer is not None:
            header_of_answer, body = answer
            log = self._log.end(request_id)
            return Answer(
                body, header_of_answer["error"], float(header_of_answer["duration_ms"]), self._seen_mb, log
            )
        kind_of_end, message = self._describe_end(end or "exit", timeout, duration)
        self._log.add(f"FC {_WORDS[kind]} End RequestId: {request_id}, Error: {message}\n".encode())
        body = json.dumps({"errorMessage": message}).encode()
        return Answer(body, kind_of_end, duration, self._seen_mb, self._log.end(request_id))

    def kill(self) -> None:
        """End the process and everything that it started, with SIGTERM first, as FC does."""
        self.alive = False
        for number, seconds in ((signal.SIGTERM, _GRACE_SECONDS), (signal.SIGKILL, None)):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                continue
        self._release()

    def interrupt(self) -> None:
        """Kill the process at once. The pending `ask` returns the answer of a process that ended."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Close the pipe of requests, so that the process ends by itself; then kill what is left of it."""
        if not self.alive:
            return
        os.close(self._requests)
        self._requests = -1
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE_SECONDS)
        self.kill()

    def _release(self) -> None:
        for descriptor in (self._requests, self._answers, self._life):
            if descriptor >= 0:
                with contextlib.suppress(OSError):
                    os.close(descriptor)
        self._requests = self._answers = self._life = -1
        self._log.close()

    def _send(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            view = memoryview(data)
            while view:
                view = view[os.write(self._requests, view) :]

    def _wait(self, reader: _Reader, until: float) -> str | None:
        """Wait for the whole answer, and return None, or `timeout`, `memory` or `exit` if there is none."""
        while True:
            left = until - monotonic()
            if left <= 0:
                return "timeout"
            if wait_for([self._answers], READ, min(left, _LOOK_SECONDS)):
                done = reader.read()
                if done is not None:
                    return None if done else "exit"
            self._seen_mb = max(self._seen_mb, _resident_mb(self._process.pid))
            if self._seen_mb > self._memory_limit:
                return "memory"

    def _describe_end(self, end: str, timeout: float, duration: float) -> tuple[str, str]:
        if end == "timeout":
            return "FunctionTimeoutError", f"Function time out after {timeout:g} seconds"
        if end == "memory":
            return (
                "FunctionOOMError",
                f"Process exited unexpectedly: memory limit of {self._memory_limit} MB exceeded",
            )
        figures = f"(duration: {duration:.0f}ms, maxMemoryUsage: {self._seen_mb}MB)"
        return (
            "UnhandledInvocationError",
            f"Process exited unexpectedly before completing request {figures}",
        )


class _Reader:
    """Reads one answer: a line of JSON, and as many bytes as it announces."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._header: dict[str, Any] | None = None
        self._data = bytearray()
        self.answer: tuple[dict[str, Any], bytes] | None = None

    def read(self) -> bool | None:
        """Read what has arrived. Return True if the answer is complete, False if the pipe has closed, else None."""
        data = os.read(self._descriptor, 1 << 16)
        if not data:
            return False
        self._data += data
        if self._header is None:
            # Only once: an answer of 32 MB comes in hundreds of parts.
            head, line, body = self._data.partition(b"\n")
            if not line:
                return None
            self._header, self._data = json.loads(head), body
        if len(self._data) < self._header["size"]:
            return None
        self.answer = (self._header, bytes(self._data))
        return True


class _Log:
    """The output of an instance, collected by a thread."""

    def __init__(self, stream: IO[bytes], on_output: Callable[[str], None] | None) -> None:
        self._stream = stream
        self._on_output = on_output
        self._text = bytearray()
        self._changed = threading.Condition()
        self._ended = self._closed = False
        self._thread = threading.Thread(target=self._collect, name="alilocal-fc-log", daemon=True)
        self._thread.start()

    def begin(self, request_id: str) -> None:
        """Discard the output between two requests. Output before the first request belongs to that request."""
        with self._changed:
            if f"RequestId: {request_id}".encode() not in self._text and b" End RequestId: " in self._text:
                self._text.clear()

    def add(self, data: bytes) -> None:
        """Add output of the instance, or a line about it."""
        with self._changed:
            self._text += data
            del self._text[:-_MOST_LOG_BYTES]
            self._changed.notify_all()
        if self._on_output is not None:
            self._on_output(data.decode(errors="replace"))

    def end(self, request_id: str) -> str:
        """Return the output of a request up to its last line."""
        last = f" End RequestId: {request_id}".encode()
        with self._changed:
            self._changed.wait_for(lambda: self._ended or last in self._text, _LAST_LINE_SECONDS)
            # What is left of a character that was cut would be replaced by characters of more bytes.
            text = bytes(self._text[-_TAIL_BYTES:]).lstrip(_CONTINUATION_BYTES)
            self._text.clear()
        return text.decode(errors="replace")

    def close(self) -> None:
        """Wait until the output of a process that has ended is collected."""
        # Processes that it started may have the other end of the pipe open. Those that were killed with it take a
        # moment to end. If one does not, the thread stays for as long, and there is nothing to read.
        until = monotonic() + _KILL_SECONDS
        while self._thread.is_alive() and (monotonic() < until or wait_for([self._stream.fileno()], READ, 0)):
            self._thread.join(_LOOK_SECONDS)
        with self._changed:
            self._closed = True
            if self._ended:
                self._stream.close()

    def _collect(self) -> None:
        try:
            while data := os.read(self._stream.fileno(), 1 << 16):
                self.add(data)
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()
                if self._closed:
                    self._stream.close()


def _resident_mb(pid: int) -> int:
    """Return the memory of a process in MB, or 0 if the system does not provide it."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * _PAGE_BYTES // 2**20
