"""The marker by which an experiment bears the key of its message: a tag, or a suffix of the description."""

from __future__ import annotations

import re
from collections.abc import Iterable

TAG_KEY = "hpoq-key"
MOST_TAGS = 20
"""How many tags the service takes of an experiment."""

MARKER = rf"\[{TAG_KEY}: ([0-9a-f-]{{36}})\]"
"""What the marker in a description looks like."""


def description_marker(key: str) -> str:
    """The marker as it stands in a description."""
    return f"[{TAG_KEY}: {key}]"


def marked_with(tags: Iterable[tuple[str, str]], description: str | None) -> set[str]:
    """The keys whose markers an experiment with these tags and this description carries, wherever they stand."""
    in_tags = {value for name, value in tags if name == TAG_KEY}
    return in_tags | set(re.findall(MARKER, description or ""))
