"""The control API: JSON in, JSON out, below `/_alilocal/`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, get_type_hints
from urllib.parse import unquote

from alilocal.control.guard import Refused
from alilocal.control.history import Histories, History
from alilocal.core.behaviour import Behaviour, choices
from alilocal.core.faults import Fault
from alilocal.core.http import Request, Response, ServiceError
from alilocal.core.jsonvalue import JsonObject, JsonValue
from alilocal.core.snapshot import BadSnapshot, load

if TYPE_CHECKING:
    from alilocal.cloud import LocalCloud
    from alilocal.smq.queue import Queue

Handler = Callable[[Request, list[str]], JsonValue]
_WAITS = ("POST reset", "POST load")
_FAULT_MEMBERS = frozenset(one.name for one in fields(Fault)) - {"seen", "hits"}


class Api:
    """Answers calls. Routes are `METHOD path`, where `*` stands for a name."""

    def __init__(self, cloud: LocalCloud) -> None:
        self._cloud = cloud
        self.routes: Mapping[str, Handler] = {
            "GET health": self._health,
            "POST reset": self._reset,
            "GET snapshot": self._snapshot,
            "POST load": self._load,
            "GET clock": self._clock,
            "POST clock": self._advance,
            "GET faults": self._faults,
            "POST faults": self._add_fault,
            "DELETE faults": self._clear_faults,
            "DELETE faults/*": self._remove_fault,
            "GET behaviour": self._behaviour,
            "PATCH behaviour": self._set_behaviour,
            "GET requests": self._requests,
            "GET queues": self._queues,
            "POST queues/*/messages": self._send,
            "DELETE queues/*/messages": self._purge,
            "PUT queues/*/dead-letter": self._dead_letter,
            "GET messages": self._messages,
            "GET messages/*": self._message,
            "POST messages/*/redeliver": self._redeliver,
            "GET topics/*/messages": self._published,
            "GET experiments": self._experiments,
        }

    def handle(self, request: Request) -> Response:
        """The answer; raises Refused."""
        segments = [unquote(part) for part in request.path.strip("/").split("/")[1:]]
        known = [route for route in self.routes if _fits(route.partition(" ")[2], segments)]
        route = next((one for one in known if one.startswith(f"{request.method} ")), None)
        if not known:
            raise Refused(404, "NotFound", "There is no such path; the README of alilocal lists them.")
        if route is None:
            raise Refused(405, "MethodNotAllowed", f"This path takes {', '.join(sorted(known))}.")
        pattern = route.partition(" ")[2].split("/")
        names = [name for name, part in zip(segments, pattern, strict=True) if part == "*"]
        try:
            # What ends instances waits for them, and they may call the cloud meanwhile.
            with nullcontext() if route in _WAITS else self._cloud.changed:
                return json_answer(200, self.routes[route](request, names))
        except ServiceError as exc:
            raise Refused(404 if exc.status == 404 else 400, exc.code, exc.message) from exc
        except (ValueError, TypeError, AttributeError) as exc:
            raise Refused(400, "BadRequest", str(exc)) from exc

    def redeliver(self, message_id: str) -> str:
        """Show a message again, or, once it is gone, send it anew; the id of what is delivered.

        Raises Refused if it is not among the newest.
        """
        for queue in self._cloud.queues:
            if queue.show(message_id):
                return message_id
        sent = next((one for one in self._cloud.journal if one.message_id == message_id), None)
        if sent is None:
            raise Refused(404, "MessageNotExist", f"There is no message {message_id} among the newest.")
        return self._cloud.queues.get(sent.queue).send(sent.body)

    def _health(self, _request: Request, _names: list[str]) -> JsonValue:
        cloud = self._cloud
        services: list[JsonValue] = [service.name for service in cloud.services]
        return {"status": "ok", "region": cloud.region, "accountId": cloud.account_id, "services": services}

    def _reset(self, request: Request, _names: list[str]) -> JsonValue:
        _object(request)
        self._cloud.reset()
        return {}

    def _snapshot(self, _request: Request, _names: list[str]) -> JsonValue:
        return self._cloud.snapshot()

    def _load(self, request: Request, _names: list[str]) -> JsonValue:
        self._cloud.load(_object(request))
        return {}

    def _clock(self, _request: Request, _names: list[str]) -> JsonValue:
        return {"now": self._cloud.clock.now(), "advanced": self._cloud.clock.advanced}

    def _advance(self, request: Request, names: list[str]) -> JsonValue:
        seconds = _object(request).get("advance")
        if not isinstance(seconds, (int, float)) or isinstance(seconds, bool):
            raise ValueError("advance: a number of seconds is needed")
        self._cloud.clock.advance(float(seconds))
        return self._clock(request, names)

    def _faults(self, _request: Request, _names: list[str]) -> JsonValue:
        return {"faults": [_fault_row(number, one) for number, one in self._cloud.faults.numbered()]}

    def _add_fault(self, request: Request, _names: list[str]) -> JsonValue:
        given = _object(request)
        unknown = sorted(set(given) - _FAULT_MEMBERS)
        if unknown:
            raise ValueError(f"{unknown[0]}: a fault has no such member")
        try:
            wanted = load(Fault, given)
        except BadSnapshot as exc:
            raise ValueError(str(exc) if exc.place else exc.problem) from None
        fault = self._cloud.faults.add(**{name: getattr(wanted, name) for name in _FAULT_MEMBERS})
        return next(_fault_row(number, one) for number, one in self._cloud.faults.numbered() if one is fault)

    def _clear_faults(self, _request: Request, _names: list[str]) -> JsonValue:
        self._cloud.faults.clear()
        return {}

    def _remove_fault(self, _request: Request, names: list[str]) -> JsonValue:
        if not names[0].isdigit() or not self._cloud.faults.remove(int(names[0])):
            raise Refused(404, "NotFound", f"There is no fault {names[0]}.")
        return {}

    def _behaviour(self, _request: Request, _names: list[str]) -> JsonValue:
        hints = get_type_hints(Behaviour)
        return {
            name: {"value": value, "choices": list(choices(hints[name]))}
            for name, value in vars(self._cloud.behaviour).items()
        }

    def _set_behaviour(self, request: Request, names: list[str]) -> JsonValue:
        wanted = replace(self._cloud.behaviour)
        for name, value in _object(request).items():
            setattr(wanted, name, value)
        for name, value in vars(wanted).items():
            setattr(self._cloud.behaviour, name, value)
        return self._behaviour(request, names)

    def _requests(self, request: Request, _names: list[str]) -> JsonValue:
        after = int(dict(request.query_pairs(plus_is_space=True)).get("after", "0"))
        entries = list(self._cloud.requests)
        first = self._cloud.requests.total - len(entries)
        rows: list[JsonValue] = [
            {
                "number": number,
                "service": one.service,
                "operation": one.operation,
                "status": one.status,
                "code": one.code,
                "requestId": one.request_id,
                "time": one.time,
                "fault": one.fault,
                "caller": one.caller,
                "detail": one.detail,
            }
            for number, one in enumerate(entries, first + 1)
            if number > after
        ]
        return {"requests": rows}

    def _queues(self, _request: Request, _names: list[str]) -> JsonValue:
        return {"queues": [queue_row(queue) for queue in self._cloud.queues]}

    def _send(self, request: Request, names: list[str]) -> JsonValue:
        given = _object(request)
        body = given.get("body")
        delay = given.get("delaySeconds")
        if not isinstance(body, (str, dict, list)) or not (delay is None or isinstance(delay, int)):
            raise ValueError("body: a text, object or list is needed; delaySeconds, if given, is a number")
        text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
        return {"messageId": self._cloud.queues.get(names[0]).send(text, delay_seconds=delay)}

    def _purge(self, _request: Request, names: list[str]) -> JsonValue:
        self._cloud.queues.get(names[0]).purge()
        return {}

    def _dead_letter(self, request: Request, names: list[str]) -> JsonValue:
        given = _object(request)
        target, count = given.get("queue"), given.get("maxReceiveCount")
        if not isinstance(target, str) or not isinstance(count, int) or isinstance(count, bool):
            raise ValueError("queue: a name is needed; maxReceiveCount: a number is needed")
        self._cloud.queues.get(target)
        self._cloud.queues.get(names[0]).dead_letter(target, count)
        return {}

    def _messages(self, _request: Request, _names: list[str]) -> JsonValue:
        return {"messages": [_history_row(one) for one in Histories(self._cloud).all()]}

    def _message(self, _request: Request, names: list[str]) -> JsonValue:
        found = Histories(self._cloud, 1000).of(names[0])
        if found is None:
            raise Refused(404, "MessageNotExist", f"There is no message {names[0]} among the newest.")
        return _history_row(found)

    def _redeliver(self, request: Request, names: list[str]) -> JsonValue:
        _object(request)
        return {"messageId": self.redeliver(names[0])}

    def _published(self, _request: Request, names: list[str]) -> JsonValue:
        rows: list[JsonValue] = [
            {"messageId": one.message_id, "time": one.time, "tag": one.tag, "body": one.body}
            for one in self._cloud.topics.get(names[0]).published
        ]
        return {"messages": rows}

    def _experiments(self, _request: Request, _names: list[str]) -> JsonValue:
        rows: list[JsonValue] = [
            {
                "experimentId": one.experiment_id,
                "name": one.name,
                "status": one.status,
                "tags": [list(pair) for pair in one.tags],
                "createTime": one.gmt_create_time,
                "deleted": one.deleted,
            }
            for one in self._cloud.experiments
        ]
        return {"experiments": rows}


def json_answer(status: int, value: JsonValue) -> Response:
    """An answer in JSON."""
    text = json.dumps(value, ensure_ascii=False)
    headers = (("Content-Type", "application/json; charset=utf-8"), ("Cache-Control", "no-store"))
    return Response(status, headers, text.encode(errors="replace"))


def queue_row(queue: Queue) -> JsonObject:
    """A queue's counters."""
    states = list(queue.states().values())
    return {"name": queue.name, **{name: states.count(name) for name in ("active", "inactive", "delayed")}}


def _fits(pattern: str, segments: list[str]) -> bool:
    parts = pattern.split("/")
    return len(parts) == len(segments) and all(
        part in ("*", name) and name for part, name in zip(parts, segments, strict=True)
    )


def _object(request: Request) -> JsonObject:
    """The JSON object of a body, which must be declared as one; raises Refused and ValueError."""
    if (request.header("Content-Type") or "").partition(";")[0].strip() != "application/json":
        raise Refused(415, "UnsupportedMediaType", "The body must be of type application/json.")
    try:
        value = json.loads(request.body or b"{}", parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise ValueError("the body is not valid JSON") from None
    if not isinstance(value, dict):
        raise ValueError("the body must be an object")
    return value


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is not in JSON")


def _fault_row(number: int, fault: Fault) -> JsonObject:
    return {"id": number, **asdict(fault)}


def _history_row(history: History) -> JsonObject:
    """Without the body, which may hold what should not be shown."""
    return {_camel(name): value for name, value in asdict(history).items() if name != "body"}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
