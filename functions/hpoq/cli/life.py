"""What a record tells of its message, in words: how it stands, what comes next, what may be done."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fcruntime.jsonvalue import JsonObject, JsonValue
from hpoq.idempotency.record import Record, State
from hpoq.processing import lifecycle
from hpoq.processing.lifecycle import Action, Standing
from hpoq.settings import Settings

_ENDED = {State.COMPLETED: "created", State.REJECTED: "rejected", State.FAILED: "failed"}

_STANDS = {
    Standing.UNSEEN: "No record: no delivery has come so far, or the request brought an idempotencyKey of its own "
    "(--idempotency-key), or what became of it was forgotten after HPOQ_RETENTION_DAYS.",
    Standing.HELD: "A delivery is processing it; its claim holds for another {lease_left:.0f} s.",
    Standing.ABANDONED: "Its last claim ended without an outcome, {lease_over:.0f} s ago: the attempt was given "
    "back, or its instance died.",
    Standing.UNPUBLISHED: "It has ended as {ended}; its event is not known to be out.",
    Standing.PUBLISHED: "It has ended as {ended}, and its event is out.",
    Standing.GIVEN_UP: "It was given up after {attempts} attempts, and its event is out. No experiment exists.",
    Standing.EXPIRED: "It has ended as {ended} longer ago than HPOQ_RETENTION_DAYS; the record is about to go.",
}
_NEXT = {
    Action.CLAIM: "The next delivery claims it and creates the experiment.",
    Action.WAIT: "A delivery that comes now is told to come back.",
    Action.TAKE_OVER: "The next delivery looks for the experiment first, and creates it only if there is none.",
    Action.PUBLISH: "The next delivery publishes the stored event, under the same id.",
    Action.ACKNOWLEDGE: "Further deliveries are duplicates: they create nothing and send nothing.",
    Action.CONFLICT: "",
}
_ADVICE = {
    Standing.UNSEEN: "See whether the message is still in the queue, or in the dead-letter queue: "
    "hpoq redrive --dry-run.",
    Standing.HELD: "Wait for the claim's end; its log lines have this key.",
    Standing.ABANDONED: "Nothing, while the message is in the queue. If it is in the dead-letter queue: "
    "hpoq redrive --match {key}",
    Standing.UNPUBLISHED: "Nothing, while the message is in the queue. If it is in the dead-letter queue: "
    "hpoq redrive --match {key}",
    Standing.PUBLISHED: "Nothing.",
    Standing.GIVEN_UP: "Mend what the event's error says, then send it again: hpoq redrive --match {key}, or the "
    "request once more under the same idempotencyKey.",
    Standing.EXPIRED: "Nothing.",
}
_CONFLICTS = (
    "The key {key} belongs to another request than this one. Whether this one was refused so far is what follows; "
    "give it an idempotencyKey of its own."
)


@dataclass(frozen=True)
class Life:
    """A key and its record at the moment `now`; `conflicts_with` is the key that another request holds."""

    key: str
    record: Record | None
    now: float
    most_attempts: int
    conflicts_with: str | None = None

    @property
    def standing(self) -> Standing:
        """How the record stands."""
        return lifecycle.standing(self.record, self.now)

    @property
    def action(self) -> Action:
        """What a delivery of the same request does about it."""
        return lifecycle.TABLE[self.standing]

    @property
    def event(self) -> JsonObject | None:
        """The stored event."""
        if self.record is None or self.record.event is None:
            return None
        event: JsonObject = json.loads(self.record.event)
        return event

    def lines(self) -> Iterator[str]:
        """How it stands, what comes next, what may be done."""
        if self.conflicts_with is not None:
            yield _CONFLICTS.format(key=self.conflicts_with)
        yield self._filled(_STANDS[self.standing])
        if (
            self.record is not None
            and self.standing is Standing.ABANDONED
            and self.record.doubt_until is not None
        ):
            yield (
                "An earlier create may have happened; that there is no experiment is believed after "
                f"{max(0.0, self.record.doubt_until - self.now):.0f} s more."
            )
        yield _NEXT[self.action]
        yield f"To do: {self._filled(_ADVICE[self.standing])}"

    def facts(self, moment: Callable[[float], str]) -> Iterator[tuple[str, str]]:
        """The record's members that tell an operator something; times through `moment`."""
        record = self.record
        if record is None:
            return
        yield "state", record.state.value
        yield "attempts", f"{record.attempts} of {self.most_attempts}"
        yield "first claimed", moment(record.claimed_at)
        yield "claim ends" if record.state is State.IN_PROGRESS else "claim ended", moment(record.lease_until)
        if record.experiment_id:
            yield "experiment", record.experiment_id
        if record.state is not State.IN_PROGRESS:
            yield "published", moment(record.published_at) if record.published_at else "no"
            yield "remembered until", moment(record.expires_at)
        yield "owner", record.owner

    def as_json(self) -> JsonObject:
        """For machines: the record without its owner's token is told as it is kept."""
        record = self.record
        told: JsonObject | None = None
        if record is not None:
            told = {
                "state": record.state.value,
                "fingerprint": record.fingerprint,
                "attempts": record.attempts,
                "claimedAt": record.claimed_at,
                "leaseUntil": record.lease_until,
                "doubtUntil": record.doubt_until,
                "expiresAt": record.expires_at,
                "publishedAt": record.published_at,
                "experimentId": record.experiment_id,
                "owner": record.owner,
            }
        lines: list[JsonValue] = [*self.lines()]
        return {
            "key": self.key,
            "conflictsWith": self.conflicts_with,
            "standing": self.standing.value,
            "nextDelivery": self.action.value,
            "explanation": lines,
            "record": told,
            "event": self.event,
        }

    def _filled(self, text: str) -> str:
        record = self.record
        if record is None:
            return text.format(key=self.key)
        return text.format(
            key=self.key,
            ended=_ENDED.get(record.state, ""),
            attempts=record.attempts,
            lease_left=record.lease_until - self.now,
            lease_over=self.now - record.lease_until,
        )


def life_of(
    key: str, record: Record | None, now: float, settings: Settings, *, conflicts_with: str | None = None
) -> Life:
    """What `record`, the one of `key`, tells at `now`, in seconds since the epoch."""
    return Life(key, record, now, settings.max_attempts, conflicts_with)
