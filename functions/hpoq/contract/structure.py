"""From pydantic's findings to violations that a producer can act on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from fcruntime.jsonvalue import JsonValue
from hpoq.contract.finding import sort_of
from hpoq.contract.model import MANY_WRONG, holds_secrets
from hpoq.contract.pointer import pointer_to, tokens_of
from hpoq.errors import Violation

_SHOWN = 60
_WORD = "[A-Za-z_]{1,24}"
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


def broken_structure(
    error: ValidationError, model: type[BaseModel], document: JsonValue
) -> Iterator[Violation]:
    """Each finding of `error` by the rule it breaks: `required`, `unknown-member`, `type`, `enum`, `range`,
    `schema-version` or `idempotency-key`. Values of unknown members and of secrets are never quoted."""
    details = error.errors(include_url=False, include_context=True, include_input=False)
    return (_violation(detail, model, document) for detail in details)


def document_order(document: JsonValue, prefix: str) -> Callable[[Violation], tuple[int, ...]]:
    """A sort key: the place in `document` that a violation points to; one about an absent member stands with
    the object that lacks it."""
    orders: dict[int, dict[str, int]] = {}

    def order(violation: Violation) -> tuple[int, ...]:
        value, found = document, list[int]()
        for token in tokens_of(violation.pointer.removeprefix(prefix)):
            if isinstance(value, dict) and token in value:
                if id(value) not in orders:
                    orders[id(value)] = {name: index for index, name in enumerate(value)}
                found.append(orders[id(value)][token])
                value = value[token]
            elif isinstance(value, list) and token.isdecimal() and int(token) < len(value):
                found.append(int(token))
                value = value[int(token)]
            else:
                break
        return tuple(found)

    return order


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
        return _unknown_member(location, _model_at(model, location[:-1]))
    if kind == "literal_error":
        shown = f", not {given[:_SHOWN]!r}" if isinstance(given, str) else ""
        return Violation(pointer, "enum", f"{name} must be {context.get('expected')}{shown}")
    if kind == MANY_WRONG:
        return Violation(pointer, "type", detail["msg"])
    if kind in ("greater_than_equal", "less_than_equal"):
        return Violation(pointer, "range", f"{name} must fit into 32 bits")
    return Violation(pointer, "type", f"must be {_KINDS.get(kind, 'valid')}, not {sort_of(given)}")


def _unknown_member(location: Sequence[int | str], holder: type[BaseModel] | None) -> Violation:
    """A name among credentials may be one itself, put on the wrong side of the colon: only a word is shown."""
    name = str(location[-1])
    hint = _unknown(name, holder)
    if holder and holds_secrets(holder) and not re.fullmatch(_WORD, name):
        return Violation(pointer_to(*location[:-1]), "unknown-member", f"{hint} (its name is not shown)")
    return Violation(pointer_to(*location), "unknown-member", hint)


def _unknown(name: str, holder: type[BaseModel] | None) -> str:
    members = _members(holder)
    inner = [member for member, model in members.items() if name in _members(model)]
    if len(inner) == 1:
        return f"unknown member here; it belongs into {inner[0]}"
    import difflib  # only for a misspelt member

    close = difflib.get_close_matches(name[:_SHOWN], members, n=1, cutoff=0.6)
    by_case = [member for member in members if member.lower() == name.lower()]
    hint = next(iter(by_case or close), None)
    return f"unknown member; did you mean {hint}?" if hint else "unknown member"


def _model_at(model: type[BaseModel], location: Sequence[int | str]) -> type[BaseModel] | None:
    found: type[BaseModel] | None = model
    for token in location:
        found = found if isinstance(token, int) else _members(found).get(token)
    return found


def _members(model: type[BaseModel] | None) -> dict[str, type[BaseModel] | None]:
    """The members that `model` knows, by wire names, each with the model of its own members."""
    fields = model.model_fields if model else {}
    return {field.alias or name: _model_in(field.annotation) for name, field in fields.items()}


def _model_in(annotation: object) -> type[BaseModel] | None:
    # Before the class: Python 3.10 takes `list[str]` for one, which no `issubclass` does.
    arguments: tuple[object, ...] = getattr(annotation, "__args__", ())
    if not arguments and isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
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
