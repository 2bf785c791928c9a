"""The text that a document was read from, and where in it a violation stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from fcruntime import strictjson
from fcruntime.strictjson import JsonError
from hpoq.cli.excerpt import Place, excerpt, masked, place_of
from hpoq.cli.sourcemap import Span, find_spans
from hpoq.errors import Violation

if TYPE_CHECKING:
    from hpoq.cli.yamltext import YamlDocument

_AT_THE_NAME = ("unknown-member", "json.duplicate-key")


@dataclass(frozen=True)
class Source:
    """A text of JSON, or of YAML if `yaml` is set; its first line is number `first_line` of its file."""

    text: str = field(repr=False)
    first_line: int = 1
    yaml: YamlDocument | None = field(default=None, repr=False)

    def places(self, violations: Sequence[Violation]) -> list[Place | None]:
        """Where each of `violations` stands; None where nothing of the text is at fault."""
        # A text of broken syntax has no places for pointers to lead to.
        pointers = {violation.pointer for violation in violations if not _is_of_syntax(violation)}
        spans = self._spans(pointers) if pointers else {}
        return [self._place(violation, spans) for violation in violations]

    def excerpt(self, place: Place) -> list[str]:
        """The line of `place`, with a caret under it and no credential in it."""
        return excerpt(self._shown, place, number=place.line + self.first_line - 1)

    def _place(self, violation: Violation, spans: dict[str, Span]) -> Place | None:
        if _is_of_syntax(violation):
            return self._of_syntax()
        pointer, missing = violation.pointer, False
        while pointer and pointer not in spans:
            pointer, missing = pointer.rpartition("/")[0], True
        span = spans.get(pointer)
        if span is None:
            return None
        if missing:
            return place_of(self.text, span.start, span.start + 1)
        if violation.rule in _AT_THE_NAME and span.key is not None:
            return place_of(self.text, *span.key)
        return place_of(self.text, span.start, span.end)

    def _of_syntax(self) -> Place | None:
        try:
            strictjson.loads(self.text)
        except JsonError as exc:
            if exc.offset is not None and exc.rule != "json.encoding":
                return place_of(self.text, exc.offset, exc.offset + 1)
        return None

    def _spans(self, pointers: set[str]) -> dict[str, Span]:
        """Of each pointer and of all that lead to it."""
        wanted = set(pointers) | {""}
        for pointer in pointers:
            while pointer:
                pointer = pointer.rpartition("/")[0]  # noqa: PLW2901
                wanted.add(pointer)
        if self.yaml is not None:
            found = {pointer: self.yaml.find_span(pointer) for pointer in wanted}
            return {pointer: span for pointer, span in found.items() if span is not None}
        return find_spans(self.text, wanted)

    @cached_property
    def _shown(self) -> str:
        text = masked(self.text)
        for span in self.yaml.secret_spans() if self.yaml else ():
            hidden = "".join(char if char.isspace() else "*" for char in text[span.start : span.end])
            text = text[: span.start] + hidden + text[span.end :]
        return text


def _is_of_syntax(violation: Violation) -> bool:
    return violation.rule.startswith("json.") and violation.rule != "json.duplicate-key"
