"""Event buses, their rules, and what was put.

Limits: https://www.alibabacloud.com/help/en/eventbridge/product-overview/limits.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone

from alilocal.core.http import ServiceError
from alilocal.core.jsonvalue import JsonObject
from alilocal.core.notes import texts
from alilocal.core.snapshot import TRANSIENT
from alilocal.core.world import World
from alilocal.eventbridge.errors import BusExists, InvalidArgument, NoSuchBus, NoSuchRule, RuleExists
from alilocal.eventbridge.pattern import check, matches
from alilocal.smq.message import Outgoing
from alilocal.smq.store import Queues

DEFAULT = "default"
_KEPT = 10_000
_NAME = re.compile(r"[A-Za-z0-9-]{1,127}")
_RESERVED = "eventbridge-reserved-"

Listener = Callable[[JsonObject], None]


@dataclass(frozen=True)
class Put:
    """An event that a bus took, with the members that the bus adds; `time` is in seconds since the epoch."""

    time: float
    event: JsonObject


@dataclass(frozen=True)
class Target:
    """Where a rule sends: to a queue, or to a function, which is called asynchronously.

    `is_base64` encodes the body for the queue.
    """

    target_id: str
    queue: str | None = None
    function: str | None = None
    is_base64: bool = False


@dataclass
class Rule:
    """Passes events that fit `pattern` to its targets. `undelivered` counts what none of them took."""

    name: str
    pattern: JsonObject
    targets: list[Target] = field(default_factory=list)
    description: str = ""
    enabled: bool = True
    created: float = 0.0
    undelivered: int = 0
    listeners: list[Listener] = field(default_factory=list, repr=False, compare=False, metadata=TRANSIENT)


@dataclass
class Bus:
    """A bus: its rules by name, and the newest events that were put, oldest first."""

    name: str
    description: str = ""
    created: float = 0.0
    puts: list[Put] = field(default_factory=list, repr=False)
    rules: dict[str, Rule] = field(default_factory=dict)

    @property
    def events(self) -> list[JsonObject]:
        """What was put, the last 10,000 of it."""
        return [put.event for put in self.puts]


class Buses:
    """The buses of a cloud, by name; the one of the system, `default`, is always there."""

    def __init__(self, world: World, queues: Queues) -> None:
        self._world = world
        self._queues = queues
        self._by_name = {DEFAULT: Bus(DEFAULT, created=world.clock.now())}

    def create(self, name: str, description: str = "") -> Bus:
        """Raises InvalidArgument for a name that cannot be, BusExists."""
        if not _NAME.fullmatch(name) or name.startswith(_RESERVED):
            raise InvalidArgument(f"The name of an event bus must not be {name!r}.")
        with self._world.changed:
            if name in self._by_name:
                raise BusExists(name)
            bus = self._by_name[name] = Bus(name, description, self._world.clock.now())
            self._world.changed.notify_all()
            return bus

    def get(self, name: str) -> Bus:
        """Raises NoSuchBus."""
        if name not in self._by_name:
            raise NoSuchBus(name)
        return self._by_name[name]

    def delete(self, name: str) -> None:
        """Raises NoSuchBus, and InvalidArgument for the bus of the system."""
        if name == DEFAULT:
            raise InvalidArgument("The event bus of the system cannot be deleted.")
        with self._world.changed:
            self.get(name)
            del self._by_name[name]
            self._world.changed.notify_all()

    def rule(
        self,
        name: str,
        pattern: JsonObject | None = None,
        *,
        bus: str = DEFAULT,
        queue: str | None = None,
        function: str | None = None,
        targets: Sequence[Target] = (),
        description: str = "",
        enabled: bool = True,
        replace: bool = False,
    ) -> Rule:
        """Have events of `bus` that fit `pattern`, by default all, sent to `queue`, `function` or `targets`.

        Raises BadPattern, NoSuchBus, RuleExists unless it may `replace` one, and NotExist for a missing queue.
        """
        check(pattern or {})
        own = [] if queue is None and function is None else [Target("0", queue, function)]
        made = [*own, *targets]
        for target in made:
            if target.queue is not None:
                self._queues.get(target.queue)
        with self._world.changed:
            rules = self.get(bus).rules
            if name in rules and not replace:
                raise RuleExists(name)
            rule = rules[name] = Rule(
                name, pattern or {}, made, description, enabled, self._world.clock.now()
            )
            self._world.changed.notify_all()
            return rule

    def drop_rule(self, name: str, bus: str = DEFAULT) -> None:
        """Raises NoSuchBus and NoSuchRule."""
        with self._world.changed:
            rules = self.get(bus).rules
            if name not in rules:
                raise NoSuchRule(name)
            del rules[name]
            self._world.changed.notify_all()

    def put(self, name: str, event: Mapping[str, object]) -> JsonObject:
        """Give a CloudEvent to the bus `name`; the event as its rules see it. Raises NoSuchBus."""
        with self._world.changed:
            bus, now = self.get(name), self._world.clock.now()
            whole: JsonObject = {**event, **self._added(name, now)}  # type: ignore[dict-item]
            bus.puts.append(Put(now, whole))
            self._world.notes.current.mentions.update(texts(whole))
            self._world.notes.about(name, detail=str(event.get("type") or ""))
            del bus.puts[:-_KEPT]
            for rule in bus.rules.values():
                if rule.enabled and matches(rule.pattern, whole):
                    self._pass_on(rule, whole)
            self._world.changed.notify_all()
            return whole

    def list(self) -> Sequence[Bus]:
        """All, by name."""
        return [one for _, one in sorted(self._by_name.items())]

    def restore(self, buses: Sequence[Bus]) -> None:
        """Have `buses`, and no other but the default one."""
        self._by_name |= {bus.name: bus for bus in buses}

    def _added(self, bus: str, now: float) -> JsonObject:
        account = self._world.account_id
        moment = datetime.fromtimestamp(now, timezone.utc)
        return {
            "aliyunaccountid": account,
            "aliyunpublishtime": moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z",
            "aliyunoriginalaccountid": account,
            "aliyuneventbusname": bus,
            "aliyunregionid": self._world.region,
            "aliyunpublishaddr": "127.0.0.1",
        }

    def _pass_on(self, rule: Rule, event: JsonObject) -> None:
        text = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
        for target in rule.targets:
            if not self._deliver(target, text):
                rule.undelivered += 1
        for listener in rule.listeners:
            listener(event)

    def _deliver(self, target: Target, text: str) -> bool:
        """Whether the target took the event."""
        data = text.encode(errors="replace")
        if target.function is not None and not self._world.call_function(target.function, data):
            return False
        if target.queue is None:
            return True
        try:
            self._queues.get(target.queue).put(
                Outgoing(b64encode(data).decode() if target.is_base64 else text)
            )
        except ServiceError:
            return False
        return True

    def __getitem__(self, name: str) -> Bus:
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[Bus]:
        return iter(self.list())

    def __len__(self) -> int:
        return len(self._by_name)
