import base64
import hashlib
import json
from bisect import bisect_left

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fcruntime.triggers import EventUnreadable, Message, Undecodable, UnsupportedCall, decode
from fcruntime.triggers.body import unwrap_text

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
    """Published bytes of event mode are one message; base64 that holds no JSON stays as it is."""
    assert decode(EVENT_MODE) == [
        Message(
            "smq",
            "0FFF111D2A6B444B7FE46AE2xxxxxxxx",
            b"bWVlc2FnZSBmcm9tIE1OUyBjb25zb2xl",
            subject="acs:mns:cn-shenzhen:15812231xxxxxxxx:queues/fc-example",
            time="2022-07-21T10:07:31.525Z",
        )
    ]


def test_five_outer_shapes_are_one_message():
    """One delivery is the same message in every documented outer shape."""
    shapes = [CLOUD_EVENT, [CLOUD_EVENT], [json.dumps(CLOUD_EVENT)], [DATA], DATA]
    for shape in shapes:
        assert decode(compact(shape)) == [Message("smq", "M1", b'{"a":1}')], shape


def test_messages_keep_their_order():
    """The messages of a batch come in its order."""
    batch = [{"messageId": str(n), "messageBody": "{}"} for n in range(20)]
    assert [message.id for message in decode(compact(batch))] == [str(n) for n in range(20)]


def test_an_event_may_be_text():
    """An event may be text, as a test writes it."""
    assert decode(EVENT_MODE.decode()) == decode(EVENT_MODE)


def test_empty_batch_has_no_messages():
    """An empty array is an event without messages."""
    assert decode(b"[]") == []


def test_gson_escapes():
    """Texts in an array may escape = and ' as the event bridge's encoder does."""
    inner = '{"data":{"messageId":"M1","messageBody":"a\\u003db\\u0027"}}'
    assert decode(compact([inner])) == [Message("smq", "M1", b"a=b'")]


def test_one_layer_of_base64_around_json_is_undone():
    """A body that an SDK encoded is the JSON that was sent, with or without line breaks."""
    encoded = base64.b64encode(b' {"a": 1}').decode()
    for body in (encoded, encoded[:4] + "\n" + encoded[4:]):
        assert decode(compact([{**DATA, "messageBody": body}]))[0].body == b' {"a": 1}'


def test_only_one_layer_is_undone():
    """Base64 of base64 stays base64."""
    once = base64.b64encode(b'{"a":1}')
    twice = base64.b64encode(once).decode()
    assert decode(compact([{**DATA, "messageBody": twice}]))[0].body == twice.encode()


def test_text_that_only_could_be_base64_stays_text():
    """Plain words of the base64 alphabet are not taken for base64."""
    assert decode(compact([{**DATA, "messageBody": "hello123"}]))[0].body == b"hello123"


def test_a_broken_item_leaves_its_neighbours():
    """The neighbours of an item that cannot be decoded are read."""
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
    """Bytes that are not UTF-8 affect only their own item."""
    event = b'[{"messageId":"A","messageBody":"\xff\xfe"},{"messageId":"B","messageBody":"{}"}]'
    broken, whole = decode(event)
    assert (broken.rule, broken.kind, broken.id) == ("trigger.encoding", "smq", "A")
    assert whole == Message("smq", "B", b"{}")


def test_an_undecodable_item_is_identified_not_quoted():
    """Digest and size identify what could not be read; its content appears nowhere."""
    (item,) = decode(b'["secret-canary not json"]')
    assert (item.size, len(item.digest)) == (len("secret-canary not json"), 64)
    assert "canary" not in repr(item)


BATCH = [{**CLOUD_EVENT, "data": {**DATA, "messageId": str(n)}} for n in range(3)]


@pytest.mark.parametrize(
    "event",
    [b"", b"secret-canary not json", b"\xff\xfe", b"{", b"[1, 2", b'"secret-canary', b"[{}] secret-canary"],
)
@pytest.mark.parametrize("source", [None, "smq", "kafka", "http"])
def test_an_event_that_is_not_json_is_unreadable(event, source):
    """An event that cannot be read as a whole raises, identified by digest and size and not quoted."""
    with pytest.raises(EventUnreadable) as caught:
        decode(event, source=source)
    assert isinstance(caught.value, ValueError)
    assert (caught.value.size, len(caught.value.digest)) == (len(event), 64)
    assert caught.value.digest in str(caught.value)
    assert "canary" not in f"{caught.value} {caught.value!r} {caught.value.reason}"


