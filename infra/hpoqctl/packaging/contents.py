"""The files of a code package (what the handler imports, its bytecode, the licences), and the zip of them."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import fcruntime
import hpoq
from hpoqctl.packaging.wheels import Wheel

# These serve users of the package `hpoq`; the handler never imports them. Everything else in it is deployed. A test
# fails if the zip holds a module that no import from the handler leads to.
_NOT_DEPLOYED = ("__main__.py", "producer/", "testing", "idempotency/powertools.py")
_SKIPPED = re.compile(
    r"(^|/)(__pycache__|tests?)/|\.(pyc|pyi|c|h|pyx|pxd)$|(^|/)py\.typed$"
    # Pages of documentation are skipped, but a licence may be Markdown, too.
    r"|^(?!.*\.dist-info/).*\.md$"
    # pip's own records are skipped. METADATA, entry points and licences are kept.
    r"|\.dist-info/(RECORD|WHEEL|INSTALLER|REQUESTED|top_level\.txt|zip-safe)$"
)
# Unchecked bytecode (PEP 552): Python does not compare it with its source, which nothing changes after a deployment.
_COMPILE = """
import compileall, py_compile, sys
compileall.compile_dir(sys.argv[1], maxlevels=99, quiet=2, stripdir=sys.argv[1], prependdir=sys.argv[2],
                       invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
"""
_WITHOUT_PACKAGES = ("-s", "-S")
_DATA = re.compile(r"[^/]+\.data/(?P<kind>[^/]+)/(?P<rest>.+)")


@dataclass(frozen=True)
class File:
    """A file of the package: its path there, its bytes, and the distribution that it belongs to."""

    path: str
    data: bytes
    distribution: str


def list_own_files() -> Iterator[File]:
    """Yield the sources of the function and of its runtime, from where they are installed."""
    for package in (hpoq, fcruntime):
        root = Path(str(package.__file__)).parent
        for path in sorted(root.rglob("*.py")):
            inside = path.relative_to(root)
            if package is not hpoq or not inside.as_posix().startswith(_NOT_DEPLOYED):
                yield File(f"{root.name}/{inside.as_posix()}", path.read_bytes(), f"hpoq {version('hpoq')}")


def list_wheel_files(wheel: Wheel) -> Iterator[File]:
    """Yield the files of a wheel that are needed at run time, with the paths that an installer gives them."""
    with zipfile.ZipFile(wheel.path) as archive:
        for name in archive.namelist():
            placed = _find_installed_path(name)
            if placed is not None and not name.endswith("/") and not _SKIPPED.search(placed):
                yield File(placed, archive.read(name), f"{wheel.name} {wheel.version}")


def _find_installed_path(name: str) -> str | None:
    """Return where an installer puts a file of a wheel, or None for scripts and headers, which are not needed."""
    data = _DATA.fullmatch(name)
    if data is None:
        return name
    return data["rest"] if data["kind"] in ("purelib", "platlib") else None


_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNIX = 3
_READABLE = 0o100644 << 16


class FileConflict(Exception):
    """Two distributions contain different files of the same path."""

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(
            f"Two distributions contain different files {path}. Give a --lock with versions that do not conflict."
        )


def write_archive(target: Path, files: Iterable[File], prefix: str = "") -> dict[str, int]:
    """Write `files` below `prefix`, sorted by path, and return the packed size of each in bytes, by path.

    The same files give the same bytes, whenever and wherever they are written. Raises FileConflict.
    """
    by_path: dict[str, File] = {}
    for file in files:
        if by_path.setdefault(file.path, file).data != file.data:
            raise FileConflict(file.path)
    target.parent.mkdir(parents=True, exist_ok=True)
    # In memory first: Ctrl-C would leave a zip that can be opened and deployed, but lacks files.
    content = io.BytesIO()
    # At the highest level the zip would be 0.6 % smaller, and take three times as long to compress.
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(by_path):
            entry = zipfile.ZipInfo(prefix + path, _EPOCH)
            entry.create_system, entry.external_attr = _UNIX, _READABLE
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, by_path[path].data)
        packed = {entry.filename.removeprefix(prefix): entry.compress_size for entry in archive.infolist()}
    part = target.with_name(f"{target.name}.part")
    part.write_bytes(content.getvalue())
    part.replace(target)
    return packed


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
