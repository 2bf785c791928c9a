"""Which files a code package holds: all that runs, and what licences ask for."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import fcruntime
import hpoq
from hpoq.packaging.wheels import Wheel

_NOT_DEPLOYED = ("cli", "packaging", "testing")
_LEFT_OUT = re.compile(
    r"(^|/)(__pycache__|tests?)/|\.(pyc|pyi|c|h|pyx|pxd|md)$|(^|/)py\.typed$"
    # pip's own records; METADATA, entry points and licences stay.
    r"|\.dist-info/(RECORD|WHEEL|INSTALLER|REQUESTED|top_level\.txt|zip-safe)$"
)
_DATA = re.compile(r"[^/]+\.data/(?P<kind>[^/]+)/(?P<rest>.+)")


@dataclass(frozen=True)
class File:
    """A file of the package: its path there, its bytes, and the distribution that it is of."""

    path: str
    data: bytes
    distribution: str


def own_files() -> Iterator[File]:
    """The function and its runtime, from wherever they are installed."""
    for package in (hpoq, fcruntime):
        root = Path(str(package.__file__)).parent
        for path in sorted(root.rglob("*.py")):
            inside = path.relative_to(root)
            if package is not hpoq or inside.parts[0] not in _NOT_DEPLOYED:
                yield File(f"{root.name}/{inside.as_posix()}", path.read_bytes(), f"hpoq {version('hpoq')}")


def files_of(wheel: Wheel) -> Iterator[File]:
    """What is kept of a wheel, where its installer would put it."""
    with zipfile.ZipFile(wheel.path) as archive:
        for name in archive.namelist():
            placed = _placed(name)
            if placed is not None and not name.endswith("/") and not _LEFT_OUT.search(placed):
                yield File(placed, archive.read(name), f"{wheel.name} {wheel.version}")


def _placed(name: str) -> str | None:
    """Scripts and headers have no place in a code package."""
    data = _DATA.fullmatch(name)
    if data is None:
        return name
    return data["rest"] if data["kind"] in ("purelib", "platlib") else None
