"""Dead letters: the messages in the queues that get what was given up, and how they are sent again or dropped.

A queue gets dead letters by the policy of another queue, which moves the message as it is, or from an event stream,
which puts the event of one message there. A function may put messages there in a form of its own; only the cloud's
`recover_message` can read those.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from alilocal.cloud import Cloud
from alilocal.core.http import ServiceError
from alilocal.core.jsonvalue import read_json
from alilocal.core.view import Badge, Body, Button, Buttons, Moment, Table
from alilocal.smq.message import Message
from alilocal.smq.queue import Queue


class DeadLetters:
    """The dead letters of `cloud`."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def sources(self) -> Mapping[str, str]:
        """Return the queue from which messages come, for each dead-letter queue."""
        policies = [(one.dead_letter_policy, one.name) for one in self._cloud.queues]
        found = {policy.queue_name: name for policy, name in policies if policy is not None}
        for stream in reversed(self._cloud.streams):
            if stream.dead_letter_queue is not None:
                found[stream.dead_letter_queue] = stream.queue_name
        return {name: source for name, source in found.items() if name in self._cloud.queues}

    def count(self) -> int:
        """Return how many dead letters there are."""
        return sum(len(self._cloud.queues[name].states()) for name in self.sources())

    def table(self, most: int) -> Table:
        """Return the newest dead letters, up to `most`, with buttons."""
        found = [(queue, one) for queue in self._queues() for one in queue.messages]
        found.sort(key=lambda pair: pair[1].enqueue_time, reverse=True)
        rows = []
        for queue, one in found[:most]:
            path = f"queues/{queue.name}/messages/{one.message_id}"
            drop = Button("Drop", path, {}, "DELETE", "Dropped", "Delete this dead letter for good?")
            buttons = Buttons((Button("Redrive", f"{path}/redrive", notice="Sent again as"), drop))
            dead_letter = Body(f"d-{one.message_id}", one.message_id, one.body)
            rows.append((dead_letter, queue.name, Badge(one.state), Moment(one.enqueue_time), buttons))
        heads = ("dead letter", "queue", "state", "since", "")
        return Table("dead-letters", "Dead letters", heads, rows, len(found), "There are no dead letters.")

    def redrive(self, queue_name: str, message_id: str) -> tuple[str, Sequence[str]]:
        """Send a dead letter again, delete it, and return the queue that got its messages, and their ids.

        Raises ServiceError if there is no such dead letter or the queue refuses a message, and ValueError if it
        cannot be sent again.
        """
        with self._cloud.changed:
            dead_letter = self._take(queue_name, message_id)
            try:
                target = self._cloud.queues.get(_origin(dead_letter)[0] or self.sources().get(queue_name, ""))
                bodies = self._recover(dead_letter)
                if not bodies:
                    raise ValueError(f"the messages in the dead letter {message_id} cannot be read")
                return target.name, [target.send(body) for body in bodies]
            except (ServiceError, ValueError):
                self._cloud.queues.get(queue_name).add(dead_letter)
                raise

    def drop(self, queue_name: str, message_id: str) -> None:
        """Delete a message of any queue; raises ServiceError if there is none."""
        self._take(queue_name, message_id)

    def _queues(self) -> Iterator[Queue]:
        return (self._cloud.queues[name] for name in self.sources())

    def _take(self, queue_name: str, message_id: str) -> Message:
        message = self._cloud.queues.get(queue_name).remove(message_id)
        if message is None:
            raise ServiceError(404, "MessageNotExist", f"There is no message {message_id} in {queue_name}.")
        return message

    def _recover(self, dead_letter: Message) -> Sequence[str]:
        """Return the messages in a dead letter, as they are to be sent."""
        _, message_id = _origin(dead_letter)
        if self._cloud.recover_message is not None:
            return self._cloud.recover_message(dead_letter.body, message_id)
        event = read_json(dead_letter.body) if message_id is None else None
        data = event.get("data", event) if isinstance(event, dict) else None
        body = data.get("messageBody") if isinstance(data, dict) else None
        return [body if isinstance(body, str) else dead_letter.body]


def _origin(dead_letter: Message) -> tuple[str | None, str | None]:
    """Return the queue and the id that a message had before a dead-letter policy moved it."""
    properties = {name: value for name, value, _ in dead_letter.system_properties}
    source = properties.get("DLQSourceArn")
    return source and source.rpartition("/")[2], properties.get("DLQOriginMessageId")
