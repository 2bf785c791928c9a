"""Topics, their subscriptions, and what a queue gets of a published message.

Sources: https://www.alibabacloud.com/help/en/mns/developer-reference/subscribe and
https://www.alibabacloud.com/help/doc-detail/27497.htm (contents of a notification).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Literal, get_args

from alilocal.core.world import World
from alilocal.smq.errors import InvalidArgument
from alilocal.smq.message import body_md5, check_range
from alilocal.smq.xml import build

NotifyStrategy = Literal["BACKOFF_RETRY", "EXPONENTIAL_DECAY_RETRY"]
ContentFormat = Literal["XML", "JSON", "SIMPLIFIED"]
MOST_TAG_CHARACTERS = 16
RETENTION_SECONDS = 86_400


@dataclass(frozen=True)
class Published:
    """A message as it was published; `time` is in seconds since the epoch."""

    message_id: str
    body: str
    time: float
    tag: str | None = None


@dataclass(frozen=True)
class SubscriptionAttributes:
    """How a subscription delivers. `endpoint` is a queue's resource name."""

    endpoint: str
    filter_tag: str | None = None
    notify_strategy: NotifyStrategy = "BACKOFF_RETRY"
    notify_content_format: ContentFormat = "XML"

    def __post_init__(self) -> None:
        check_tag("FilterTag", self.filter_tag)
        if self.notify_strategy not in get_args(NotifyStrategy):
            raise InvalidArgument("The value of NotifyStrategy is not valid.")
        if self.notify_content_format not in get_args(ContentFormat):
            raise InvalidArgument("The value of NotifyContentFormat is not valid.")

    @property
    def queue_name(self) -> str:
        return self.endpoint.rpartition("/")[2]

    def wants(self, tag: str | None) -> bool:
        """Whether a message with `tag` passes the filter."""
        return self.filter_tag is None or self.filter_tag == tag


@dataclass
class Subscription:
    """A subscription of a topic. `undelivered` counts what could not be put into its queue."""

    name: str
    attributes: SubscriptionAttributes
    create_time: float
    last_modify_time: float
    undelivered: int = 0


@dataclass(frozen=True)
class TopicAttributes:
    """What can be set on a topic; the size in bytes."""

    maximum_message_size: int = 65_536
    logging_enabled: bool = False

    def __post_init__(self) -> None:
        check_range("MaximumMessageSize", self.maximum_message_size, 1024, 65_536)


@dataclass
class Topic:
    """A topic, everything ever published to it, and its subscriptions by name."""

    name: str
    attributes: TopicAttributes
    create_time: float
    last_modify_time: float
    published: list[Published] = field(default_factory=list, repr=False)
    subscriptions: dict[str, Subscription] = field(default_factory=dict)

    def message_count(self, now: float) -> int:
        """How many published messages are still within the retention period."""
        return sum(message.time > now - RETENTION_SECONDS for message in self.published)


def check_tag(name: str, tag: str | None) -> None:
    """Raises InvalidArgument for a tag that is too long."""
    if tag is not None and len(tag) > MOST_TAG_CHARACTERS:
        raise InvalidArgument(f"The length of {name} should not exceed {MOST_TAG_CHARACTERS}.")


def notification(world: World, topic: Topic, subscription: Subscription, message: Published) -> str:
    """The body that the subscription's queue gets."""
    form = subscription.attributes.notify_content_format
    if form == "SIMPLIFIED":
        return message.body
    members = [
        ("TopicOwner", world.account_id),
        ("TopicName", topic.name),
        ("Subscriber", world.account_id),
        ("SubscriptionName", subscription.name),
        ("MessageId", message.message_id),
        ("Message", message.body),
        ("MessageMD5", body_md5(message.body)),
        *([("MessageTag", message.tag)] if message.tag else []),
        ("PublishTime", str(round(message.time * 1000))),
    ]
    if form == "JSON":
        return json.dumps(dict(members), ensure_ascii=False)
    return build("Notification", members).decode()
