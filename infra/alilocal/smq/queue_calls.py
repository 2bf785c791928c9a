"""Operations on queues."""

from __future__ import annotations

from collections.abc import Sequence

from alilocal.core.http import Request, Response
from alilocal.core.service import Call, Route
from alilocal.core.world import World
from alilocal.smq import wire
from alilocal.smq.calls import created, listing, location, query
from alilocal.smq.errors import NotExist
from alilocal.smq.queue import Queue, QueueAttributes, read_attributes
from alilocal.smq.store import Queues
from alilocal.smq.xml import Members, parse

_ONE = "/queues/{queue}"


def overrides(request: Request) -> bool:
    """Whether a PUT changes a resource instead of creating one."""
    return query(request).get("metaoverride", "").lower() == "true"


class QueueCalls:
    """The handlers and their routes."""

    def __init__(self, world: World, queues: Queues) -> None:
        self._world = world
        self._queues = queues

    def routes(self) -> Sequence[Route]:
        return (
            Route("ListQueue", "GET", "/queues", self._list),
            Route("SetQueueAttributes", "PUT", _ONE, self._set, overrides),
            Route("CreateQueue", "PUT", _ONE, self._create),
            Route("GetQueueAttributes", "GET", _ONE, self._get),
            Route("DeleteQueue", "DELETE", _ONE, self._delete),
        )

    def _create(self, call: Call) -> Response:
        name = call.params["queue"]
        attributes = read_attributes(_given(call), QueueAttributes())
        _, is_new = self._queues.ensure(name, attributes)
        return created(call, f"/queues/{name}", is_new=is_new)

    def _set(self, call: Call) -> Response:
        self._queues.set_attributes(call.params["queue"], _given(call))
        return wire.response(204, call.request_id)

    def _get(self, call: Call) -> Response:
        queue = self._queues.get(call.params["queue"])
        return wire.response(200, call.request_id, "Queue", wire.queue_members(queue))

    def _delete(self, call: Call) -> Response:
        try:
            self._queues.delete(call.params["queue"])
        except NotExist:
            if self._world.behaviour.delete_missing == "refused":
                raise
        return wire.response(204, call.request_id)

    def _list(self, call: Call) -> Response:
        def members(queue: Queue, with_meta: bool) -> Members:  # noqa: FBT001 - as `listing` calls it
            url = ("QueueURL", location(call, f"/queues/{queue.name}"))
            return [url, *(wire.queue_members(queue) if with_meta else [])]

        return listing(call, "Queues", "Queue", self._queues.list(), lambda queue: queue.name, members)


def _given(call: Call) -> dict[str, str]:
    return wire.flat(parse(call.request.body, "Queue")) if call.request.body else {}
