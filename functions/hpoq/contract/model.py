"""What all models of the contract have in common.

Modules with models do without `from __future__ import annotations`: pydantic would compile each annotation at
every cold start.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args
from urllib.parse import parse_qsl, quote

from pydantic import BaseModel, BeforeValidator, ConfigDict, SecretStr
from pydantic_core import PydanticCustomError

from fcruntime.jsonvalue import JsonObject, JsonValue
from hpoq.contract.finding import MOST_LISTED
from hpoq.contract.pointer import pointer_to

_SHORTEST_TOKEN = 8
MANY_WRONG = "many_wrong"


class Model(BaseModel):
    """A JSON object of the contract: frozen, unknown members refused, nothing coerced, no input in errors."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        hide_input_in_errors=True,
        populate_by_name=False,
        protected_namespaces=(),
        # With the first message, and then the outermost model alone: a cold start need not wait for it.
        defer_build=True,
    )

    def wire(self) -> JsonObject:
        """The object as its producer wrote it, by wire names, secrets revealed; what was null is left out."""
        return {
            field.alias or name: _reveal(value)
            for name, field in type(self).model_fields.items()
            if (value := getattr(self, name)) is not None
        }

    def nulls(self) -> Iterator[str]:
        """Pointers to the members that were written as null."""
        for name in self.model_fields_set:
            value = getattr(self, name)
            for inner in ("",) if value is None else _nulls(value):
                yield pointer_to(type(self).model_fields[name].alias or name) + inner

    def secrets(self) -> Iterator[str]:
        """Every secret value in it, however deep."""
        for name in self.model_fields_set:
            yield from _secrets(getattr(self, name))


def few_wrong(kind: type) -> BeforeValidator:
    """For an array of `kind`: one error for all wrong items where they are more than MOST_LISTED.

    pydantic makes one for each, of half a kilobyte, and would fill the memory.
    """

    def checked(value: object) -> object:
        wrong = sum(not isinstance(item, kind) for item in value) if isinstance(value, list) else 0
        if wrong > MOST_LISTED:
            what = "text" if kind is str else "an object"
            raise PydanticCustomError(
                MANY_WRONG, "{text}", {"text": f"every item must be {what}; {wrong} are not"}
            )
        return value

    return BeforeValidator(checked)


def holds_secrets(model: type[BaseModel]) -> bool:
    """Whether any member of `model` itself is a credential."""
    return any(SecretStr in get_args(field.annotation) for field in model.model_fields.values())


def _nulls(value: object) -> Iterator[str]:
    if isinstance(value, Model):
        yield from value.nulls()
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from (f"/{index}{inner}" for inner in _nulls(item))


def _reveal(value: object) -> JsonValue:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Model):
        return value.wire()
    if isinstance(value, list):
        return [_reveal(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _reveal(member) for key, member in value.items()}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _secrets(value: object) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield from _forms_of(value.get_secret_value())
    elif isinstance(value, Model):
        yield from value.secrets()
    elif isinstance(value, list):
        for item in value:
            yield from _secrets(item)


def _forms_of(secret: str) -> Iterator[str]:
    """A secret, as a URL writes it, and, if it is a URL itself, the values of its query: the tokens in it."""
    yield secret
    yield quote(secret, safe="")
    for _, value in parse_qsl(secret.partition("?")[2]):
        if len(value) >= _SHORTEST_TOKEN:
            yield value
