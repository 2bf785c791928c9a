"""The documents of the console's pages, in JSON: `GET console/PATH` has what the page at `/_console/PATH` shows.

Every document has `cloud`, `clock`, `tabs` and `title`. The first page has the pipeline, the presets and the messages
besides; a message's page has `message`; all others have `sections`: tables, charts and logs. What grows is an object
of numbered or named members, not a list, so that a merge patch has only what is new.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import NamedTuple, get_args
from urllib.parse import unquote

from alilocal.cloud import Cloud
from alilocal.control.deadletters import DeadLetters
from alilocal.control.history import EXPIRED, LOST, Histories, History
from alilocal.control.message import compose_message
from alilocal.control.rendering import preview, show_sections
from alilocal.core.delivery import Stream
from alilocal.core.faults import Fault, Kind
from alilocal.core.jsonvalue import JsonObject, JsonValue
from alilocal.core.view import Badge, Button, Buttons, Card, Moment, Preset, Table

ALL_QUEUES = "*"
_MOST_ROWS, _MOST_CALLS = 100, 50
_ENDED = ("done", "given up", "taken", LOST, EXPIRED)


class Filter(NamedTuple):
    """Which messages are shown: those of `queue`, with `text` in their id or body, that ended in `outcome`.

    An empty text admits every message.
    """

    queue: str
    text: str
    outcome: str

    @classmethod
    def read(cls, cloud: Cloud, given: Mapping[str, str]) -> Filter:
        """Read a filter from a query. By default the queue is that of the first event stream."""
        source = next((stream.queue_name for stream in cloud.streams), ALL_QUEUES)
        return cls(given.get("queue") or source, given.get("text", ""), given.get("outcome", ""))

    def admits(self, one: History) -> bool:
        """Return whether a message is shown."""
        is_found = self.text.casefold() in f"{one.message_id} {one.body}".casefold()
        return is_found and self.outcome in ("", one.end)


class Pages:
    """Composes the documents of `cloud`."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._dead_letters = DeadLetters(cloud)
        self._histories: tuple[object, Histories] | None = None
        self._lists: dict[str, Sequence[History]] = {}

    def find(self, path: str, given: Mapping[str, str], base: str) -> JsonObject | None:
        """Return the document at `path`, or None if there is no such page.

        `given` is the query, and `base` the address of the cloud.
        """
        with self._cloud.changed:
            page = self._page(path, given, base)
            return None if page is None else {**self._frame(), **page}

    def _frame(self) -> JsonObject:
        """Return what every page has."""
        cloud = self._cloud
        tabs = [("", "Messages", len(cloud.journal))]
        tabs += [(one.table_id, one.title, one.total) for one in self._tables(1)]
        tabs.append(("dead-letters", "Dead letters", self._dead_letters.count()))
        tabs.append(("faults", "Faults", len(cloud.faults.numbered())))
        tabs.append(("requests", "Requests", cloud.requests.total))
        return {
            "cloud": {"title": cloud.title, "region": cloud.region, "accountId": cloud.account_id},
            "clock": {"now": int(cloud.clock.now()), "advanced": cloud.clock.advanced},
            "tabs": {name: {"title": title, "count": count} for name, title, count in tabs},
        }

    def _page(self, path: str, given: Mapping[str, str], base: str) -> JsonObject | None:
        owner, _, rest = path.partition("/")
        if path == "":
            return self._overview(Filter.read(self._cloud, given))
        if owner == "messages" and rest:
            return self._message(unquote(rest), base)
        if rest:
            services = [one for one in self._cloud.services if one.name == owner]
            view = services[0].console_view(unquote(rest)) if services else None
            return view and {"title": view.title, "sections": show_sections(view.sections)}
        own: Mapping[str, Callable[[], JsonObject]] = {
            "dead-letters": lambda: _tab(self._dead_letters.table(_MOST_ROWS)),
            "faults": lambda: {**_tab(self._faults()), "choices": self._choices()},
            "requests": lambda: _tab(self._requests()),
        }
        if path in own:
            return own[path]()
        found = [one for one in self._tables(_MOST_ROWS) if one.table_id == path]
        return _tab(found[0]) if found else None

    def _tables(self, most: int, about: frozenset[str] | None = None) -> list[Table]:
        return [one for service in self._cloud.services for one in service.console_tables(most, about)]

    def _overview(self, chosen: Filter) -> JsonObject:
        histories = self._read_histories()
        presets = [one for service in self._cloud.services for one in service.console_presets()]
        sources = [stream.queue_name for stream in self._cloud.streams]
        names = [queue.name for queue in self._cloud.queues]
        queues: list[JsonValue] = [*sorted(names, key=lambda name: name not in sources)]
        return {
            "title": "",
            "pipeline": {str(place): card for place, card in enumerate(self._pipeline())},
            "presets": {
                one.label: {"fault": {**one.fault}, "effect": self._effect(one, histories)} for one in presets
            },
            "queues": queues,
            "sample": self._cloud.sample_message,
            "messages": self._messages(chosen, histories),
        }

    def _read_histories(self) -> Histories:
        """Return the histories of all messages: those of the last time if nothing has happened since."""
        cloud = self._cloud
        version = (
            cloud.changed.count,
            cloud.requests.total,
            [stream.running_ids for stream in cloud.streams],
            [queue.states() for queue in cloud.queues],
        )
        if self._histories is None or self._histories[0] != version:
            self._histories, self._lists = (version, Histories(cloud, None)), {}
        return self._histories[1]

    def _list(self, queue: str, histories: Histories) -> Sequence[History]:
        if queue not in self._lists:
            self._lists[queue] = histories.list(None if queue == ALL_QUEUES else queue)
        return self._lists[queue]

    def _pipeline(self) -> list[JsonValue]:
        """Return the cards in the order in which a message passes them, from the queue of the first stream on.

        The other queues come last, each before its stream if it has one. `flows` says that an arrow leads to a card.
        """
        cards = [one for service in self._cloud.services for one in service.console_cards()]
        queues = {one.name: one for one in cards if one.is_queue}
        streams = [(stream, queues.pop(stream.queue_name, None)) for stream in self._cloud.streams]
        fed = [[*([_card(queue)] if queue else []), _stream_card(stream)] for stream, queue in streams]
        rest = [_card(one, flows=bool(fed)) for one in cards if not one.is_queue]
        others = [_card(one) for one in queues.values()]
        return [*chain(*fed[:1]), *rest, *chain(*fed[1:]), *others]

    def _messages(self, chosen: Filter, histories: Histories) -> JsonObject:
        """Return the messages that are shown, how many there are of each kind, and whether any was lost."""
        of_queue = self._list(chosen.queue, histories)
        found = [one for one in of_queue if chosen.admits(one)]
        sources = [stream.queue_name for stream in self._cloud.streams]
        counts = Counter(one.queue for one in self._cloud.journal)
        names = sorted(
            {chosen.queue, *counts} - {ALL_QUEUES},
            key=lambda name: (sources.index(name) if name in sources else len(sources), name),
        )
        return {
            **chosen._asdict(),
            "queues": {**{name: counts[name] for name in names}, ALL_QUEUES: len(self._cloud.journal)},
            "outcomes": dict(sorted(Counter(one.end for one in of_queue).items())),
            "invariants": {
                "messages": len(of_queue),
                **_invariants(of_queue),
                "open": sum(one.state not in _ENDED for one in of_queue),
            },
            "total": len(found),
            "rows": {one.message_id: _message_row(one) for one in found[:_MOST_ROWS]},
        }

    def _effect(self, preset: Preset, histories: Histories) -> JsonObject:
        """Return what the faults of a preset did: how many calls they hit, and how the messages concerned ended."""
        wanted = {name: value for name, value in preset.fault.items() if name != "lasting"}
        faults = [
            one
            for one in self._cloud.faults.list()
            if all(getattr(one, name) == value for name, value in wanted.items())
        ]
        ids = {text for one in faults for text in one.request_ids}
        messages = histories.about(ids) if ids else []
        lasting = [one for one in faults if not one.is_over(self._cloud.clock.now())]
        return {
            "injected": len(faults),
            "waiting": sum(one.times is None or one.hits < one.times for one in lasting),
            "calls": sum(one.hits for one in faults),
            "answersLost": histories.count_unanswered(ids),
            "messages": len(messages),
            **_invariants(messages),
        }

    def _message(self, message_id: str, base: str) -> JsonObject | None:
        histories = self._read_histories()
        history = histories.find(message_id)
        if history is None:
            return None
        related = self._tables(_MOST_ROWS, histories.names(message_id))
        return {
            "title": f"Message {message_id}",
            "message": compose_message(self._cloud, histories, history, base),
            "sections": show_sections([one._replace(empty="None.") for one in related]),
        }

    def _faults(self) -> Table:
        rows = []
        numbered = self._cloud.faults.numbered()
        for number, one in reversed(numbered):
            odds = f", {one.probability:.0%}" if one.probability < 1 else ""
            remove = Button("Remove", f"faults/{number}", {}, "DELETE", "Fault removed")
            rows.append(
                (
                    one.kind,
                    f"{one.service or 'any service'} {one.operation or 'any operation'}",
                    f"{one.when}{odds}, from call {one.nth}",
                    f"{one.hits} of {one.seen} {'call' if one.seen == 1 else 'calls'}",
                    self._describe_rest(one),
                    Buttons((remove,)),
                )
            )
        heads = ("kind", "affects", "when", "hits", "times", "")
        return Table("faults", "Faults", heads, rows, len(rows), "None. Inject one with the form above.")

    def _describe_rest(self, fault: Fault) -> str:
        if fault.until is not None:
            end = time.strftime("%H:%M:%S", time.gmtime(fault.until))
            return "over" if fault.is_over(self._cloud.clock.now()) else f"until {end}"
        rest = None if fault.times is None else fault.times - fault.hits
        return "always" if rest is None else f"{rest} left" if rest > 0 else "used up"

    def _choices(self) -> JsonObject:
        """Return what the form that injects a fault offers."""
        operations: list[JsonValue] = [
            *sorted({name for one in self._cloud.services for name in one.operations})
        ]
        services: list[JsonValue] = [one.name for one in self._cloud.services]
        return {"kinds": [*get_args(Kind)], "services": services, "operations": operations}

    def _requests(self) -> Table:
        entries = list(self._cloud.requests)[-_MOST_CALLS:]
        rows = [
            (
                f"{one.service} {one.operation}",
                Badge(str(one.status or "none"), is_bad=one.code is not None or one.fault is not None),
                one.code or (f"fault: {one.fault}" if one.fault else ""),
                one.detail,
                one.caller or "",
                Moment(one.time),
            )
            for one in reversed(entries)
        ]
        heads = ("operation", "status", "code", "detail", "caller", "time")
        total = self._cloud.requests.total
        return Table("requests", "Requests", heads, rows, total, "No service was called yet.")


