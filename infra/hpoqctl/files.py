"""Input files: one document per file, JSON Lines, YAML, folders, and standard input."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fcruntime.triggers.body import looks_like_json, unwrap_base64
from hpoq.contract.document import find_encoded_text
from hpoq.contract.jsontext import describe_encoding
from hpoq.errors import Violation
from hpoqctl.positions import Source, mask_secrets

if TYPE_CHECKING:
    from hpoqctl.yamltext import YamlError

_LINES = (".jsonl", ".ndjson")
_YAML = (".yaml", ".yml")
_REQUESTS = (".json", *_LINES, *_YAML)
_NOT_INPUT = (".md",)
_LONGEST_SHOWN = 200
# What Function Compute takes as one event. No request is larger, and a file that is must not fill the memory.
_MOST_BYTES = 32 * 1024 * 1024
_TOO_LARGE = f"more than {_MOST_BYTES >> 20} MiB; no request or event is that large"
_SEVERAL_LINES = (
    "not JSON Lines, which has one request per line: write it on one line, or rename the file to .json"
)
_LAST_COMMA = "not JSON Lines: remove the comma at the end of the line"


class PathName(click.Path):
    """A path in an option. An empty one would silently mean the current folder."""

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> str | bytes | os.PathLike[str]:
        if value == "":
            self.fail("an empty text, perhaps of a variable that is not set", param, ctx)
        return super().convert(value, param, ctx)


@dataclass(frozen=True)
class Document:
    """The bytes of one document, and their place (`path`, `path:line` in JSON Lines, `path#n` in YAML).

    `source` is the text that the document was read from, or None if the bytes are base64 or not UTF-8. `problem` is
    set if the text could not be read, so that `data` is empty; it includes the offset of the error.
    """

    place: str
    data: bytes = field(repr=False)
    path: str = ""
    source: Source | None = field(default=None, repr=False)
    problem: tuple[Violation, int] | None = None


def read_requests(paths: Iterable[str]) -> Iterator[Document]:
    """Yield every request under `paths`, the files of a folder in the order of their names. YAML becomes JSON.

    Of a folder only files with the names of JSON, JSON Lines and YAML are read, without JSON Schemas: a folder of
    requests may also hold code, data, keys, and the schema that editors use. A file that is named itself is read
    whatever its name and content. Raises as `read_documents` does.
    """
    for path in paths:
        if path == "-":
            yield from _read_standard_input()
            continue
        for file in _list_files(path, _is_request):
            yield from _read_file(file, yaml=True)


def read_documents(paths: Iterable[str]) -> Iterator[Document]:
    """Yield every trigger event under `paths`, with unchanged bytes.

    Hidden files and Markdown in folders are ignored. Raises click's usage error (exit code 2) for a path that does
    not exist or cannot be read, and for a folder without files to read.
    """
    for path in paths:
        if path == "-":
            yield _make_document("-", "-", _read_input())
            continue
        for file in _list_files(path, lambda file: file.suffix not in _NOT_INPUT):
            yield from _read_file(file, yaml=False)


def _is_request(file: Path) -> bool:
    return file.suffix.lower() in _REQUESTS and not _is_schema(file)


def _is_schema(file: Path) -> bool:
    """Return whether a file is a JSON Schema, such as the one that `hpoq init` writes next to a request."""
    if file.name.lower().endswith(".schema.json"):
        return True
    if file.suffix.lower() != ".json":
        return False
    try:
        data = _read_bytes(file)
        document = json.loads(data) if b"json-schema.org" in data else None
    except (OSError, ValueError, RecursionError):  # reading it as a request will say what is wrong
        return False
    if not isinstance(document, dict) or "experiment" in document:
        return False
    return "json-schema.org" in str(document.get("$schema"))


def _list_files(name: str, is_input: Callable[[Path], bool]) -> list[Path]:
    path = Path(name)
    try:
        is_there = path.exists()
    except OSError as exc:  # such as a name that is too long
        raise click.BadParameter(f"{str(path)[:_LONGEST_SHOWN]}: {exc.strerror}") from exc
    if not is_there:
        raise click.BadParameter(f"{path} does not exist")
    if not path.is_dir():
        return [path]
    files = sorted(
        file
        for file in path.rglob("*")
        if file.is_file()
        and is_input(file)
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
    )
    if not files:
        kinds = f" ({', '.join(_REQUESTS)})" if is_input is _is_request else ""
        raise click.BadParameter(f"{path} contains no files to read{kinds}")
    return files


def _read_file(file: Path, *, yaml: bool) -> Iterator[Document]:
    suffix = file.suffix.lower()
    try:
        if suffix in _LINES:
            yield from _read_lines(file, are_requests=yaml)
            return
        data = _read_bytes(file)
        if yaml and suffix in _YAML and len(data) <= _MOST_BYTES:
            yield from _read_yaml(str(file), data)
        else:
            yield _make_document(str(file), str(file), data)
    except OSError as exc:
        raise click.BadParameter(f"{file}: {exc.strerror}") from exc


def _read_bytes(file: Path) -> bytes:
    """Return the content of a file. Of one that is too large, return one byte more than is allowed."""
    with file.open("rb") as stream:
        return stream.read(_MOST_BYTES + 1)


def _read_standard_input() -> Iterator[Document]:
    """Read JSON, base64 of it, or else YAML, which has no name here that could distinguish it."""
    data = _read_input()
    is_json = looks_like_json(unwrap_base64(data)) or find_encoded_text(data) is not None
    if is_json or not data.strip() or len(data) > _MOST_BYTES:
        yield _make_document("-", "-", data)
    else:
        yield from _read_yaml("-", data)


def _read_input() -> bytes:
    """Return the bytes of standard input. Raises click's usage error if it is closed or cannot be read."""
    if sys.stdin is None:  # as `<&-` makes it
        raise click.BadParameter("-: standard input is closed")
    try:
        return sys.stdin.buffer.read(_MOST_BYTES + 1)
    except OSError as exc:
        raise click.BadParameter(f"-: standard input cannot be read: {exc.strerror}") from None


