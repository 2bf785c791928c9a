"""The record that the store keeps for a key, and its form at rest."""

from __future__ import annotations

import enum
import json
from dataclasses import replace

from fcruntime.dataclass import dataclass
from hpoq.errors import RecordUnreadable

FORMAT_VERSION = 1


class State(str, enum.Enum):
    """What a record says of its key."""

    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    REJECTED = "REJECTED"
    FAILED = "FAILED"


@dataclass(frozen=True)
class Version:
    """What a compare-and-set compares: the state, and the fencing token of the owner."""

    state: State
    owner: str


@dataclass(frozen=True)
class Record:
    """All that is known of a key. Times are seconds since the epoch, UTC.

    `owner` is the fencing token of the last claim, `lease_until` the end of its lease. No create may be sent
    before `doubt_until` unless the experiments have been searched for the key's marker: until then an earlier
    create may still take effect or come to light; None says that none was ever sent. `claimed_at` is the
    first claim. `event` is the output event as JSON text, stored before it is published.
    """

    key: str
    state: State
    fingerprint: str
    owner: str
    claimed_at: float
    lease_until: float
    expires_at: float
    doubt_until: float | None = None
    attempts: int = 1
    experiment_id: str | None = None
    event: str | None = None
    published_at: float | None = None

    @property
    def version(self) -> Version:
        return Version(self.state, self.owner)


def encode(record: Record) -> str:
    """`record` as compact JSON text; the key stands in it too."""
    body = {"v": FORMAT_VERSION, **{name: getattr(record, name) for name in Record.__dataclass_fields__}}
    return json.dumps(body, separators=(",", ":"))


def decode(key: str, text: str) -> Record:
    """The record in `text`.

    Raises RecordUnreadable for a later format version or a damaged record; the caller leaves it as it is.
    """
    try:
        body = json.loads(text)
        version = body.pop("v")
        if version != FORMAT_VERSION:
            raise RecordUnreadable(key, f"format version {version!r}, this code reads {FORMAT_VERSION}")
        return replace(Record(**body), state=State(body["state"]))
    except RecordUnreadable:
        raise
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        raise RecordUnreadable(key, f"damaged ({type(exc).__name__})") from exc
