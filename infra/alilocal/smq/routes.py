"""The service SMQ and the list of its operations.

Paths: https://www.alibabacloud.com/help/en/mns/developer-reference/api-operations, and aliyun-mns-sdk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from alilocal.core.credentials import Credential
from alilocal.core.http import Request, Response, ServiceError
from alilocal.core.jsonvalue import JsonObject, JsonValue, read_json, texts
from alilocal.core.ram import Permission
from alilocal.core.service import Call, Found, Route, Service
from alilocal.core.snapshot import dump, load, member
from alilocal.core.view import Body, Card, Moment, Preset, Table, Trace
from alilocal.core.world import World
from alilocal.smq import wire
from alilocal.smq.calls import AccountAttributes, Calls, MessageCalls, TopicCalls, read_query
from alilocal.smq.errors import AccessDenied, TooManyRequests
from alilocal.smq.model import Queues, Topics
from alilocal.smq.push import CERTIFICATE, CERTIFICATE_PATH
from alilocal.smq.queue import Queue, QueueState
from alilocal.smq.signature import SCHEMES, Signatures
from alilocal.smq.switches import SmqSwitches
from alilocal.smq.topic import Topic
from alilocal.smq.xml import first_element

_MOST_REQUEST_BYTES = 2 * 1024 * 1024
_QUEUE, _TOPIC = "/queues/{queue}", "/topics/{topic}"
_MESSAGES = f"{_QUEUE}/messages"
_SUBSCRIPTIONS = f"{_TOPIC}/subscriptions"
_SUBSCRIPTION = f"{_SUBSCRIPTIONS}/{{subscription}}"
_NO_LOGS = "logs are not written to the bucket"
_NO_ORDER = "`MessageGroupId` is kept but has no effect: there are no FIFO queues"
_NO_PUSH = "`MessageAttributes` (mail, text messages) are ignored"
_NO_ENDPOINTS = "to queues of the account and HTTP endpoints on this machine; others are kept and get nothing"
_HIDDEN, _SENT, _PUBLISHED = Trace(is_shown=False), Trace("sent"), Trace("published", publishes=True)


class Smq(Service):
    """Queues, topics and subscriptions."""

    name = "smq"
    title = "SMQ (MNS) 2015-06-06"

    def __init__(self, world: World[SmqSwitches]) -> None:
        self.queues = Queues(world)
        self.topics = Topics(world, self.queues)
        self.account = AccountAttributes()
        self._world: World[SmqSwitches] = world
        self._signatures = Signatures(world)
        calls = Calls(world, self.queues, self.account)
        messages, topics = MessageCalls(world, self.queues), TopicCalls(world, self.topics)
        super().__init__((*_queue_routes(calls), *_message_routes(messages), *_topic_routes(topics)))

    def owns(self, request: Request) -> bool:
        """Return whether the request is signed for SMQ, has its version header, or goes to one of its paths."""
        is_signed = (request.header("Authorization") or "").startswith(SCHEMES)
        if is_signed or request.header("x-mns-version") is not None:
            return True
        return f"{request.path}/".startswith(("/queues/", "/topics/")) or request.path == CERTIFICATE_PATH

    def answer(self, request: Request, found: Found | None, request_id: str) -> Response:
        if request.path == CERTIFICATE_PATH and request.method == "GET":
            # Everybody may read it: receivers of notifications need it, and have no key.
            return Response(200, (("Content-Type", "application/x-pem-file"),), CERTIFICATE.encode())
        return super().answer(request, found, request_id)

    def new_request_id(self) -> str:
        return self._world.ids.smq_request_id()

    def verify(self, request: Request) -> Credential:
        caller = self._signatures.verify(request)
        if len(request.body) > _MOST_REQUEST_BYTES:
            raise ServiceError(400, "InvalidArgument", "The request body is too large.")
        return caller

    def unknown_operation(self, request: Request) -> ServiceError:  # noqa: ARG002 - the service names no request
        return ServiceError(400, "InvalidRequestURL", "The URL of the request is not valid.")

    def permission(self, route: Route, call: Call) -> Permission:
        """Return the permission; https://www.alibabacloud.com/help/en/mns/permission-policies-and-examples.

        It is not documented for every batch operation whether its own action counts or that of the single call, so
        both are accepted.
        """
        actions = [route.operation]
        if route.operation.startswith("Batch"):
            actions.append(route.operation.removeprefix("Batch"))
        place = f"acs:mns:{self._world.region}:{self._world.account_id}:{call.request.path}"
        return Permission(tuple(f"mns:{action}" for action in actions), (place,))

    def denied(self, permission: Permission) -> ServiceError:  # noqa: ARG002 - the service does not name it
        return AccessDenied()

    def throttled(self, operation: str) -> ServiceError:  # noqa: ARG002
        return TooManyRequests()

    def render_error(self, error: ServiceError, request: Request, request_id: str) -> Response:
        return wire.error_response(error, request_id, request.authority)

    def dump(self) -> JsonObject:
        return {
            "queues": dump([queue.state() for queue in self.queues.list()], list[QueueState]),
            "topics": dump(list(self.topics.list()), list[Topic]),
            "account": dump(self.account),
        }

    def restore(self, state: JsonObject) -> None:
        queues = load(list[QueueState], member(state, "queues", self.name), f"{self.name}.queues")
        topics = load(list[Topic], member(state, "topics", self.name), f"{self.name}.topics")
        account = load(AccountAttributes, member(state, "account", self.name), f"{self.name}.account")
        self.queues.restore(queues)
        self.topics.restore(topics)
        self.account.logging_bucket = account.logging_bucket

    def console_cards(self) -> Iterable[Card]:
        for topic in self.topics:
            yield Card("topic", topic.name, {"published": len(topic.published)})
        for queue in self.queues:
            yield Card("queue", queue.name, _figures(queue), is_queue=True, spans=queue.spans())

    def console_tables(self, most: int, about: frozenset[str] | None = None) -> Iterable[Table]:
        published = sorted(
            (
                (one, topic.name)
                for topic in self.topics
                for one in topic.published
                if about is None or not about.isdisjoint(texts(read_json(one.body)))
            ),
            key=lambda pair: pair[0].time,
        )
        rows = []
        for one, topic in reversed(published[-most:]):
            event = read_json(one.body)
            members = event if isinstance(event, dict) else {}
            kind, subject = str(members.get("type") or "a message"), str(members.get("subject") or "")
            rows.append((Body(f"e-{one.message_id}", kind, one.body), subject, topic, Moment(one.time)))
        heads = ("type", "subject", "topic", "time")
        empty = "Nothing was published yet."
        return [Table("events", "Published events", heads, rows, len(published), empty)]

    def console_presets(self) -> Iterable[Preset]:
        down: JsonObject = {
            "service": self.name,
            "operation": "PublishMessage",
            "kind": "status",
            "status": 503,
        }
        return [Preset("Topics are down for a minute", {**down, "times": None, "lasting": 60})]

    def control_listings(self) -> Mapping[str, Callable[[], list[JsonValue]]]:
        return {"queues": lambda: [{"name": queue.name, **_figures(queue)} for queue in self.queues]}


def _figures(queue: Queue) -> dict[str, int]:
    states = list(queue.states().values())
    return {name: states.count(name) for name in ("active", "inactive", "delayed")}


# Several operations share a method and a path. The first route that fits is taken, so the special ones come first.


def _queue_routes(calls: Calls) -> tuple[Route, ...]:
    return (
        Route("SetAccountAttributes", "PUT", "/", calls.set_account, _is_about_account, _NO_LOGS),
        Route("GetAccountAttributes", "GET", "/", calls.get_account, _is_about_account, _NO_LOGS),
        Route("OpenService", "POST", "/commonbuy/openservice", calls.open_service),
        Route("ListQueue", "GET", "/queues", calls.list_queues),
        Route("SetQueueAttributes", "PUT", _QUEUE, calls.set_queue, _is_override),
        Route("CreateQueue", "PUT", _QUEUE, calls.create_queue),
        Route("GetQueueAttributes", "GET", _QUEUE, calls.get_queue),
        Route("DeleteQueue", "DELETE", _QUEUE, calls.delete_queue),
    )


def _message_routes(calls: MessageCalls) -> tuple[Route, ...]:
    return (
        Route("BatchSendMessage", "POST", _MESSAGES, calls.batch_send, _has_root("Messages"), _NO_ORDER),
        Route("SendMessage", "POST", _MESSAGES, calls.send, missing=_NO_ORDER, trace=_SENT),
        Route("BatchPeekMessage", "GET", _MESSAGES, calls.batch_peek, _is_batch_peek),
        Route("PeekMessage", "GET", _MESSAGES, calls.peek, _is_peek),
        Route("BatchReceiveMessage", "GET", _MESSAGES, calls.batch_receive, _is_batch, trace=_HIDDEN),
        Route("ReceiveMessage", "GET", _MESSAGES, calls.receive, trace=_HIDDEN),
        Route("BatchDeleteMessage", "DELETE", _MESSAGES, calls.batch_delete, _has_root("ReceiptHandles")),
        Route("DeleteMessage", "DELETE", _MESSAGES, calls.delete, trace=_HIDDEN),
        Route("ChangeMessageVisibility", "PUT", _MESSAGES, calls.change_visibility),
    )


def _topic_routes(calls: TopicCalls) -> tuple[Route, ...]:
    return (
        Route("ListTopic", "GET", "/topics", calls.list_topics),
        Route("SetTopicAttributes", "PUT", _TOPIC, calls.set_topic, _is_override),
        Route("CreateTopic", "PUT", _TOPIC, calls.create_topic),
        Route("GetTopicAttributes", "GET", _TOPIC, calls.get_topic),
        Route("DeleteTopic", "DELETE", _TOPIC, calls.delete_topic),
        Route(
            "PublishMessage", "POST", f"{_TOPIC}/messages", calls.publish, missing=_NO_PUSH, trace=_PUBLISHED
        ),
        Route("ListSubscriptionByTopic", "GET", _SUBSCRIPTIONS, calls.list_subscriptions),
        Route("SetSubscriptionAttributes", "PUT", _SUBSCRIPTION, calls.set_subscription, _is_override),
        Route("Subscribe", "PUT", _SUBSCRIPTION, calls.subscribe, missing=_NO_ENDPOINTS),
        Route("GetSubscriptionAttributes", "GET", _SUBSCRIPTION, calls.get_subscription),
        Route("Unsubscribe", "DELETE", _SUBSCRIPTION, calls.unsubscribe),
    )


def _is_about_account(request: Request) -> bool:
    return _is_true(request, "accountmeta")


def _is_override(request: Request) -> bool:
    """Return whether a PUT changes a resource instead of creating one."""
    return _is_true(request, "metaoverride")


def _is_peek(request: Request) -> bool:
    return _is_true(request, "peekonly")


def _is_batch(request: Request) -> bool:
    return "numofmessages" in read_query(request)


def _is_batch_peek(request: Request) -> bool:
    return _is_peek(request) and _is_batch(request)


def _is_true(request: Request, name: str) -> bool:
    return read_query(request).get(name, "").lower() == "true"


def _has_root(root: str) -> Callable[[Request], bool]:
    return lambda request: first_element(request.body) == root
