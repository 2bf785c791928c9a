"""The grammar of the search space as JSON Schema."""

from __future__ import annotations

from fcruntime.jsonvalue import JsonObject, JsonValue
from hpoq.contract.beyond import BOUNDS, KEYWORD, RANDINT, SPACE_TEXT, beyond
from hpoq.contract.schema_form import ref
from hpoq.contract.search_space import ARITY, TYPES


def space_definitions() -> dict[str, JsonObject]:
    """The definitions that a search space needs, by name; `SearchSpace` is the whole."""
    ranges = {_name(kind): _range(kind) for kind in ARITY}
    return {
        "SearchSpace": {
            "title": "SearchSpace",
            "description": "Names, as commands use them in `${name}`, and what is drawn for each.",
            "type": "object",
            "additionalProperties": ref("SearchSpaceEntry"),
        },
        "SearchSpaceText": {
            "title": "SearchSpaceText",
            **beyond(SPACE_TEXT, "JSON text of a search space; hpoq reads it and judges what stands in it."),
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": ref("SearchSpace"),
        },
        "SearchSpaceEntry": {
            "title": "SearchSpaceEntry",
            "description": "How a value is drawn. Members beside `_type` and `_value` have no effect.",
            "type": "object",
            "required": ["_type", "_value"],
            "properties": {"_type": {"enum": list(TYPES)}, "_value": {"type": "array"}},
            "allOf": [_value_of(kind) for kind in TYPES],
        },
        "NestedChoice": {
            "title": "NestedChoice",
            "description": "A choice that opens further choices: `_name` is substituted, the rest are entries.",
            "type": "object",
            "required": ["_name"],
            "properties": {"_name": {"type": "string"}},
            "additionalProperties": ref("SearchSpaceEntry"),
        },
        "ValueOfChoice": _choice(),
        **ranges,
    }


def _name(kind: str) -> str:
    return f"ValueOf{kind.capitalize()}"


def _value_of(kind: str) -> JsonValue:
    return {
        "if": {"properties": {"_type": {"const": kind}}, "required": ["_type"]},
        "then": {"properties": {"_value": ref(_name(kind))}},
    }


def _choice() -> JsonObject:
    return {
        "title": "ValueOfChoice",
        "description": "Numbers and texts, or nested choices only. Booleans become numbers in the engine.",
        "type": "array",
        "if": {"type": "array", "prefixItems": [{"type": "object"}], "minItems": 1},
        "then": {"items": ref("NestedChoice")},
        "else": {"items": {"type": ["number", "string", "boolean"]}},
    }


def _range(kind: str) -> JsonObject:
    names = ARITY[kind]
    whole = kind == "randint"
    number: JsonObject = {"type": "integer", KEYWORD: list(RANDINT)} if whole else {"type": "number"}
    positive = "sigma" if "normal" in kind else "low" if "log" in kind else None
    items = [
        {"title": name, **number, **({"exclusiveMinimum": 0} if name == positive else {})} for name in names
    ]
    what = f"[{', '.join(names)}]" + (", whole numbers written without a decimal point." if whole else ".")
    schema: JsonObject = {
        "title": _name(kind),
        "description": what,
        "type": "array",
        "minItems": len(names),
        "maxItems": len(names),
        "prefixItems": [*items],
    }
    if "low" in names:
        return {**schema, **beyond(BOUNDS, f"{what} low is less than high.")}
    return schema
