"""The console's page: the pipeline as it stands, rendered to HTML.

Sections with `data-live` are what `/_console/live` gives anew; forms stand outside of them, so that nothing that is
being typed is lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from alilocal.control.forms import Forms
from alilocal.control.history import Histories, History
from alilocal.control.html import Html, Part, join, tag
from alilocal.control.parts import (
    BAD,
    MOST_ROWS,
    badge,
    card,
    document,
    empty,
    moment,
    outcome,
    preview,
    section,
    shown,
    step,
    table,
)
from alilocal.core.notes import read_json

if TYPE_CHECKING:
    from alilocal.cloud import LocalCloud
    from alilocal.eventstream.stream import EventStream
    from alilocal.smq.queue import Queue


class Page:
    """Renders; `token` goes into every form."""

    def __init__(self, cloud: LocalCloud, token: str) -> None:
        self._cloud = cloud
        self._forms = Forms(cloud, token)

    def whole(self, said: str, *, failed: bool = False) -> str:
        """The page; `said` is what the last form did, or why it `failed`."""
        body = [
            tag("a", "Skip to the messages", href="#messages", class_="skip"),
            self._header(),
            tag("p", said, class_="said bad" if failed else "said", role="status", id="said"),
            tag("main", join(self._sections()[:1]), self._forms.all(), join(self._sections()[1:])),
        ]
        return document("alilocal", body)

    def live(self) -> str:
        """The sections that change."""
        with self._cloud.changed:
            return join([self._clock(), self._forms.queues(), *self._sections()])

    def confirm_reset(self) -> str:
        """The question before everything is forgotten."""
        form = self._forms.one(
            "reset",
            tag("p", "Forget all queues, messages, experiments, tables, faults and switches?"),
            "Forget everything",
        )
        back = tag("a", "Back to the console", href="/_console")
        return document(
            "Reset - alilocal", [tag("main", tag("h1", "Reset"), form, tag("p", back), class_="narrow")]
        )

    def _header(self) -> Html:
        cloud = self._cloud
        return tag(
            "header",
            tag("h1", "alilocal"),
            tag("p", f"region {cloud.region}, account {cloud.account_id}", class_="quiet"),
            self._clock(),
            tag("button", "Pause", type="button", id="pause", hidden=True, aria_pressed="false"),
        )

    def _clock(self) -> Html:
        clock = self._cloud.clock
        ahead = f" ({clock.advanced:+g} s)" if clock.advanced else ""
        return tag(
            "p",
            "cloud time ",
            tag("span", moment(clock.now()), class_="figure"),
            f" UTC{ahead}",
            id="clock",
            data_live=True,
        )

    def _sections(self) -> list[Html]:
        with self._cloud.changed:
            return [
                self._pipeline(),
                self._messages(),
                self._events(),
                self._experiments(),
                self._faults(),
                self._requests(),
            ]

    def _pipeline(self) -> Html:
        """The way of a message, from left to right; queues that feed nothing come last."""
        cloud = self._cloud
        sources = {stream.queue_name for stream in cloud.streams}
        cards: list[Part] = [self._queue_card(queue) for queue in cloud.queues if queue.name in sources]
        cards += [self._stream_card(stream) for stream in cloud.streams]
        statuses = Counter(one.status for one in cloud.experiments if not one.deleted)
        cards.append(card("experiments", "PAI AutoML", dict(sorted(statuses.items())) or {"created": 0}))
        cards += [card("topic", topic.name, {"published": len(topic.published)}) for topic in cloud.topics]
        cards += [
            card("event bus", bus.name, {"events": len(bus.puts), "rules": len(bus.rules)})
            for bus in cloud.buses
            if bus.puts or bus.rules
        ]
        cards += [self._queue_card(queue) for queue in cloud.queues if queue.name not in sources]
        if not len(cloud.queues):
            cards.insert(0, empty("No queue yet: create one with an SDK, or start with --queue NAME."))
        return section("pipeline", "Pipeline", tag("div", cards, class_="cards"))

    def _stream_card(self, stream: EventStream) -> Html:
        good = sum(one.succeeded for one in stream.deliveries)
        figures = {
            "under way": len(stream.running_ids),
            "retries due": stream.waiting,
            "went well": good,
            "failed": len(stream.deliveries) - good,
        }
        return card("event stream", f"{stream.queue_name} to the function", figures, alarm="failed")

    def _queue_card(self, queue: Queue) -> Html:
        states = Counter(queue.states().values())
        figures = {name: states[name] for name in ("active", "inactive", "delayed")}
        return card("queue", queue.name, figures)

    def _messages(self) -> Html:
        histories = Histories(self._cloud, MOST_ROWS).all()
        if not histories:
            return section(
                "messages", "Messages", empty("Nothing was sent yet. Send a request with the form above.")
            )
        rows = [self._message_row(one) for one in histories]
        heads = ("message", "queue", "sent", "state", "outcome", "")
        total = len(self._cloud.journal)
        return section("messages", "Messages", table(heads, rows), count=len(histories), total=total)

    def _message_row(self, one: History) -> Sequence[Part]:
        details = tag(
            "details",
            tag(
                "summary", tag("code", one.message_id), " ", tag("span", preview(one.body), class_="preview")
            ),
            tag("ol", (step(done, one.time) for done in one.steps), class_="steps"),
            tag("pre", shown(one.body), tabindex=0),
            id=f"m-{one.message_id}",
        )
        named = tag("input", type="hidden", name="message", value=one.message_id)
        again = self._forms.one("redeliver", named, "Redeliver", id_=f"r-{one.message_id}")
        return (details, one.queue, moment(one.time), badge(one.state), outcome(one.outcome), again)

    def _events(self) -> Html:
        published = sorted(
            ((one, topic.name) for topic in self._cloud.topics for one in topic.published),
            key=lambda pair: pair[0].time,
        )
        if not published:
            return section("events", "Published events", empty("Nothing was published yet."))
        rows = []
        for one, topic in reversed(published[-MOST_ROWS:]):
            event = read_json(one.body)
            members = event if isinstance(event, dict) else {}
            details = tag(
                "details",
                tag("summary", str(members.get("type") or "a message")),
                tag("pre", shown(one.body), tabindex=0),
                id=f"e-{one.message_id}",
            )
            rows.append((details, str(members.get("subject") or ""), topic, moment(one.time)))
        shown_ones = table(("type", "subject", "topic", "time"), rows)
        return section("events", "Published events", shown_ones, count=len(rows), total=len(published))

    def _experiments(self) -> Html:
        found = [one for one in self._cloud.experiments if not one.deleted]
        if not found:
            return section("experiments", "Experiments", empty("No experiment was created yet."))
        rows = [
            (
                tag("code", one.experiment_id),
                one.name or "",
                badge(one.status),
                str(len(one.trials)),
                tag("span", ((tag("code", f"{key}={value}"), " ") for key, value in one.tags)),
                moment(one.gmt_create_time),
            )
            for one in reversed(found[-MOST_ROWS:])
        ]
        heads = ("id", "name", "status", "trials", "tags", "created")
        return section("experiments", "Experiments", table(heads, rows), count=len(rows), total=len(found))

    def _faults(self) -> Html:
        numbered = self._cloud.faults.numbered()
        if not numbered:
            return section("faults", "Faults in force", empty("None. Inject one with the form above."))
        rows = []
        for number, one in numbered:
            where = f"{one.service or 'any service'} {one.operation or 'any operation'}"
            rest = None if one.times is None else one.times - one.hits
            left = "always" if rest is None else f"{rest} left" if rest > 0 else "used up"
            odds = f", {one.probability:.0%}" if one.probability < 1 else ""
            hidden = tag("input", type="hidden", name="fault", value=number)
            button = self._forms.one("remove-fault", hidden, "Remove", id_=f"f-{number}")
            rows.append(
                (
                    one.kind,
                    where,
                    f"{one.when}{odds}, from call {one.nth}",
                    f"{one.hits} of {one.seen} calls",
                    left,
                    button,
                )
            )
        heads = ("kind", "strikes", "when", "hits", "times", "")
        clear = self._forms.one("clear-faults", None, "Clear all", id_="clear")
        return section("faults", "Faults in force", table(heads, rows), clear)

    def _requests(self) -> Html:
        entries = list(self._cloud.requests)[-50:]
        if not entries:
            return section("requests", "Requests", empty("No service was called yet."))
        rows = [
            (
                f"{one.service} {one.operation}",
                badge(str(one.status or "none"), None if one.code is None and one.fault is None else BAD),
                one.code or (f"fault: {one.fault}" if one.fault else ""),
                one.detail,
                one.caller or "",
                moment(one.time),
            )
            for one in reversed(entries)
        ]
        heads = ("operation", "status", "code", "detail", "caller", "time")
        total = self._cloud.requests.total
        return section("requests", "Requests", table(heads, rows), count=len(rows), total=total)
