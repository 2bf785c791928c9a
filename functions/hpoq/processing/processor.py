"""Process one message, from its claim to its event.

claim the key ──▶ reconcile, create ──▶ record the end with its event ──▶ publish ──▶ record that it is out
     │                    └─ postponed: release the claim, the message comes back
     └─ known key: publish the stored event, acknowledge, wait, or refuse a conflict
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import nullcontext

from fcruntime.dataclass import replace
from fcruntime.jsonvalue import JsonObject, write_compact
from hpoq.clock import Clock
from hpoq.contract.events import EventError, find_error, outcome_of, parse_error
from hpoq.contract.identity import derive_conflict_key
from hpoq.errors import StoreError
from hpoq.idempotency.record import Record
from hpoq.observability.logs import bind_context, get_logger
from hpoq.observability.measures import measure_time, trace_id, trace_message
from hpoq.observability.redaction import known_secrets
from hpoq.observability.secret_names import find_secrets
from hpoq.processing import lifecycle
from hpoq.processing.creation import (
    Created,
    Creator,
    Ending,
    GivenUp,
    Postponed,
    Refused,
    Stopped,
)
from hpoq.processing.envelope import Envelope
from hpoq.processing.follow import Follower
from hpoq.processing.intake import (
    Defective,
    Intake,
    Readable,
    Ready,
    Rejected,
    Shown,
    Stop,
    Undeliverable,
    Watched,
    show_order,
)
from hpoq.processing.ledger import ClaimLost, Ledger, Opening
from hpoq.processing.lifecycle import Action, Delivery, Standing
from hpoq.processing.outcome import (
    Announcer,
    Outcome,
    Result,
    Retry,
    as_event_error,
    log_configuration_fault,
    log_lasting_fault,
    make_result,
    make_retry,
)
from hpoq.processing.sendback import DeadLetters
from hpoq.processing.watchorder import FORGED, CheckAgain

_LEAST_TO_LOOK_AHEAD = 2

_HELD = EventError(
    code="InProgress", message="another delivery of this message is being processed", retryable=True
)
_NOT_DUE = EventError(code="NotDue", message="this copy of the message came before it is due", retryable=True)
_SUPERSEDED = EventError(
    code="Superseded", message="a newer copy of this message is in the queue", retryable=False
)
_DEFECT = EventError(
    code="InternalError", message="an unexpected error; see the function's log", retryable=True
)
_CONFLICT = EventError(
    code="IdempotencyConflict",
    message="this idempotency key, or this id of a message, was used with another request; a changed request needs a "
    "new one",
    retryable=False,
)
_NOT_DEAD_LETTERED = EventError(
    code="DeadLetterFailed",
    message="the message is given up, but could not be put into the dead-letter queue yet",
    retryable=True,
)
# Codes of hpoq that say how far an attempt came, not what the service answered.
_OWN_CODES = ("AttemptsUsedUp", "InDoubt", "NoTimeLeft", "NotDue", "DeadLetterFailed")


class Processor:
    """Processes the messages of one invocation. Safe for threads; never raises."""

    def __init__(
        self,
        ledger: Ledger,
        creator: Creator,
        announcer: Announcer,
        dead_letters: DeadLetters,
        follower: Follower,
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._creator = creator
        self._announcer = announcer
        self._dead_letters = dead_letters
        self._follower = follower
        self._clock = clock

    def look_ahead(self, intakes: Sequence[Intake]) -> None:
        """Read at once the records of messages that were done before. Never raises: it only saves reads."""
        if len(intakes) < _LEAST_TO_LOOK_AHEAD:
            return
        try:
            self._ledger.look_ahead([intake.delivery for intake in intakes])
        except Exception as exc:  # noqa: BLE001 - each message reads its own record again and meets the error there
            get_logger().warning("lookahead.failed", error=_name_failure(exc))

    def needs_create(self, delivery: Delivery) -> bool:
        """Return whether the service must be asked for an experiment. Never raises: True if the store fails."""
        try:
            return self._ledger.needs_create(delivery)
        except Exception:  # noqa: BLE001 - the message meets the error again when it is processed
            return True

    def hold_back(self, delivery: Delivery, result: Retry) -> Result:
        """Return the result of a message that got no turn; `result` is the one without its record. Never raises.

        It is recorded from its second delivery on, so that its copies merge. Most messages are held back once at
        most, and cost nothing.
        """
        if delivery.since is None:
            return result
        try:
            action, record = self._ledger.hold_back(delivery)
        except Exception as exc:  # noqa: BLE001 - the message meets the error again when it is processed
            get_logger().warning("requeue.unrecorded", error=_name_failure(exc))
            return result
        if action is Action.DROP:
            return make_result(Outcome.DUPLICATE, delivery, None, _SUPERSEDED)
        return replace(result, record=record)

    def process(self, intake: Intake) -> Result:
        """Process one message and return its result."""
        delivery = intake.delivery
        attributes = {
            "messaging.message.id": delivery.message_id or "",
            "hpoq.key": delivery.shown_key or delivery.key,
        }
        parent: str | None = None
        secrets: Iterable[str] = ()
        if isinstance(intake, (Ready, Stop)):
            parent, secrets = intake.request.traceparent, find_secrets(intake.document)
            attributes["messaging.system"] = intake.envelope.kind
        elif isinstance(intake, Watched):
            parent = intake.order.traceparent
        with (
            known_secrets(secrets),
            measure_time("message", self._clock),
            trace_message(parent, attributes) as set_attributes,
            bind_context(**_log_context(delivery)),
        ):
            try:
                result = self._process(intake)
            except StoreError as exc:
                get_logger().error("store.failed", error=str(exc))
                log_lasting_fault(exc.__cause__)
                failed = make_retry(delivery, as_event_error(exc), unrecorded=True)
                result = replace(failed, was_claimed=exc.was_claimed)
            except Exception:  # noqa: BLE001 - a defect must affect only this message
                get_logger().exception("message.defect")
                result = make_retry(delivery, _DEFECT, unrecorded=True)
            _log_result(result)
            set_attributes({"hpoq.outcome": result.outcome.value})
            if result.error is not None:
                set_attributes({"error.type": result.error.code})
            return result

    def _process(self, intake: Intake) -> Result:
        if isinstance(intake, Defective):
            get_logger().error("message.defect", reason=intake.reason)
            return make_retry(intake.delivery, _DEFECT, unrecorded=True)
        if isinstance(intake, Undeliverable):
            log_configuration_fault(intake.error)
            if not intake.error.retryable:
                return make_result(Outcome.DUPLICATE, intake.delivery, error=intake.error)
            return make_retry(intake.delivery, intake.error)
        began_at = self._clock.monotonic()
        intake = replace(intake, delivery=replace(intake.delivery, began_at=began_at))
        if isinstance(intake, Ready) and intake.request.dry_run:
            return self._accept(intake)
        prepared = self._prepare(intake)
        opening = self._ledger.open(prepared.delivery)
        if isinstance(intake, Watched):
            opening = self._follower.reopen(opening, intake.delivery, intake.order)
        if opening.action is Action.CONFLICT:
            return self._refuse_conflict(opening.record, intake)
        return self._follow_action(opening, prepared)

    def _accept(self, intake: Ready) -> Result:
        """Answer a dry run, which leaves no record.

        Another delivery of the message composes the event again, under the same id. Each message has an id of its
        own, because the request of one key may change from one dry run to the next.
        """
        event = self._announcer.compose("accepted", None, intake)
        failure = self._announcer.announce(event)
        if failure:
            return make_retry(intake.delivery, failure, unrecorded=True)
        return make_result(Outcome.ACCEPTED, intake.delivery)

    def _prepare(self, intake: Readable) -> Readable:
        """Return the message with a delivery that contains everything that the record of its claim needs."""
        if isinstance(intake, Rejected):
            return self._prefer_known_key(intake)
        for warning in intake.shown.warnings:
            get_logger().warning("request.warning", **warning.as_dict())
        if not isinstance(intake, Ready):
            return intake
        delivery, place = intake.delivery, self._creator.place
        tagged, described = self._creator.marking.places(intake.experiment)
        order = self._follower.order(delivery.key, delivery.message_id, intake.request)
        delivery = replace(delivery, tagged=tagged, described=described, place=place, watch_order=order)
        return replace(intake, delivery=delivery)

    def _prefer_known_key(self, intake: Rejected) -> Rejected:
        """Return the message under its producer's key if the record of that key is from this very message.

        An earlier version, whose contract accepted the request, may have created its experiment. So the record of
        a known key is looked at before the contract.
        """
        if intake.known_as is not None:
            record = self._ledger.get(intake.known_as.key)
            if record is not None and lifecycle.is_same_request(record, intake.known_as):
                return replace(intake, delivery=replace(intake.known_as, began_at=intake.delivery.began_at))
        return intake

    def _follow_action(self, opening: Opening, intake: Readable) -> Result:
        record, delivery = opening.record, intake.delivery
        if opening.action is Action.WAIT:
            if lifecycle.early_seconds(record, self._clock.now()):
                return make_retry(delivery, _find_cause(record, _NOT_DUE), due=record.not_before)
            return make_retry(delivery, _HELD, due=record.lease_until)
        if opening.action is Action.DROP:
            return make_result(Outcome.DUPLICATE, delivery, record.experiment_id, _SUPERSEDED)
        if opening.action is Action.ACKNOWLEDGE:
            return make_result(Outcome.DUPLICATE, delivery, record.experiment_id)
        if opening.action is Action.REPEAT:
            return self._repeat(record, delivery)
        if opening.action is Action.PUBLISH:
            return self._publish(record, _read_event(record), delivery)
        if isinstance(intake, Watched):
            return self._watch(record, intake)
        ending: Ending
        if isinstance(intake, Ready):
            ending = self._creator.attempt(intake.experiment, record, opening.doubt_until)
        elif isinstance(intake, Stop):
            ending = self._follower.stop(intake.request, record, self._creator.search_budget(record))
        else:
            ending = self._adopt_or_refuse(opening, intake)
        return self._conclude(ending, intake)

    def _adopt_or_refuse(self, opening: Opening, intake: Rejected) -> Ending:
        """Adopt the experiment that an earlier version created for this request, or refuse the request.

        No version created anything under the key of a conflict.
        """
        if intake.error == _CONFLICT:
            return Refused(opening.record, intake.error)
        known: JsonObject = {"Name": intake.shown.name, "WorkspaceId": intake.shown.workspace_id}
        adopted = self._creator.adopt(opening.record, opening.doubt_until, known)
        if adopted is None or isinstance(adopted, GivenUp):
            return Refused(opening.record, intake.error)
        return adopted

    def _watch(self, claim: Record, intake: Watched) -> Result:
        """Check the experiment of a watch message. Only its id is taken from the message, which anybody can write."""
        asked, order = intake.order, self._follower.find_order(intake.order, claim)
        if order is None:
            # Its event shows its own key, not that of the request which it names.
            delivery = replace(intake.delivery, shown_key=None)
            forged = Rejected(delivery, intake.envelope, FORGED, content=intake.envelope)
            return self._conclude(Refused(claim, FORGED), forged)
        known = replace(claim, message_id=order.message_id)
        delivery = replace(intake.delivery, message_id=order.message_id)
        # Its trace differs only in a message that hpoq did not write.
        is_traced = asked.traceparent == order.traceparent
        with nullcontext() if is_traced else trace_message(order.traceparent, {}):
            recorded = replace(intake, delivery=delivery, order=order, shown=show_order(order))
            return self._check_experiment(known, recorded)

    def _check_experiment(self, claim: Record, intake: Watched) -> Result:
        """Check an experiment that is followed; publish its result, or send the next watch message."""
        checked = self._follower.check(intake.order, self._creator.search_budget(claim))
        delivery, experiment_id = intake.delivery, intake.order.experiment_id
        if isinstance(checked, CheckAgain):
            error, record = self._follower.send_next(checked, claim, delivery)
            if error is not None:
                return make_retry(delivery, error, record, experiment_id=experiment_id)
            return make_result(Outcome.WATCHING, delivery, experiment_id, checked.error)
        event = self._announcer.compose(
            "finished",
            claim,
            replace(intake, shown=replace(intake.shown, warnings=checked.warnings)),
            experiment_id=experiment_id,
            own=checked.own,
        )
        ended = lifecycle.complete(
            claim, experiment_id, write_compact(event), self._clock.now(), self._ledger.terms
        )
        return self._publish(self._ledger.save(ended, claim.version), event, delivery)

    def _conclude(self, ending: Ending, intake: Readable) -> Result:
        """Record how the attempt ended, and publish its event if that was the end of the message."""
        claim, terms, now, delivery = ending.claim, self._ledger.terms, self._clock.now(), intake.delivery
        if isinstance(ending, Postponed) and self._is_given_up(ending):
            ending = GivenUp(claim, _describe_unresolved(ending))
        if not self._dead_letters.put(_choose_dead_letter(ending, intake), claim.claimed_at):
            # Its experiment may exist although nothing more can appear: the next owner searches again.
            ending = Postponed(claim, _NOT_DEAD_LETTERED, now, counts=False)
        if isinstance(ending, Postponed):
            return self._release(ending, delivery)
        if isinstance(ending, Created):
            if ending.adopted:
                get_logger().warning("experiment.adopted", experiment_id=ending.experiment_id)
            event = self._announcer.compose("created", claim, intake, experiment_id=ending.experiment_id)
            ended = lifecycle.complete(claim, ending.experiment_id, write_compact(event), now, terms)
            order = self._follower.complete_order(claim, ending.experiment_id, now)
            ended = replace(ended, watch_order=order)
        elif isinstance(ending, Stopped):
            event = self._announcer.compose(
                "stopping",
                claim,
                intake,
                experiment_id=ending.experiment_id,
                own={"status": ending.status},
            )
            ended = lifecycle.complete(claim, ending.experiment_id, write_compact(event), now, terms)
        elif isinstance(ending, Refused):
            event = self._announcer.compose("rejected", claim, intake, error=ending.error)
            ended = lifecycle.reject(claim, write_compact(event), now, terms)
        else:
            event = self._announcer.compose("failed", claim, intake, error=_find_cause(claim, ending.error))
            ended = lifecycle.fail(claim, write_compact(event), now, terms)
        return self._publish(self._ledger.save(ended, claim.version), event, delivery)

    def _release(self, ending: Postponed, delivery: Delivery) -> Result:
        error = None if ending.error.code in _OWN_CODES else json.dumps(ending.error.as_json())
        released = lifecycle.release(
            ending.claim,
            ending.doubt_until,
            self._creator.client.present_time(),
            counts=ending.counts,
            error=error,
            inconclusive=ending.inconclusive,
        )
        saved = self._ledger.save(released, ending.claim.version)
        return make_retry(delivery, ending.error, saved, throttled=ending.throttled)

    def _is_given_up(self, ending: Postponed) -> bool:
        """Return whether the message is not tried again, which it always is while its create may take effect."""
        terms, now = self._ledger.terms, self._creator.client.present_time()
        if now < ending.claim.claimed_at - terms.skew:
            # The dates of the answers are wrong. With them, the message would never be too old.
            now = self._clock.now()
        if lifecycle.is_too_old(ending.claim, now, terms):
            return not lifecycle.is_in_doubt(ending.doubt_until, now)
        return ending.counts and ending.doubt_until is None and lifecycle.is_used_up(ending.claim, terms)

    def _refuse_conflict(self, existing: Record, intake: Readable) -> Result:
        """Refuse a second request under a key, once the first one has ended.

        The refusal has a record of its own. If the first request's event is still to be published, or its
        experiment to be adopted, this may be the last delivery that can do it.
        """
        delivery = intake.delivery
        standing = lifecycle.find_standing(existing, self._clock.now())
        first = None
        if standing is Standing.UNPUBLISHED:
            first = self._publish(existing, _read_event(existing), delivery)
        elif standing is Standing.ABANDONED:
            first = self._finish_abandoned(existing, intake)
        if first is not None and first.outcome is Outcome.RETRY:
            return replace(first, message_id=delivery.message_id)
        key = derive_conflict_key(delivery.key, delivery.fingerprint)
        conflict = replace(delivery, key=key, shown_key=delivery.key)
        refused = Rejected(conflict, None, _CONFLICT, intake.shown)
        return self._follow_action(self._ledger.open(conflict), refused)

    def _finish_abandoned(self, existing: Record, intake: Readable) -> Result | None:
        """Finish an abandoned request if its experiment exists, and return the result.

        Return None if there is no experiment, or if the request was given up because none was found in time.
        """
        if lifecycle.early_seconds(existing, self._clock.now()):
            return make_retry(intake.delivery, _find_cause(existing, _NOT_DUE), unrecorded=True)
        first = replace(lifecycle.newest_copy(existing), began_at=intake.delivery.began_at)
        opening = self._ledger.take_over(existing, first)
        if opening.action is not Action.TAKE_OVER:
            return make_retry(intake.delivery, _HELD)
        ending = self._creator.adopt(opening.record, opening.doubt_until, {})
        if isinstance(ending, Created):
            # The two requests have one key, so its producer wrote it alike; nothing else is known of the first.
            unnamed = Rejected(first, None, _CONFLICT, Shown(producer_key=intake.shown.producer_key))
            return self._conclude(ending, unnamed)
        postponed = ending if isinstance(ending, Postponed) else None
        doubt = postponed.doubt_until if postponed else None
        inconclusive = postponed is not None and postponed.inconclusive
        given_back_at = self._creator.client.present_time()
        released = lifecycle.release(
            opening.record, doubt, given_back_at, counts=False, inconclusive=inconclusive
        )
        self._ledger.save(released, opening.record.version)
        if postponed is None or self._is_given_up(postponed):
            return None
        # No record numbers the copies of the conflicting message.
        return make_retry(intake.delivery, postponed.error, unrecorded=True, throttled=postponed.throttled)

    def _repeat(self, record: Record, delivery: Delivery) -> Result:
        """Publish a stored event again, under its id, for a producer that repeated its send.

        If the experiment has ended, its result follows: it went to earlier subscribers only.
        """
        result = self._follower.find_result(record)
        failure = self._announcer.announce(_read_event(record))
        if failure is None and result is not None:
            failure = self._announcer.announce(json.loads(result))
        if failure is not None:
            return make_retry(delivery, failure, record)
        return make_result(Outcome.DUPLICATE, delivery, record.experiment_id)

    def _publish(self, record: Record, event: JsonObject, delivery: Delivery) -> Result:
        """Publish `event`, which is stored in `record`. The delivery that publishes it reports its outcome."""
        outcome = Outcome(outcome_of(event))
        failure = self._announcer.announce(event)
        if failure is None and outcome is Outcome.CREATED:
            # Before the record says that all is done: a crash in between repeats both. The experiment of a key that
            # had ended may have its result already, which no watch message would publish again.
            result = self._follower.find_result(record) if record.renewed_at else None
            failure = self._announcer.announce(json.loads(result)) if result else self._follower.start(record)
        if failure is not None:
            return make_retry(delivery, failure, record, experiment_id=record.experiment_id)
        try:
            self._ledger.save(lifecycle.mark_published(record, self._clock.now()), record.version)
        except ClaimLost as exc:
            # The event is out, and another delivery has the record.
            get_logger().warning("publish.unrecorded", error=str(exc))
        return make_result(outcome, delivery, record.experiment_id, find_error(event))


def _choose_dead_letter(ending: Ending, intake: Readable) -> Envelope | None:
    """Return what goes into the dead-letter queue before the end is recorded, or None if nothing does.

    It is a message that is given up, and one that cannot be decoded, whose content its event does not show.
    """
    if isinstance(ending, GivenUp):
        return intake.envelope
    return intake.content if isinstance(ending, Refused) and isinstance(intake, Rejected) else None


def _read_event(record: Record) -> JsonObject:
    event: JsonObject = json.loads(record.event or "{}")
    return event


def _name_failure(exc: Exception) -> str:
    """Return the text of a store's error, and of an unexpected error only its type: its text may quote a secret."""
    return str(exc) if isinstance(exc, StoreError) else type(exc).__name__


def _describe_unresolved(ending: Postponed) -> EventError:
    """Return the error of a message that is given up by its age."""
    if ending.doubt_until is None:
        return ending.error
    message = f"{ending.error.message}; it is not known whether an experiment exists"
    return replace(ending.error, message=message)


def _find_cause(record: Record, error: EventError) -> EventError:
    """Return the last error that the service gave if `error` says only how far an attempt came."""
    if error.code not in _OWN_CODES or record.last_error is None:
        return error
    return parse_error(json.loads(record.last_error))


def _log_context(delivery: Delivery) -> dict[str, str | None]:
    bound = {"message_id": delivery.message_id, "key": delivery.shown_key or delivery.key}
    traced = trace_id()
    return bound | {"trace_id": traced} if traced else bound


def _log_result(result: Result) -> None:
    log = get_logger().warning if result.outcome is Outcome.RETRY else get_logger().info
    error = {"error_code": result.error.code, "error": result.error.message} if result.error else {}
    log(f"message.{result.outcome.value}", experiment_id=result.experiment_id, **error)
