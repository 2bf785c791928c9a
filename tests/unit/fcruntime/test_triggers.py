import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcruntime.triggers import Message, Undecodable, decode

# Bytes as published by FC's users for event mode (masked there with x).
EVENT_MODE = (
    b'{"id":"0FFF111D2A6B444B7FE46AE2xxxxxxxx","source":"MNS-python3-mns-queue-trigger-trigger-5h3jxxxx",'
    b'"specversion":"1.0","type":"mns:Queue:SendMessage","datacontenttype":"application/json;charset=utf-8",'
    b'"subject":"acs:mns:cn-shenzhen:15812231xxxxxxxx:queues/fc-example","time":"2022-07-21T10:07:31.525Z",'
    b'"aliyunaccountid":"15812231xxxxxxxx","aliyunpublishtime":"2022-07-21T10:07:32.019Z",'
    b'"aliyunoriginalaccountid":"15812231xxxxxxxx",'
    b'"aliyuneventbusname":"MNS-python3-mns-queue-trigger-trigger-5h3jxxxx","aliyunregionid":"cn-shenzhen",'
    b'"aliyunpublishaddr":"10.58.xx.xx","data":{"requestId":"62D92563354133CAxxxxxxxx",'
    b'"messageId":"0FFF111D2A6B444B7FE46AE2xxxxxxxx","messageBody":"bWVlc2FnZSBmcm9tIE1OUyBjb25zb2xl"}}'
)
DATA = {"requestId": "R1", "messageId": "M1", "messageBody": '{"a":1}'}
CLOUD_EVENT = {
    "id": "c-1",
    "source": "s",
    "specversion": "1.0",
    "type": "mns:Queue:SendMessage",
    "data": DATA,
}


def compact(value):
    return json.dumps(value, separators=(",", ":")).encode()


def test_published_event_of_event_mode():
    """The bytes that FC's users saw are one message, by its message id, base64 that holds no JSON as it is."""
    assert decode(EVENT_MODE) == [
        Message("smq", "0FFF111D2A6B444B7FE46AE2xxxxxxxx", b"bWVlc2FnZSBmcm9tIE1OUyBjb25zb2xl")
    ]


def test_five_outer_shapes_are_one_message():
    """One delivery is the same message in every documented outer shape."""
    shapes = [CLOUD_EVENT, [CLOUD_EVENT], [json.dumps(CLOUD_EVENT)], [DATA], DATA]
    for shape in shapes:
        assert decode(compact(shape)) == [Message("smq", "M1", b'{"a":1}')], shape


def test_message_order_is_the_events():
    """A batch's messages come in its order."""
    batch = [{"messageId": str(n), "messageBody": "{}"} for n in range(20)]
    assert [message.id for message in decode(compact(batch))] == [str(n) for n in range(20)]


def test_text_is_taken_for_bytes():
    """An event as text, as a test may write it, is the same event."""
    assert decode(EVENT_MODE.decode()) == decode(EVENT_MODE)


def test_empty_batch_has_no_messages():
    """An empty array is success without work."""
    assert decode(b"[]") == []


def test_gson_escapes():
    """Texts in an array may escape = and ' as the event bridge's encoder does."""
    inner = '{"data":{"messageId":"M1","messageBody":"a\\u003db\\u0027"}}'
    assert decode(compact([inner])) == [Message("smq", "M1", b"a=b'")]


def test_one_layer_of_base64_around_json_is_undone():
    """A body as the SDKs send it comes out as the JSON that was sent, line breaks or not."""
    encoded = base64.b64encode(b' {"a": 1}').decode()
    for body in (encoded, encoded[:4] + "\n" + encoded[4:]):
        assert decode(compact([{**DATA, "messageBody": body}]))[0].body == b' {"a": 1}'


def test_only_one_layer_is_undone():
    """Base64 of base64 stays base64: the contract names what is wrong with it."""
    once = base64.b64encode(b'{"a":1}')
    twice = base64.b64encode(once).decode()
    assert decode(compact([{**DATA, "messageBody": twice}]))[0].body == twice.encode()


