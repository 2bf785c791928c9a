"""A CloudEvent around a message may have its data as text."""

import base64
import json

import pytest

from fcruntime.triggers import decode

EVENT = {"specversion": "1.0", "id": "delivery-1", "source": "acs:mns", "type": "mns:Queue:SendMessage"}
PAYLOADS = {
    "smq": ({"requestId": "r", "messageId": "M1", "messageBody": "{}"}, "M1"),
    "kafka": (
        {"topic": "t", "partition": 1, "offset": 2, "value": "{}"},
        '{"instance":"acs:mns","offset":2,"partition":1,"topic":"t"}',
    ),
}


@pytest.mark.parametrize("kind", PAYLOADS)
@pytest.mark.parametrize(
    "make",
    [
        lambda text: {"data": text},
        lambda text: {"data": base64.b64encode(text.encode()).decode()},
        lambda text: {"data_base64": base64.b64encode(text.encode()).decode()},
    ],
    ids=["text", "base64", "data_base64"],
)
def test_a_message_keeps_its_id(make, kind):
    """The id of the CloudEvent changes with each delivery; that of the message in its text does not."""
    payload, message_id = PAYLOADS[kind]
    (message,) = decode(json.dumps([{**EVENT, **make(json.dumps(payload))}]))
    assert (message.kind, message.id, message.body) == (kind, message_id, b"{}")


@pytest.mark.parametrize("text", ["", "no JSON", "[", "5", "\ud800", "bm8="])
def test_any_other_text_is_the_data_of_a_bus_event(text):
    """What a producer puts on a bus is not opened here."""
    (message,) = decode(json.dumps([{**EVENT, "data": text}]))
    assert message.kind == "eventbridge"
