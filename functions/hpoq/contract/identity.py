"""What identifies a message, its events and its experiment: keys, event ids, and the marker on an experiment.

All of them are pure functions, and golden values in the tests pin keys and event ids. The same message must have the
same key forever, in every version of this code: after a change of the derivation, each message in flight could create
a second experiment. Therefore a version is part of what is hashed. Texts are compared as they were written, without
normalization.

An experiment carries the key of its message as a marker, so that it can be found after a create call with an unknown
end: in a tag, in a suffix of the description, or in both (`HPOQ_MARKER`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from functools import lru_cache

from fcruntime.jsonvalue import write_compact
from fcruntime.triggers import message
from hpoq.contract.patterns import caseless

NAMESPACE_HPOQ = "6c1f6a8e-3d0f-5b58-9d1b-7c0d5f1d5b1e"
DERIVATION = "hpoq-key-2"

KEY_FORM = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
"""The pattern of a whole key."""

# The kinds of identity that a key can be derived from.
PRODUCER = "producer"
SMQ = "smq"
CLOUDEVENT = message.CLOUDEVENT
CONFLICT = "conflict"
STOP = "stop"
STOPPED = "stopped"
WATCH = "watch"
DIGEST = "digest"

TAG_KEY = "hpoq-key"
MOST_TAGS = 20
"""The number of tags that the service allows for one experiment."""

MARKER_TAG = f"^{caseless(TAG_KEY)}$"
"""The pattern of the name of a marker in a tag. A service may change the case of what it stores."""

_MARKED_KEY = "[0-9A-Fa-f-]{36}"

MARKER = rf"\[{caseless(TAG_KEY)}: ({_MARKED_KEY})\]"
"""The pattern of a marker in a description."""


# Cached, because the key of a message without a CloudEvent is derived twice: for the request and for its delivery.
@lru_cache(maxsize=64)
def derive_key(kind: str, identity: str, namespace: str = "") -> str:
    """Return the key of the message with this identity; `kind` says what sort of identity it is.

    `namespace` separates users of one table of records. An empty one is not part of the key.
    """
    return derive_uuid(NAMESPACE_HPOQ, canonical(kind, identity, namespace))


def derive_uuid(namespace: str, name: str) -> str:
    """Return the UUID of version 5 (RFC 9562) of `name` in `namespace`, which is a UUID itself.

    Equals `uuid.uuid5`, in a third of its time: a message needs three.
    """
    digest = hashlib.sha1(
        bytes.fromhex(namespace.replace("-", "")) + name.encode(), usedforsecurity=False
    ).digest()
    number = bytearray(digest[:16])
    number[6] = number[6] & 0x0F | 0x50
    number[8] = number[8] & 0x3F | 0x80
    text = number.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def canonical(kind: str, identity: str, namespace: str) -> str:
    """Return a text that differs for different arguments."""
    parts = [DERIVATION, kind, identity] if not namespace else [DERIVATION, namespace, kind, identity]
    return write_compact(parts)


def derive_message_key(
    idempotency_key: str | None, message_id: str, namespace: str = "", kind: str = PRODUCER
) -> str:
    """Return the key of a request in an SMQ queue, from the producer's own key or, without one, the message id.

    `kind` is PRODUCER, or STOP for a stop with a key of its own. This does not hold for a request without a key in a
    CloudEvent: its key comes from the CloudEvent's source and id.
    """
    if idempotency_key is None:
        return derive_key(SMQ, message_id, namespace)
    return derive_key(kind, idempotency_key, namespace)


def derive_conflict_key(key: str, fingerprint: str) -> str:
    """Return the key of the refusal of a request with this fingerprint, because another request has its `key`."""
    return derive_key(CONFLICT, f"{key}:{fingerprint}")


def digest(body: bytes) -> str:
    """Return the SHA-256 of `body`, which identifies a message without an id, under the kind `DIGEST`."""
    return hashlib.sha256(body).hexdigest()


def derive_event_id(key: str, type_class: str) -> str:
    """Return the CloudEvents id of the event of a class, such as `created`, for `key`."""
    return derive_uuid(key, type_class)


def format_marker(key: str) -> str:
    """Return the marker for `key` in the form for a description."""
    return f"[{TAG_KEY}: {key}]"


def find_marker_keys(tags: Iterable[tuple[str, str]], description: str | None) -> set[str]:
    """Return the keys in the markers of an experiment with these tags and this description.

    A value that is not a whole key is not a marker: a service that cuts or masks values does not keep markers.
    """
    values = [value.strip() for name, value in tags if re.fullmatch(MARKER_TAG, name)]
    found = [value for value in values if re.fullmatch(_MARKED_KEY, value)]
    return {key.lower() for key in (*found, *re.findall(MARKER, description or ""))}
