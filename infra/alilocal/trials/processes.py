"""The cloud's end of `host.py`, the process that is the parent of an experiment's commands."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from alilocal.core.descriptors import READ, WRITE, wait_for
from alilocal.core.jsonvalue import JsonObject
from alilocal.trials.host import read_mark

_PROGRAM = Path(__file__).with_name("host.py")
_CLOSE_SECONDS = 5
_SCANS, _SCAN_SECONDS = 2, 0.02


@dataclass(frozen=True)
class Order:
    """A command to run. Of each stream `keep` bytes are kept in its file; beyond `most` bytes it is killed.

    `patterns` are searched in the standard output, and if `merged` in the standard error too.
    """

    id: str
    command: str
    cwd: str
    env: dict[str, str]
    output: str
    errors: str
    keep: int
    most: int
    patterns: tuple[str, ...] = ()
    merged: bool = False


class Processes:
    """Runs commands in processes that end with this one, however it ends.

    `environ` is the environment of all commands; each order may add to it.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._process: subprocess.Popen[bytes] | None = None
        self._rest = b""
        self._pids: dict[str, int] = {}
        self._ids: set[str] = set()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        self._lock = threading.Lock()
        self._is_closed = False
        self._is_lost = False

    def start(self) -> None:
        """Start the parent process, unless it runs."""
        if self._process is None:
            # A session of its own, so that Ctrl-C in a terminal does not end trials before the cloud knows.
            process = subprocess.Popen(  # noqa: S603 - a program of this package
                [sys.executable, "-I", "-S", str(_PROGRAM)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=self._environ,
                start_new_session=True,
            )
            assert process.stdin is not None  # noqa: S101 - for the type checker
            # A process that reads no more must not block this one.
            os.set_blocking(process.stdin.fileno(), False)
            self._process = process

    def run(self, order: Order) -> None:
        """Run a command."""
        self.start()
        self._ids.add(order.id)
        self._send({"do": "run", **vars(order)})

    def end(self, id_: str) -> None:
        """End a command: SIGTERM to its process group, and SIGKILL a second later."""
        self._send({"do": "end", "id": id_})

    def wake(self) -> None:
        """Make `wait` return at once; any thread may call this."""
        with self._lock:
            if not self._is_closed:
                # A full pipe wakes it as well.
                with contextlib.suppress(BlockingIOError):
                    os.write(self._wake_write, b"\0")

    def wait(self, seconds: float | None) -> Sequence[JsonObject] | None:
        """Return the reports that have come, after at most `seconds`, or None if the parent process has ended.

        All commands have ended then, and none of them is reported. The next order starts a new parent process.
        """
        if self._is_lost:
            self._is_lost = False
            return None
        process = self._process
        output = process.stdout.fileno() if process is not None and process.stdout is not None else None
        watched = [self._wake_read] if output is None else [self._wake_read, output]
        ready = wait_for(watched, READ, seconds)
        if self._wake_read in ready:
            os.read(self._wake_read, 65_536)
        if output is None or output not in ready:
            return []
        data = os.read(output, 1 << 20)
        if not data:
            self.abandon()
            self._is_lost = False
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        reports: list[JsonObject] = [json.loads(line) for line in lines]
        for report in reports:
            pid = report.get("started")
            if isinstance(pid, int):
                self._pids[str(report["id"])] = pid
            elif "ended" in report or "failed" in report:
                self._pids.pop(str(report["id"]), None)
                self._ids.discard(str(report["id"]))
        return reports

    def abandon(self) -> None:
        """Kill the parent process, which does not answer, and the commands that are known."""
        if self._process is not None:
            self._process.kill()
            self._finish()
        for pid in self._pids.values():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        # It may have started one without saying so, and what left its group has no parent any more.
        for _ in range(_SCANS):
            for pid in _list_processes():
                if read_mark(pid) in self._ids:
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(pid, signal.SIGKILL)
            time.sleep(_SCAN_SECONDS)
        self._pids.clear()
        self._ids.clear()
        self._rest = b""
        self._is_lost = True

    def close(self) -> None:
        """End all commands at once; idempotent."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
        process = self._process
        if process is not None and process.stdin is not None and process.stdout is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
            # It kills its commands and exits. What it still reports is of no interest, and must not block it.
            process.stdout.close()
            try:
                process.wait(_CLOSE_SECONDS)
            except subprocess.TimeoutExpired:
                self.abandon()
            else:
                self._finish()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _finish(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        process.wait()

    def _send(self, order: JsonObject) -> None:
        process = self._process
        if process is None or process.stdin is None:
            return
        data = json.dumps(order).encode() + b"\n"
        handle = process.stdin.fileno()
        # If the process has ended, the next `wait` says so.
        with contextlib.suppress(BrokenPipeError):
            while data:
                if not wait_for([handle], WRITE, _CLOSE_SECONDS):
                    self.abandon()
                    return
                data = data[os.write(handle, data) :]


def _list_processes() -> list[int]:
    """Return the ids of all processes, where the system shows them."""
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - names are enough
    except OSError:
        return []
