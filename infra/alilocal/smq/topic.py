"""Topics, their subscriptions, and the notification that a queue gets of a published message.

Sources: https://www.alibabacloud.com/help/en/mns/developer-reference/subscribe and
https://www.alibabacloud.com/help/doc-detail/27497.htm (contents of a notification).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Literal, get_args

from alilocal.core.retry import RetryStrategy
from alilocal.core.world import World
from alilocal.smq.errors import InvalidArgument
from alilocal.smq.message import body_md5, check_range
from alilocal.smq.switches import SmqSwitches
from alilocal.smq.xml import build

# The vendor's SDK for Java also knows STREAM; what it pushes is only documented for a trigger: the body alone.
ContentFormat = Literal["XML", "JSON", "SIMPLIFIED", "STREAM"]
# The documentation of Terraform has a slash before `queues`.
QUEUE_ENDPOINT = re.compile(r"acs:mns:(?P<region>[^:]*):(?P<account>[^/]*):/?queues/(?P<queue>[^/]+)")
_URL = re.compile(r"https?://[^/?#]+", re.IGNORECASE)
_ADDRESS = re.compile(r"(?:(?:mail|sms|push|smq-ep)|acs:(?:fc|eventbridge)):[^\s]+")
MOST_TAG_CHARACTERS = 16
RETENTION_SECONDS = 86_400


@dataclass(frozen=True)
class Published:
    """A published message; `time` is in seconds since the epoch."""

    message_id: str
    body: str
    time: float
    tag: str | None = None


@dataclass(frozen=True)
class SubscriptionAttributes:
    """The attributes of a subscription. `endpoint` names a queue, a URL, or an address such as one of mail."""

    endpoint: str
    filter_tag: str | None = None
    notify_strategy: RetryStrategy = "BACKOFF_RETRY"
    notify_content_format: ContentFormat = "XML"

    def __post_init__(self) -> None:
        check_tag("FilterTag", self.filter_tag)
        if self.notify_strategy not in get_args(RetryStrategy):
            raise InvalidArgument("The value of NotifyStrategy is not valid.")
        if self.notify_content_format not in get_args(ContentFormat):
            raise InvalidArgument("The value of NotifyContentFormat is not valid.")

    @property
    def queue_name(self) -> str | None:
        """The name of the queue that the endpoint names, or None if it is of another kind."""
        found = QUEUE_ENDPOINT.fullmatch(self.endpoint)
        return found["queue"] if found else None

    @property
    def url(self) -> str | None:
        """The URL that the endpoint is, or None if it is of another kind."""
        return self.endpoint if _URL.match(self.endpoint) else None

    @property
    def is_address(self) -> bool:
        """Whether the endpoint is an address of mail, text messages, devices, a function or an event bus."""
        return _ADDRESS.fullmatch(self.endpoint) is not None

    def wants(self, tag: str | None) -> bool:
        """Return whether a message with `tag` passes the filter."""
        return self.filter_tag is None or self.filter_tag == tag


@dataclass
class Subscription:
    """A subscription of a topic. `undelivered` counts the messages that its endpoint did not accept."""

    name: str
    attributes: SubscriptionAttributes
    create_time: float
    last_modify_time: float
    undelivered: int = 0


@dataclass(frozen=True)
class TopicAttributes:
    """The attributes of a topic; the size is in bytes."""

    maximum_message_size: int = 65_536
    logging_enabled: bool = False

    def __post_init__(self) -> None:
        check_range("MaximumMessageSize", self.maximum_message_size, 1024, 65_536)


@dataclass
class Topic:
    """A topic with all messages that were published to it, and its subscriptions by name."""

    name: str
    attributes: TopicAttributes
    create_time: float
    last_modify_time: float
    published: list[Published] = field(default_factory=list, repr=False)
    subscriptions: dict[str, Subscription] = field(default_factory=dict)

    def message_count(self, now: float) -> int:
        """Return the number of published messages that are still within the retention period."""
        return sum(message.time > now - RETENTION_SECONDS for message in self.published)


def check_tag(name: str, tag: str | None) -> None:
    """Raise InvalidArgument for a tag that is too long."""
    if tag is not None and len(tag) > MOST_TAG_CHARACTERS:
        raise InvalidArgument(f"The length of {name} should not exceed {MOST_TAG_CHARACTERS}.")


def notification(
    world: World[SmqSwitches], topic: Topic, subscription: Subscription, message: Published
) -> str:
    """Return the body that the subscription's endpoint gets."""
    form = subscription.attributes.notify_content_format
    if form in ("SIMPLIFIED", "STREAM"):
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
