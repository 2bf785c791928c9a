"""Input files: one document a file, JSON Lines, folders, and standard input."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click

from hpoq.cli.source import Source
from hpoq.errors import Violation

_LINES = (".jsonl", ".ndjson")
_YAML = (".yaml", ".yml")
_NOT_INPUT = (".md",)


@dataclass(frozen=True)
class Document:
    """The bytes of one document, and where they stand (`path`, `path:line` in JSON Lines, `path#n` in YAML).

    `source` is the text that it was read from, None if that is none; `problem` says why `data` is empty although
    something stands there, with the offset in the text.
    """

    place: str
    data: bytes = field(repr=False)
    path: str = ""
    source: Source | None = field(default=None, repr=False)
    problem: tuple[Violation, int] | None = None


def read_documents(paths: Iterable[str], *, yaml: bool = False) -> Iterator[Document]:
    """Every document under `paths`, folders in the order of their names, bytes untouched.

    With `yaml`, files of that kind are read as the JSON that they stand for. Hidden files and Markdown in folders
    are passed over. Raises click's usage error (exit 2) for a path that does not exist or cannot be read, and for a
    folder that holds nothing else.
    """
    for path in paths:
        if path == "-":
            yield _document("-", "-", sys.stdin.buffer.read())
            continue
        for file in _files(Path(path)):
            yield from _documents(file, yaml=yaml)


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise click.BadParameter(f"{path} does not exist", param_hint="PATH")
    if not path.is_dir():
        return [path]
    files = sorted(
        file
        for file in path.rglob("*")
        if file.is_file()
        and file.suffix not in _NOT_INPUT
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
    )
    if not files:
        raise click.BadParameter(f"{path} holds no files to read", param_hint="PATH")
    return files


def _documents(file: Path, *, yaml: bool) -> Iterator[Document]:
    try:
        if file.suffix in _LINES:
            yield from _lines(file)
        elif yaml and file.suffix in _YAML:
            yield from _of_yaml(str(file), file.read_bytes())
        else:
            yield _document(str(file), str(file), file.read_bytes())
    except OSError as exc:
        raise click.BadParameter(f"{file}: {exc.strerror}", param_hint="PATH") from exc


def _document(place: str, path: str, data: bytes, line: int = 1) -> Document:
    try:
        return Document(place, data, path, Source(data.decode("utf-8-sig"), line))
    except UnicodeDecodeError:
        return Document(place, data, path)


def _lines(file: Path) -> Iterator[Document]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield _document(f"{file}:{number}", str(file), line.rstrip(b"\r\n"), number)


def _of_yaml(path: str, data: bytes) -> Iterator[Document]:
    from hpoq.cli.yamltext import YamlError, load_documents

    number = 0
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        problem = Violation("", "json.encoding", f"not UTF-8 at byte {exc.start}")
        yield Document(path, b"", path, None, (problem, 0))
        return
    try:
        for number, document in enumerate(load_documents(text), 1):
            place = path if number == 1 else f"{path}#{number}"
            body = json.dumps(document.value, ensure_ascii=False, separators=(",", ":"))
            yield Document(place, body.encode(errors="surrogatepass"), path, Source(text, yaml=document))
    except YamlError as exc:
        place = f"{path}#{number + 1}" if number else path
        yield Document(place, b"", path, Source(text), (Violation("", exc.rule, exc.message), exc.offset))
