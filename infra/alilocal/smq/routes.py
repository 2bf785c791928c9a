"""The operations of SMQ.

Paths: https://www.alibabacloud.com/help/en/mns/developer-reference/api-operations, and aliyun-mns-sdk.
"""

from __future__ import annotations

from alilocal.core.http import Request, Response, ServiceError
from alilocal.core.jsonvalue import JsonObject
from alilocal.core.mnsv2 import MnsV2
from alilocal.core.ram import Permission
from alilocal.core.service import Call, Route, Service
from alilocal.core.snapshot import dump, load, member
from alilocal.core.world import World
from alilocal.smq import wire
from alilocal.smq.account_calls import AccountAttributes, AccountCalls
from alilocal.smq.errors import AccessDenied
from alilocal.smq.message_calls import MessageCalls
from alilocal.smq.queue import QueueState
from alilocal.smq.queue_calls import QueueCalls
from alilocal.smq.store import Queues, Topics
from alilocal.smq.topic import Topic
from alilocal.smq.topic_calls import TopicCalls

_MOST_REQUEST_BYTES = 2 * 1024 * 1024


class Smq(Service):
    """Queues, topics and subscriptions."""

    name = "smq"
    title = "SMQ (MNS) 2015-06-06"

    def __init__(self, world: World) -> None:
        self.queues = Queues(world)
        self.topics = Topics(world, self.queues)
        self.account = AccountAttributes()
        self._world = world
        self._signatures = MnsV2(world.credentials, world.clock)
        super().__init__(
            (
                *AccountCalls(self.account).routes(),
                *QueueCalls(world, self.queues).routes(),
                *MessageCalls(world, self.queues).routes(),
                *TopicCalls(world, self.topics).routes(),
            )
        )

    def owns(self, request: Request) -> bool:
        signed = (request.header("Authorization") or "").startswith("MNS ")
        own = signed or request.header("x-mns-version") is not None
        return own or f"{request.path}/".startswith(("/queues/", "/topics/"))

    def new_request_id(self) -> str:
        return self._world.ids.smq_request_id()

    def answer(
        self, request: Request, found: tuple[Route, dict[str, str]] | None, request_id: str
    ) -> Response:
        """Verify the sender and do what is asked; raises ServiceError."""
        status = self._world.behaviour.time_expired_status
        caller = self._signatures.verify(request, expired_status=status)
        if len(request.body) > _MOST_REQUEST_BYTES:
            raise ServiceError(400, "InvalidArgument", "The request body is too large.")
        if found is None:
            raise ServiceError(400, "InvalidRequestURL", "The URL of the request is not valid.")
        route, params = found
        call = Call(request, params, caller, request_id)
        self.authorize(route, call)
        return route.handler(call)

    def permission(self, route: Route, call: Call) -> Permission:
        """Resources: https://www.alibabacloud.com/help/en/mns/permission-policies-and-examples.

        Which action stands for a batch is not documented throughout: that of its single call, or its own.
        """
        actions = [route.operation]
        if route.operation.startswith("Batch"):
            actions.append(route.operation.removeprefix("Batch"))
        place = f"acs:mns:{self._world.region}:{self._world.account_id}:{call.request.path}"
        return Permission(tuple(f"mns:{action}" for action in actions), (place,))

    def denied(self, permission: Permission) -> ServiceError:  # noqa: ARG002 - the service does not tell
        return AccessDenied()

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

    def render_error(self, error: ServiceError, request: Request, request_id: str) -> Response:
        return wire.error_response(error, request_id, request.header("Host") or "localhost")