def _make_document(place: str, path: str, data: bytes, line: int = 1) -> Document:
    if len(data) > _MOST_BYTES:
        return Document(place, b"", path, None, (Violation("", "body.too-large", _TOO_LARGE), 0))
    source = None
    # A line of base64 shows no member, but anyone can decode a credential in it.
    if unwrap_base64(data) == data and find_encoded_text(data) is None:
        with contextlib.suppress(UnicodeDecodeError):
            source = Source(data.decode("utf-8-sig"), line)
    return Document(place, data, path, source)


def _read_lines(file: Path, *, are_requests: bool) -> Iterator[Document]:
    is_empty = True
    with file.open("rb") as lines:
        for number, line in enumerate(iter(lambda: lines.readline(_MOST_BYTES + 1), b""), 1):
            if not line.strip():
                continue
            if len(line) > _MOST_BYTES:  # its rest would be read as other lines
                yield _make_document(f"{file}:{number}", str(file), line, number)
                return
            document = _make_document(f"{file}:{number}", str(file), line.rstrip(b"\r\n"), number)
            if are_requests and is_empty and line.strip() in (b"{", b"["):
                # The other lines would be a violation each.
                yield replace(document, data=b"", problem=(Violation("", "json.syntax", _SEVERAL_LINES), 0))
                return
            is_empty = False
            at = _find_last_comma(document.source) if are_requests and document.source else None
            problem = None if at is None else (Violation("", "json.syntax", _LAST_COMMA), at)
            yield document if problem is None else replace(document, data=b"", problem=problem)
    if is_empty:
        # One empty document, which is reported as an error: nobody means to send a file without requests.
        yield _make_document(str(file), str(file), b"")


def _find_last_comma(source: Source) -> int | None:
    """Return the offset of a comma after the document in a line, or None if there is none."""
    text = source.text.rstrip()
    if not text.endswith("},"):
        return None
    try:
        json.loads(text[:-1])
    except (ValueError, RecursionError):  # reading it as a request will say what is wrong
        return None
    return len(text) - 1


def _read_yaml(path: str, data: bytes) -> Iterator[Document]:
    from hpoqctl.yamltext import YamlError, load_documents

    number = 0
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        problem = Violation("", "json.encoding", describe_encoding(data, exc.start))
        yield Document(path, b"", path, None, (problem, 0))
        return
    try:
        for number, document in enumerate(load_documents(text), 1):
            place = path if number == 1 else f"{path}#{number}"
            body = json.dumps(document.value, ensure_ascii=False, separators=(",", ":"))
            source = Source(text, yaml_root=document.root)
            yield Document(place, body.encode(errors="surrogatepass"), path, source)
        if not number:
            empty = Violation("", "yaml.syntax", "not YAML: there is no request in this text")
            yield Document(path, b"", path, Source(text), (empty, 0))
    except YamlError as exc:
        place = f"{path}#{number + 1}" if number else path
        problem = Violation(exc.pointer, exc.rule, _hide_word(text, exc))
        yield Document(place, b"", path, Source(text), (problem, exc.offset))


def _hide_word(text: str, error: YamlError) -> str:
    """Return the message of `error` without the alias or tag at its place if that is in the value of a secret."""
    found = re.compile(r"[*!]+([^\s,\[\]{}]+)").match(text, max(0, error.offset))
    if found is None or mask_secrets(text)[found.start(1)] == text[found.start(1)]:
        return error.message
    return error.message.replace(found[1], "...")
