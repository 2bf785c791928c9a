"""The operations on the messages of a queue."""

from __future__ import annotations

from alilocal.core.http import Response, ServiceError
from alilocal.core.service import Call
from alilocal.core.world import World
from alilocal.smq import wire
from alilocal.smq.calls import MOST_IN_BATCH, read_count, read_query, read_wait
from alilocal.smq.errors import (
    InvalidArgument,
    MalformedXml,
    MessageNotExist,
    MissingReceiptHandle,
    MissingVisibilityTimeout,
)
from alilocal.smq.message import MOST_BODY_BYTES, Message, Outgoing, check_range, is_base64
from alilocal.smq.model import Queues
from alilocal.smq.queue import LONGEST_VISIBILITY_SECONDS, Queue, read_int
from alilocal.smq.switches import SmqSwitches
from alilocal.smq.xml import parse


class MessageCalls:
    """The handlers of the operations."""

    def __init__(self, world: World[SmqSwitches], queues: Queues) -> None:
        self._world = world
        self._queues = queues

    def send(self, call: Call) -> Response:
        queue = self._queue(call)
        outgoing = wire.read_outgoing(parse(call.request.body, "Message"))
        message = self._put(queue, outgoing, call.request_id)
        members = wire.sent(message.message_id, message.body_md5)
        if message.receipt_handle:
            members.append(("ReceiptHandle", message.receipt_handle))
        return wire.response(201, call.request_id, "Message", members)

    def batch_send(self, call: Call) -> Response:
        queue = self._queue(call)
        elements = parse(call.request.body, "Messages").findall("Message")
        _check_batch(len(elements))
        outgoing = [wire.read_outgoing(element) for element in elements]
        if sum(one.size for one in outgoing) > MOST_BODY_BYTES:
            raise InvalidArgument(f"The batch should not exceed {MOST_BODY_BYTES} bytes.")
        outcomes = [self._try_put(queue, one, call.request_id) for one in outgoing]
        failed = any(isinstance(outcome, ServiceError) for outcome in outcomes)
        status = self._world.behaviour.partial_batch_status if failed else 201
        rows = wire.each("Message", [wire.sent_outcome(outcome) for outcome in outcomes])
        return wire.response(status, call.request_id, "Messages", rows)

    def receive(self, call: Call) -> Response:
        wait = read_wait(call.request)
        message = self._queues.receive(call.params["queue"], 1, wait, call.request)[0]
        return wire.response(200, call.request_id, "Message", wire.received(message))

    def batch_receive(self, call: Call) -> Response:
        count, wait = read_count(call.request), read_wait(call.request)
        messages = self._queues.receive(call.params["queue"], count, wait, call.request)
        rows = wire.each("Message", [wire.received(message) for message in messages])
        return wire.response(200, call.request_id, "Messages", rows)

    def peek(self, call: Call) -> Response:
        messages = self._queue(call).peek(1)
        if not messages:
            raise MessageNotExist
        return wire.response(200, call.request_id, "Message", wire.peeked(messages[0]))

    def batch_peek(self, call: Call) -> Response:
        messages = self._queue(call).peek(read_count(call.request))
        if not messages:
            raise MessageNotExist
        rows = wire.each("Message", [wire.peeked(message) for message in messages])
        return wire.response(200, call.request_id, "Messages", rows)

    def delete(self, call: Call) -> Response:
        self._queue(call).delete(_handle(call))
        return wire.response(204, call.request_id)

    def batch_delete(self, call: Call) -> Response:
        queue = self._queue(call)
        root = parse(call.request.body, "ReceiptHandles")
        handles = [element.text or "" for element in root.findall("ReceiptHandle")]
        _check_batch(len(handles))
        refused = [(handle, error) for handle in handles if (error := _try_delete(queue, handle)) is not None]
        if not refused:
            return wire.response(204, call.request_id)
        rows = wire.each("Error", [wire.refused_handle(handle, error) for handle, error in refused])
        return wire.response(404, call.request_id, "Errors", rows)

    def change_visibility(self, call: Call) -> Response:
        queue, handle = self._queue(call), _handle(call)
        text = read_query(call.request).get("visibilitytimeout")
        if not text:
            raise MissingVisibilityTimeout
        seconds = read_int("VisibilityTimeout", text)
        least = 0 if self._world.behaviour.zero_visibility == "accepted" else 1
        check_range("VisibilityTimeout", seconds, least, LONGEST_VISIBILITY_SECONDS)
        message = queue.change_visibility(handle, seconds)
        members = [
            ("ReceiptHandle", message.receipt_handle or ""),
            ("NextVisibleTime", wire.milliseconds(message.visible_at)),
        ]
        return wire.response(200, call.request_id, "ChangeVisibility", members)

    def _put(self, queue: Queue, outgoing: Outgoing, request_id: str) -> Message:
        behaviour = self._world.behaviour
        if behaviour.plain_body == "refused" and not is_base64(outgoing.body):
            raise InvalidArgument("The message body should be encoded in Base64.")
        if behaviour.group_id == "refused" and outgoing.group_id:
            raise InvalidArgument("MessageGroupId is for FIFO queues.")
        return queue.put(outgoing, request_id=request_id)

    def _try_put(self, queue: Queue, outgoing: Outgoing, request_id: str) -> wire.Outcome:
        try:
            return self._put(queue, outgoing, request_id)
        except ServiceError as error:
            return error

    def _queue(self, call: Call) -> Queue:
        """Return the queue of a call, after the messages that its dead-letter policy must move have left it."""
        queue = self._queues.get(call.params["queue"])
        self._queues.bury_exhausted(queue)
        return queue


def _try_delete(queue: Queue, handle: str) -> ServiceError | None:
    try:
        queue.delete(handle)
    except ServiceError as error:
        return error
    return None


def _handle(call: Call) -> str:
    handle = read_query(call.request).get("receipthandle")
    if not handle:
        raise MissingReceiptHandle
    return handle


def _check_batch(count: int) -> None:
    if count == 0:
        raise MalformedXml("The batch is empty.")
    if count > MOST_IN_BATCH:
        raise InvalidArgument(f"A batch should have no more than {MOST_IN_BATCH} items.")
