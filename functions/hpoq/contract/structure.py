"""From pydantic's findings to violations that a producer can act on."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from fcruntime.jsonvalue import JsonValue
from hpoq.contract.pointer import places, pointer_to
from hpoq.errors import Violation

_SHOWN = 60
_KINDS = {
    "string_type": "text",
    "string_sub_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "an array",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
}


def broken_structure(error: ValidationError, model: type[BaseModel], document: JsonValue) -> list[Violation]:
    """Each finding of `error` by the rule it breaks: `required`, `unknown-member`, `type`, `enum`, `range`,
    `schema-version` or `idempotency-key`. Values of unknown members and of secrets are never quoted."""
    details = error.errors(include_url=False, include_context=True, include_input=False)
    return [_violation(detail, model, document) for detail in details]


def in_document_order(
    violations: Iterable[Violation], document: JsonValue, prefix: str
) -> Sequence[Violation]:
    """`violations` in the order of the places that they point to; one about an absent member stands with the
    object that lacks it."""
    order = {prefix + pointer: index for index, pointer in enumerate(places(document))}

    def place(violation: Violation) -> int:
        pointer = violation.pointer
        while pointer and pointer not in order:
            pointer = pointer.rpartition("/")[0]
        return order.get(pointer, 0)

    return sorted(violations, key=place)


def _violation(detail: ErrorDetails, model: type[BaseModel], document: JsonValue) -> Violation:
    location = detail["loc"]
    pointer = pointer_to(*location)
    name = str(location[-1]) if location else ""
    kind, context = detail["type"], detail.get("ctx", {})
    given = _at(document, location)
    if pointer == "/schemaVersion":
        return Violation(pointer, "schema-version", 'the only schemaVersion is "1"')
    if kind == "missing" or (given is None and kind != "extra_forbidden" and isinstance(location[-1], str)):
        return Violation(pointer, "required", f"{name} is required")
    if pointer == "/idempotencyKey":
        return Violation(
            pointer,
            "idempotency-key",
            "idempotencyKey is text of 1 to 255 characters, none of them a control",
        )
    if kind == "extra_forbidden":
        return Violation(pointer, "unknown-member", _unknown(name, _members(model, location[:-1])))
    if kind == "literal_error":
        shown = f", not {given[:_SHOWN]!r}" if isinstance(given, str) else ""
        return Violation(pointer, "enum", f"{name} must be {context.get('expected')}{shown}")
    if kind in ("greater_than_equal", "less_than_equal"):
        return Violation(pointer, "range", f"{name} must fit into 32 bits")
    return Violation(pointer, "type", f"must be {_KINDS.get(kind, 'valid')}, not {_sort(given)}")


def _unknown(name: str, members: Sequence[str]) -> str:
    close = difflib.get_close_matches(name[:_SHOWN], members, n=1, cutoff=0.6)
    by_case = [member for member in members if member.lower() == name.lower()]
    hint = next(iter(by_case or close), None)
    return f"unknown member; did you mean {hint}?" if hint else "unknown member"


def _members(model: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    """The members that the model at `location` knows, by wire names."""
    for token in location:
        if isinstance(token, int):
            continue
        field = next((f for name, f in model.model_fields.items() if (f.alias or name) == token), None)
        found = _model_in(field.annotation) if field else None
        if found is None:
            return []
        model = found
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    arguments: tuple[object, ...] = getattr(annotation, "__args__", ())
    return next((found for argument in arguments if (found := _model_in(argument))), None)


def _at(document: JsonValue, location: Sequence[int | str]) -> JsonValue:
    """The value at `location`, None where there is none."""
    value = document
    for token in location:
        if isinstance(value, list) and isinstance(token, int):
            value = value[token] if token < len(value) else None
        elif isinstance(value, dict) and isinstance(token, str):
            value = value.get(token)
        else:
            return None
    return value


def _sort(value: JsonValue) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "text"
    if isinstance(value, list):
        return "an array"
    return "an object" if isinstance(value, dict) else "null"
