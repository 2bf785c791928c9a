"""The AsyncAPI document is one, and says what the function does."""

import json
import re
import uuid
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft7Validator, Draft202012Validator
from requestschema import CONTRACT, REQUESTS

from hpoq.contract.event_schema import OUTCOMES, event_example
from hpoq.contract.events import event_type
from hpoq.contract.keys import PRODUCER, derive_key
from hpoq.contract.pointer import tokens_of
from hpoq.settings import Settings

DOCUMENT = yaml.safe_load((CONTRACT / "asyncapi.yaml").read_text("utf-8"))
MESSAGES = DOCUMENT["components"]["messages"]
SPECIFICATION = json.loads((Path(__file__).parent / "data" / "asyncapi-3.0.0.json").read_text())


def references(value):
    """Every `$ref` in `value`."""
    if isinstance(value, dict) and isinstance(value.get("$ref"), str):
        yield value["$ref"]
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from references(inner)


def test_it_is_asyncapi():
    """The document is valid under the official JSON Schema of AsyncAPI 3.0."""
    Draft7Validator(SPECIFICATION).validate(DOCUMENT)


@pytest.mark.parametrize("member", ["info", "channels", "operations"])
def test_the_official_schema_sees_faults(member):
    """The check would see a document of another form."""
    assert not Draft7Validator(SPECIFICATION).is_valid({**DOCUMENT, member: []})


def test_references_lead_somewhere():
    """Each reference leads into the document, or to a file beside it."""
    for reference in references(DOCUMENT):
        if reference.startswith("./"):
            assert (CONTRACT / reference).is_file(), reference
            continue
        found = DOCUMENT
        for token in tokens_of(reference):
            found = found[token]


def test_examples_are_valid():
    """Each example is taken by the schema of its message."""
    for name, message in MESSAGES.items():
        schema = json.loads((CONTRACT / message["payload"]["$ref"]).read_text())
        assert message["examples"], name
        for example in message["examples"]:
            Draft202012Validator(schema).validate(example["payload"])


def test_examples_are_those_of_the_repository():
    """The requests are those to copy, and the events those that the function makes."""
    written = {path.stem: json.loads(path.read_text()) for path in REQUESTS.values()}
    assert {example["name"]: example["payload"] for example in MESSAGES["request"]["examples"]} == written
    for outcome in OUTCOMES:
        assert [example["payload"] for example in MESSAGES[outcome]["examples"]] == [event_example(outcome)]
        assert MESSAGES[outcome]["name"] == event_type(outcome)


def test_channels_are_the_default_ones():
    """Queue and topic are those that the settings name by default."""
    fields = Settings.model_fields
    assert DOCUMENT["channels"]["requests"]["address"] == fields["queue"].default
    assert f"smq://{DOCUMENT['channels']['results']['address']}" == fields["output"].default


def test_the_key_can_be_made_as_described():
    """The recipe in the description gives the key that hpoq itself derives."""
    about = DOCUMENT["info"]["description"]
    (namespace,) = re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", about)
    producer, queue = re.findall(r"`(\[[^`]*\])`", about)
    for recipe, slot, kind in (
        (producer, "<idempotencyKey of the request>", PRODUCER),
        (queue, "<message id>", "smq"),
    ):
        assert str(uuid.uuid5(uuid.UUID(namespace), recipe.replace(slot, "k-1"))) == derive_key(kind, "k-1")
