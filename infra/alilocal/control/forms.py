"""The console's forms. Each carries the token that shows that it comes from the console's own page."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, get_args

from alilocal.control.html import Html, Part, tag
from alilocal.control.parts import number, select
from alilocal.core.faults import Kind

if TYPE_CHECKING:
    from alilocal.cloud import LocalCloud

_EXAMPLE = {
    "experiment": {
        "Name": "from-the-console",
        "HpoExperimentConfiguration": {
            "platform_config": {"name": "DLC", "cmd": ["python train.py --lr ${lr}"]},
            "metric_config": {
                "metric_type": "stdout",
                "metric_source": ["cmd1"],
                "final_mode": "best",
                "metric_dict": {"loss=([0-9.]+)": -1},
            },
            "search_space": {"${lr}": {"_type": "uniform", "_value": [0.001, 0.1]}},
            "yml_config": {"max_trial_number": 4, "trial_concurrency": 2},
        },
    }
}


class Forms:
    """Renders forms for `cloud` with `token`."""

    def __init__(self, cloud: LocalCloud, token: str) -> None:
        self._cloud = cloud
        self._token = token

    def all(self) -> Html:
        """Those that stand on the page by themselves."""
        return tag("div", self._send_form(), self._fault_form(), self._clock_form(), class_="forms")

    def _send_form(self) -> Html:
        example = json.dumps(_EXAMPLE, indent=2)
        fields = [
            tag("label", "Queue ", self.queues()),
            tag(
                "label",
                "Message",
                tag("textarea", example, name="body", rows="8", spellcheck="false", id="send-body"),
            ),
        ]
        return tag("section", tag("h2", "Send a request"), self.one("send", fields, "Send"))

    def queues(self) -> Html:
        """The choice of a queue, which changes with them; those that feed something come first."""
        sources = {stream.queue_name for stream in self._cloud.streams}
        names = sorted((queue.name for queue in self._cloud.queues), key=lambda name: name not in sources)
        options = [tag("option", name, value=name) for name in names]
        return tag("select", options, name="queue", id="queues", data_live=True)

    def _fault_form(self) -> Html:
        names = sorted({name for service in self._cloud.services for name in service.operations})
        services = {service.name: service.name for service in self._cloud.services}
        fields = [
            select("Kind", "kind", {kind: kind.replace("_", " ") for kind in get_args(Kind)}),
            select("Service", "service", {"": "any", **services}),
            tag(
                "label",
                "Operation",
                tag("input", name="operation", list="operations", placeholder="any", autocomplete="off"),
            ),
            tag("datalist", (tag("option", value=name) for name in names), id="operations"),
            select("Strikes", "when", {"before": "before it acts", "after": "after it acted"}),
            number("From call", "nth", "1", "1"),
            number("Times", "times", "1", "1", hint="empty: always"),
            number("Probability", "probability", "1", "0", step="any"),
            number("Status", "status", "", "200", hint="kind status"),
            number("Seconds", "seconds", "", "0", step="any", hint="stall, drip"),
        ]
        grid = tag("div", fields, class_="grid")
        return tag("section", tag("h2", "Inject a fault"), self.one("fault", grid, "Inject"))

    def _clock_form(self) -> Html:
        field = number("Seconds", "seconds", "60", "0", step="any")
        reset = tag("p", tag("a", "Reset the cloud", href="/_console/reset"), class_="quiet")
        return tag("section", tag("h2", "Advance the clock"), self.one("advance", field, "Advance"), reset)

    def one(self, action: str, fields: Part, button: str, id_: str | None = None) -> Html:
        """A form that asks for `action`; `id_` tells its button from others of the kind."""
        token = tag("input", type="hidden", name="token", value=self._token)
        control = tag("button", button, type="submit", id=f"b-{id_ or action}")
        return tag("form", token, fields, control, method="post", action=f"/_console/{action}")
