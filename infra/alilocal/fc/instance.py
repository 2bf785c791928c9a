"""An instance of a function: a process that answers one request at a time.

What FC does to an instance that takes too long, ends or needs too much memory:
https://www.alibabacloud.com/help/en/functioncompute/fc/support/execution-issues. The bodies of these answers are
taken from captured ones; that of a time-out is not documented.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from alilocal.core.jsonvalue import JsonObject

_BOOTSTRAP = Path(__file__).with_name("bootstrap.py")
_TAIL_BYTES = 4096
_MOST_LOG_BYTES = 128 * 1024
_LOOK_SECONDS = 0.05
_GRACE_SECONDS = 0.5
_LOG_SECONDS = 1.0
_WORDS = {"initialize": "Initialize", "pre_stop": "PreStop", "invoke": "Invoke"}
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


@dataclass(frozen=True)
class Answer:
    """What an instance gave back; `error_type` as in `X-Fc-Error-Type`."""

    body: bytes
    error_type: str | None
    duration_ms: float
    memory_mb: int
    log: str


class Instance:
    """A running process. Once `alive` is False it answers nothing more."""

    def __init__(
        self,
        instance_id: str,
        python: str,
        environ: Mapping[str, str],
        settings: JsonObject,
        on_output: Callable[[str], None] | None,
    ) -> None:
        """Raises OSError if the process cannot be started."""
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
            self._process = subprocess.Popen(  # noqa: S603 - the command is ours
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
        self._log = _Log(self._process.stdout, on_output)

    def ask(self, kind: str, request_id: str, event: bytes, timeout: float, retry_count: int = 0) -> Answer:
        """Have it answer; dead afterwards if it took more than `timeout` seconds, ended, or grew too large."""
        began = time.monotonic()
        header: JsonObject = {
            "kind": kind,
            "request_id": request_id,
            "size": len(event),
            "retry_count": retry_count,
        }
        if self._settings is not None:
            header["settings"], self._settings = self._settings, None
        self._log.begin(request_id)
        sender = threading.Thread(
            target=self._send, args=(json.dumps(header).encode() + b"\n" + event,), daemon=True
        )
        sender.start()
        reader = _Reader(self._answers)
        ended = self._wait(reader, began + timeout)
        answer = reader.answer if ended is None else None
        if answer is not None:
            self._seen_mb = max(self._seen_mb, int(answer[0]["memory_mb"]))
            if self._seen_mb > self._memory_limit:
                answer, ended = None, "memory"
        if answer is None:
            self.kill()
        sender.join()
        duration = (time.monotonic() - began) * 1000
        if answer is not None:
            told, body = answer
            log = self._log.end(request_id)
            return Answer(body, told["error"], float(told["duration_ms"]), self._seen_mb, log)
        kind_of_end, message = self._death(ended or "exit", timeout, duration)
        self._log.add(f"FC {_WORDS[kind]} End RequestId: {request_id}, Error: {message}\n".encode())
        body = json.dumps({"errorMessage": message}).encode()
        return Answer(body, kind_of_end, duration, self._seen_mb, self._log.end(request_id))

    def kill(self) -> None:
        """End it and everything it started: a warning first, as FC gives one."""
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
        """End what it does at once; whoever asked gets the answer of a process that ended."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Let it end by itself, which it does when nothing more is to come; then kill what is left."""
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
        """Wait for the whole answer; why there is none: `timeout`, `memory` or `exit`."""
        while True:
            left = until - time.monotonic()
            if left <= 0:
                return "timeout"
            if select.select([self._answers], [], [], min(left, _LOOK_SECONDS))[0]:
                done = reader.read()
                if done is not None:
                    return None if done else "exit"
            self._seen_mb = max(self._seen_mb, _resident_mb(self._process.pid))
            if self._seen_mb > self._memory_limit:
                return "memory"

    def _death(self, why: str, timeout: float, duration: float) -> tuple[str, str]:
        if why == "timeout":
            return "FunctionTimeoutError", f"Function time out after {timeout:g} seconds"
        if why == "memory":
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
    """An answer as it comes: a line of JSON, and the bytes that it announces."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._data = bytearray()
        self.answer: tuple[dict[str, str], bytes] | None = None

    def read(self) -> bool | None:
        """Take what is there: True when the answer is whole, False when there will be none, None for not yet."""
        data = os.read(self._descriptor, 1 << 16)
        if not data:
            return False
        self._data += data
        head, line, body = self._data.partition(b"\n")
        if not line:
            return None
        told = json.loads(head)
        if len(body) < told["size"]:
            return None
        self.answer = (told, bytes(body))
        return True


class _Log:
    """What an instance writes, collected by a thread."""

    def __init__(self, stream: IO[bytes] | None, on_output: Callable[[str], None] | None) -> None:
        self._stream = stream
        self._on_output = on_output
        self._text = bytearray()
        self._changed = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._collect, name="alilocal-fc-log", daemon=True)
        self._thread.start()

    def begin(self, request_id: str) -> None:
        """Keep what belongs to a request; what an instance writes before its first belongs to that."""
        with self._changed:
            if f"RequestId: {request_id}".encode() not in self._text and b" End RequestId: " in self._text:
                self._text.clear()

    def add(self, data: bytes) -> None:
        """Take in what is written, by the instance or about it."""
        with self._changed:
            self._text += data
            del self._text[:-_MOST_LOG_BYTES]
            self._changed.notify_all()
        if self._on_output is not None:
            self._on_output(data.decode(errors="replace"))

    def end(self, request_id: str) -> str:
        """What was written for the request, to its last line."""
        last = f" End RequestId: {request_id}".encode()
        with self._changed:
            self._changed.wait_for(lambda: self._ended or last in self._text, _LOG_SECONDS)
            text = bytes(self._text[-_TAIL_BYTES:])
            self._text.clear()
        return text.decode(errors="replace")

    def close(self) -> None:
        # Whatever the function started may hold the other end of the pipe.
        self._thread.join(_LOG_SECONDS)
        if self._stream is not None and not self._thread.is_alive():
            self._stream.close()

    def _collect(self) -> None:
        while self._stream is not None and (data := os.read(self._stream.fileno(), 1 << 16)):
            self.add(data)
        with self._changed:
            self._ended = True
            self._changed.notify_all()


def _resident_mb(pid: int) -> int:
    """What a process holds in memory; zero where the machine does not tell."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * _PAGE_BYTES // 2**20
