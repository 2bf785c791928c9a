"""What needs no package works on every interpreter.

test_python314.py runs this file on a CPython for WebAssembly as well, so it uses nothing but pytest.
"""

import importlib
import json
from pathlib import Path

import pytest

from fcruntime.dataclass import dataclass, field
from fcruntime.jsonvalue import write_compact
from fcruntime.triggers import decode
from hpoq.contract import jsontext
from hpoq.contract.events import EventData, EventError, find_error, make_event
from hpoq.contract.identity import derive_key
from hpoq.errors import Violation
from hpoq.idempotency import record
from hpoq.processing.envelope import Envelope, seal, unseal

ROOT = Path(__file__).parents[2]
MODULES = [
    *(f"fcruntime.{name}" for name in ("awslambda", "batch", "context", "invoke", "triggers")),
    *(
        f"hpoq.contract.{name}"
        for name in ("document", "events", "finding", "identity", "jsontext", "lint", "patterns")
    ),
    "hpoq.contract.search_space",
    "hpoq.errors",
    "hpoq.idempotency.sqlite",
    "hpoq.observability.redaction",
    "hpoq.processing.lifecycle",
    "hpoq.testing",
]


@pytest.mark.parametrize("name", MODULES)
def test_a_module_can_be_imported(name):
    """No module of the pure parts depends on what an interpreter has changed."""
    assert importlib.import_module(name)


@dataclass(frozen=True)
class Lazy:
    """A class whose annotations are lazy from Python 3.14 on, and name a class that comes later."""

    number: int
    later: "Later | None" = None
    texts: list[str] = field(default_factory=list)


@dataclass
class Later:
    """The class that the annotation above names."""

    lazy: Lazy


def test_the_data_class_helper_does_not_need_annotations_in_the_namespace():
    """PEP 649 moves them into a function; fields, defaults and comparison are the same."""
    assert list(Lazy.__dataclass_fields__) == ["number", "later", "texts"]
    assert Lazy(1) == Lazy(1, None, []) != Lazy(2)
    assert Later(Lazy(1)).lazy.number == 1
    with pytest.raises(TypeError, match="number"):
        Lazy()


def test_keys_are_the_same_on_every_interpreter():
    """A golden key; test_identity.py has more."""
    assert derive_key("producer", "测试 é") == "642d2ef8-725f-57d5-aee7-83645ce961a1"


def test_every_trigger_event_is_decoded():
    """Each example event decodes to items; only the empty batch has none."""
    files = sorted((ROOT / "events/triggers").rglob("*.json"))
    without = [
        file
        for file in files
        if not list(decode(file.read_bytes(), request_id="r-1", accepts=lambda _: True))
    ]
    assert without == [file for file in files if "empty" in file.stem]


def test_an_event_is_read_back():
    """An event's error is the same after it was encoded."""
    error = EventError("InvalidRequest", "m", False, (Violation("/a", "rule", "text"),))
    data = EventData("k", "m-1", "r-1", 1, {"total": 1.0}, error=error)
    event = make_event("rejected", event_id="e", source="s", time=1.0, data=data)
    assert find_error(json.loads(write_compact(event))) == error


def test_json_text_is_read_strictly():
    """A member that is repeated is found, and numbers are kept."""
    assert jsontext.loads(b'{"a": [1, 2.5, null]}') == {"a": [1, 2.5, None]}
    with pytest.raises(jsontext.JsonError):
        jsontext.loads(b'{"a": 1, "a": 2}')


def test_an_envelope_and_a_record_are_read_back():
    """What a function of one interpreter writes, one of another reads."""
    envelope = Envelope("smq", "M1", derive_key("smq", "M1"), b"body" * 100, sequence=3)
    assert unseal(seal(envelope)) == envelope
    kept = record.Record("k", record.State.COMPLETED, "f", "o", 1.0, 2.0, 3.0, event=json.dumps({"a": 1}))
    assert record.decode("k", record.encode(kept)) == kept
