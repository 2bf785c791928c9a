"""RFC 6901 JSON pointers."""

from __future__ import annotations

from collections.abc import Iterator

from fcruntime.jsonvalue import JsonValue


def pointer_to(*tokens: str | int) -> str:
    """The pointer made of `tokens`: member names and array indexes."""
    return "".join("/" + str(token).replace("~", "~0").replace("/", "~1") for token in tokens)


def places(document: JsonValue, pointer: str = "") -> Iterator[str]:
    """The pointer of every value in `document`, in the order in which they stand there."""
    yield pointer
    if isinstance(document, dict):
        for name, member in document.items():
            yield from places(member, pointer + pointer_to(name))
    elif isinstance(document, list):
        for index, item in enumerate(document):
            yield from places(item, f"{pointer}/{index}")
