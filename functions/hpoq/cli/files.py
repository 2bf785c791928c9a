"""Input files: one document a file, JSON Lines, folders, and standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click

_LINES = (".jsonl", ".ndjson")
_NOT_INPUT = (".md",)


@dataclass(frozen=True)
class Document:
    """The bytes of one document, and where they stand (`path`, or `path:line` in JSON Lines)."""

    place: str
    data: bytes = field(repr=False)


def read_documents(paths: Iterable[str]) -> Iterator[Document]:
    """Every document under `paths`, folders in the order of their names, bytes untouched.

    Hidden files and Markdown in folders are passed over. Raises click's usage error (exit 2) for a path that
    does not exist or cannot be read.
    """
    for path in paths:
        if path == "-":
            yield Document("-", sys.stdin.buffer.read())
            continue
        for file in _files(Path(path)):
            yield from _documents(file)


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise click.BadParameter(f"{path} does not exist", param_hint="PATH")
    if not path.is_dir():
        return [path]
    return sorted(
        file
        for file in path.rglob("*")
        if file.is_file()
        and file.suffix not in _NOT_INPUT
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
    )


def _documents(file: Path) -> Iterator[Document]:
    try:
        if file.suffix not in _LINES:
            yield Document(str(file), file.read_bytes())
            return
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield Document(f"{file}:{number}", line.rstrip(b"\r\n"))
    except OSError as exc:
        raise click.BadParameter(f"{file}: {exc.strerror}", param_hint="PATH") from exc
