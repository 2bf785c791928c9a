"""Work that all workers of pytest-xdist need, done by the first of them."""

import fcntl
import os
from contextlib import contextmanager


@contextmanager
def lock_unfinished(folder):
    """Yield whether the work in `folder` is still to be done; other workers wait meanwhile.

    It counts as done once the block ends without an exception.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder / "done"
        yield not done.exists()
        done.touch()


def find_shared_folder(tmp_path_factory):
    """Return a temporary folder of this run that all its workers share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
