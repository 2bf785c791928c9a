"""What all schemas of the contract have in common: the dialect, references, and the order of keywords."""

from __future__ import annotations

from fcruntime.jsonvalue import JsonObject, JsonValue

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_BY_NAME = ("properties", "patternProperties", "$defs")
_VALUES = ("const", "enum", "default", "examples")
_ORDER = (
    "$schema",
    "$id",
    "title",
    "description",
    "x-hpoq-rules-beyond-schema",
    "$ref",
    "type",
    "const",
    "enum",
    "format",
    "writeOnly",
    "default",
    "minLength",
    "maxLength",
    "pattern",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "minItems",
    "maxItems",
    "minProperties",
    "required",
    "properties",
    "patternProperties",
    "additionalProperties",
    "prefixItems",
    "items",
    "not",
    "anyOf",
    "oneOf",
    "allOf",
    "if",
    "then",
    "else",
    "examples",
    "$defs",
)


def make_ref(name: str) -> JsonObject:
    """Return a reference to the definition `name` of the same schema."""
    return {"$ref": f"#/$defs/{name}"}


def sort_keywords(schema: JsonObject) -> JsonObject:
    """Return `schema` with the keywords of every level in an order that is easy to read.

    Raises ValueError for a keyword that is not in that order.
    """
    return {keyword: _sort_value(keyword, schema[keyword]) for keyword in sorted(schema, key=_ORDER.index)}


def _sort_value(keyword: str, value: JsonValue) -> JsonValue:
    if keyword in _VALUES:
        return value
    if keyword in _BY_NAME and isinstance(value, dict):
        return {name: _sort_value("", member) for name, member in value.items()}
    if isinstance(value, list):
        return [_sort_value("", item) for item in value]
    return sort_keywords(value) if isinstance(value, dict) else value
