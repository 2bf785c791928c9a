"""The validation of requests before they are sent: what `hpoq check` shows, and what `hpoq send` demands."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import click
from rich.text import Text

from fcruntime.jsonvalue import JsonObject
from fcruntime.triggers.body import unwrap_base64
from fcruntime.triggers.identity import identify_body
from hpoq.contract.identity import CLOUDEVENT, PRODUCER, STOP, derive_key
from hpoq.contract.model import ExperimentRequest
from hpoq.contract.request import ParsedRequest, compute_fingerprint, parse_request
from hpoq.errors import RequestRejected, Violation
from hpoq.observability.redaction import redact
from hpoq.observability.secret_names import find_secrets
from hpoqctl.files import Document
from hpoqctl.positions import Place, Source, find_place

if TYPE_CHECKING:
    from hpoq.contract.stop import StopRequest

MOST_MESSAGE_BYTES = 65_536 // 4 * 3
"""What fits into a message of SMQ, which holds base64. Not imported from its client, so that a check begins fast."""
TOO_LARGE = "body.too-large"
# Members whose values may be of several types, so that no violation shows a string that is meant as a number.
_FREE_VALUES = r"/(search_space|metric_dict|yml_config)(/|$)"
_NOTATION = "yaml.notation"
# The parts of messages that a warning about YAML notation replaces: what to write, and warnings about the value.
_OF_QUOTES = re.compile(r"; (?:write \S+ without quotes|remove the quotes)$")
_INSTEAD = ("metric-weight.text", "tuner.argument", "assessor.argument")
_NO_QUOTES = re.compile(r" without quotes(?: and|$)")
_LINE = re.compile(r" at line [0-9]+\b")


@dataclass(frozen=True)
class Remark:
    """A violation or a warning, and its place in the source, or None if it has none."""

    violation: Violation
    place: Place | None
    line: int | None

    def as_row(self) -> JsonObject:
        row: JsonObject = dict(self.violation.as_dict())
        return row if self.place is None else {**row, "line": self.line, "column": self.place.column}


@dataclass(frozen=True)
class Checked:
    """One document and the result of its validation: `parsed` is None if it is invalid."""

    document: Document
    parsed: ParsedRequest | None
    violations: Sequence[Remark]
    warnings: Sequence[Remark]

    @property
    def valid(self) -> bool:
        return not self.violations

    @property
    def key(self) -> str | None:
        """The key of the request, or None if it depends on the message's id."""
        # As in the settings, which take longer to load than a check may.
        namespace = os.environ.get("HPOQ_NAMESPACE") or os.environ.get("HPOQ_NAME", "").strip("-")
        return derive_own_key(self.document.data, self.parsed.request, namespace) if self.parsed else None

    def as_row(self) -> JsonObject:
        return {
            "path": self.document.place,
            "valid": self.valid,
            "key": self.key,
            "violations": [remark.as_row() for remark in self.violations],
            "warnings": [remark.as_row() for remark in self.warnings],
        }


def derive_own_key(
    body: bytes, request: ExperimentRequest | StopRequest | None, namespace: str
) -> str | None:
    """Return the key of the `request` in `body` from its idempotencyKey, or from the CloudEvent around it.

    `request` is None if it is invalid. Return None if there is neither: the key then derives from the id of the
    message.
    """
    if request is not None and request.idempotency_key is not None:
        kind = PRODUCER if isinstance(request, ExperimentRequest) else STOP
        return derive_key(kind, request.idempotency_key, namespace)
    event = identify_body(unwrap_base64(body))
    return None if event is None else derive_key(CLOUDEVENT, event, namespace)


def check_document(document: Document) -> Checked:
    """Return the result of validating one document."""
    if document.problem is not None:
        return Checked(document, None, [_convert_problem(document)], ())
    try:
        parsed = parse_request(document.data)
    except RequestRejected as exc:
        warnings = _add_notations(document, exc.violations, exc.warnings)
        notations = {one.pointer for one in warnings if one.rule == _NOTATION}
        listed = [
            replace(one, message=_OF_QUOTES.sub("", one.message)) if one.pointer in notations else one
            for one in exc.violations
        ]
        return Checked(document, None, *_locate_remarks(document, listed, warnings))
    warnings = _add_notations(document, (), parsed.warnings)
    violations, located = _locate_remarks(document, (), warnings)
    return Checked(document, parsed, violations, [*located, *_check_size(document)])


class KeyCheck:
    """The keys of the requests of one call, to find different requests with the same key."""

    def __init__(self) -> None:
        self._first: dict[str, tuple[str, str]] = {}

    def add(self, checked: Checked) -> Checked:
        """Return `checked`, with a violation if a different request of the call has its key.

        A dry run leaves its key free, and sending the same request twice is harmless.
        """
        key, document = checked.key, checked.document
        if checked.parsed is None or key is None:
            return checked
        request = checked.parsed.request
        if isinstance(request, ExperimentRequest) and request.dry_run:
            return checked
        fingerprint = compute_fingerprint(request.wire())
        first, place = self._first.setdefault(key, (fingerprint, document.place))
        if first == fingerprint:
            return checked
        is_own = request.idempotency_key is not None and identify_body(unwrap_base64(document.data)) is None
        what = (
            f"{place} has the same key and is a different request. The function would reject one of the two; "
            "give each its own key"
        )
        violation = Violation("/idempotencyKey" if is_own else "", "idempotency-key.twice", what)
        violations, _ = _locate_remarks(document, [violation], ())
        return replace(checked, violations=[*checked.violations, *violations])


