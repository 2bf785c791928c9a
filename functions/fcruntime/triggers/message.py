"""What a trigger delivers, whatever its envelope was."""

from __future__ import annotations

import hashlib

from fcruntime.dataclass import dataclass, field


@dataclass(frozen=True)
class Message:
    """One message of an event.

    `kind` names the sort of source (`smq`); `id` is what is stable there across redelivery, None where the
    source gave none; `body` is the payload, with one layer of base64 around a JSON document undone.
    """

    kind: str
    id: str | None
    body: bytes = field(repr=False)


@dataclass(frozen=True)
class Undecodable:
    """An item of an event that holds no readable message.

    `rule` names what is wrong and `reason` says it; `digest` (SHA-256, hexadecimal) and `size` (bytes)
    identify the item without quoting it. `id` is set where at least the message id could be read.
    """

    rule: str
    reason: str
    digest: str
    size: int
    kind: str = "undecodable"
    id: str | None = None

    @classmethod
    def of(
        cls,
        item: bytes,
        rule: str,
        reason: str,
        *,
        kind: str = "undecodable",
        id: str | None = None,  # noqa: A002
    ) -> Undecodable:
        return cls(rule, reason, hashlib.sha256(item).hexdigest(), len(item), kind, id)