def _tab(table: Table) -> JsonObject:
    return {"title": table.title, "sections": show_sections([table])}


def _card(one: Card, *, flows: bool = False) -> JsonObject:
    return {
        "kind": one.kind,
        "name": one.name,
        "figures": {**one.figures},
        "flows": flows,
        **({"spans": {start: [*counts] for start, counts in one.spans.items()}} if one.is_queue else {}),
    }


def _stream_card(stream: Stream) -> JsonObject:
    succeeded = sum(one.succeeded for one in stream.deliveries)
    figures = {
        "running": len(stream.running_ids),
        "waiting for retry": stream.waiting,
        "succeeded": succeeded,
        "not succeeded": len(stream.deliveries) - succeeded,
    }
    return _card(Card("event stream", f"{stream.queue_name} to the function", figures), flows=True)


def _message_row(one: History) -> JsonObject:
    return {
        "queue": one.queue,
        "time": one.time,
        "state": one.state,
        "outcome": one.outcome_word,
        "preview": preview(one.body),
    }


def _invariants(every: Sequence[History]) -> JsonObject:
    """Return how many messages were lost, and for how many something was made twice."""
    return {
        "createdTwice": sum(len(one.made) > 1 for one in every),
        "lost": sum(one.state in (LOST, EXPIRED) for one in every),
    }
