"""What all schemas of the contract have in common: their dialect, and the order of their members."""

from __future__ import annotations

from fcruntime.jsonvalue import JsonObject, JsonValue

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_BY_NAME = ("properties", "$defs")
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
    "additionalProperties",
    "prefixItems",
    "items",
    "not",
    "anyOf",
    "allOf",
    "if",
    "then",
    "else",
    "examples",
    "$defs",
)


def ref(name: str) -> JsonObject:
    """The definition `name` of the same schema."""
    return {"$ref": f"#/$defs/{name}"}


def arranged(schema: JsonObject) -> JsonObject:
    """`schema` with its keywords in the order in which people read them, at every level.

    Raises ValueError for a keyword that has no place in that order.
    """
    return {keyword: _arranged(keyword, schema[keyword]) for keyword in sorted(schema, key=_ORDER.index)}


def _arranged(keyword: str, value: JsonValue) -> JsonValue:
    if keyword in _VALUES:
        return value
    if keyword in _BY_NAME and isinstance(value, dict):
        return {name: _arranged("", member) for name, member in value.items()}
    if isinstance(value, list):
        return [_arranged("", item) for item in value]
    return arranged(value) if isinstance(value, dict) else value
