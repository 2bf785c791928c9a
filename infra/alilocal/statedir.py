"""Keeps a cloud's state in a folder, so that it survives its process.

The folder has one file, which is rewritten as a whole soon after each change; a process that is killed loses at most
the last second. Only the owner can read it, because messages may contain credentials. Besides the snapshot it has the
past that the console shows: the newest messages, deliveries and calls.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from alilocal.cloud import Cloud
from alilocal.core.delivery import Delivery
from alilocal.core.jsonvalue import JsonObject, JsonValue
from alilocal.core.requestlog import LoggedRequest
from alilocal.core.snapshot import BadSnapshot, dump, load
from alilocal.core.world import Sent

if TYPE_CHECKING:
    from typing_extensions import Self

FILE = "state.json"
_LOCK_FILE, _NEW = "lock", "state.json.new"
_SECONDS = 1.0
_MOST_PAST = 1_000


class StateInUse(Exception):
    """Another process uses the folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(f"{path}: another local cloud uses this folder")


class StateDir:
    """Loads the state of `cloud` from `path`, and saves it there until it is closed; a context manager.

    Raises OSError if the folder cannot be used, StateInUse, and BadSnapshot for an invalid file; then nothing has
    changed.
    """

    def __init__(self, cloud: Cloud, path: str | os.PathLike[str]) -> None:
        self._cloud = cloud
        self._path = Path(path)
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock_handle = _lock(self._path)
        try:
            self._load()
        except BaseException:
            os.close(self._lock_handle)
            raise
        self._saved = cloud.changed.count
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="alilocal-state", daemon=True)
        self._thread.start()

    def save(self) -> None:
        """Write the state if it has changed."""
        with self._cloud.changed:
            count = self._cloud.changed.count
            if count == self._saved:
                return
            document = {**self._cloud.snapshot(), "past": _dump_past(self._cloud)}
        # The name is always the same, and the lock reserves it: a killed process leaves no other files behind.
        handle = os.open(self._path / _NEW, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            json.dump(document, file)
            file.flush()
            os.fsync(file.fileno())
        (self._path / _NEW).replace(self._path / FILE)
        self._saved = count

    def close(self) -> None:
        """Write the last state and release the folder; idempotent."""
        if self._stopped.is_set():
            return
        self._stopped.set()
        self._thread.join()
        # What Python code created, as `--init` does, is not counted as a change.
        self._saved = -1
        try:
            self.save()
        finally:
            os.close(self._lock_handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _load(self) -> None:
        file = self._path / FILE
        if not file.exists():
            return
        try:
            document = json.loads(file.read_bytes())
        except ValueError:
            raise BadSnapshot(str(file), "is not JSON") from None
        if not isinstance(document, dict):
            raise BadSnapshot(str(file), "must be an object")
        self._cloud.load(document)
        _load_past(self._cloud, load(dict[str, JsonValue], document.get("past", {}), "past"))

    def _keep(self) -> None:
        while not self._stopped.wait(_SECONDS):
            # A full disk must not end the cloud. The next round tries again, and closing raises the error.
            with contextlib.suppress(OSError):
                self.save()


def _dump_past(cloud: Cloud) -> JsonObject:
    # Without the events of deliveries, which repeat the messages, and without logs: both can be large.
    deliveries: JsonObject = {
        stream.queue_name: dump(
            [replace(one, event=b"", log="") for one in stream.deliveries[-_MOST_PAST:]], list[Delivery]
        )
        for stream in cloud.streams
    }
    calls: list[JsonValue] = [_dump_call(one) for one in list(cloud.requests)[-_MOST_PAST:]]
    return {"messages": dump(list(cloud.journal), list[Sent]), "deliveries": deliveries, "calls": calls}


def _dump_call(call: LoggedRequest) -> JsonObject:
    keys: list[JsonValue] = [*sorted(call.keys)]
    mentions: list[JsonValue] = [*sorted(call.mentions)]
    return {**call._asdict(), "keys": keys, "mentions": mentions}


def _load_past(cloud: Cloud, past: JsonObject) -> None:
    """Show again what was shown before; raises BadSnapshot."""
    sent = load(list[Sent], past.get("messages", []), "past.messages")
    deliveries = load(dict[str, list[Delivery]], past.get("deliveries", {}), "past.deliveries")
    known = {one.message_id for one in sent}
    with cloud.changed:
        waiting = [one for one in cloud.journal if one.message_id not in known]
        cloud.journal.replace(sorted([*sent, *waiting], key=lambda one: one.time))
        cloud.past_deliveries.update(deliveries)
        for call in load(list[JsonObject], past.get("calls", []), "past.calls"):
            try:
                named = {name: frozenset(cast("list[str]", call[name])) for name in ("keys", "mentions")}
                cloud.requests.add(LoggedRequest(**cast("dict[str, Any]", {**call, **named})))
            except (KeyError, TypeError) as exc:
                raise BadSnapshot("past.calls", str(exc)) from None


def _lock(path: Path) -> int:
    """Lock the folder for this process; the lock ends with the process."""
    handle = os.open(path / _LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        import fcntl
    except ImportError:  # Windows has no such lock
        return handle
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise StateInUse(path) from None
    return handle