def refuse_invalid(checked: Checked) -> ParsedRequest:
    """Return the request, or raise click.UsageError if the document is invalid."""
    if checked.parsed is None:
        document, violation = checked.document, checked.violations[0].violation
        problem = f"{violation.pointer}: {violation.message}" if violation.pointer else violation.message
        raise click.UsageError(f"{document.place} is invalid: {problem}. See hpoq check {document.path}.")
    return checked.parsed


def _check_size(document: Document) -> Iterator[Remark]:
    """Yield a warning about a request that is too large for a message of SMQ; other sources may bring it."""
    size = len(document.data)
    if size > MOST_MESSAGE_BYTES:
        what = (
            f"{size} bytes; a message of SMQ takes {MOST_MESSAGE_BYTES}, so hpoq send refuses it. Put large data in "
            "OSS and refer to it"
        )
        yield Remark(Violation("", TOO_LARGE, what), None, None)


def _convert_problem(document: Document) -> Remark:
    """Return the violation that made a text of YAML or JSON Lines unreadable."""
    violation, offset = document.problem or (Violation("", "yaml.syntax", ""), 0)
    if document.source is None or offset < 0:
        return Remark(violation, None, None)
    place = find_place(document.source.text, offset, offset + 1)
    return Remark(violation, place, place.line + document.source.first_line - 1)


def _add_notations(
    document: Document, violations: Sequence[Violation], warnings: Sequence[Violation]
) -> list[Violation]:
    """Return `warnings` with those about values that are numbers, booleans or null in YAML, and strings in JSON.

    Where a string is expected it is what the producer means, and a credential must not be quoted.
    """
    root = document.source.yaml_root if document.source else None
    if root is None:
        return [*warnings]
    from hpoqctl.yamltext import QUOTES, find_notations

    secrets = set(find_secrets(json.loads(document.data)))
    wrong = {violation.pointer for violation in violations}
    found = {
        one.pointer: one
        for one in find_notations(root)
        if (re.search(_FREE_VALUES, one.pointer) or one.pointer in wrong or one.message == QUOTES)
        and redact(one.message, secrets) == one.message
    }
    for pointer in wrong & found.keys():  # a string is wrong there
        message = found[pointer].message.removesuffix(", or put it in quotes")
        found[pointer] = replace(found[pointer], message=message)
    others = [one for one in warnings if one.rule not in _INSTEAD or one.pointer not in found]
    return [*others, *found.values()]


def _locate_remarks(
    document: Document, violations: Sequence[Violation], warnings: Sequence[Violation]
) -> tuple[list[Remark], list[Remark]]:
    source = document.source
    remarks = [*violations, *warnings]
    places = source.find_places(remarks) if source else [None] * len(remarks)
    offset = source.first_line - 1 if source else 0
    located = [
        Remark(_correct_message(violation, source, place, offset), place, place.line + offset)
        if source and place
        else Remark(violation, None, None)
        for violation, place in zip(remarks, places, strict=True)
    ]
    return located[: len(violations)], located[len(violations) :]


def _correct_message(violation: Violation, source: Source, place: Place, offset: int) -> Violation:
    """Return a violation whose message fits the file.

    The parser saw one line of JSON Lines only, and a string of YAML needs no quotes that could be removed.
    """
    if violation.rule.startswith("json."):
        line = f" at line {place.line + offset}"
        return replace(violation, message=_LINE.sub(line, violation.message, count=1))
    if source.yaml_root is not None and source.text[place.start : place.start + 1] not in ("'", '"'):
        return replace(violation, message=_NO_QUOTES.sub("", violation.message))
    return violation


def format_result(checked: Checked) -> Iterator[Text]:
    """Yield the lines that show the result for one document: its verdict, its key, violations and warnings."""
    word, style = ("valid", "green") if checked.valid else ("INVALID", "red")
    yield Text(f"{checked.document.place}: {word}", style)
    if checked.key:
        yield Text(f"  key {checked.key}")
    for remark in checked.violations:
        yield from _format_remark(checked.document, remark, "violation", "red")
    for remark in checked.warnings:
        yield from _format_remark(checked.document, remark, "warning", "yellow")


def _format_remark(document: Document, remark: Remark, kind: str, colour: str) -> list[Text]:
    """Return the lines that show a violation or warning: place and rule, excerpt of the source, message."""
    violation, place = remark.violation, remark.place
    pointer = violation.pointer or "the document"
    message = Text(f"    {violation.message}")
    if place is None or document.source is None:
        return [Text.assemble("  ", (kind, colour), f" {pointer} [{violation.rule}]"), message]
    at = f"{document.path}:{remark.line}:{place.column}"
    source, caret = document.source.format_excerpt(place)
    return [
        Text.assemble("  ", (kind, colour), f" {at} {pointer} [{violation.rule}]"),
        Text(f"    {source}"),
        Text.assemble("    ", (caret, colour)),
        message,
    ]