@given(st.integers(1, len(compact(BATCH)) - 1))
def test_no_cut_through_a_batch_is_readable(length):
    """However a batch is cut off, none of its messages counts as delivered."""
    with pytest.raises(EventUnreadable):
        decode(compact(BATCH)[:length])


DEEP = b'{"a":' * 20_000 + b"1" + b"}" * 20_000


@pytest.mark.parametrize(
    "event",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[" + compact(DATA) + b"," + DEEP[:-1],
        b"[" + DEEP + b"," + compact(DATA)[:-1],
        b"[" + DEEP + b',"a]',
        b"[" + DEEP[:-1] + b"]",
        DEEP + b'"a',
    ],
)
def test_deep_and_cut_off_is_unreadable(event):
    """An event that is nested too deeply is unreadable if it was also cut off."""
    with pytest.raises(EventUnreadable):
        decode(event)


def test_base64_of_a_direct_call_is_readable():
    """A direct call may be base64 of its request, unless another source is pinned."""
    event = base64.b64encode(b'{"a": 1}')
    assert decode(event, request_id="r") == [Message("invocation", "r", b'{"a": 1}')]
    with pytest.raises(EventUnreadable):
        decode(event, source="kafka")


def test_a_missing_message_id_is_not_invented():
    """A message of a queue without a message id has no id."""
    (message,) = decode(compact([{**CLOUD_EVENT, "data": {"messageBody": "{}"}}]))
    assert message == Message("smq", None, b"{}")


def test_body_as_a_json_value():
    """A body that arrives as a JSON value is its compact text."""
    (message,) = decode(compact([{**DATA, "messageBody": {"a": [1]}}]))
    assert message.body == b'{"a":[1]}'


@pytest.mark.parametrize("event", [DEEP, b"9" * 100_000])
def test_deep_nesting_and_long_numbers_are_undecodable(event):
    """A complete event that the JSON parser cannot take is an undecodable item on every Python."""
    assert [type(item) for item in decode(event)] == [Undecodable]


@example(b"W+")  # base64 of an array that was cut off
@given(st.binary(max_size=300))
def test_any_bytes_are_accounted_for(event):
    """Any bytes are items, an empty array, or EventUnreadable."""
    try:
        assert decode(event) or event.strip().removeprefix(b"\xef\xbb\xbf").strip().startswith(b"[")
    except EventUnreadable as exc:
        assert exc.size == len(event)


def test_an_item_that_is_nested_too_deeply_leaves_its_neighbours():
    """An item that is nested too deeply leaves its neighbours, whatever brackets their texts hold."""
    good = compact({**DATA, "messageBody": 'a],{"\\",['})
    deep = b'{"a":' * 20_000 + b"1" + b"}" * 20_000
    first, broken, last = decode(b" [" + good + b", " + deep + b" ," + good + b"]\n")
    assert (first, last) == (Message("smq", "M1", b'a],{"\\",['),) * 2
    assert (broken.rule, broken.size) == ("trigger.json", len(deep) + 2)


def test_an_item_at_the_limit_of_what_can_be_parsed():
    """Some items can be parsed, but not be written as text again. They leave their neighbours, too."""

    def is_too_deep(depth):
        try:
            json.loads("[" * depth + "]" * depth)
        except RecursionError:
            return True
        return False

    limit = bisect_left(range(1_000_000), True, key=is_too_deep)
    for depth in range(limit - 80, limit + 1):
        deep = b"[" * depth + b"]" * depth
        whole, broken = decode(b"[" + compact(DATA) + b"," + deep + b"]")
        assert whole == Message("smq", "M1", b'{"a":1}')
        assert broken.rule in ("trigger.json", "trigger.shape")


def test_a_very_long_number_leaves_its_neighbours():
    """A number that is too long for Python affects only its own item, or not even its own message."""
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


@pytest.mark.parametrize("event", [{"REQUEST_METHOD": "GET"}, None, 17, ["[]"]], ids=str)
def test_what_is_not_an_event_at_all_is_refused(event):
    """FC 2.0 calls HTTP functions with a dictionary; the error says what to set instead."""
    with pytest.raises(UnsupportedCall, match="event function") as caught:
        decode(event)
    assert isinstance(caught.value, TypeError)


