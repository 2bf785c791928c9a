"""The function in this process, over an embedded cloud, on a clock that the test moves."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import alilocal
from fcruntime import Fc3Context
from fcruntime.context import FunctionInfo
from hpoq.contract.marker import marked_with
from hpoq.function import EventFailed, Function
from hpoq.testing import FakeClock, MemoryStore
from hpoq.testing.history import History


@dataclass
class World:
    """The function in this process, over an embedded cloud, on one clock that the test moves."""

    cloud: alilocal.LocalCloud
    clock: FakeClock = field(default_factory=FakeClock)
    store: MemoryStore = field(default_factory=MemoryStore)
    settings: dict = field(default_factory=dict)
    history: History = field(default_factory=lambda: History(complete=True))
    early: list = field(default_factory=list)

    def function(self, clock=None, **settings):
        """A fresh instance, as after a cold start; `clock` is its own, if it is not the world's."""
        environ = {
            "HPOQ_REGION": self.cloud.region,
            "HPOQ_ACCOUNT_ID": self.cloud.account_id,
            "HPOQ_PAIAUTOML_ENDPOINT": self.cloud.endpoint,
            "HPOQ_SMQ_ENDPOINT": self.cloud.endpoint,
            "ALIBABA_CLOUD_ACCESS_KEY_ID": self.cloud.access_key_id,
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": self.cloud.access_key_secret,
            **self.settings,
            **settings,
        }
        return Function(
            environ,
            session=self.cloud.session(),
            clock=clock or self.clock,
            store=None if "HPOQ_STORE" in environ else self.store,
            wrap_publisher=lambda publisher: (
                publisher if "HPOQ_STORE" in environ else _Outbox(publisher, self)
            ),
        )

    def deliver(self, event, context=None, **settings):
        """Rows of the report, whether the event was acknowledged or failed."""
        context = context or Fc3Context("r-1", FunctionInfo(timeout=300))
        try:
            report = self.function(**settings).handle(event, context)
        except EventFailed as exc:
            report = exc.report.as_json()
        self.history.add_report(report)
        return report["messages"]

    def later(self, seconds):
        """Move every clock on."""
        self.clock.advance(seconds)
        self.cloud.clock.advance(seconds)

    @property
    def events(self):
        return [json.loads(message.body) for message in self.cloud.topics.get("hpo-results").published]

    def broken(self):
        """What the history contradicts, judged on the outside."""
        self.history.events = self.events
        self.history.experiments = [
            (key, experiment.experiment_id)
            for experiment in self.cloud.experiments
            for key in marked_with(experiment.tags, experiment.description)
        ]
        return [*self.history.broken(), *self.early]


@dataclass
class _Outbox:
    """A publisher that looks whether what it publishes is on record."""

    publisher: object
    world: World

    def publish(self, event, *, give_up_at=None):
        data = event["data"]
        record = self.world.store.get(data["idempotencyKey"])
        conflict = data.get("error", {}).get("code") == "IdempotencyConflict"
        if not conflict and (record is None or json.loads(record.event or "{}").get("id") != event["id"]):
            self.world.early.append(f"I4: {event['id']} was published before its record was durable")
        self.publisher.publish(event, give_up_at=give_up_at)
