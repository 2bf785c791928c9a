"""Idempotency keys and event ids: pure functions, pinned by golden values.

The same message must have the same key for ever, in every version of this code: a changed derivation would
create every message in flight a second time. Hence the version in what is hashed, and no way to configure it.
"""

from __future__ import annotations

import hashlib
import json
import uuid

NAMESPACE_HPOQ = uuid.UUID("6c1f6a8e-3d0f-5b58-9d1b-7c0d5f1d5b1e")
DERIVATION = "hpoq-key-1"

PRODUCER = "producer"
SMQ = "smq"
CONFLICT = "conflict"
DIGEST = "digest"


def canonical(kind: str, identity: str) -> str:
    """One text for `kind` and `identity`, different for different pairs."""
    return json.dumps([DERIVATION, kind, identity], ensure_ascii=True, separators=(",", ":"))


def derive_key(kind: str, identity: str) -> str:
    """The key of the message that its source of the sort `kind` knows as `identity`."""
    return str(uuid.uuid5(NAMESPACE_HPOQ, canonical(kind, identity)))


def message_key(idempotency_key: str | None, message_id: str) -> str:
    """The key of a request in the SMQ queue: from the producer's own if it has one, else from the message's id."""
    return derive_key(SMQ, message_id) if idempotency_key is None else derive_key(PRODUCER, idempotency_key)


def digest(body: bytes) -> str:
    """What identifies, under the kind `DIGEST`, a message that has no id: the SHA-256 of its body."""
    return hashlib.sha256(body).hexdigest()


def event_id(key: str, type_class: str) -> str:
    """The CloudEvents id of the event of class `type_class` (`created`, `rejected`, `failed`) of `key`."""
    return str(uuid.uuid5(uuid.UUID(key), type_class))