def test_text_that_only_could_be_base64_stays_text():
    """Plain words of the base64 alphabet are not taken for base64."""
    assert decode(compact([{**DATA, "messageBody": "hello123"}]))[0].body == b"hello123"


def test_a_broken_item_leaves_its_neighbours():
    """Neighbours of an item that cannot be decoded are messages all the same."""
    batch = [DATA, 17, "not json", {"messageId": "M2"}, None, {"data": None}, {**DATA, "messageId": "M3"}]
    decoded = decode(compact(batch))
    assert [item.id for item in decoded if isinstance(item, Message)] == ["M1", "M3"]
    rules = [item.rule for item in decoded if isinstance(item, Undecodable)]
    assert rules == [
        "trigger.shape",
        "trigger.json",
        "trigger.unknown-source",
        "trigger.shape",
        "trigger.unknown-source",
    ]


def test_broken_utf8_in_one_item_leaves_its_neighbours():
    """Bytes that are not UTF-8 cost only the item they stand in."""
    event = b'[{"messageId":"A","messageBody":"\xff\xfe"},{"messageId":"B","messageBody":"{}"}]'
    broken, whole = decode(event)
    assert (broken.rule, broken.id) == ("trigger.encoding", "A")
    assert whole == Message("smq", "B", b"{}")


def test_an_undecodable_item_is_identified_not_quoted():
    """Digest and size identify what could not be read; its content appears nowhere."""
    event = b"secret-canary not json"
    (item,) = decode(event)
    assert (item.size, len(item.digest)) == (len(event), 64)
    assert "canary" not in repr(item)


def test_a_missing_message_id_is_told_not_invented():
    """Without a message id there is no id: other ids are not stable across redelivery."""
    (message,) = decode(compact([{**CLOUD_EVENT, "data": {"messageBody": "{}"}}]))
    assert message == Message("smq", None, b"{}")


def test_body_as_a_json_value():
    """A body that arrives as a JSON value is its compact text."""
    (message,) = decode(compact([{**DATA, "messageBody": {"a": [1]}}]))
    assert message.body == b'{"a":[1]}'


def test_deep_nesting_and_long_numbers_are_undecodable():
    """What the JSON parser cannot take is an undecodable event, on every Python."""
    for event in (b"[" * 100_000, b'{"a":' * 100_000, b"9" * 100_000):
        assert [type(item) for item in decode(event)] == [Undecodable]


@given(st.binary(max_size=300))
def test_any_bytes_are_accounted_for(event):
    """No bytes raise, and none that are not an empty array vanish."""
    assert decode(event) or event.strip().removeprefix(b"\xef\xbb\xbf").strip().startswith(b"[")


def test_nesting_without_bottom_costs_only_its_own_item():
    """One item too deep for a parser leaves its neighbours, whatever brackets and commas stand in their texts."""
    good = compact({**DATA, "messageBody": 'a],{"\\",['})
    deep = b'{"a":' * 20_000 + b"1" + b"}" * 20_000
    first, broken, last = decode(b" [" + good + b", " + deep + b" ," + good + b"]\n")
    assert (first, last) == (Message("smq", "M1", b'a],{"\\",['),) * 2
    assert (broken.rule, broken.size) == ("trigger.json", len(deep) + 2)


def test_a_number_without_end_costs_only_its_own_item():
    """A number longer than Python takes leaves the neighbours, and the message whose body it stands in."""
    number = b"9" * 5000
    event = (
        b'[{"n":'
        + number
        + b"},"
        + compact(DATA)
        + b',{"messageId":"M2","messageBody":{"n":'
        + number
        + b"}}]"
    )
    broken, whole, body = decode(event)
    assert isinstance(broken, Undecodable)
    assert (whole.id, body.id) == ("M1", "M2")


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_any_buffer_is_an_event(kind):
    """An event may come in any type of buffer."""
    assert decode(kind(compact([DATA]))) == decode(compact([DATA]))
