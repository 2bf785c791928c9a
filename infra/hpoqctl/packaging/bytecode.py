"""Bytecode for the code package.

Every new instance starts from the package as it is, so without bytecode each one compiles what it imports. The
bytecode is of the unchecked kind (PEP 552, https://peps.python.org/pep-0552/): Python does not compare it with its
source, which nothing changes after the deployment.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from hpoqctl.packaging.contents import File

_COMPILE = """
import compileall, py_compile, sys
compileall.compile_dir(sys.argv[1], maxlevels=99, quiet=2, stripdir=sys.argv[1], prependdir=sys.argv[2],
                       invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
"""
_WITHOUT_PACKAGES = ("-s", "-S")


def find_interpreter(version: str) -> str | None:
    """Return the path of a Python of `version`, such as `3.12`, or None if this machine has none.

    It is the running interpreter, or the command `python3.12` on the PATH.
    """
    if version == "{}.{}".format(*sys.version_info):
        return sys.executable
    found = shutil.which(f"python{version}")
    # pyenv puts commands on the PATH also for versions that are not active, and these fail.
    return found if found and _run(found, "-c", "") is not None else None


def read_version(python: str) -> str:
    """Return the full version of the interpreter `python`, such as `3.10.13`."""
    return _run(python, "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])") or ""


def compile_files(files: Iterable[File], python: str, root: str) -> Iterator[File]:
    """Yield the bytecode that `python` compiles from the sources among `files`. They are deployed below `root`.

    A source that does not compile, such as one for other versions of Python, is skipped. The same sources give the
    same bytes.
    """
    sources = [file for file in files if file.path.endswith(".py")]
    distributions = {file.path: file.distribution for file in sources}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in sources:
            path = folder / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.data)
        _run(python, "-c", _COMPILE, str(folder), root)
        for path in sorted(folder.rglob("*.pyc")):
            source = path.parent.parent / (path.name.partition(".")[0] + ".py")
            distribution = distributions[source.relative_to(folder).as_posix()]
            yield File(path.relative_to(folder).as_posix(), path.read_bytes(), distribution)


def _run(python: str, *arguments: str) -> str | None:
    """Run `python` without its packages, and return its output, or None if it fails."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment["PYTHONHASHSEED"] = "0"  # until 3.10 the order of a constant set depends on the hashes
    command = [python, *_WITHOUT_PACKAGES, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    return None if done.returncode else done.stdout.strip()
