"""What `hpoq local` prints on a terminal: a banner, and one line for each message that the function has processed."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime

from rich.console import Console
from rich.text import Text

from fcruntime.jsonvalue import JsonObject, JsonValue
from hpoqctl.output import OUTCOME_STYLES

_PREFIX = "message."
_NOTES = {"message.dead-lettered": "put into", "operator.needed": ""}
# FC's own lines, which divide the log into requests.
_OF_FC = re.compile(
    r"(FunctionCompute .* inited\.|FC (?P<kind>\w+) (?P<end>Start|End) RequestId: [^,]*(?P<error>, Error.*)?)"
)
_SHOWN_ID = 8
_LONGEST = 100


def format_banner(described: JsonObject, port_option: str, *, runs_trials: bool) -> Iterator[Text]:
    """Yield the lines that say what runs where. `described` is what --json prints."""
    url = str(described["smq"])
    yield Text("The local cloud is ready.", "bold green")
    rows = {
        "console": str(described["console"]),
        "pipeline": f"queue {described['queue']} → function hpoq → topic {described['topic']}",
        "send": f"hpoq send --endpoint {url} --wait FILE",
        "trials": (
            "run on this machine, with the commands of the requests"
            if runs_trials
            else "simulated: an experiment ends after a minute, with random metrics"
        ),
        "settings": f'eval "$(hpoq local{port_option} --env)" sets --endpoint and the rest for every command',
        "stop": "Ctrl-C",
    }
    for name, value in rows.items():
        yield Text.assemble(f"  {name:10}", (value, "bold" if name == "console" else ""))


class LiveLog:
    """Turns the output of the function into one short line per message; failures show their last line."""

    def __init__(self, console: Console) -> None:
        self.outcomes: Counter[str] = Counter()
        self._console = console
        self._rest = ""
        self._other: list[str] = []

    def write(self, text: str) -> None:
        """Show what is complete in the output so far. May be called from any thread."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            for shown in self._convert(line):
                self._console.print(shown)

    def summarize(self) -> str:
        """Return how many messages ended in which outcome, counted by delivery."""
        counts = ", ".join(f"{count} {outcome}" for outcome, count in self.outcomes.items())
        return counts or "No message"

    def _convert(self, line: str) -> Iterator[Text]:
        marker = _OF_FC.fullmatch(line.strip())
        if marker:
            yield from self._end_request(marker["kind"] or "", marker["error"])
            return
        entry = _parse(line)
        if entry is None:
            self._other += [line] if line.strip() else []
            return
        name = str(entry.get("event"))
        if name in _NOTES:
            what = _NOTES[name] or f"{entry.get('code') or ''}:"
            where = entry.get("queue") or entry.get("message") or entry.get("reason") or ""
            word = "operator!" if name == "operator.needed" else "dead"
            yield self._make_row(word, "bold red", entry, f"{what} {where}")
        elif name.startswith(_PREFIX) and name.removeprefix(_PREFIX) in OUTCOME_STYLES:
            outcome = name.removeprefix(_PREFIX)
            self.outcomes[outcome] += 1
            detail = entry.get("experiment_id") or entry.get("code") or _find_error(entry.get("error")) or ""
            yield self._make_row(outcome, OUTCOME_STYLES[outcome], entry, str(detail))

    def _end_request(self, kind: str, error: str | None) -> Iterator[Text]:
        """Yield what was written outside the log lines of a request that has ended: a failure, or a print."""
        other, self._other = self._other, []
        if error and kind == "Initialize":
            reason = other[-1].strip() if other else error.removeprefix(", Error: ")
            yield Text(f"The function did not start: {reason}", "bold red")
        elif not error:
            for line in other:
                yield Text(line, "dim")

    @staticmethod
    def _make_row(word: str, style: str, entry: JsonObject, detail: str) -> Text:
        moment = datetime.now().astimezone().strftime("%H:%M:%S")
        message, key = str(entry.get("message_id") or ""), str(entry.get("key") or "")[:_SHOWN_ID]
        return Text.assemble(
            (f"{moment}  ", "dim"), (f"{word:9}", style), f"  {message}  {key}  {detail[:_LONGEST]}"
        )


def _find_error(value: JsonValue) -> str | None:
    if isinstance(value, dict):
        return str(value.get("code") or value.get("message") or "")
    return str(value) if value else None


def _parse(line: str) -> JsonObject | None:
    try:
        value = json.loads(line) if line.startswith("{") else None
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
