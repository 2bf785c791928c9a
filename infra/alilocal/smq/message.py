"""A message of a queue, and a message that is to be sent, with its limits."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field
from typing import Literal

from alilocal.smq.errors import InvalidArgument
from alilocal.smq.xml import is_carriable

MOST_BODY_BYTES = 65_536
MOST_DELAY_SECONDS = 604_800
DEFAULT_PRIORITY = 8
_MOST_PROPERTIES = 50
_MOST_VALUE_CHARACTERS = 4096
_PROPERTY_NAME = re.compile(r"(?!\.)(?!.*\.\.)[A-Za-z0-9_.-]{1,256}(?<!\.)")
_PROPERTY_TYPES = ("STRING", "NUMBER", "BOOLEAN", "BINARY")

Properties = tuple[tuple[str, str, str], ...]
State = Literal["active", "inactive", "delayed"]


def body_md5(body: str) -> str:
    """Return the upper-case hexadecimal MD5 of the body as it is on the wire."""
    return hashlib.md5(body.encode(), usedforsecurity=False).hexdigest().upper()


@dataclass(frozen=True)
class Outgoing:
    """A message that a sender wants to put into a queue.

    If `delay_seconds` is None, the queue's own delay applies. Properties are triples of name, value and type.
    """

    body: str = field(repr=False)
    delay_seconds: int | None = None
    priority: int = DEFAULT_PRIORITY
    group_id: str | None = None
    user_properties: Properties = ()
    system_properties: Properties = ()

    @property
    def size(self) -> int:
        """The size of the body and the properties together, in bytes."""
        properties = (*self.user_properties, *self.system_properties)
        return _length(self.body) + sum(_length(name) + _length(value) for name, value, _ in properties)

    def check(self, most_bytes: int) -> None:
        """Raise InvalidArgument if the message exceeds a documented limit."""
        if not self.body or self.size > most_bytes:
            raise InvalidArgument(f"The length of the message should be between 1 and {most_bytes}.")
        if self.user_properties:
            _check_properties(self.user_properties)
        if not is_carriable(self.body):
            raise InvalidArgument("The message has characters that XML cannot carry.")
        check_range("DelaySeconds", self.delay_seconds or 0, 0, MOST_DELAY_SECONDS)
        check_range("Priority", self.priority, 1, 16)


def _length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))


def is_base64(body: str) -> bool:
    """Return whether `body` is base64, which one page of the documentation requires."""
    try:
        base64.b64decode(body, validate=True)
    except ValueError:
        return False
    return True


def _check_properties(properties: Properties) -> None:
    if len(properties) > _MOST_PROPERTIES:
        raise InvalidArgument(f"A message should have no more than {_MOST_PROPERTIES} user properties.")
    if len({name for name, _, _ in properties}) < len(properties):
        raise InvalidArgument("The names of user properties should differ.")
    for name, value, kind in properties:
        if not _PROPERTY_NAME.fullmatch(name):
            raise InvalidArgument(f"The name of the user property {name[:300]} is not valid.")
        if len(value) > _MOST_VALUE_CHARACTERS or kind.upper() not in _PROPERTY_TYPES:
            raise InvalidArgument(f"The value or the type of the user property {name} is not valid.")


def check_range(name: str, value: int, low: int, high: int) -> None:
    """Raise InvalidArgument unless `low` <= `value` <= `high`."""
    if not low <= value <= high:
        # The service's own words: https://github.com/aliyun/aliyun-mns-go-sdk/issues/12.
        raise InvalidArgument(f"The value of {name} should between {low} and {high}.")


@dataclass
class Message:
    """A message in a queue. Times are in seconds since the epoch.

    `receipt_handle` is that of the latest receive or change of visibility. `received` is True if the message was
    received at least once: if it is invisible, a receiver has it, and it does not merely wait for its delay.
    """

    message_id: str
    body: str = field(repr=False)
    priority: int
    enqueue_time: float
    visible_at: float
    sequence: int
    request_id: str
    group_id: str | None = None
    user_properties: Properties = ()
    system_properties: Properties = ()
    dequeue_count: int = 0
    first_dequeue_time: float | None = None
    receipt_handle: str | None = field(default=None, repr=False)
    received: bool = False

    @property
    def body_md5(self) -> str:
        """The MD5 of the body as it is on the wire."""
        return body_md5(self.body)

    def state(self, now: float) -> State:
        """Return `active` if it can be received, `inactive` if a receiver has it, `delayed` if it waits."""
        if self.visible_at <= now:
            return "active"
        return "inactive" if self.received else "delayed"

    def view(self, now: float) -> MessageView:
        """Return the message as it is at `now`."""
        return MessageView(
            self.message_id, self.body, self.dequeue_count, self.state(now), self.priority, self.enqueue_time
        )

    def copy(self) -> Message:
        """Return a copy that later changes do not affect."""
        # `dataclasses.replace` takes ten times as long.
        made = Message.__new__(Message)
        made.__dict__.update(self.__dict__)
        return made


@dataclass(frozen=True)
class MessageView:
    """A message at one moment, for tests; `enqueue_time` is in seconds since the epoch."""

    message_id: str
    body: str
    dequeue_count: int
    state: State
    priority: int
    enqueue_time: float
