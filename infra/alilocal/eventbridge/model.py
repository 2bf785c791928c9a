"""Event buses, their rules, and the events that were put.

Limits: https://www.alibabacloud.com/help/en/eventbridge/product-overview/limits.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone

from alilocal.core.collections import Named
from alilocal.core.http import ServiceError
from alilocal.core.jsonvalue import JsonObject, texts
from alilocal.core.snapshot import TRANSIENT
from alilocal.core.world import World
from alilocal.eventbridge.errors import BusExists, InvalidArgument, NoSuchBus, NoSuchRule, RuleExists
from alilocal.eventbridge.pattern import check, matches
from alilocal.eventbridge.switches import EventBridgeSwitches
from alilocal.smq.message import Outgoing
from alilocal.smq.model import Queues

DEFAULT = "default"
_KEPT = 10_000
_NAME = re.compile(r"[A-Za-z0-9-]{1,127}")
_RESERVED = "eventbridge-reserved-"

Listener = Callable[[JsonObject], None]


@dataclass(frozen=True)
class Put:
    """An event that was put, with the members that the bus adds; `time` is in seconds since the epoch."""

    time: float
    event: JsonObject


@dataclass(frozen=True)
class Target:
    """The target of a rule: a queue, or a function, which is called asynchronously.

    With `is_base64` the queue gets the event as base64.
    """

    target_id: str
    queue: str | None = None
    function: str | None = None
    is_base64: bool = False


@dataclass
class Rule:
    """Passes events that match `pattern` to its targets. `undelivered` counts the deliveries that failed."""

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
        """The last 10,000 events that were put."""
        return [put.event for put in self.puts]


class Buses(Named[Bus]):
    """The buses of a cloud, by name. The system's bus, `default`, always exists."""

    def __init__(self, world: World[EventBridgeSwitches], queues: Queues) -> None:
        super().__init__()
        self._world = world
        self._queues = queues
        self._by_name[DEFAULT] = Bus(DEFAULT, created=world.clock.now())

    def create(self, name: str, description: str = "") -> Bus:
        """Create a bus; raises InvalidArgument for an invalid name, and BusExists."""
        if not _NAME.fullmatch(name) or name.startswith(_RESERVED):
            raise InvalidArgument(f"The name of an event bus must not be {name!r}.")
        with self._world.changed:
            if name in self._by_name:
                raise BusExists(name)
            bus = self._by_name[name] = Bus(name, description, self._world.clock.now())
            self._world.changed.notify_all()
            return bus

    def get(self, name: str) -> Bus:
        """Return a bus; raises NoSuchBus."""
        if name not in self._by_name:
            raise NoSuchBus(name)
        return self._by_name[name]

    def delete(self, name: str) -> None:
        """Delete a bus with its rules; raises NoSuchBus, and InvalidArgument for the system's bus."""
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
        """Create a rule that sends events of `bus` to `queue`, `function` or `targets`.

        Without a `pattern` it takes all events. Raises BadPattern, NoSuchBus, NotExist for a missing queue, and
        RuleExists unless the rule may `replace` the existing one.
        """
        check(pattern or {})
        own = [] if queue is None and function is None else [Target("0", queue, function)]
        made = [*own, *targets]
        self._check_targets(made)
        with self._world.changed:
            rules = self.get(bus).rules
            if name in rules and not replace:
                raise RuleExists(name)
            rule = rules[name] = Rule(
                name, pattern or {}, made, description, enabled, self._world.clock.now()
            )
            self._world.changed.notify_all()
            return rule

    def update_rule(
        self, rule: Rule, pattern: JsonObject, targets: Sequence[Target], *, description: str, enabled: bool
    ) -> None:
        """Change a rule; raises NotExist for a missing queue, and then changes nothing."""
        if targets is not rule.targets:
            self._check_targets(targets)
        rule.pattern, rule.targets = pattern, list(targets)
        rule.description, rule.enabled = description, enabled

    def put_targets(self, rule: Rule, targets: Sequence[Target]) -> None:
        """Add targets to a rule, replacing those with the same id; raises NotExist for a missing queue."""
        self._check_targets(targets)
        ids = {target.target_id for target in targets}
        rule.targets = [*(target for target in rule.targets if target.target_id not in ids), *targets]

    def _check_targets(self, targets: Sequence[Target]) -> None:
        for target in targets:
            if target.queue is not None:
                self._queues.get(target.queue)

    def drop_rule(self, name: str, bus: str = DEFAULT) -> None:
        """Delete a rule; raises NoSuchBus and NoSuchRule."""
        with self._world.changed:
            rules = self.get(bus).rules
            if name not in rules:
                raise NoSuchRule(name)
            del rules[name]
            self._world.changed.notify_all()

    def put(self, name: str, event: Mapping[str, object]) -> JsonObject:
        """Put a CloudEvent on the bus `name`, and return the event as its rules see it; raises NoSuchBus."""
        with self._world.changed:
            bus, now = self.get(name), self._world.clock.now()
            whole: JsonObject = {**event, **self._added(name, now)}  # type: ignore[dict-item]
            bus.puts.append(Put(now, whole))
            self._world.notes.current.mentions.update(texts(whole))
            self._world.notes.record_keys(name, detail=str(event.get("type") or ""))
            del bus.puts[:-_KEPT]
            for rule in bus.rules.values():
                if rule.enabled and matches(rule.pattern, whole):
                    self._pass_on(rule, whole)
            self._world.changed.notify_all()
            return whole

    def restore(self, buses: Sequence[Bus]) -> None:
        """Replace all buses; the default bus stays if it is not among them."""
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
        """Deliver an event, and return False if the target refuses it."""
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
