"""The parts of the console's page: tables, cards, badges, and bodies as people read them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence

from alilocal.control.history import Step
from alilocal.control.html import Html, Part, tag
from alilocal.core.jsonvalue import JsonValue
from alilocal.core.notes import is_secret, read_json

MOST_ROWS = 100
_MOST_SHOWN = 20_000
_MOST_PREVIEWED = 60
GOOD, BAD, BUSY = "good", "bad", "busy"
_TONES = {
    "done": GOOD,
    "given up": BAD,
    "running": BUSY,
    "retrying": BUSY,
    "FINISHED": GOOD,
    "RUNNING": BUSY,
    "FAILED": BAD,
}


def document(title: str, body: Iterable[Html]) -> str:
    head = [
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("link", rel="stylesheet", href="/_console/console.css"),
        tag("link", rel="icon", href="data:,"),
        tag("script", src="/_console/console.js", defer=True),
    ]
    return f"<!doctype html>{tag('html', tag('head', head), tag('body', body), lang='en')}"


def section(name: str, title: str, *parts: Part, count: int | None = None, total: int = 0) -> Html:
    """A section that changes; `count` of `total` things are shown in it."""
    shown = "" if count is None else f" newest {count} of {total}" if total > count else f" {count}"
    heading = tag("h2", title, tag("span", shown, class_="quiet"))
    return tag("section", heading, parts, id=name, data_live=True)


def card(kind: str, name: str, figures: dict[str, int], alarm: str = "") -> Html:
    rows = [
        tag(
            "div", tag("dt", label), tag("dd", str(value), class_="bad" if label == alarm and value else None)
        )
        for label, value in figures.items()
    ]
    return tag("article", tag("p", kind, class_="quiet"), tag("h3", name), tag("dl", rows), class_="card")


def table(heads: Sequence[str], rows: Iterable[Sequence[Part]]) -> Html:
    head = tag("thead", tag("tr", (tag("th", name, scope="col") for name in heads)))
    body = tag(
        "tbody",
        (
            tag("tr", (tag("td", cell, data_label=name) for name, cell in zip(heads, row, strict=True)))
            for row in rows
        ),
    )
    return tag("table", head, body)


def step(step: Step, start: float) -> Html:
    return tag(
        "li",
        tag("span", f"{step.time - start:+.2f} s", class_="figure quiet"),
        " ",
        tag("b", step.word),
        " ",
        step.detail,
        class_="bad" if step.failed else None,
    )


def badge(text: str, tone: str | None = None) -> Html:
    return tag("span", text, class_=f"badge {tone or _TONES.get(text, '')}".strip())


def outcome(event_type: str) -> Part:
    """The telling part of an event's type, such as `created` of `com.hpoq.experiment.created.v1`."""
    if not event_type:
        return ""
    parts = event_type.split(".")
    word = parts[-2] if len(parts) > 2 else event_type
    return badge(word, {"created": GOOD, "rejected": BAD, "failed": BAD}.get(word))


def empty(text: str) -> Html:
    return tag("p", text, class_="empty")


def select(label: str, name: str, values: Mapping[str, str]) -> Html:
    """`values` with the texts that stand for them."""
    options = [tag("option", text, value=value) for value, text in values.items()]
    return tag("label", label, tag("select", options, name=name))


def number(
    label: str, name: str, value: str, least: str, *, step: str = "1", hint: str | None = None
) -> Html:
    return tag(
        "label",
        label,
        tag("input", type="number", name=name, value=value, min=least, step=step, placeholder=hint),
    )


def moment(moment: float) -> Html:
    form = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(moment))
    return tag("time", form[-8:], datetime=f"{form[:10]}T{form[11:]}Z", title=f"{form} UTC")


def shown(body: str) -> str:
    """A body for people: JSON without its secrets; of anything else only the size."""
    value = read_json(body)
    if value is None:
        return f"{_size(body)}, not shown: only JSON can be shown without its secrets"
    text = json.dumps(_masked(value), ensure_ascii=False, indent=2)
    return (
        text
        if len(text) <= _MOST_SHOWN
        else f"{text[:_MOST_SHOWN]}\n... {len(text) - _MOST_SHOWN} more characters"
    )


def preview(body: str) -> str:
    """The beginning of a body, to tell one message from another."""
    value = read_json(body)
    if value is None:
        return _size(body)
    text = json.dumps(_masked(value), ensure_ascii=False)
    return text if len(text) <= _MOST_PREVIEWED else f"{text[:_MOST_PREVIEWED]}..."


def _size(body: str) -> str:
    return f"{len(body.encode(errors='replace'))} bytes that are no JSON"


def _masked(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return {
            name: "********" if is_secret(name) and isinstance(one, str) else _masked(one)
            for name, one in value.items()
        }
    return [_masked(one) for one in value] if isinstance(value, list) else value
