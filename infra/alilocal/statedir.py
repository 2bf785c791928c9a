"""A cloud's state in a folder, so that it outlives its process.

The folder holds one file, written anew as a whole soon after each change; a process that is killed loses at most
the last second. It is readable for its owner alone: messages may hold credentials.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from alilocal.cloud import LocalCloud
from alilocal.core.snapshot import BadSnapshot

if TYPE_CHECKING:
    from typing_extensions import Self

FILE = "state.json"
_LOCK, _NEW = "lock", "state.json.new"
_SECONDS = 1.0


class StateInUse(Exception):
    """Another process keeps its state in the folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(f"{path}: another local cloud keeps its state here")


class StateDir:
    """Loads the state of `cloud` from `path` and keeps it there until closed; a context manager.

    Raises OSError if the folder cannot be used, StateInUse, and BadSnapshot for a file that is no state; then
    nothing is changed.
    """

    def __init__(self, cloud: LocalCloud, path: str | os.PathLike[str]) -> None:
        self._cloud = cloud
        self._path = Path(path)
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._held = _hold(self._path)
        try:
            self._load()
        except BaseException:
            os.close(self._held)
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
            document = self._cloud.snapshot()
        # Always the same name, which the lock makes ours: a process that is killed leaves no litter.
        handle = os.open(self._path / _NEW, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            json.dump(document, file)
            file.flush()
            os.fsync(file.fileno())
        (self._path / _NEW).replace(self._path / FILE)
        self._saved = count

    def close(self) -> None:
        """Write the last state and let the folder go; idempotent."""
        if self._stopped.is_set():
            return
        self._stopped.set()
        self._thread.join()
        try:
            self.save()
        finally:
            os.close(self._held)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
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

    def _keep(self) -> None:
        while not self._stopped.wait(_SECONDS):
            # A full disk must not end the cloud; the next round tries again, and closing tells.
            with contextlib.suppress(OSError):
                self.save()


def _hold(path: Path) -> int:
    """Lock the folder for this process; the lock ends with it."""
    handle = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        import fcntl
    except ImportError:  # Windows has no such lock, and goes without
        return handle
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise StateInUse(path) from None
    return handle
