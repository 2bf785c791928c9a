"""The AsyncAPI document is valid, and describes what the function does."""

import json
import re
import uuid
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft7Validator, Draft202012Validator
from requestschema import CONTRACT, REQUESTS

from fcruntime.triggers import decode
from hpoq.contract.events import event_type
from hpoq.contract.identity import PRODUCER, derive_key
from hpoq.contract.jsontext import tokens_of
from hpoq.settings import Settings
from hpoqctl.schema.events import OUTCOMES, event_example

DOCUMENT = yaml.safe_load((CONTRACT / "asyncapi.yaml").read_text("utf-8"))
MESSAGES = DOCUMENT["components"]["messages"]
SPECIFICATION = json.loads((Path(__file__).parent / "data" / "asyncapi-3.0.0.json").read_text())


def references(value):
    """Yield every `$ref` in `value`."""
    if isinstance(value, dict) and isinstance(value.get("$ref"), str):
        yield value["$ref"]
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from references(inner)


def test_the_document_is_valid():
    """The document is valid under the official JSON Schema of AsyncAPI 3.0."""
    Draft7Validator(SPECIFICATION).validate(DOCUMENT)


@pytest.mark.parametrize("member", ["info", "channels", "operations"])
def test_the_official_schema_sees_faults(member):
    """The official schema rejects a document without a required member."""
    assert not Draft7Validator(SPECIFICATION).is_valid({**DOCUMENT, member: []})


def test_references_lead_somewhere():
    """Each reference leads to a part of the document or to a file beside it."""
    for reference in references(DOCUMENT):
        if reference.startswith("./"):
            assert (CONTRACT / reference).is_file(), reference
            continue
        found = DOCUMENT
        for token in tokens_of(reference):
            found = found[token]


def test_examples_are_valid():
    """Each example is valid under the schema of its message."""
    for name, message in MESSAGES.items():
        schema = json.loads((CONTRACT / message["payload"]["$ref"]).read_text())
        assert message["examples"], name
        for example in message["examples"]:
            Draft202012Validator(schema).validate(example["payload"])


def test_examples_are_those_of_the_repository():
    """The examples are the requests in events/requests, and events that the function makes."""
    written = {path.stem: json.loads(path.read_text()) for path in REQUESTS.values()}
    assert {example["name"]: example["payload"] for example in MESSAGES["request"]["examples"]} == written
    for outcome in OUTCOMES:
        assert [example["payload"] for example in MESSAGES[outcome]["examples"]] == [event_example(outcome)]
        assert MESSAGES[outcome]["name"] == event_type(outcome)


def test_channels_are_the_default_ones():
    """The queue and the topic have the default names of the settings."""
    settings = Settings()
    assert DOCUMENT["channels"]["requests"]["address"] == settings.queue
    assert f"smq://{DOCUMENT['channels']['results']['address']}" == settings.output


def test_the_key_can_be_made_as_described():
    """The derivation in the description yields the key that hpoq derives."""
    about = DOCUMENT["info"]["description"]
    (namespace,) = re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", about)
    producer, queue, start = re.findall(r"`(\[[^`]*\])`", about)
    named = start.replace("...", '"<idempotencyKey of the request>"').replace("<namespace>", "staging")
    for recipe, slot, expected in (
        (producer, "<idempotencyKey of the request>", derive_key(PRODUCER, "k-1")),
        (queue, "<message id>", derive_key("smq", "k-1")),
        (named, "<idempotencyKey of the request>", derive_key(PRODUCER, "k-1", "staging")),
    ):
        assert str(uuid.uuid5(uuid.UUID(namespace), recipe.replace(slot, "k-1"))) == expected
    (event,) = re.findall(r"`(\{[^`]*\})`", about)
    identity = event.replace("<id>", "1").replace("<source>", "s")
    (message,) = decode('{"specversion":"1.0","id":"1","source":"s","data":{}}')
    assert message.identity == ("cloudevent", identity)
