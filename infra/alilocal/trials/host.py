"""The parent of all commands of one experiment: a process that ends them with itself.

It reads orders and writes reports, one JSON object per line, on its standard input and output:

    {"do": "run", "id", "command", "cwd", "env", "output", "errors", "keep", "most", "patterns", "merged"}
    {"do": "end", "id"}
    -> {"id", "started": pid}, {"id", "failed": reason}, {"id", "match": [pattern, text]},
       {"id", "ended": code, "dropped", "flooded", "endless", "unread": [pattern],
        "cut": {pattern: [text, exponent]}}

When its input ends, because the local cloud has ended in some way, it kills every process that it started and exits.
Each command has a process group of its own. On Linux, processes that left their group come back to this process as
their subreaper, and are killed with the trial that their environment names. The program needs nothing but the
standard library and imports nothing of alilocal, so that it starts in 30 ms. Metrics are searched here, so that a
regular expression that never ends holds up this process and not the local cloud. The search in each piece of
output has a limit, or this process would not see the end of its input and outlive the cloud.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from typing import IO, Any

MARK = "ALILOCAL_TRIAL"
GRACE_SECONDS = 1.0
"""How long a process has between SIGTERM and SIGKILL."""
_CHUNK = 65_536
_LONGEST_LINE = 8_192
_MOST_MATCHES = 10_000
"""How many numbers of a command are reported as they come; of more, the last ones are reported at its end."""
_DRAIN_SECONDS = 0.5
_SEARCH_SECONDS = 10.0
"""How much CPU time the search for metrics in one piece of output may take."""
_BREAK = re.compile(rb"[\r\n]")
_EXPONENT = re.compile(r"[eE][-+]?[0-9]+")


class _TooSlowError(Exception):
    """A search has used up its time."""


class Command:
    """A command that runs, and what is kept of its output."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.id = str(order["id"])
        self.kill_at: float | None = None
        self.dropped = 0
        self.is_flooded = False
        self.is_endless = False
        # Probable mistakes: metrics in a stream that does not count, and numbers without their exponent.
        self.unread: set[int] = set()
        self.cut: dict[int, tuple[str, str]] = {}
        self._keep, self._most, self._taken = int(order["keep"]), int(order["most"]), 0
        self._patterns = [re.compile(one) for one in order["patterns"]]
        self._count = 0
        self._last: dict[int, str] = {}
        self._matched = {"stdout", "stderr"} if order["merged"] else {"stdout"}
        self._rests = {"stdout": b"", "stderr": b""}
        self._files: dict[str, IO[bytes]] = {}
        self._room: dict[str, int] = {}
        for name, member in (("stdout", "output"), ("stderr", "errors")):
            self._files[name] = open(order[member], "ab", buffering=0)  # noqa: PTH123, SIM115 - no import of pathlib
            self._room[name] = self._keep
        self.process = subprocess.Popen(  # noqa: S603 - running commands is its purpose
            ["/bin/sh", "-c", order["command"]],
            cwd=order["cwd"],
            env={**os.environ, **order["env"]},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.pid = self.process.pid

    def take(self, name: str, data: bytes) -> list[tuple[int, str]]:
        """Keep output if there is room for it, and return the metrics in it."""
        kept = data[: self._room[name]]
        try:
            self._files[name].write(kept)
        except OSError:  # the disk is full
            kept, self._room[name] = b"", 0
        self._room[name] -= len(kept)
        self.dropped += len(data) - len(kept)
        self._taken += len(data)
        self.is_flooded = self.is_flooded or self._taken > self._most
        if not self._patterns or (len(self.unread) == len(self._patterns) and name not in self._matched):
            return []
        *lines, rest = _BREAK.split(self._rests[name] + data)
        # A line without end is searched in pieces.
        self._rests[name] = rest if len(rest) < _LONGEST_LINE else b""
        return self._search(name, [*lines, rest] if len(rest) >= _LONGEST_LINE else lines)

    def close(self) -> list[tuple[int, str]]:
        """Close the files, and return the metrics in lines that have no end."""
        for file in self._files.values():
            file.close()
        found = [one for name, rest in self._rests.items() for one in self._search(name, [rest])]
        self._rests = dict.fromkeys(self._rests, b"")
        return [*found, *self._last.items()]

    def signal(self, number: int) -> None:
        """Send a signal to the whole process group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def _search(self, name: str, lines: list[bytes]) -> list[tuple[int, str]]:
        """Return the metrics in `lines` that are found in time."""
        reported: list[tuple[int, str]] = []
        if self.is_endless:
            return reported
        # While it matches, Python's engine for regular expressions lets handlers of signals run.
        previous = signal.signal(signal.SIGVTALRM, _give_up)
        signal.setitimer(signal.ITIMER_VIRTUAL, _SEARCH_SECONDS)
        try:
            try:
                self._collect(name, lines, reported)
            finally:  # so that nothing else is interrupted
                signal.signal(signal.SIGVTALRM, signal.SIG_IGN)
        except _TooSlowError:
            self.is_endless = True
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            signal.signal(signal.SIGVTALRM, previous)
        return reported

    def _collect(self, name: str, lines: list[bytes], reported: list[tuple[int, str]]) -> None:
        """Add the metrics in `lines` to `reported`."""
        for line in lines:
            text = line[:_LONGEST_LINE].decode(errors="replace")
            if name not in self._matched:
                for number, pattern in enumerate(self._patterns):
                    if number not in self.unread and any(found[1] for found in pattern.finditer(text)):
                        self.unread.add(number)
                continue
            for number, pattern in enumerate(self._patterns):
                for found in pattern.finditer(text):
                    exponent = _EXPONENT.match(text, found.end(1))
                    if exponent and found[1]:
                        self.cut.setdefault(number, (found[1], exponent[0]))
                    self._count += 1
                    if self._count <= _MOST_MATCHES:
                        reported.append((number, found[1] or ""))
                    else:
                        self._last[number] = found[1] or ""


class Host:
    """Carries out orders until its input ends."""

    def __init__(self) -> None:
        self._commands: dict[int, Command] = {}
        self._selector = selectors.DefaultSelector()
        self._orders = b""
        self._wake, wake = os.pipe()
        for end in (self._wake, wake):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._selector.register(self._wake, selectors.EVENT_READ, None)
        self._selector.register(0, selectors.EVENT_READ, None)
        _become_subreaper()

    def run(self) -> None:
        """Carry out orders; return when the input has ended and nothing runs any more."""
        try:
            while self._step():
                pass
        except (BrokenPipeError, KeyboardInterrupt):
            pass
        finally:
            self._kill_all()

    def _step(self) -> bool:
        """Wait for something to happen and react; return False once the input has ended."""
        due = [one.kill_at for one in self._commands.values() if one.kill_at is not None]
        timeout = max(0.0, min(due) - time.monotonic()) if due else None
        for key, _ in self._selector.select(timeout):
            if key.fd == self._wake:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake, _CHUNK)
            elif key.fd == 0:
                if not self._read_orders():
                    return False
            else:
                command, name = key.data
                self._read_output(command, name, key.fd)
        self._reap()
        now = time.monotonic()
        for command in self._commands.values():
            if command.kill_at is not None and command.kill_at <= now:
                command.kill_at = None
                command.signal(signal.SIGKILL)
        return True

    def _read_orders(self) -> bool:
        data = os.read(0, _CHUNK)
        *lines, self._orders = (self._orders + data).split(b"\n")
        for line in lines:
            order = json.loads(line)
            if order["do"] == "run":
                self._start(order)
            else:
                for command in self._commands.values():
                    if command.id == order["id"]:
                        command.kill_at = time.monotonic() + GRACE_SECONDS
                        command.signal(signal.SIGTERM)
        return bool(data)

    def _start(self, order: dict[str, Any]) -> None:
        try:
            command = Command(order)
        # Whatever is wrong with one command must not end the others.
        except Exception as exc:  # noqa: BLE001
            _report({"id": order["id"], "failed": str(exc)})
            return
        self._commands[command.pid] = command
        for name in ("stdout", "stderr"):
            pipe = getattr(command.process, name)
            os.set_blocking(pipe.fileno(), False)
            self._selector.register(pipe, selectors.EVENT_READ, (command, name))
        _report({"id": command.id, "started": command.pid})

    def _read_output(self, command: Command, name: str, handle: int) -> bool:
        """Read from a pipe; return False if there is nothing to read at present."""
        try:
            data = os.read(handle, _CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self._close_pipe(command, name)
            return False
        for found in command.take(name, data):
            _report({"id": command.id, "match": found})
        if command.is_flooded or command.is_endless:
            command.signal(signal.SIGKILL)
        return True

    def _close_pipe(self, command: Command, name: str) -> None:
        pipe = getattr(command.process, name)
        if not pipe.closed:
            self._selector.unregister(pipe)
            pipe.close()

    def _reap(self) -> None:
        """Collect the processes that have ended, adopted ones included."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            command = self._commands.pop(pid, None)
            if command is not None:
                command.process.returncode = os.waitstatus_to_exitcode(status)
                self._finish(command)
        self._kill_strays()

    def _finish(self, command: Command) -> None:
        """End what is left of a command whose shell has ended, read the rest of its output, and report."""
        command.signal(signal.SIGKILL)
        self._kill_strays()
        end = time.monotonic() + _DRAIN_SECONDS
        for name in ("stdout", "stderr"):
            pipe = getattr(command.process, name)
            # A process that cannot be found may still have the pipe open.
            while not pipe.closed and time.monotonic() < end:
                if not self._read_output(command, name, pipe.fileno()) and not pipe.closed:
                    time.sleep(0.005)
            self._close_pipe(command, name)
        for found in command.close():
            _report({"id": command.id, "match": found})
        _report(
            {
                "id": command.id,
                "ended": command.process.returncode,
                "dropped": command.dropped,
                "flooded": command.is_flooded,
                "endless": command.is_endless,
                "unread": [*command.unread],
                "cut": command.cut,
            }
        )

    def _kill_strays(self) -> None:
        """Kill adopted processes that belong to no command that runs."""
        alive = {one.id for one in self._commands.values()}
        for pid in _children():
            if pid not in self._commands and read_mark(pid) not in alive:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)

    def _kill_all(self) -> None:
        end = time.monotonic() + 2
        for command in self._commands.values():
            command.signal(signal.SIGKILL)
        self._commands.clear()
        while time.monotonic() < end:
            self._kill_strays()
            try:
                os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            time.sleep(0.002)


def _give_up(*_: object) -> None:
    raise _TooSlowError


def _report(document: dict[str, Any]) -> None:
    data = json.dumps(document).encode() + b"\n"
    while data:
        data = data[os.write(1, data) :]


def _become_subreaper() -> None:
    """Become the parent of descendants whose own parents have ended, where the system can do that."""
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, ImportError, AttributeError):
        import ctypes

        set_child_subreaper = 36
        ctypes.CDLL(None).prctl(set_child_subreaper, 1, 0, 0, 0)


def _children() -> list[int]:
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:  # noqa: PTH123
            return [int(word) for word in file.read().split()]
    except OSError:
        return []


def read_mark(pid: int) -> str | None:
    """Return the trial that a process's environment names, or None."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123
            found = re.search(rb"(?:^|\0)" + MARK.encode() + rb"=([^\0]*)", file.read())
    except OSError:
        return None
    return found[1].decode() if found else None


if __name__ == "__main__":
    Host().run()
