"""The service mns-open and the list of its operations.

Source: https://www.alibabacloud.com/help/en/mns/developer-reference/api-mns-open-2022-01-19-overview.
"""

from __future__ import annotations

from alilocal.core.rpc import Action, Parameters, RpcService
from alilocal.core.switches import GatewaySwitches
from alilocal.core.world import World
from alilocal.mnsopen.calls import Calls
from alilocal.mnsopen.model import Management
from alilocal.smq.model import Queues, Topics

_UNSUPPORTED = """
AuthorizeEndpointAcl CreateEventRule DeleteEventRule DisableEndpoint EnableEndpoint GetAccountAttributes
GetEndpointAttribute GetEventRule ListEventRules RevokeEndpointAcl SetAccountAttributes
"""
_NO_FIFO = "no FIFO queues, tags, encryption and rate limits"
_PLAIN = "without dead-letter policy"


class MnsOpen(RpcService):
    """Manages the resources of SMQ."""

    name = "mnsopen"
    title = "SMQ management (mns-open) 2022-01-19"
    version = "2022-01-19"
    ram_code = "mns"
    unsupported = tuple(_UNSUPPORTED.split())

    def __init__(self, world: World[GatewaySwitches], queues: Queues, topics: Topics) -> None:
        calls = Calls(world, Management(queues, topics, world.clock))
        super().__init__(
            world,
            (
                Action("CreateQueue", calls.create_queue, _queue, _NO_FIFO),
                Action("SetQueueAttributes", calls.set_queue, _queue),
                Action("GetQueueAttributes", calls.get_queue, _queue),
                Action("ListQueue", calls.list_queues, lambda _: "/queues/*"),
                Action("DeleteQueue", calls.delete_queue, _queue),
                Action("CreateTopic", calls.create_topic, _topic),
                Action("SetTopicAttributes", calls.set_topic, _topic),
                Action("GetTopicAttributes", calls.get_topic, _topic),
                Action("ListTopic", calls.list_topics, lambda _: "/topics/*"),
                Action("DeleteTopic", calls.delete_topic, _topic),
                Action("Subscribe", calls.subscribe, _subscription, _PLAIN),
                Action("SetSubscriptionAttributes", calls.set_subscription, _subscription, _PLAIN),
                Action("GetSubscriptionAttributes", calls.get_subscription, _subscription),
                Action(
                    "ListSubscriptionByTopic",
                    calls.list_subscriptions,
                    lambda given: f"{_topic(given)}/subscriptions/*",
                ),
                Action("Unsubscribe", calls.unsubscribe, _subscription),
            ),
        )


def _queue(given: Parameters) -> str:
    return f"/queues/{given.get('QueueName', '')}"


def _topic(given: Parameters) -> str:
    return f"/topics/{given.get('TopicName', '')}"


def _subscription(given: Parameters) -> str:
    return f"{_topic(given)}/subscriptions/{given.get('SubscriptionName', '')}"
