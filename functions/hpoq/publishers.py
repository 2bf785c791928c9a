"""Publish output events: to a topic of SMQ, to a bus of EventBridge, to a file, or to standard output.

    function ──▶ Publisher.publish(event) ─┬─▶ SmqTopicPublisher ──▶ cloud.smq
                                           ├─▶ EventBridgePublisher ──▶ cloud.eventbridge
                                           └─▶ FilePublisher: JSON Lines, for local use

The clients of the cloud are imported for their types only, so that a local tool can use this module without them.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from fcruntime.jsonvalue import JsonValue, write_compact
from hpoq.contract.events import outcome_of
from hpoq.errors import Unavailable, UnknownEnd

if TYPE_CHECKING:
    from hpoq.clock import Budget
    from hpoq.cloud.eventbridge import EventBridge
    from hpoq.cloud.smq import Smq

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_OPEN_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)


class Publisher(Protocol):
    """Publishes CloudEvents, each given as the object of its structured JSON form."""

    def publish(self, event: Mapping[str, JsonValue], *, budget: Budget | None = None) -> None:
        """Publish `event`, and return once the receiver has stored it durably.

        Returns or raises before `budget` ends. Raises CallError; the same event may then be published again,
        with the same id, even if it has in fact arrived.
        """


class SmqTopicPublisher:
    """Publishes each event to a topic of SMQ as compact ASCII JSON, with its outcome as the message's tag.

    The text is sent plain, not in base64, so that subscribers can read it in every notification format. The tag lets
    a subscription choose events, for example failures only.
    """

    def __init__(self, smq: Smq, topic: str) -> None:
        self._smq = smq
        self._topic = topic

    def publish(self, event: Mapping[str, JsonValue], *, budget: Budget | None = None) -> None:
        """Publish `event`. Raises CallError; Invalid if the event is larger than a message may be."""
        body = write_compact(event)
        self._smq.publish_message(self._topic, body, tag=outcome_of(event) or None, budget=budget)


class EventBridgePublisher:
    """Puts each event on a bus of EventBridge. Rules of the bus choose events by their type."""

    def __init__(self, eventbridge: EventBridge, bus: str) -> None:
        self._eventbridge = eventbridge
        self._bus = bus

    def publish(self, event: Mapping[str, JsonValue], *, budget: Budget | None = None) -> None:
        """Put `event` on the bus. Raises CallError, also if the call succeeds and the event is refused."""
        self._eventbridge.put_events(self._bus, [event], budget=budget)


class FilePublisher:
    """Appends each event as one line to the file at `path`, or writes it to standard output if that is None.

    Each line of a file is appended in one locked write and synced to disk, so that several processes may share
    the file.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self._path = None if path is None else Path(path)
        self._lock = threading.Lock()

    def publish(
        self,
        event: Mapping[str, JsonValue],
        *,
        budget: Budget | None = None,  # noqa: ARG002 - writing to a disk has no time-out
    ) -> None:
        """Append `event`. Raises Unavailable if the file cannot be opened, UnknownEnd if writing failed."""
        line = write_compact(event) + "\n"
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
            raise UnknownEnd(_describe(exc), service="stdout", operation="write") from exc


def _append(path: Path, line: bytes) -> None:
    try:
        descriptor = os.open(path, _OPEN_FLAGS, 0o644)
    except OSError as exc:
        raise Unavailable(_describe(exc), service="file", operation="open") from exc
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        size = os.fstat(descriptor).st_size
        if size and not _ends_with_line(path):
            # A process that was killed left a part of an event, which this one must not continue.
            line = b"\n" + line
        if os.write(descriptor, line) != len(line):
            # The disk is full. Without this, the next event would continue the incomplete line.
            os.ftruncate(descriptor, size)
            raise OSError("only a part was written")
        os.fsync(descriptor)
    except OSError as exc:
        raise UnknownEnd(_describe(exc), service="file", operation="append") from exc
    finally:
        os.close(descriptor)


def _ends_with_line(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read() == b"\n"
    except PermissionError:  # this process may write the file and not read it
        return True


def _describe(exc: Exception) -> str:
    return f"{type(exc).__name__}: {getattr(exc, 'strerror', None) or exc}"
