"""The control API: JSON in, JSON out, below `/_alilocal/`."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, fields, replace
from functools import partial
from typing import Any
from urllib.parse import unquote

from alilocal.cloud import Cloud
from alilocal.control.deadletters import DeadLetters
from alilocal.control.delta import Deltas, dump_json, json_response
from alilocal.control.history import Histories, History
from alilocal.control.pages import Pages
from alilocal.core.faults import Fault, Faults
from alilocal.core.http import Request, Response, ServiceError
from alilocal.core.jsonvalue import JsonObject, JsonValue, load_json, read_whole
from alilocal.core.limits import Limit, Limits
from alilocal.core.service import operations
from alilocal.core.snapshot import BadSnapshot, load
from alilocal.core.switches import switch_choices
from alilocal.core.world import Sent

Handler = Callable[[Request, list[str]], JsonValue]
_WAITS = ("POST reset", "POST load")
_LIMIT_MEMBERS = {"service": "service", "operation": "operation", "perSecond": "per_second", "burst": "burst"}
_FAULT_MEMBERS = frozenset(one.name for one in fields(Fault)) - {"seen", "hits", "request_ids"}


class Api:
    """Answers calls. The keys of `routes` are `METHOD path`, in which `*` stands for a name, `**` for any path."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._pages = Pages(cloud)
        self._dead_letters = DeadLetters(cloud)
        self._deltas = Deltas()
        self.routes: dict[str, Handler] = {
            "GET health": self._health,
            "POST reset": self._reset,
            "GET snapshot": self._snapshot,
            "POST load": self._load,
            "GET clock": self._clock,
            "POST clock": self._advance,
            "GET faults": self._faults,
            "POST faults": self._add_fault,
            "DELETE faults": partial(self._clear, "fault"),
            "DELETE faults/*": partial(self._remove, "fault"),
            "GET limits": self._limits,
            "POST limits": self._add_limit,
            "DELETE limits": partial(self._clear, "limit"),
            "DELETE limits/*": partial(self._remove, "limit"),
            "GET behaviour": self._behaviour,
            "PATCH behaviour": self._set_behaviour,
            "GET requests": self._requests,
            "GET operations": self._operations,
            "POST queues/*/messages": self._send,
            "DELETE queues/*/messages": self._purge,
            "DELETE queues/*/messages/*": self._drop,
            "POST queues/*/messages/*/redrive": self._redrive,
            "PUT queues/*/dead-letter": self._dead_letter,
            "GET messages": self._messages,
            "GET messages/*": self._message,
            "POST messages/*/redeliver": self._redeliver,
            "POST messages/*/send": self._send_as_new,
            "GET topics/*/messages": self._list_published,
            "POST actions/*/*": self._act,
            "GET console/**": self._page,
        }
        for service in cloud.services:
            self.routes |= {
                f"GET {name}": partial(self._listing, name) for name in service.control_listings()
            }

    def handle(self, request: Request) -> Response:
        """Answer a request; raises Refused."""
        segments = [unquote(part) for part in request.path.strip("/").split("/")[1:]]
        known = [route for route in self.routes if _fits(route.partition(" ")[2], segments)]
        method = "GET" if request.method == "HEAD" else request.method
        route = next((one for one in known if one.startswith(f"{method} ")), None)
        if not known:
            raise Refused(404, "NotFound", "There is no such path; the README of alilocal lists them.")
        if route is None:
            raise Refused(405, "MethodNotAllowed", f"This path takes {', '.join(sorted(known))}.")
        pattern = route.partition(" ")[2].split("/")
        names = [name for name, part in zip(segments, pattern, strict=False) if part == "*"]
        try:
            # These two wait for instances of functions to end, which may still call the cloud.
            with nullcontext() if route in _WAITS else self._cloud.changed:
                found = self.routes[route](request, names)
                return self._deltas.answer(request, found) if method == "GET" else _answer(found)
        except ServiceError as exc:
            raise Refused(404 if exc.status == 404 else 400, exc.code, exc.message) from exc
        except (ValueError, TypeError, AttributeError) as exc:
            raise Refused(400, "BadRequest", str(exc)) from exc

    def find_page(self, path: str, request: Request) -> JsonObject | None:
        """Return the document of the console's page at `path`, or None if there is no such page."""
        given = dict(request.query_pairs(plus_is_space=True))
        return self._pages.find(path, given, f"http://{request.header('Host')}")

    def _sent(self, message_id: str) -> Sent:
        found = next((one for one in self._cloud.journal if one.message_id == message_id), None)
        if found is None:
            raise Refused(404, "MessageNotExist", f"There is no message {message_id} among the newest.")
        return found

    def _listing(self, name: str, _request: Request, _names: list[str]) -> JsonValue:
        # A reset replaces the services, so they are looked up at each call.
        listings = [service.control_listings() for service in self._cloud.services]
        return {name: next(found[name]() for found in listings if name in found)}

    def _health(self, _request: Request, _names: list[str]) -> JsonValue:
        cloud = self._cloud
        services: list[JsonValue] = [service.name for service in cloud.services]
        return {"status": "ok", "region": cloud.region, "accountId": cloud.account_id, "services": services}

    def _operations(self, _request: Request, _names: list[str]) -> JsonValue:
        return {
            "services": [
                {
                    "name": service.name,
                    "title": service.title,
                    "operations": [
                        {"name": one.name, "supported": one.supported, "missing": one.missing}
                        for one in operations(service)
                    ],
                }
                for service in self._cloud.services
            ]
        }

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
            raise ValueError("advance: must be a number of seconds")
        self._cloud.clock.advance(float(seconds))
        return self._clock(request, names)

    def _faults(self, _request: Request, _names: list[str]) -> JsonValue:
        return {"faults": [_fault_row(number, one) for number, one in self._cloud.faults.numbered()]}

    def _add_fault(self, request: Request, _names: list[str]) -> JsonValue:
        given = _object(request)
        lasting = given.pop("lasting", None)
        if isinstance(lasting, (int, float)):
            given["until"] = self._cloud.clock.now() + lasting
        elif lasting is not None:
            raise ValueError("lasting: must be a number of seconds")
        unknown = sorted(set(given) - _FAULT_MEMBERS)
        if unknown:
            raise ValueError(f"{unknown[0]}: unknown member of a fault")
        try:
            wanted = load(Fault, given)
        except BadSnapshot as exc:
            raise ValueError(str(exc) if exc.place else exc.problem) from None
        fault = self._cloud.faults.add(**{name: getattr(wanted, name) for name in _FAULT_MEMBERS})
        return next(_fault_row(number, one) for number, one in self._cloud.faults.numbered() if one is fault)

    def _limits(self, _request: Request, _names: list[str]) -> JsonValue:
        return {"limits": [_limit_row(number, one) for number, one in self._cloud.limits.numbered()]}

    def _add_limit(self, request: Request, _names: list[str]) -> JsonValue:
        given = _object(request)
        unknown = sorted(set(given) - set(_LIMIT_MEMBERS))
        if unknown:
            raise ValueError(f"{unknown[0]}: unknown member of a limit")
        if "perSecond" not in given:
            raise ValueError("perSecond: is required")
        members: dict[str, Any] = {_LIMIT_MEMBERS[name]: value for name, value in given.items()}
        limit = self._cloud.limits.add(**members)
        return next(_limit_row(number, one) for number, one in self._cloud.limits.numbered() if one is limit)

    def _numbered(self, kind: str) -> Faults | Limits:
        # A reset replaces both, so they are looked up at each call.
        return self._cloud.faults if kind == "fault" else self._cloud.limits

    def _clear(self, kind: str, _request: Request, _names: list[str]) -> JsonValue:
        self._numbered(kind).clear()
        return {}

    def _remove(self, kind: str, _request: Request, names: list[str]) -> JsonValue:
        number = read_whole(names[0])
        if number is None or not self._numbered(kind).remove(number):
            raise Refused(404, "NotFound", f"There is no {kind} {names[0]}.")
        return {}

    def _behaviour(self, _request: Request, _names: list[str]) -> JsonValue:
        choices = switch_choices(type(self._cloud.behaviour))
        return {
            name: {"value": value, "choices": list(choices[name])}
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
        text = dict(request.query_pairs(plus_is_space=True)).get("after", "0")
        try:
            after = int(text)
        except ValueError as exc:
            raise ValueError(f"after: {text!r} is not a number") from exc
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

    def _send(self, request: Request, names: list[str]) -> JsonValue:
        given = _object(request)
        body = given.get("body")
        delay = given.get("delaySeconds")
        if not isinstance(body, (str, dict, list)) or not (delay is None or isinstance(delay, int)):
            raise ValueError("body: must be a string, an object or a list. delaySeconds: must be a number.")
        text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
        return {"messageId": self._cloud.queues.get(names[0]).send(text, delay_seconds=delay)}

    def _purge(self, _request: Request, names: list[str]) -> JsonValue:
        self._cloud.queues.get(names[0]).purge()
        return {}

    def _drop(self, _request: Request, names: list[str]) -> JsonValue:
        self._dead_letters.drop(*names)
        return {}

    def _redrive(self, request: Request, names: list[str]) -> JsonValue:
        _object(request)
        queue, ids = self._dead_letters.redrive(*names)
        return {"queue": queue, "messageId": ids[0], "messageIds": [*ids]}

    def _dead_letter(self, request: Request, names: list[str]) -> JsonValue:
        given = _object(request)
        target, count = given.get("queue"), given.get("maxReceiveCount")
        if not isinstance(target, str) or not isinstance(count, int) or isinstance(count, bool):
            raise ValueError("queue: must be a name. maxReceiveCount: must be a number.")
        self._cloud.queues.get(target)
        self._cloud.queues.get(names[0]).dead_letter(target, count)
        return {}

    def _messages(self, request: Request, _names: list[str]) -> JsonValue:
        queue = dict(request.query_pairs(plus_is_space=True)).get("queue")
        return {"messages": [_history_row(one) for one in Histories(self._cloud, queue=queue).list()]}

    def _message(self, _request: Request, names: list[str]) -> JsonValue:
        found = Histories(self._cloud, None).find(names[0])
        if found is None:
            raise Refused(404, "MessageNotExist", f"There is no message {names[0]} among the newest.")
        return _history_row(found)

    def _redeliver(self, request: Request, names: list[str]) -> JsonValue:
        """Deliver a message again under its id: make it visible, or put it back if it has left its queue."""
        _object(request)
        if not any(queue.show(names[0]) for queue in self._cloud.queues):
            sent = self._sent(names[0])
            self._cloud.queues.get(sent.queue).put_again(sent.message_id, sent.body)
        return {"messageId": names[0]}

    def _send_as_new(self, request: Request, names: list[str]) -> JsonValue:
        _object(request)
        sent = self._sent(names[0])
        return {"messageId": self._cloud.queues.get(sent.queue).send(sent.body)}

    def _act(self, request: Request, names: list[str]) -> JsonValue:
        """Carry out the action of a service that a button of the console names."""
        fields = {name: str(value) for name, value in _object(request).items()}
        services = [one for one in self._cloud.services if one.name == names[0]]
        action = services[0].console_actions().get(names[1]) if services else None
        if action is None:
            raise Refused(404, "NotFound", f"There is no action {names[1]} of {names[0]}.")
        return {"notice": action(fields)}

    def _page(self, request: Request, _names: list[str]) -> JsonValue:
        path = request.path.removeprefix("/_alilocal/console").strip("/")
        found = self.find_page(path, request)
        if found is None:
            raise Refused(404, "NotFound", f"There is no page {path}. Only the newest messages have a page.")
        return found

    def _list_published(self, _request: Request, names: list[str]) -> JsonValue:
        rows: list[JsonValue] = [
            {"messageId": one.message_id, "time": one.time, "tag": one.tag, "body": one.body}
            for one in self._cloud.topics.get(names[0]).published
        ]
        return {"messages": rows}


def _answer(value: JsonValue) -> Response:
    return json_response(200, dump_json(value))


def error_response(exc: Refused) -> Response:
    """Return the answer to a request that is refused."""
    return json_response(exc.status, dump_json({"error": {"code": exc.code, "message": exc.message}}))


def _fits(pattern: str, segments: list[str]) -> bool:
    parts = pattern.split("/")
    if parts[-1] == "**":
        return segments[: len(parts) - 1] == parts[:-1]
    return len(parts) == len(segments) and all(
        part in ("*", name) and name for part, name in zip(parts, segments, strict=True)
    )


def _object(request: Request) -> JsonObject:
    """Read the JSON object of a body, which must be declared as JSON; raises Refused and ValueError."""
    if (request.header("Content-Type") or "").partition(";")[0].strip() != "application/json":
        raise Refused(415, "UnsupportedMediaType", "The body must be of type application/json.")
    try:
        value = load_json(request.body or b"{}")
    except ValueError:
        raise ValueError("the body is not valid JSON") from None
    if not isinstance(value, dict):
        raise ValueError("the body must be an object")
    return value


def _fault_row(number: int, fault: Fault) -> JsonObject:
    return {"id": number, **{_camel(name): value for name, value in asdict(fault).items()}}


def _limit_row(number: int, limit: Limit) -> JsonObject:
    members = {name: getattr(limit, member) for name, member in _LIMIT_MEMBERS.items()}
    return {"id": number, **members, "refused": limit.refused}


def _history_row(history: History) -> JsonObject:
    """Return a history without the body, which may contain secrets."""
    return {_camel(name): value for name, value in asdict(history).items() if name != "body"}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


class Refused(Exception):
    """The request is refused; `status`, `code` and `message` say why."""

    def __init__(self, status: int, code: str, message: str) -> None:
        self.status = status
        self.code = code
        self.message = message
        super().__init__(message)
