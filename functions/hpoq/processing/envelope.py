"""The envelope of a message that hpoq itself sends again.

A message that is sent again gets a new message id from its queue. The envelope carries the identity of the first
delivery and the body, to the byte, so that the message stays the same message:

    {"hpoq": {"version": "1", "kind", "messageId", "key", "sequence"?, "redriven"?, "since"?, "renewed"?,
              "cloudEvent"?}, "body": text}
    {"hpoq": {...}, "zip": base85 of zlib of the body}

A watch message has the kind `watch`. It was never delivered as an ordinary message: its message id is what its key
derives from (`hpoq.processing.watchorder`), and its body says what is followed.

The second form is used if it is smaller, or if the body is not UTF-8. A producer may send 65,536 bytes and an
envelope has to fit into as many: only a large body that cannot be compressed does not (`hpoq.cloud.smq.fits`).

Anyone who may send to the queue can write an envelope. Its key is therefore believed only if it derives from the
kind and the message id, or from the body. One whose key does not, or of a later version, waits for the setting or
the version that opens it. Anything else is an ordinary message.
"""

from __future__ import annotations

import contextlib
import json
import re
import zlib
from base64 import b85decode, b85encode
from typing import TypeGuard

from fcruntime.dataclass import dataclass, field
from fcruntime.jsonvalue import JsonObject, JsonValue
from fcruntime.triggers import KINDS, Message
from fcruntime.triggers.identity import identify_body
from hpoq.contract import jsontext
from hpoq.contract.identity import CLOUDEVENT, DIGEST, KEY_FORM, WATCH, derive_key, digest
from hpoq.contract.jsontext import MOST_BODY_BYTES, JsonError

_MEMBER = b'"hpoq"'
MOST_SEQUENCE = 2**31 - 1
# In seconds since the epoch: a time after the year 5000 is a mistake.
_LATEST_TIME = 1e11
# The kinds of keys that a message can have by itself; a producer's key is in the request.
_KINDS = frozenset({*KINDS, CLOUDEVENT, DIGEST, WATCH})


@dataclass(frozen=True)
class Envelope:
    """A message and the identity of its first delivery.

    `kind` and `message_id` are those of the first delivery, and `key` is derived from them. `sequence` is 0 for
    the first delivery and one more each time that hpoq sends the message again. `redriven` is set if an operator
    took the message out of a dead-letter queue, and `renewed` is when. `since` is when the message was first
    delivered; None in a first delivery. Both are in seconds since the epoch. `cloud_event` is the identity of a
    CloudEvent whose attributes are not in `body` (HTTP's binary mode); the key then derives from it.
    """

    kind: str
    message_id: str | None
    key: str
    body: bytes = field(repr=False)
    sequence: int = 0
    redriven: bool = False
    since: float | None = None
    renewed: float | None = None
    cloud_event: str | None = None


def seal(envelope: Envelope) -> bytes:
    """Return the envelope's wire form, the smaller of the two."""
    header: JsonObject = {
        "version": "1",
        "kind": envelope.kind,
        "messageId": envelope.message_id,
        "key": envelope.key,
    }
    if envelope.sequence:
        header["sequence"] = envelope.sequence
    if envelope.redriven:
        header["redriven"] = True
    if envelope.cloud_event is not None:
        header["cloudEvent"] = envelope.cloud_event
    for name, time in (("since", envelope.since), ("renewed", envelope.renewed)):
        if time is not None:
            header[name] = round(time, 3)
    forms = ({"hpoq": header, **form} for form in _body_forms(envelope.body))
    return min(
        (json.dumps(form, ensure_ascii=False, separators=(",", ":")).encode() for form in forms), key=len
    )


def unseal(body: bytes, namespace: str = "") -> Envelope | None:
    """Return the envelope in `body`, or None if it is an ordinary message.

    `namespace` is what keys are derived with.
    """
    envelope = _read_envelope(*_read_document(body))
    if envelope is None or envelope.kind not in _KINDS:
        return None
    return envelope if envelope.key == _derive_key(envelope, namespace) else None


def looks_sealed(body: bytes) -> bool:
    """Return whether `body` has the form of an envelope, though this function may not be able to open it.

    An envelope of another namespace has another key, and one of a later version may contain an unknown kind of
    message. Of an envelope in another format only the version and the key are known.
    """
    document, header = _read_document(body)
    version, key = header.get("version"), header.get("key")
    if not isinstance(version, str) or not isinstance(key, str) or not re.fullmatch(KEY_FORM, key):
        return False
    return version not in ("", "1") or _read_envelope(document, header) is not None