def has_a_key(item):
    """Recognize an item that needs no source."""
    return "key" in item


OWN = {"key": "k1", "value": 1}


@pytest.mark.parametrize(
    "event",
    [
        [OWN],
        [json.dumps(OWN)],
        [json.dumps(json.dumps(OWN))],
        [base64.b64encode(json.dumps(OWN).encode()).decode()],
        [base64.b64encode(json.dumps(json.dumps(OWN)).encode()).decode()],
    ],
    ids=str,
)
def test_an_item_that_the_caller_recognizes_needs_no_source(event):
    """What an event stream with a transform hands over is not of any source's shape, but may be the caller's."""
    (message,) = decode(compact(event), request_id="r", accepts=has_a_key)
    assert (message.kind, message.id, json.loads(unwrap_text(message.body))) == ("invocation", None, OWN)
    (unknown,) = decode(compact(event), request_id="r")
    assert unknown.rule == "trigger.unknown-source"


def test_a_direct_call_may_be_json_text():
    """The request of a direct call is known by the id of the call, also if the event is a string that contains it."""
    for text in (json.dumps(OWN), base64.b64encode(json.dumps(OWN).encode()).decode()):
        (message,) = decode(compact(text), request_id="r")
        assert (message.kind, message.id, json.loads(unwrap_text(message.body))) == ("invocation", "r", OWN)
    for text in ("text", json.dumps(json.dumps(OWN))):
        (broken,) = decode(compact(text), request_id="r")
        assert broken.rule in ("trigger.json", "trigger.shape")


SENT = {"specversion": "1.0", "source": "s", "id": "1", "type": "t", "data": OWN}


@pytest.mark.parametrize(
    "as_body", [json.dumps, lambda text: json.dumps(base64.b64encode(text.encode()).decode())]
)
def test_a_cloud_event_in_json_text_has_its_identity(as_body):
    """What identifies a CloudEvent does not depend on a layer of text around it; the body stays as it was sent."""
    (plain,) = decode(compact([{**DATA, "messageBody": json.dumps(SENT)}]))
    body = as_body(json.dumps(SENT))
    (wrapped,) = decode(compact([{**DATA, "messageBody": body}]))
    assert wrapped.identity == plain.identity == ("cloudevent", '{"id":"1","source":"s"}')
    assert wrapped.body == body.encode()
    (encoded,) = decode(compact([{**DATA, "messageBody": base64.b64encode(body.encode()).decode()}]))
    assert encoded == wrapped


def test_a_source_is_asked_before_the_caller():
    """An item of a known source is read as such, and a pinned source lets nothing else through."""
    (message,) = decode(compact([{**DATA, "key": "k"}]), accepts=has_a_key)
    assert (message.kind, message.id) == ("smq", "M1")
    (refused,) = decode(compact([OWN]), source="kafka", accepts=has_a_key)
    assert refused.rule == "trigger.unknown-source"


@pytest.mark.parametrize("encode", [base64.urlsafe_b64encode, base64.b64encode], ids=lambda one: one.__name__)
@pytest.mark.parametrize("padded", [True, False])
def test_every_kind_of_base64_is_undone(encode, padded):
    """The alphabet for URLs and missing padding make no difference."""
    body = '{"a":"ü?ü>~"}'.encode()
    encoded = encode(body).decode()
    assert any(sign in encoded for sign in "-_+/=")
    text = encoded if padded else encoded.rstrip("=")
    assert decode(compact([{**DATA, "messageBody": text}]))[0].body == body


@pytest.mark.parametrize("event", [DEEP, DEEP + b"]", b"[" + DEEP + b"}"])
def test_only_a_deep_array_is_split(event):
    """What is nested too deeply and is not an array is one item as a whole."""
    (item,) = decode(event)
    assert (item.size, item.digest) == (len(event), hashlib.sha256(event).hexdigest())


def test_commas_in_texts_do_not_split_a_deep_array():
    """Items that are JSON texts stay whole beside one that is nested too deeply."""
    text = json.dumps(json.dumps(DATA)).encode()
    first, _, last = decode(b"[" + text + b"," + DEEP + b"," + text + b"]")
    assert first == last == Message("smq", "M1", b'{"a":1}')


