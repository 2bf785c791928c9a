"""One queue, for those who have no business with any other."""

from __future__ import annotations

from hpoq.cloud.smq import Smq
from hpoq.cloud.smq_messages import SentMessage


class Queue:
    """The queue `name`; sends as `Smq.send_message` does."""

    def __init__(self, smq: Smq, name: str) -> None:
        self.name = name
        self._smq = smq

    def send(self, body: bytes, *, delay_seconds: int = 0, give_up_at: float | None = None) -> SentMessage:
        return self._smq.send_message(self.name, body, delay_seconds=delay_seconds, give_up_at=give_up_at)
