"""Bytecode beside the sources. FC's instances start from the package as it is, so each would compile what it imports.

Unchecked, for nothing changes a source that is deployed (PEP 552, https://peps.python.org/pep-0552/).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from hpoq.packaging.contents import File

_COMPILE = """
import compileall, py_compile, sys
compileall.compile_dir(sys.argv[1], maxlevels=99, quiet=2, stripdir=sys.argv[1], prependdir=sys.argv[2],
                       invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
"""
_WITHOUT_PACKAGES = ("-s", "-S")


def interpreter(version: str) -> str | None:
    """A Python of `version`, such as `3.10`, on this machine: this very one, or `python3.10` on the path."""
    if version == "{}.{}".format(*sys.version_info):
        return sys.executable
    found = shutil.which(f"python{version}")
    # pyenv's shims are there for versions that are not switched on, too.
    return found if found and _told(found, "-c", "") is not None else None


def release(python: str) -> str:
    """The full version of `python`, such as `3.10.13`."""
    return _told(python, "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])") or ""


def bytecode(files: Iterable[File], python: str, root: str) -> Iterator[File]:
    """What `python` makes of the sources among `files`, which are to stand below `root`.

    What it cannot compile is left out, such as a source for other versions. The same sources make the same bytes.
    """
    sources = [file for file in files if file.path.endswith(".py")]
    distributions = {file.path: file.distribution for file in sources}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in sources:
            path = folder / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.data)
        _told(python, "-c", _COMPILE, str(folder), root)
        for path in sorted(folder.rglob("*.pyc")):
            source = path.parent.parent / (path.name.partition(".")[0] + ".py")
            distribution = distributions[source.relative_to(folder).as_posix()]
            yield File(path.relative_to(folder).as_posix(), path.read_bytes(), distribution)


def _told(python: str, *arguments: str) -> str | None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment["PYTHONHASHSEED"] = "0"  # up to 3.10, the order of a set of constants is of its hashes
    command = [python, *_WITHOUT_PACKAGES, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    return None if done.returncode else done.stdout.strip()