def test_broken_utf8_beside_a_deep_item_is_counted_as_it_came():
    """The bytes of an item that could not be parsed are those of the event."""
    deep = DEEP.replace(b"1", b'"\xff"')
    broken, _ = decode(b"[" + deep + b"," + compact(DATA) + b"]")
    assert (broken.size, broken.item) == (len(deep), deep)


def test_an_object_that_nothing_recognizes_is_identified_by_its_sorted_json():
    """The order of its members and its blanks do not matter."""
    (item,) = decode(b'[{"b": 1, "a": 2}]')
    assert item.item == b'{"a":2,"b":1}'


LONE = '{"messageId":"A","messageBody":"\\ud800"}'


@pytest.mark.parametrize(
    "event",
    [
        f"[{json.dumps(LONE)},{json.dumps(DATA)}]",
        json.dumps([LONE.encode().decode("unicode_escape"), DATA]),
        f"[{LONE.encode().decode('unicode_escape')},{json.dumps(DATA)}]",
        json.dumps([{**CLOUD_EVENT, "data": LONE.encode().decode("unicode_escape")}, DATA]),
        json.dumps([{**CLOUD_EVENT, "data": LONE}, DATA]),
        json.dumps(
            base64.b64encode(b'[{"messageId":"A","messageBody":"\xff"},' + compact(DATA) + b"]").decode()
        ),
        json.dumps(
            [
                {**CLOUD_EVENT, "data": base64.b64encode(b'{"messageId":"A","messageBody":"\xff"}').decode()},
                DATA,
            ]
        ),
    ],
    ids=[
        "escaped",
        "in an item's text",
        "in the event's text",
        "in data",
        "escaped in data",
        "bytes",
        "bytes in data",
    ],
)
def test_broken_unicode_affects_its_own_message_wherever_it_is(event):
    """Its id is known, its body is not changed into another one, and its neighbour is read."""
    broken, whole = decode(event)
    assert (type(broken), broken.rule, broken.id) == (Undecodable, "trigger.encoding", "A")
    assert whole == Message("smq", "M1", b'{"a":1}')


def test_an_item_of_broken_unicode_leaves_its_neighbours():
    """A text that is not JSON is one item, also if it is not Unicode."""
    broken, whole = decode(b'["\\ud800",' + compact(DATA) + b"]")
    assert (broken.rule, whole.id) == ("trigger.json", "M1")


def test_a_payload_without_a_delivery_around_it_has_no_subject():
    """Members of these names in what a queue delivers are not those of a trigger's CloudEvent."""
    bare, wrapped = decode(
        compact(
            [{**DATA, "subject": "own", "time": "own"}, {**CLOUD_EVENT, "subject": "queue", "time": "now"}]
        )
    )
    assert (bare.subject, wrapped.subject, wrapped.time) == (None, "queue", "now")


def test_the_data_of_a_delivery_comes_before_what_is_around_it():
    """If both have the shape of one source, the message is the inner one."""
    (message,) = decode(compact([{"messageId": "outer", "messageBody": "{}", "data": DATA}]))
    assert message.id == "M1"


def test_the_reason_names_the_source_that_was_pinned():
    """An item of no source names none; one that is not of the pinned source names that."""
    (unknown,), (other,) = decode(b'[{"a":1}]'), decode(b'[{"a":1}]', source="kafka")
    assert "kafka" in other.reason
    assert "kafka" not in unknown.reason
    assert "None" not in unknown.reason


@pytest.mark.parametrize(
    ("digits", "body"),
    [(4000, b'{"n":' + b"9" * 4000 + b"}"), (4001, b'{"n":Infinity}'), (5000, b'{"n":Infinity}')],
)
@pytest.mark.parametrize("wrap", [lambda item: item, json.dumps], ids=["item", "text"])
def test_the_longest_number_that_is_kept(digits, body, wrap):
    """Integers of up to 4,000 digits are exact."""
    (message,) = decode("[" + wrap('{"messageId":"M","messageBody":{"n":' + "9" * digits + "}}") + "]")
    assert (message.id, message.body) == ("M", body)


