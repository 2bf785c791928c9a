"""HTML made of parts: every text is escaped, every attribute quoted."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


Part = str | Html | Iterable["Part"] | None


def tag(element: str, /, *children: Part, **attributes: str | bool | int | None) -> Html:
    """An element. `class_` is `class`, other underscores are hyphens; True is an attribute alone, None is none."""
    shown = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        attribute = key.rstrip("_").replace("_", "-")
        shown.append(f" {attribute}" if value is True else f' {attribute}="{escape(str(value))}"')
    opening = f"<{element}{''.join(shown)}>"
    if element in ("input", "meta", "link", "br"):
        return Html(opening)
    return Html(f"{opening}{join(children)}</{element}>")


def join(parts: Part) -> Html:
    """Parts one after another."""
    if parts is None:
        return Html("")
    if isinstance(parts, Html):
        return parts
    if isinstance(parts, str):
        # A lone surrogate, or a control character, has no place in a page.
        return Html(escape(parts.encode(errors="replace").decode()))
    return Html("".join(join(part) for part in parts))
