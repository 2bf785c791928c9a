"""The rules that a JSON Schema cannot say, by the place where they are judged.

Each schema carries the names in `x-hpoq-rules-beyond-schema`: hpoq judges these rules of the value there, or of
what stands in it, and the schema does not. There is no other difference between hpoq and the schema.
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
"""Of the text that a document is written in: they are gone once it has been read."""

BOUNDS = ("search-space.bounds",)
"""Of two numbers: low is less than high."""

SPACE_TEXT = (
    "search-space.arity",
    "search-space.bounds",
    "search-space.choice",
    "search-space.number",
    "search-space.spec",
    "search-space.text",
    "search-space.type",
)
"""Of a search space that is written as text."""

INTEGER = ("type",)
"""Of a whole number that is written as `1.0` or `1e0`."""

RANDINT = ("search-space.number",)
"""The same in a search space."""

REAL = ("type",)
"""Of a whole number beyond 1.8e308, which fits into no double."""

ENCODED = tuple(
    sorted(
        {
            *MESSAGE,
            *SPACE_TEXT,
            "cloudevent.data",
            "description.reserved",
            "document.shape",
            "enum",
            "idempotency-key",
            "json.syntax",
            "metric-source.form",
            "metric-weight",
            "params.pair",
            "range",
            "required",
            "schema-version",
            "tag.limit",
            "tag.reserved",
            "type",
            "unknown-member",
        }
        - {"body.base64-twice", "body.compressed", "body.too-large"}
    )
)
"""Of `data_base64`: every rule of the request in it."""


def beyond(rules: tuple[str, ...], why: str) -> JsonObject:
    """The members of a schema that name `rules` and say `why` it does not judge them."""
    return {"description": f"{why} Rules beyond this schema: {', '.join(rules)}.", KEYWORD: list(rules)}
