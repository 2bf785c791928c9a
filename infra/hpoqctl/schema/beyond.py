"""The rules that a JSON Schema cannot express, by the place that they apply to.

A schema lists them in `x-hpoq-rules-beyond-schema`: hpoq checks these rules for the value there, or for its content,
and the schema does not. There is no other difference between hpoq and the schema.
"""

from __future__ import annotations

from typing import Final

from fcruntime.jsonvalue import JsonObject

KEYWORD: Final = "x-hpoq-rules-beyond-schema"

MESSAGE = (
    "body.base64-twice",
    "body.compressed",
    "body.too-large",
    "json.depth",
    "json.duplicate-key",
    "json.encoding",
    "json.non-finite",
    "json.number",
    "json.surrogate",
)
"""Rules for the text of a document; a validator sees only the value that was read from it."""

BOUNDS = ("search-space.bounds",)
"""The rule for a range: low is less than high, or for real numbers not greater, and the engine can draw from it."""

SPACE_TEXT = (
    "search-space.arity",
    "search-space.bounds",
    "search-space.empty",
    "search-space.number",
    "search-space.spec",
    "search-space.step",
    "search-space.text",
    "search-space.type",
)
"""Rules for a search space that is a string."""

WEIGHTS_TEXT = ("metric-weight", "type")
"""Rules for the weights of metrics that are a string."""

TARGET = ("guard.target",)
"""The rule that a metric's target needs a direction, which the experiment states."""

REAL = ("type",)
"""The rule for an integer beyond 1.8e308, which does not fit into a double."""

ENCODED = tuple(
    sorted(
        {
            *MESSAGE,
            *SPACE_TEXT,
            "cloudevent.data",
            "description.reserved",
            "document.shape",
            "enum",
            "guard.empty",
            "guard.limit",
            "guard.target",
            "idempotency-key",
            "json.syntax",
            "metric-source.form",
            "metric-weight",
            "params.pair",
            "range",
            "required",
            "schema-version",
            "stop.target",
            "tag.limit",
            "tag.reserved",
            "type",
            "unknown-member",
        }
        - {"body.too-large"}
    )
)
"""The rules for `data_base64`: every rule applies to the request in it."""

DATA_TEXT = tuple(rule for rule in ENCODED if rule != "cloudevent.data")
"""The rules for a request that is text in the `data` of a CloudEvent."""

EXPERIMENT_TEXT = tuple(
    rule
    for rule in DATA_TEXT
    if rule not in ("document.shape", "idempotency-key", "schema-version", "stop.target")
    and not rule.startswith(("guard.", "body."))
)
"""The rules for an `experiment` that is text."""

OBJECT_TEXT = tuple(
    rule
    for rule in DATA_TEXT
    if not rule.startswith(("json.", "body."))
    and rule not in ("description.reserved", "document.shape", "schema-version", "tag.limit", "tag.reserved")
)
"""The rules for another object that is text, such as a guard or the target of a stop."""

DOCUMENT_TEXT = tuple(sorted({*ENCODED, "cloudevent.member", "cloudevent.specversion"}))
"""The rules for a document that is text."""


def list_beyond(rules: tuple[str, ...], description: str) -> JsonObject:
    """Return a description and the keyword that lists `rules`, as members of a schema."""
    return {
        "description": f"{description} Rules beyond this schema: {', '.join(rules)}.",
        KEYWORD: list(rules),
    }
