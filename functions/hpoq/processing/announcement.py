"""The outbox: output events as text for the record, and their way out."""

from __future__ import annotations

import json
from collections.abc import Mapping

from fcruntime.dataclass import dataclass
from fcruntime.jsonvalue import JsonObject
from hpoq.contract.events import EventData, EventError, EventOutcome, encode_event, make_event
from hpoq.contract.keys import event_id
from hpoq.observability.trace import traceparent
from hpoq.processing.intake import Intake
from hpoq.publishers import Publisher


@dataclass(frozen=True)
class Announcer:
    """Writes the events of one invocation and publishes them. `source` is their CloudEvents source."""

    publisher: Publisher
    source: str
    request_id: str

    def compose(
        self,
        outcome: EventOutcome,
        record_key: str,
        intake: Intake,
        *,
        time: float,
        attempts: int,
        timings: Mapping[str, float],
        experiment_id: str | None = None,
        error: EventError | None = None,
    ) -> str:
        """The event of `outcome` as JSON text; `record_key` is the key that its id derives from."""
        data = EventData(
            key=intake.key,
            message_id=intake.message_id,
            request_id=self.request_id,
            attempts=attempts,
            timings=timings,
            experiment_id=experiment_id,
            name=intake.name,
            workspace_id=intake.workspace_id,
            error=error,
        )
        event = make_event(
            outcome,
            event_id=event_id(record_key, outcome),
            source=self.source,
            time=time,
            data=data,
            traceparent=traceparent(),
        )
        return encode_event(event)

    def publish(self, event: str, give_up_at: float) -> None:
        """Send a stored event out. Raises CallError; the event may then be out or not."""
        document: JsonObject = json.loads(event)
        self.publisher.publish(document, give_up_at=give_up_at)
