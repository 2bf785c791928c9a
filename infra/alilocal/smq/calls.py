"""The operations on the account and on queues, and what the handlers of all operations share.

Little is documented about the account; the forms are those that aliyun-mns-sdk reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from alilocal.core.http import Request, Response
from alilocal.core.service import Call
from alilocal.core.world import World
from alilocal.smq import wire
from alilocal.smq.errors import InvalidArgument, InvalidQueryString, NotExist
from alilocal.smq.message import check_range
from alilocal.smq.model import Queues
from alilocal.smq.queue import Queue, QueueAttributes, read_attributes, read_int
from alilocal.smq.switches import SmqSwitches
from alilocal.smq.xml import Members, parse

T = TypeVar("T")

MOST_IN_BATCH = 16
_MOST_LISTED = 1000


def read_query(request: Request) -> dict[str, str]:
    """Return the query's parameters by lower-case name, because the spelling differs between clients.

    A `+` is not decoded to a space: receipt handles contain it, and clients send them unencoded.
    """
    return {name.lower(): value for name, value in request.query_pairs(plus_is_space=False)}


def read_count(request: Request) -> int:
    """Read `numOfMessages`, by default 1; raises InvalidQueryString unless it is from 1 to 16."""
    return _read_number(read_query(request).get("numofmessages"), "numOfMessages", 1, MOST_IN_BATCH) or 1


def read_wait(request: Request) -> int | None:
    """Read `waitseconds`, or None if it is missing; raises InvalidQueryString unless it is from 0 to 30."""
    return _read_number(read_query(request).get("waitseconds"), "waitseconds", 0, 30)


def read_given(call: Call, root: str) -> dict[str, str]:
    """Read the texts of a body's elements, by name; empty without a body. Raises MalformedXml."""
    return wire.flat(parse(call.request.body, root)) if call.request.body else {}


def location(call: Call, path: str) -> str:
    """Return the URL of a resource, on the host that the caller used."""
    return f"http://{call.request.authority}{path}"


def created(call: Call, path: str, *, is_new: bool) -> Response:
    """Return the answer to a create, which always names the resource."""
    headers = (("Location", location(call, path)),)
    return wire.response(201 if is_new else 204, call.request_id, headers=headers)


def delete_or_ignore(world: World[SmqSwitches], delete: Callable[[], None]) -> None:
    """Run `delete`; a missing resource is an error or ignored, as the switch `delete_missing` says."""
    try:
        delete()
    except NotExist:
        if world.behaviour.delete_missing == "refused":
            raise


def listing(
    call: Call,
    root: str,
    item: str,
    resources: Sequence[T],
    name: Callable[[T], str],
    members: Callable[[T, bool], Members],
) -> Response:
    """Return a page of `resources`, which are sorted by name, as the headers of a list call request it.

    `NextMarker` is left out on the last page, because the vendor's SDK fails on an empty one.
    """
    request = call.request
    prefix = request.header("x-mns-prefix") or ""
    marker = request.header("x-mns-marker") or ""
    size = read_int("x-mns-ret-number", request.header("x-mns-ret-number") or str(_MOST_LISTED))
    if not 1 <= size <= _MOST_LISTED:
        raise InvalidArgument(f"The value of x-mns-ret-number should be between 1 and {_MOST_LISTED}.")
    with_meta = (request.header("x-mns-with-meta") or "").lower() == "true"
    rest = [one for one in resources if name(one).startswith(prefix) and name(one) >= marker]
    rows: list[tuple[str, str | Members]] = [(item, members(one, with_meta)) for one in rest[:size]]
    if len(rest) > size:
        rows.append(("NextMarker", name(rest[size])))
    return wire.response(200, call.request_id, root, rows)


@dataclass
class AccountAttributes:
    """The attributes of the account: the bucket for its logs, to which nothing is written here."""

    logging_bucket: str = ""


class Calls:
    """The handlers of the operations."""

    def __init__(self, world: World[SmqSwitches], queues: Queues, account: AccountAttributes) -> None:
        self._world = world
        self._queues = queues
        self._account = account

    def set_account(self, call: Call) -> Response:
        bucket = parse(call.request.body, "Account").findtext("LoggingBucket")
        if bucket is not None:
            self._account.logging_bucket = bucket.strip()
        return wire.response(204, call.request_id)

    def get_account(self, call: Call) -> Response:
        members = [("LoggingBucket", self._account.logging_bucket)]
        return wire.response(200, call.request_id, "Account", members)

    def open_service(self, call: Call) -> Response:
        return wire.response(201, call.request_id, "OpenService", [("OrderId", call.request_id)])

    def create_queue(self, call: Call) -> Response:
        name = call.params["queue"]
        attributes = read_attributes(read_given(call, "Queue"), QueueAttributes())
        _, is_new = self._queues.ensure(name, attributes)
        return created(call, f"/queues/{name}", is_new=is_new)

    def set_queue(self, call: Call) -> Response:
        self._queues.set_attributes(call.params["queue"], read_given(call, "Queue"))
        return wire.response(204, call.request_id)

    def get_queue(self, call: Call) -> Response:
        queue = self._queues.get(call.params["queue"])
        return wire.response(200, call.request_id, "Queue", wire.queue_members(queue))

    def delete_queue(self, call: Call) -> Response:
        delete_or_ignore(self._world, lambda: self._queues.delete(call.params["queue"]))
        return wire.response(204, call.request_id)

    def list_queues(self, call: Call) -> Response:
        def members(queue: Queue, with_meta: bool) -> Members:  # noqa: FBT001 - as `listing` calls it
            url = ("QueueURL", location(call, f"/queues/{queue.name}"))
            return [url, *(wire.queue_members(queue) if with_meta else [])]

        return listing(call, "Queues", "Queue", self._queues.list(), lambda queue: queue.name, members)


def _read_number(text: str | None, name: str, low: int, high: int) -> int | None:
    if text is None:
        return None
    try:
        check_range(name, value := read_int(name, text), low, high)
    except InvalidArgument as error:
        raise InvalidQueryString(error.message) from None
    return value
