"""Waiting for the events of messages that were sent: a queue of one's own, subscribed to the output topic."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from fcruntime.jsonvalue import JsonObject
from hpoq.clock import Clock
from hpoq.cloud.smq import SentRequest, Smq, queue_endpoint
from hpoq.errors import CallError

_POLL_SECONDS = 5
_KEPT_SECONDS = 3600


@dataclass
class Inbox:
    """What the output topic publishes while it is open."""

    smq: Smq
    queue: str

    def receive(self, wait_seconds: int, give_up_at: float) -> list[JsonObject]:
        """The next events, none if none came in time; each is handed out once."""
        events: list[JsonObject] = []
        for message in self.smq.receive_messages(
            self.queue, wait_seconds=wait_seconds, give_up_at=give_up_at
        ):
            with contextlib.suppress(ValueError):
                event = json.loads(message.body)
                events += [event] if isinstance(event, dict) else []
            if message.receipt_handle is not None:
                with contextlib.suppress(CallError):
                    self.smq.delete_message(self.queue, message.receipt_handle)
        return events


@contextlib.contextmanager
def open_inbox(smq: Smq, topic: str, account_id: str, region: str) -> Iterator[Inbox]:
    """A queue that is there for as long as the context is, and gets every event of `topic`. Raises CallError."""
    name = f"hpoq-wait-{uuid.uuid4().hex[:12]}"
    smq.create_queue(name, retention_period=_KEPT_SECONDS)
    try:
        smq.subscribe(topic, name, queue_endpoint(account_id, region, name), content_format="SIMPLIFIED")
        yield Inbox(smq, name)
    finally:
        with contextlib.suppress(CallError):
            smq.unsubscribe(topic, name)
        with contextlib.suppress(CallError):
            smq.delete_queue(name)


class Awaited:
    """Messages that were sent, and the event that came of each."""

    def __init__(self, sent: Sequence[SentRequest]) -> None:
        self.sent = sent
        self.events: dict[int, JsonObject] = {}
        self._by_message: defaultdict[str, list[int]] = defaultdict(list)
        self._by_key: defaultdict[str, list[int]] = defaultdict(list)
        for index, request in enumerate(sent):
            self._by_message[request.message_id].append(index)
            self._by_key[request.key].append(index)

    @property
    def missing(self) -> list[SentRequest]:
        """Those whose event has not come."""
        return [request for index, request in enumerate(self.sent) if index not in self.events]

    def take(self, event: JsonObject) -> None:
        """Note `event` for each message that it is about.

        An event names the message that brought it about; messages of the same key share it, unless it tells
        of a conflict, which is between two messages.
        """
        data = event.get("data")
        if not isinstance(data, dict):
            return
        error = data.get("error")
        conflict = isinstance(error, dict) and error.get("code") == "IdempotencyConflict"
        for index in self._by_message.get(str(data.get("messageId")), ()):
            self.events[index] = event
        for index in () if conflict else self._by_key.get(str(data.get("idempotencyKey")), ()):
            self.events.setdefault(index, event)


def follow(inbox: Inbox, awaited: Awaited, clock: Clock, seconds: float, tell: Callable[[int], None]) -> None:
    """Take events until every message has its own, or `seconds` are over. `tell` hears how many have."""
    end = clock.monotonic() + seconds
    while awaited.missing and clock.monotonic() < end:
        wait = max(1, min(_POLL_SECONDS, int(end - clock.monotonic())))
        for event in inbox.receive(wait, end + _POLL_SECONDS):
            awaited.take(event)
        tell(len(awaited.events))
