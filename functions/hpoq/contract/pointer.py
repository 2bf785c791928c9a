"""RFC 6901 JSON pointers."""

from __future__ import annotations


def pointer_to(*tokens: str | int) -> str:
    """The pointer made of `tokens`: member names and array indexes."""
    return "".join("/" + str(token).replace("~", "~0").replace("/", "~1") for token in tokens)


def tokens_of(pointer: str) -> list[str]:
    """The tokens that `pointer` is made of."""
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]