def test_a_pinned_call_may_be_any_bytes():
    """Its request is not read here, so bytes that are not UTF-8 are the caller's own affair."""
    assert decode(b'{"a":"\xff"}', source="invocation", request_id="r") == [
        Message("invocation", "r", b'{"a":"\xff"}')
    ]


@pytest.mark.parametrize("blanks", [b"", b" \n", b"\xef\xbb\xbf"])
def test_an_array_of_cloud_events_is_not_a_pinned_call(blanks):
    """EventBridge delivers arrays; a call with one CloudEvent is that CloudEvent."""
    event = compact({**CLOUD_EVENT, "data": {}})
    (call,) = decode(blanks + event, source="invocation")
    (delivery,) = decode(blanks + b"[" + event + b"]", source="invocation")
    assert (call.kind, delivery.rule) == ("invocation", "trigger.unknown-source")


def test_a_pinned_topic_delivers_one_message_at_a_time():
    """An array of several items is not the bare body of one message."""
    assert [item.rule for item in decode(b'[17, "x"]', source="smq-topic")] == [
        "trigger.shape",
        "trigger.json",
    ]
    assert decode(b"[17]", source="smq-topic") == [Message("smq-topic", None, b"[17]")]


@pytest.mark.parametrize(
    "wrap", [lambda text: text, json.dumps, lambda text: base64.b64encode(text.encode()).decode()]
)
def test_messages_of_a_moved_dead_letter_keep_their_ids(wrap):
    """An event stream's dead letter is the whole event; moved to a queue, it is the body of a new message there."""
    payloads = {**DATA, "messageId": "A"}, {**DATA, "messageId": "B", "undocumented": 1}
    event = json.dumps([{**CLOUD_EVENT, "data": data} for data in payloads])
    moved = decode(compact([{"messageId": "new", "messageBody": wrap(event)}]))
    assert [(item.kind, item.id, item.body) for item in moved] == [
        ("smq", "A", b'{"a":1}'),
        ("smq", "B", b'{"a":1}'),
    ]


def test_a_dead_letter_may_be_one_delivery():
    """A delivery without an array around it is opened too, and its bytes need not be UTF-8."""
    moved = [
        {"messageId": "new", "messageBody": '{"requestId":"R","messageId":"A","messageBody":"{}"}'},
        {
            "messageId": "new",
            "messageBody": base64.b64encode(b'{"messageId":"B","messageBody":"\xff"}').decode(),
        },
    ]
    whole, broken = decode(compact(moved))
    assert (whole.id, broken.id, broken.rule) == ("A", "B", "trigger.encoding")


@pytest.mark.parametrize(
    "body",
    [
        '[{"messageId":"A","messageBody":"{}"},{"a":1}]',
        '[{"messageId":"A","messageBody":"{}"},17]',
        '[{"topic":"t","partition":0,"offset":0,"value":"messageBody"}]',
        '{"messageBody":"{}"}',
        '{"messageId":"A","messageBody":"{}","customer":5}',
        '"messageBody"',
        '{"messageBody',
    ],
)
def test_what_only_resembles_a_dead_letter_is_a_body(body):
    """Only an event whose items are all messages of a queue is opened."""
    assert decode(compact([{"messageId": "new", "messageBody": body}])) == [
        Message("smq", "new", body.encode())
    ]


def test_an_event_in_another_source_is_a_body():
    """Only what a queue delivers may be a dead letter that was moved."""
    record = {"topic": "t", "partition": 0, "offset": 0, "value": json.dumps(DATA)}
    (message,) = decode(compact([record]))
    assert (message.kind, message.body) == ("kafka", json.dumps(DATA).encode())


def test_no_text_form_of_a_message_shows_its_body():
    """It may contain secrets, and a message may be logged."""
    assert "canary" not in f"{Message('smq', 'M', b'canary')!r} {Message('smq', 'M', b'canary')}"


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b"hello", "not JSON at line 1, column 1"),
        (b"{}\n{}", "not JSON at line 2, column 1"),
        (base64.b64encode(b'{"a":'), "in base64: not JSON at line 1, column 6"),
    ],
)
def test_an_unreadable_event_says_where_it_is_unreadable(event, reason):
    with pytest.raises(EventUnreadable) as caught:
        decode(event)
    assert caught.value.reason == reason
