"""Events as JSON Lines, in a file or on the standard output: for local use."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from fcruntime.jsonvalue import JsonValue
from hpoq.errors import Unavailable, UnknownEnd

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_OPEN = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)


class FilePublisher:
    """Appends each event as one line to the file at `path`, or to the standard output if that is None.

    In a file a line is one append that has reached the disk, so that processes may share the file.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self._path = None if path is None else Path(path)
        self._lock = threading.Lock()

    def publish(
        self,
        event: Mapping[str, JsonValue],
        *,
        give_up_at: float | None = None,  # noqa: ARG002 - a disk is not waited for
    ) -> None:
        """Append `event`; raises Unavailable if the file cannot be opened, UnknownEnd if writing failed."""
        line = json.dumps(event, separators=(",", ":"), allow_nan=False) + "\n"
        if self._path is None:
            self._print(line)
        else:
            _append(self._path, line.encode())

    def _print(self, line: str) -> None:
        try:
            with self._lock:
                sys.stdout.write(line)
                sys.stdout.flush()
        except (OSError, ValueError) as exc:
            raise UnknownEnd(_reason(exc), service="stdout", operation="write") from exc


def _append(path: Path, line: bytes) -> None:
    try:
        descriptor = os.open(path, _OPEN, 0o644)
    except OSError as exc:
        raise Unavailable(_reason(exc), service="file", operation="open") from exc
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        size = os.fstat(descriptor).st_size
        if os.write(descriptor, line) != len(line):
            # On a full disk: half a line would garble the next one too.
            os.ftruncate(descriptor, size)
            raise OSError("only a part was written")
        os.fsync(descriptor)
    except OSError as exc:
        raise UnknownEnd(_reason(exc), service="file", operation="append") from exc
    finally:
        os.close(descriptor)


def _reason(exc: Exception) -> str:
    return f"{type(exc).__name__}: {getattr(exc, 'strerror', None) or exc}"
