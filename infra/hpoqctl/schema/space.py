"""The grammar of the search space as JSON Schema."""

from __future__ import annotations

from fcruntime.jsonvalue import JsonObject, JsonValue
from hpoq.contract.search_space import ARITY, TYPES
from hpoqctl.schema.beyond import BOUNDS, SPACE_TEXT, list_beyond
from hpoqctl.schema.form import make_ref


def define_space() -> dict[str, JsonObject]:
    """Return the definitions for a search space by name; `SearchSpace` is the whole."""
    ranges = {_name(kind): _define_range(kind) for kind in ARITY}
    return {
        "SearchSpace": {
            "title": "SearchSpace",
            "description": "The names that commands use as `${name}`, and how a value is chosen for each.",
            "type": "object",
            "additionalProperties": make_ref("SearchSpaceEntry"),
        },
        "SearchSpaceText": {
            "title": "SearchSpaceText",
            **list_beyond(SPACE_TEXT, "A search space as a JSON string. hpoq parses and checks it."),
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": make_ref("SearchSpace"),
        },
        "SearchSpaceEntry": {
            "title": "SearchSpaceEntry",
            "description": "How a value is chosen. Members other than `_type` and `_value` have no effect.",
            "type": "object",
            "required": ["_type", "_value"],
            "properties": {"_type": {"enum": list(TYPES)}, "_value": {"type": "array"}},
            "allOf": [_require_value(kind) for kind in TYPES],
        },
        "NestedChoice": {
            "title": "NestedChoice",
            "description": (
                "A choice with further parameters: `_name`, which should be a string, is the value, and the other "
                "members are entries."
            ),
            "type": "object",
            "required": ["_name"],
            "properties": {"_name": {}},
            "additionalProperties": make_ref("SearchSpaceEntry"),
        },
        "ValueOfChoice": _define_choice(),
        **ranges,
    }


def _name(kind: str) -> str:
    return f"ValueOf{kind.capitalize()}"


def _require_value(kind: str) -> JsonValue:
    return {
        "if": {"properties": {"_type": {"const": kind}}, "required": ["_type"]},
        "then": {"properties": {"_value": make_ref(_name(kind))}},
    }


def _define_choice() -> JsonObject:
    return {
        "title": "ValueOfChoice",
        "description": (
            "Numbers and strings, or only nested choices. Anything else is accepted with a warning; the engine "
            "inserts a boolean into commands as True or False."
        ),
        "type": "array",
        "minItems": 1,
        "if": {"items": {"type": "object", "required": ["_name"]}},
        "then": {"items": make_ref("NestedChoice")},
    }


def _define_range(kind: str) -> JsonObject:
    names = ARITY[kind]
    whole = kind == "randint"
    number: JsonObject = {"type": "integer" if whole else "number"}
    limits: dict[str, JsonObject] = {"q": {"not": {"const": 0}}}
    if "normal" in kind:
        limits["sigma"] = {"minimum": 0}
    elif "log" in kind:
        limits["low"] = {"exclusiveMinimum": 0}
    items = [{"title": name, **number, **limits.get(name, {})} for name in names]
    description = f"[{', '.join(names)}]" + (", integers." if whole else ".")
    schema: JsonObject = {
        "title": _name(kind),
        "type": "array",
        "minItems": len(names),
        "maxItems": len(names),
        "prefixItems": [*items],
        # For older validators, which do not know prefixItems.
        "items": number,
    }
    if "low" in names:
        relation = "less than" if whole else "less than (or, with a warning, equal to)"
        description += f" low must be {relation} high."
    return {
        **schema,
        **list_beyond(BOUNDS, f"{description} The numbers must not be too large for the engine."),
    }
