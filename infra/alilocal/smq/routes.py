"""The operations of SMQ.

Paths: https://www.alibabacloud.com/help/en/mns/developer-reference/api-operations, and aliyun-mns-sdk.
"""

from __future__ import annotations

from alilocal.core.http import Request, Response, ServiceError
from alilocal.core.mnsv2 import MnsV2
from alilocal.core.service import Call, Route, Service
from alilocal.core.world import World
from alilocal.smq import wire
from alilocal.smq.message_calls import MessageCalls
from alilocal.smq.queue_calls import QueueCalls
from alilocal.smq.store import Queues, Topics
from alilocal.smq.topic_calls import TopicCalls

_MOST_REQUEST_BYTES = 2 * 1024 * 1024


class Smq(Service):
    """Queues, topics and subscriptions."""

    name = "smq"

    def __init__(self, world: World) -> None:
        self.queues = Queues(world)
        self.topics = Topics(world, self.queues)
        self._world = world
        self._signatures = MnsV2(world.credentials, world.clock)
        super().__init__(
            (
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
        return route.handler(Call(request, params, caller, request_id))

    def render_error(self, error: ServiceError, request: Request, request_id: str) -> Response:
        return wire.error_response(error, request_id, request.header("Host") or "localhost")
