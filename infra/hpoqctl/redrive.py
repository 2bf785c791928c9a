"""Go through a dead-letter queue: look at its dead letters, move them back with their keys, or delete them.

    Plan ──▶ Redriver.run ──▶ receive ─▶ read a DeadLetter ─▶ wanted? ─▶ on_dead_letter ─▶ move or delete ──▶ Report

`hpoqctl.dead` has the commands.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import fnmatch
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from fcruntime.jsonvalue import JsonObject
from fcruntime.triggers import Kind
from hpoq.clock import Clock
from hpoq.cloud.smq import fits
from hpoq.contract.document import read_object
from hpoq.contract.identity import PRODUCER, derive_key
from hpoq.contract.model import ExperimentRequest
from hpoq.contract.request import parse_request, read_producer_key
from hpoq.errors import CallError, NotFound, RequestRejected
from hpoq.observability.redaction import Mask
from hpoq.observability.secret_names import find_secrets
from hpoq.processing.envelope import Envelope, seal
from hpoq.processing.intake import mask_message_id
from hpoqctl.deadletters import recover_envelopes
from hpoqctl.queueclient import MOST_MESSAGES, QueueAttributes, QueueClient

_DEFAULT_VISIBILITY_SECONDS = 30
# The smallest value that ChangeMessageVisibility takes, by its documentation.
_SHORTEST_VISIBILITY_SECONDS = 1
# A dead letter that is not moved stays out of the way for so long. If the process is killed before it gives the
# dead letter back, it is hidden until then.
_KEPT_SECONDS = 300
# A generous limit for receiving, sending and deleting one message over the internet.
_SECONDS_PER_MOVE = 0.5
# Both are documented as the answer to a receipt handle whose visibility has ended.
_LOST_RECEIPT = ("MessageNotExist", "ReceiptHandleError")
# How often the counter of invisible messages is read until it has caught up with what was given back.
_MOST_LOOKS = 5
# The services' dates, by which two clocks are compared, are cut off to whole seconds.
_CLOCK_MARGIN_SECONDS = 1.0
_CAME_BACK = "its message was given up again during the run"
_UNKNOWN = "it cannot be read, or the key of its message is not known"
_PARTLY = "it has other messages, which do not match; to delete it as a whole, give its own id"
_TOO_LARGE = "it is too large in its envelope"


@dataclass(frozen=True)
class Plan:
    """What to do with which dead letters.

    `limit` counts dead letters, `pause` is the time from one to the next, in seconds. `namespace` and `trigger` are
    the function's: they decide the keys of the messages. `is_deletion` deletes dead letters instead of moving them.
    `as_new` moves those, too, whose key is not known: their body is sent as a new message. `is_dry_run` does neither.
    """

    source: str
    queue: str
    namespace: str = ""
    trigger: Kind | None = None
    pattern: str | None = None
    limit: int | None = None
    pause: float = 0.0
    is_dry_run: bool = False
    is_deletion: bool = False
    as_new: bool = False


@dataclass
class Report:
    """What a run did: one row per message, the ids of dead letters that could not be deleted, and what it left.

    `moved` are the messages that were moved or deleted, or would have been. `invisible` is how many dead letters
    another receiver holds at the end, or None if it is not known. `has_match` says whether the pattern matched any,
    `is_interrupted` whether Ctrl-C ended the run.
    """

    is_dry_run: bool
    moved: list[JsonObject] = field(default_factory=list)
    left: list[JsonObject] = field(default_factory=list)
    may_come_again: set[str] = field(default_factory=set)
    invisible: int | None = None
    error: CallError | None = None
    has_match: bool = False
    is_interrupted: bool = False

    @property
    def is_success(self) -> bool:
        """Whether no call failed and nothing had to stay or was hidden from the run."""
        return self.error is None and not self.invisible and not any(row["reason"] for row in self.left)

    def as_json(self) -> JsonObject:
        """Return the report for machines, without the error, which only the command can explain."""
        return {
            "dryRun": self.is_dry_run,
            "moved": list(self.moved),
            "left": list(self.left),
            "mayComeAgain": [*sorted(self.may_come_again)],
            "invisible": self.invisible,
        }


@dataclass
class _Held:
    """A received dead letter. Its receipt handle is valid until `ends_at` on the monotonic clock."""

    message_id: str
    origin_id: str | None
    body: str = field(repr=False)
    receipt_handle: str
    ends_at: float
    enqueued_at: int | None = None
    is_lost: bool = False


@dataclass(frozen=True)
class DeadLetter:
    """A dead letter: its messages, ready to be sent, with a row for each, or the reason why it cannot be moved.

    `body` is what is in the queue; `bodies` are those of its messages, none if it cannot be read. `enqueued_at` is
    when it was put into the dead-letter queue, in milliseconds since the epoch.
    """

    body: bytes = field(repr=False)
    sealed: Sequence[bytes] = field(repr=False)
    bodies: Sequence[bytes] = field(repr=False)
    rows: Sequence[JsonObject]
    enqueued_at: int | None
    reason: str | None = None


class Redriver:
    """One run over a dead-letter queue. It calls `on_dead_letter` before it acts on one that the plan wants.

    A dead letter is moved by sending its messages and then deleting it: if the run is interrupted between the two,
    the next run moves it again, and each of its messages is a duplicate. Within a run no dead letter is sent twice.
    """

    def __init__(
        self,
        smq: QueueClient,
        clock: Clock,
        plan: Plan,
        *,
        on_dead_letter: Callable[[DeadLetter], object] = lambda _: None,
        count_progress: Callable[[], object] = lambda: None,
    ) -> None:
        self.report = Report(plan.is_dry_run)
        self._smq = smq
        self._clock = clock
        self._plan = plan
        self._on_dead_letter = on_dead_letter
        self._count_progress = count_progress
        self._visibility = _DEFAULT_VISIBILITY_SECONDS
        self._next_move_at = clock.monotonic()
        self._moved = 0
        self._waiting: deque[_Held] = deque()
        self._kept: dict[str, _Held] = {}
        self._sent: set[str] = set()
        self._lost: dict[str, DeadLetter] = {}
        # When the first message of a key was sent, by the service's clock, in milliseconds since the epoch.
        self._sent_at: dict[str, float] = {}
        self._seen: set[str] = set()
        self._repeats = 0

    def run(self) -> Report:
        """Move the dead letters and return what was done; a failed call ends the run and is in the report.

        Ctrl-C ends it too. A second one is raised at once, and what is held stays hidden until its time is over.
        """
        try:
            self._visibility = self._attributes().visibility_timeout or _DEFAULT_VISIBILITY_SECONDS
            while self._wants_more() and self._receive():
                while self._waiting and self._wants_more():
                    self._handle(self._waiting[0])
                    self._waiting.popleft()
        except CallError as exc:
            self.report.error = exc
        except KeyboardInterrupt:
            self.report.is_interrupted = True
        finally:
            is_any_back = self._give_back()
        reason = f"the queue's visibility time-out of {self._visibility} s ended before it could be moved"
        self.report.left += [
            {**row, "reason": reason} for dead_letter in self._lost.values() for row in dead_letter.rows
        ]
        if not self.report.is_interrupted:
            with contextlib.suppress(CallError):
                self._count_invisible(_MOST_LOOKS if is_any_back else 1)
        return self.report

    def _count_invisible(self, looks: int) -> None:
        """Count what is invisible, up to `looks` times: what was given back is visible only after a moment."""
        for look in range(looks):
            if look or looks > 1:
                self._clock.sleep(_SHORTEST_VISIBILITY_SECONDS)
            self.report.invisible = self._attributes().inactive_messages
            if not self.report.invisible:
                return

    def _attributes(self) -> QueueAttributes:
        return self._smq.get_queue_attributes(self._plan.source)

    def _wants_more(self) -> bool:
        """Return whether the limit is not reached, and more than what was seen before may still come."""
        is_below_limit = self._plan.limit is None or self._moved < self._plan.limit
        return is_below_limit and self._repeats <= len(self._seen)

    def _receive(self) -> bool:
        """Receive as many dead letters as can be handled while invisible; return False if there are none."""
        self._wait_for_turn()
        ends_at = self._clock.monotonic() + self._visibility
        received = self._smq.receive_messages(self._plan.source, count=self._batch_size())
        fresh = {message.message_id for message in received} - self._seen
        # Those that are not moved can come again; once nothing else comes, the run has seen everything.
        self._repeats = 0 if fresh else self._repeats + len(received)
        self._seen |= fresh
        self._waiting += [
            _Held(
                message.message_id,
                message.origin_id,
                message.body,
                message.receipt_handle,
                ends_at,
                message.enqueued_at,
            )
            for message in received
            if message.receipt_handle is not None
        ]
        return bool(self._waiting)

    def _batch_size(self) -> int:
        per_move = max(self._plan.pause, _SECONDS_PER_MOVE)
        size = min(MOST_MESSAGES, int(self._visibility / 2 / per_move))
        if self._plan.limit is not None and self._plan.pattern is None:
            size = min(size, self._plan.limit - self._moved)
        return max(1, size)

    def _wait_for_turn(self) -> None:
        self._clock.sleep(self._next_move_at - self._clock.monotonic())

    def _handle(self, held: _Held) -> None:
        if held.message_id in self._sent:
            self._delete(held)
        elif held.message_id in self._kept:
            self._kept[held.message_id] = held
            self._hide(held, max(_KEPT_SECONDS, self._visibility))
        else:
            self._handle_fresh(held)

    def _handle_fresh(self, held: _Held) -> None:
        dead_letter = _read_dead_letter(held, self._plan, self._clock.now())
        matches = [_matches(row, self._plan.pattern) for row in dead_letter.rows]
        is_match = any(matches)
        self.report.has_match |= is_match
        if self._plan.is_deletion and not all(matches):
            dead_letter = replace(dead_letter, reason=_PARTLY)
        if self._has_come_back(dead_letter):
            dead_letter = replace(dead_letter, reason=_CAME_BACK)
        is_wanted = is_match and dead_letter.reason is None
        if not is_wanted or self._plan.is_dry_run:
            self._kept[held.message_id] = held
        if is_wanted and held.message_id not in self._lost:
            self._on_dead_letter(dead_letter)
        if not is_wanted:
            reason = dead_letter.reason if is_match else None
            self.report.left += [{**row, "reason": reason} for row in dead_letter.rows]
        elif self._plan.is_dry_run or self._act(held, dead_letter):
            self._lost.pop(held.message_id, None)
            self.report.moved += dead_letter.rows
            self._moved += 1
        else:
            self._lost[held.message_id] = dead_letter
            return
        self._count_progress()

    def _has_come_back(self, dead_letter: DeadLetter) -> bool:
        """Return whether a message of a dead letter was moved in this run and given up again at once.

        Moving it again and again would never end. Copies that were in the queue before the run are moved.
        """
        at = dead_letter.enqueued_at or 0.0
        return any(at > self._sent_at.get(str(row["key"]), math.inf) for row in dead_letter.rows)

    def _act(self, held: _Held, dead_letter: DeadLetter) -> bool:
        """Move or delete a dead letter; return False if another receiver may hold it."""
        if not self._plan.is_deletion:
            return self._move(held, dead_letter)
        self._take_turn()
        if not self._renew(held):
            return False
        self._sent.add(held.message_id)
        self._delete(held)
        return True

    def _take_turn(self) -> None:
        self._wait_for_turn()
        self._next_move_at = self._clock.monotonic() + self._plan.pause

    def _move(self, held: _Held, dead_letter: DeadLetter) -> bool:
        """Send the messages, then delete the dead letter; return False, without sending, if another may hold it."""
        self._take_turn()
        for body in dead_letter.sealed:
            if not self._renew(held) and held.message_id not in self._sent:
                return False
            # From here on it counts as sent, even if the call fails.
            self._sent.add(held.message_id)
            sent_at = (self._clock.now() - self._smq.clock_error() - _CLOCK_MARGIN_SECONDS) * 1000
            for key in (row["key"] for row in dead_letter.rows if row["key"] is not None):
                self._sent_at.setdefault(str(key), sent_at)
            # A new message has no key, so each copy of it would create an experiment of its own.
            is_keyed = bool(dead_letter.bodies)
            self._smq.send_message(self._plan.queue, body, repeatable=is_keyed)
        self._delete(held)
        return True

    def _renew(self, held: _Held) -> bool:
        """Make sure that half of the visibility is left; return False if the receipt is lost."""
        if held.ends_at - self._clock.monotonic() > self._visibility / 2:
            return True
        return not held.is_lost and self._hide(held, self._visibility)

    def _hide(self, held: _Held, seconds: int) -> bool:
        """Keep a dead letter invisible for `seconds` from now; return False if the receipt is lost."""
        ends_at = self._clock.monotonic() + seconds
        try:
            held.receipt_handle = self._smq.change_visibility(self._plan.source, held.receipt_handle, seconds)
        except NotFound as exc:
            _require_lost_receipt(exc)
            held.is_lost = True
            return False
        held.ends_at = ends_at
        return True

    def _delete(self, held: _Held) -> None:
        try:
            self._smq.delete_message(self._plan.source, held.receipt_handle)
        except NotFound as exc:
            _require_lost_receipt(exc)
            self.report.may_come_again.add(held.message_id)
        else:
            self.report.may_come_again.discard(held.message_id)

    def _give_back(self) -> bool:
        """Make visible whatever is held and was not moved; return False if there is nothing."""
        now = self._clock.monotonic()
        held_still = [one for one in (*self._kept.values(), *self._waiting) if one.ends_at > now]
        for held in held_still:
            try:
                self._show(held)
            except KeyboardInterrupt:
                if self.report.is_interrupted:
                    raise
                self.report.is_interrupted = True
                self._show(held)
        return bool(held_still)

    def _show(self, held: _Held) -> None:
        with contextlib.suppress(CallError):
            self._hide(held, _SHORTEST_VISIBILITY_SECONDS)


def _require_lost_receipt(exc: NotFound) -> None:
    """Raise `exc` if it has another reason than a lost receipt, such as a missing queue."""
    if exc.code not in _LOST_RECEIPT:
        raise exc


def recover_bodies(
    body: str, origin_id: str | None, namespace: str, trigger: Kind | None, now: float
) -> list[str]:
    """Return the messages in a dead letter as they are to be sent again, or none if it cannot be moved."""
    envelopes = recover_envelopes(_decode_body(body), origin_id, namespace, trigger)
    sealed = _seal(envelopes, now)
    return [base64.b64encode(one).decode() for one in sealed] if all(map(fits, sealed)) else []


def _seal(envelopes: Sequence[Envelope], now: float) -> list[bytes]:
    return [seal(replace(envelope, redriven=True, renewed=now)) for envelope in envelopes]


def _read_dead_letter(held: _Held, plan: Plan, now: float) -> DeadLetter:
    body = _decode_body(held.body)
    envelopes = recover_envelopes(body, held.origin_id, plan.namespace, plan.trigger)
    sealed = _seal(envelopes, now)
    rows = [_describe(envelope, held.message_id, plan.namespace) for envelope in envelopes]
    bodies = [envelope.body for envelope in envelopes]
    reason = None if all(map(fits, sealed)) else _TOO_LARGE
    if not envelopes:
        rows, reason = [_compose_row(held.message_id)], _UNKNOWN
        if plan.as_new:
            sealed, reason = [body], None if fits(body) else _TOO_LARGE
    if plan.is_deletion:
        rows, reason = [{**row, "reason": reason} for row in rows], None
    return DeadLetter(body, sealed, bodies, rows, held.enqueued_at, reason)


def _decode_body(body: str) -> bytes:
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        return body.encode()


def _describe(envelope: Envelope, dead_letter_id: str, namespace: str) -> JsonObject:
    """Return the row of a message, without secrets."""
    key, name = envelope.key, None
    try:
        request = parse_request(envelope.body).request
        name = request.experiment.name if isinstance(request, ExperimentRequest) else None
        if request.idempotency_key is not None:
            key = derive_key(PRODUCER, request.idempotency_key, namespace)
    except RequestRejected as exc:
        name = exc.name
    mask = Mask(find_secrets(read_object(envelope.body)))
    texts = (name, read_producer_key(envelope.body))
    shown_name, producer_key = (None if text is None else mask(text) for text in texts)
    message_id = None if envelope.message_id is None else mask_message_id(envelope.message_id)
    return _compose_row(dead_letter_id, message_id, key, shown_name, producer_key)


def _compose_row(
    dead_letter_id: str,
    message_id: str | None = None,
    key: str | None = None,
    name: str | None = None,
    producer_key: str | None = None,
) -> JsonObject:
    return {
        "messageId": message_id,
        "key": key,
        "producerKey": producer_key,
        "name": name,
        "letterId": dead_letter_id,
    }


def _matches(row: JsonObject, pattern: str | None) -> bool:
    names = ("messageId", "key", "producerKey", "name", "letterId")
    texts = (str(row[name] or "") for name in names)
    return pattern is None or any(fnmatch.fnmatchcase(text, pattern) for text in texts)
