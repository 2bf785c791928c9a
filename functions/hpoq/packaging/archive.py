"""Zip archives that are the same bytes whenever and wherever the same files are put in."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

from hpoq.packaging.contents import File

_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNIX = 3
_READABLE = 0o100644 << 16


class FileTwice(Exception):
    """Two distributions bring different files of the same path."""

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(f"{path} comes from two distributions, and differs")


def write_archive(target: Path, files: Iterable[File], prefix: str = "") -> dict[str, int]:
    """Write `files` below `prefix` in the order of their paths; the packed size of each in bytes, by path.

    Raises FileTwice.
    """
    by_path: dict[str, File] = {}
    for file in files:
        if by_path.setdefault(file.path, file).data != file.data:
            raise FileTwice(file.path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(by_path):
            entry = zipfile.ZipInfo(prefix + path, _EPOCH)
            entry.create_system, entry.external_attr = _UNIX, _READABLE
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, by_path[path].data, compresslevel=9)
        return {entry.filename.removeprefix(prefix): entry.compress_size for entry in archive.infolist()}
