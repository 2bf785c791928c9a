"""`python -m alilocal.scaffold NAME`: creates a service from the code blocks of CONTRIBUTING.md.

The page is the only copy of these files, so it cannot differ from what the command writes.
"""

from __future__ import annotations

import keyword
import re
import sys
from pathlib import Path

_PACKAGE = Path(__file__).parent
_EXAMPLE = "greeting"
_NAME = re.compile(r"[a-z][a-z0-9]*")
_FILE = re.compile(r"(?ms)^`([\w/]+\.py)`:\n\n```python\n(.*?)^```$")
_LINES = re.compile(r"(?ms)^In `([\w/]+\.py)`, after `([^\n]+)`:\n\n```text\n(.*?)^```$")


def create_service(name: str, page: str, package: Path) -> None:
    """Write the files of a service `name` and register it; raises ValueError for a name that cannot be used."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a valid name. Use lower-case letters and digits.")
    for place in (package / name, package / f"{name}.py"):
        if place.exists():
            raise ValueError(f"{place} exists already.")
    text = read_section(page, "Add a service")
    others = text.replace(_EXAMPLE.capitalize(), "")
    if keyword.iskeyword(name) or re.search(rf"\b{name.capitalize()}\b", others):
        raise ValueError(f"{name!r} is already a word of the code. Use another name.")
    text = text.replace(_EXAMPLE, name).replace(_EXAMPLE.capitalize(), name.capitalize())
    for path, content in _FILE.findall(text):
        file = package / path
        file.parent.mkdir(exist_ok=True)
        file.write_text(content, encoding="utf-8")
    insert_lines(text, package)


def read_section(page: str, title: str) -> str:
    """Return the section of a page below the heading `title`."""
    return page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def insert_lines(text: str, package: Path) -> None:
    """Insert the lines that `text` shows for existing files; raises ValueError if a place is not found."""
    for path, before, lines in _LINES.findall(text):
        file = package / path
        kept = file.read_text(encoding="utf-8").splitlines(keepends=True)
        places = [number for number, line in enumerate(kept, 1) if line.strip() == before]
        if len(places) != 1:
            raise ValueError(f"{file} must have one line {before!r}, and has {len(places)}.")
        kept.insert(places[0], lines)
        file.write_text("".join(kept), encoding="utf-8")


def main() -> None:
    """Create the service that the command line names."""
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit("usage: python -m alilocal.scaffold NAME")
    try:
        create_service(sys.argv[1], (_PACKAGE / "CONTRIBUTING.md").read_text(encoding="utf-8"), _PACKAGE)
    except ValueError as exc:
        sys.exit(f"alilocal.scaffold: {exc}")
    sys.stdout.write(f"Created {_PACKAGE / sys.argv[1]} and registered it in services.py.\n")


if __name__ == "__main__":
    main()
