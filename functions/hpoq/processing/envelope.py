"""The envelope of a message that hpoq itself sends again.

A message sent back to its queue gets a new message id from SMQ. The envelope keeps the first one and the key,
and the body to the byte, so that the message stays the same message. Whoever may send to the queue may write
one, so its key must be the one that its kind and message id, or for a message without id its body, derive.
"""

from __future__ import annotations

import json

from fcruntime import strictjson
from fcruntime.dataclass import dataclass, field
from fcruntime.jsonvalue import JsonObject, JsonValue
from fcruntime.strictjson import JsonError
from fcruntime.triggers import Message
from hpoq.contract.keys import DIGEST, derive_key, digest

_OPENING = b'{"hpoq":'


@dataclass(frozen=True)
class Envelope:
    """`kind` and `message_id` are those of the first delivery; `key` is what they were derived into."""

    kind: str
    message_id: str | None
    key: str
    body: bytes = field(repr=False)


def seal(envelope: Envelope) -> bytes:
    """The envelope's wire form. Raises UnicodeDecodeError for a body that is not text."""
    header = {
        "version": "1",
        "kind": envelope.kind,
        "messageId": envelope.message_id,
        "key": envelope.key,
    }
    document = {"hpoq": header, "body": envelope.body.decode()}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def unseal(body: bytes) -> Envelope | None:
    """The envelope in `body`, or None if it is not one; what only resembles one is an ordinary message."""
    if not body.startswith(_OPENING):
        return None
    try:
        document = strictjson.loads(body)
    except JsonError:
        return None
    header = document.get("hpoq") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(header, dict) or header.get("version") != "1":
        return None
    return _read(header, document.get("body"))


def open_envelope(message: Message) -> Envelope:
    """The envelope in the body of `message`, or the one that its first delivery makes."""
    sent_back = unseal(message.body)
    if sent_back is not None:
        return sent_back
    if message.id is None:
        return Envelope(DIGEST, None, derive_key(DIGEST, digest(message.body)), message.body)
    return Envelope(message.kind, message.id, derive_key(message.kind, message.id), message.body)


def _read(header: JsonObject, body: JsonValue) -> Envelope | None:
    kind, message_id, key = header.get("kind"), header.get("messageId"), header.get("key")
    if not isinstance(kind, str) or not isinstance(key, str) or not isinstance(body, str):
        return None
    if message_id is not None and not isinstance(message_id, str):
        return None
    envelope = Envelope(kind, message_id, key, body.encode())
    return envelope if key == _derived(envelope) else None


def _derived(envelope: Envelope) -> str | None:
    if envelope.message_id is None:
        return derive_key(DIGEST, digest(envelope.body)) if envelope.kind == DIGEST else None
    return derive_key(envelope.kind, envelope.message_id)