def is_sealed(document: JsonObject) -> bool:
    """Return whether the JSON object `document` is meant as an envelope, well-formed or not."""
    header = document.get("hpoq")
    return isinstance(header, dict) and "key" in header


def open_envelope(message: Message, namespace: str = "") -> Envelope:
    """Return the envelope in the body of `message`, or the one of a first delivery if it has none."""
    sent_again = unseal(message.body, namespace)
    if sent_again is not None:
        return sent_again
    if message.identity is None:
        key = derive_key(DIGEST, digest(message.body), namespace)
        return Envelope(DIGEST, None, key, message.body)
    kind, identity = message.identity
    key = derive_key(kind, identity, namespace)
    if message.id is None:
        return Envelope(kind, identity, key, message.body)
    # In HTTP's binary mode the body does not contain the CloudEvent's attributes.
    apart = None if message.cloud_event == identify_body(message.body) else message.cloud_event
    return Envelope(message.kind, message.id, key, message.body, cloud_event=apart)


def _body_forms(body: bytes) -> list[JsonObject]:
    may_be_opened = len(body) <= MOST_BODY_BYTES
    forms: list[JsonObject] = []
    with contextlib.suppress(UnicodeDecodeError):
        forms.append({"body": body.decode()})
    if may_be_opened or not forms:
        # base85 adds a quarter, base64 a third; JSON escapes no character of either. A body that `unseal` would
        # refuse is not made smaller, so that it fits into no message.
        packed = zlib.compress(body, 9 if may_be_opened else 0)
        forms.append({"zip": b85encode(packed).decode()})
    return forms


def _read_document(body: bytes) -> tuple[JsonObject, JsonObject]:
    """Return the JSON object in `body` and its member `hpoq`, both empty if there is none.

    Whatever delivers an envelope may have rewritten it, with its members in another order.
    """
    if _MEMBER not in body:  # before anything is parsed, because most messages are not envelopes
        return {}, {}
    try:
        document = jsontext.loads(body)
    except JsonError:
        return {}, {}
    if not isinstance(document, dict):
        return {}, {}
    header = document.get("hpoq")
    return (document, header) if isinstance(header, dict) else ({}, {})


def _read_envelope(document: JsonObject, header: JsonObject) -> Envelope | None:
    """Return the envelope as it is written, or None if it is not one of this version."""
    content = _read_body(document) if header.get("version") == "1" else None
    return None if content is None else _read_header(header, content)


def _read_body(document: JsonObject) -> bytes | None:
    text, packed = document.get("body"), document.get("zip")
    if isinstance(text, str) and packed is None:
        return text.encode()
    return _decompress(packed) if isinstance(packed, str) and text is None else None


def _decompress(packed: str) -> bytes | None:
    """Return the decompressed body, or None if `packed` is invalid or more than MOST_BODY_BYTES are in it.

    Without that bound, an envelope of 64 KB could be decompressed to 40 MB.
    """
    reader = zlib.decompressobj()
    try:
        body = reader.decompress(b85decode(packed), MOST_BODY_BYTES)
    except (ValueError, zlib.error):
        return None
    return body if reader.eof and not reader.unused_data else None


def _read_header(header: JsonObject, body: bytes) -> Envelope | None:
    kind, message_id, key = header.get("kind"), header.get("messageId"), header.get("key")
    sequence, redriven = header.get("sequence", 0), header.get("redriven", False)
    if not isinstance(kind, str) or not isinstance(key, str) or not _is_text_or_none(message_id):
        return None
    if not isinstance(redriven, bool) or not _is_sequence(sequence):
        return None
    since, renewed = header.get("since"), header.get("renewed")
    if not _is_time_or_none(since) or not _is_time_or_none(renewed):
        return None
    cloud_event = header.get("cloudEvent")
    if not _is_text_or_none(cloud_event):
        return None
    return Envelope(kind, message_id, key, body, sequence, redriven, since, renewed, cloud_event)


def _is_text_or_none(value: JsonValue) -> TypeGuard[str | None]:
    return value is None or isinstance(value, str)


def _is_sequence(value: JsonValue) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_SEQUENCE


def _is_time_or_none(value: JsonValue) -> TypeGuard[float | None]:
    if value is None:
        return True
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= _LATEST_TIME


def _derive_key(envelope: Envelope, namespace: str) -> str | None:
    event = envelope.cloud_event or identify_body(envelope.body)
    if event is not None:
        return derive_key(CLOUDEVENT, event, namespace)
    if envelope.message_id is None:
        return derive_key(DIGEST, digest(envelope.body), namespace) if envelope.kind == DIGEST else None
    return derive_key(envelope.kind, envelope.message_id, namespace)
