"""How a message ended, and the report of a batch."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Sequence

from fcruntime.dataclass import dataclass
from fcruntime.jsonvalue import JsonObject
from hpoq.contract.events import EventError


class Outcome(str, enum.Enum):
    """The five ends of a message; all but `RETRY` are final."""

    CREATED = "created"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"
    RETRY = "retry"
    FAILED = "failed"


@dataclass(frozen=True)
class Result:
    """The end of one delivery of one message."""

    outcome: Outcome
    key: str
    message_id: str | None
    experiment_id: str | None = None
    error: EventError | None = None

    def as_row(self) -> JsonObject:
        """The report's row."""
        return {
            "messageId": self.message_id,
            "key": self.key,
            "outcome": self.outcome.value,
            "experimentId": self.experiment_id,
            "error": self.error.as_json() if self.error else None,
        }


@dataclass(frozen=True)
class BatchReport:
    """The ends of all messages of one event, in its order."""

    request_id: str
    results: Sequence[Result]

    @property
    def summary(self) -> dict[str, int]:
        """How many messages had each outcome."""
        counts = Counter(result.outcome for result in self.results)
        return {outcome.value: counts[outcome] for outcome in Outcome}

    def as_json(self) -> JsonObject:
        return {
            "requestId": self.request_id,
            "messages": [result.as_row() for result in self.results],
            "summary": dict(self.summary),
        }
