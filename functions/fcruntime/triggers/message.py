"""What a trigger delivers, whatever was around it."""

from __future__ import annotations

import hashlib

from fcruntime.dataclass import dataclass, field

CLOUDEVENT = "cloudevent"
"""The kind of the identity of a CloudEvent, whatever source brought it."""


@dataclass(frozen=True)
class Message:
    """One message of an event.

    `kind` names the kind of source (`smq`). `id` is what stays the same there when the message is delivered again, or
    None if the source has nothing of that kind. `body` is the payload, with one layer of base64 around a JSON
    document undone.

    `cloud_event` is the identity of the CloudEvent that the producer sent as this message (its `source` and `id` as
    one text), or None if the message is not a CloudEvent. The CloudEvent that a trigger wraps around a message does
    not count. `subject` is its subject, which names the queue or topic, and `time` is when the message was sent, as
    the trigger writes it (RFC 3339, or milliseconds since the epoch). Without a CloudEvent around the message, they
    are what the source itself states. Either is None if it is missing. `attributes` are names and values that the
    producer added to the message, if the source delivers them; over HTTP they are those of a CloudEvent in
    binary mode.
    """

    kind: str
    id: str | None
    body: bytes = field(repr=False)
    cloud_event: str | None = None
    subject: str | None = None
    time: str | None = None
    attributes: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @property
    def identity(self) -> tuple[str, str] | None:
        """The kind and the text that identify the message in every delivery, or None if nothing does.

        A producer that repeats a CloudEvent keeps its source and id, whatever brings it, so these come first.
        """
        if self.cloud_event is not None:
            return CLOUDEVENT, self.cloud_event
        return None if self.id is None else (self.kind, self.id)


@dataclass(frozen=True)
class Undecodable:
    """An item of an event that holds no readable message.

    `rule` names what is wrong and `reason` explains it. `digest` (SHA-256, hexadecimal) and `size` (bytes) identify
    the item without quoting it. `id` is the id of the message if at least that could be read, or None. `item` is the
    item as a whole, for a dead-letter queue; text forms do not show it, since it may contain secrets.
    """

    rule: str
    reason: str
    digest: str
    size: int
    kind: str = "undecodable"
    id: str | None = None
    item: bytes = field(default=b"", repr=False)

    @classmethod
    def from_item(
        cls,
        item: bytes,
        rule: str,
        reason: str,
        *,
        kind: str = "undecodable",
        id: str | None = None,  # noqa: A002
    ) -> Undecodable:
        """Describe `item` by its digest and size."""
        return cls(rule, reason, hashlib.sha256(item).hexdigest(), len(item), kind, id, item)
