"""The record that the store keeps for one key, and its form at rest."""

from __future__ import annotations

import enum
import json
import math

from fcruntime.dataclass import dataclass
from fcruntime.jsonvalue import JsonObject
from hpoq.errors import RecordUnreadable

FORMAT_VERSION = 1


class State(str, enum.Enum):
    """What a record says about its key."""

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
    """All that is known about a key. Times are seconds since the epoch, UTC.

    Who has it: `owner` is the fencing token of the last claim, `lease_until` the end of its lease, `claimed_at`
    the time of the first claim, `renewed_at` that of the last claim of a key that had ended, `attempts` the number of
    claims that count.

    What was asked: `fingerprint` identifies the request, `delivery` the message that brought it (the key of its
    source's id, which stays the same when hpoq sends it again), `message_id` is that message's id, `body` the
    SHA-256 of its body.

    What may exist: until `doubt_until` a create that was sent earlier may still take effect or become visible, so
    no create may be sent before that moment unless the experiment has been searched for; None if no create can
    be under way. `generation` selects the signature nonce of the next create; it goes up only after an answer
    which proves that the service did not act, and never while `uncertain`: then the end of an earlier create of this
    generation is not known. Its nonce stays, to keep a late copy out, and each create is preceded by a search, also
    long after `doubt_until`. Only an operator's decision ends that. `tagged` and `described` say that every
    create sent so far carried the marker there, `place` is the endpoint that they were sent to, with the
    account. `searches` counts the searches that could not conclude anything.

    What comes next: `sequence` is the newest number of a copy that is known to be in the queue, `not_before` the
    time before which a copy has nothing to do, `redriven` the last redrives that had their effect, in lines.

    How it ended: `experiment_id`, `event` (the output event as JSON text, stored before it is published),
    `published_at`, and `expires_at`, when the record may be forgotten. `last_error` is the last error, as JSON
    text.

    What is followed: `watch_order` is the content of the watch message for the experiment. `stopped_by` is part of a
    note that an experiment is being stopped: `request`, or `guard` and the limit, as in `guard:maxHours`.

    `later` holds, as JSON text, the members that a later version of this code wrote; they are written back.
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
    delivery: str | None = None
    message_id: str | None = None
    body: str | None = None
    generation: int = 0
    tagged: bool = False
    described: bool = False
    searches: int = 0
    sequence: int = 0
    redriven: str | None = None
    place: str | None = None
    not_before: float = 0.0
    renewed_at: float = 0.0
    last_error: str | None = None
    uncertain: bool = False
    watch_order: str | None = None
    stopped_by: str | None = None
    later: str | None = None

    @property
    def version(self) -> Version:
        return Version(self.state, self.owner)


# Unlike `write_compact` it writes back whatever a later version has added, even NaN.
_write_compact = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_TYPES_BY_NAME: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "State": (str,),
    "int": (int,),
    "float": (float, int),
    "bool": (bool,),
    "None": (type(None),),
}
_TYPES = {
    name: tuple(kind for part in str(member.type).split(" | ") for kind in _TYPES_BY_NAME[part])
    for name, member in Record.__dataclass_fields__.items()
}


def encode(record: Record) -> str:
    """Return `record` as compact JSON text; the key is part of it."""
    body: JsonObject = {"v": FORMAT_VERSION, **record.__dict__}
    if record.place is not None and "#" in record.place:
        # The account is a member of its own: a version that does not know it would take the place for another one.
        body["place"], _, body["account"] = record.place.partition("#")
    if (later := body.pop("later")) is not None:
        body |= json.loads(str(later))
    return _write_compact(body)


def decode(key: str, text: str) -> Record:
    """Return the record in `text`.

    Members that this version does not know are kept, so that a roll-back strands no key. Raises RecordUnreadable
    for a damaged record, and for a later version's that lacks what this one needs; the caller leaves it as it is.
    """
    try:
        body = json.loads(text)
        version = body["v"]
        if version == FORMAT_VERSION:
            del body["v"]
    except (ValueError, TypeError, KeyError, RecursionError) as exc:
        raise RecordUnreadable(key, f"damaged ({type(exc).__name__})") from exc
    try:
        if "account" in body and isinstance(body.get("place"), str):
            body["place"] = f"{body['place']}#{body.pop('account')}"
        known = {name: body.pop(name) for name in Record.__dataclass_fields__ if name in body}
        if known["key"] != key:
            raise ValueError("the record of another key")
        for name, value in known.items():
            # A time that is not a number, or not finite, cannot be compared with the clock.
            if not isinstance(value, _TYPES[name]) or (isinstance(value, float) and not math.isfinite(value)):
                raise TypeError(name)
        if known["state"] == State.IN_PROGRESS and "doubt_until" not in known:
            # Its absence must not be read as None, which says that no create can be under way.
            raise KeyError("doubt_until")
        later = _write_compact(body) if body else None
        return Record(**known | {"state": State(known["state"]), "later": later})
    except (ValueError, TypeError, KeyError) as exc:
        what = (
            "damaged"
            if version == FORMAT_VERSION
            else f"format version {version!r}, which lacks what this code needs"
        )
        raise RecordUnreadable(key, f"{what} ({type(exc).__name__})") from exc
