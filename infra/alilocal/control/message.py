"""The content of the console's page for one message: its state, the reason, and what can be done with it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from alilocal.cloud import Cloud
from alilocal.control.history import EXPIRED, Histories, History, Step
from alilocal.control.rendering import show_body, show_button, show_json
from alilocal.core.delivery import Delivery
from alilocal.core.jsonvalue import JsonObject, JsonValue, mask_secrets, read_json, texts
from alilocal.core.view import Button


def compose_message(cloud: Cloud, histories: Histories, one: History, base: str) -> JsonObject:
    """Return the message `one` as JSON; `base` is the cloud's address."""
    deliveries = histories.deliveries(one.message_id)
    names = histories.names(one.message_id)
    explain = cloud.explain_message
    sentences = [*explain(one.message_id, one.body)] if explain is not None else []
    path = f"messages/{one.message_id}"
    buttons = [
        Button("Deliver again", f"{path}/redeliver", notice="To be delivered again"),
        Button("Send as new", f"{path}/send", notice="Sent as new"),
    ]
    lines = [line for delivery in deliveries for line in _log_lines(delivery, names)]
    return {
        "messageId": one.message_id,
        "queue": one.queue,
        "time": one.time,
        "state": one.state,
        "outcome": one.outcome_word,
        "sentences": [*(sentences or [_sentence(one.state, len(deliveries))])],
        "steps": {
            str(number): {**asdict(step), "own": _is_own(step, one, deliveries)}
            for number, step in enumerate(one.steps)
        },
        "results": [*_results(deliveries, names)],
        "log": {str(number): line for number, line in enumerate(lines)},
        "body": show_body(one.body),
        "curl": _curl(one, base),
        "event": _event(one, deliveries),
        "buttons": [show_button(button) for button in buttons],
    }


def _sentence(state: str, times: int) -> str:
    """Return a message's state in words, without what only its function knows."""
    deliveries = f"{times} {'delivery' if times == 1 else 'deliveries'}"
    if state == EXPIRED:
        return f"Its queue deleted it at the end of its retention period, after {deliveries}."
    if not times:
        return f"It was not delivered to a function. Its state is: {state}."
    sentences = {
        "done": f"The function acknowledged it, after {deliveries}.",
        "running": f"The function is working on it, in {deliveries}.",
        "retrying": f"It waits to be delivered again, after {deliveries}.",
        "given up": f"It was given up after {deliveries}.",
        "lost": f"It was given up after {deliveries}, and no dead-letter queue has it.",
    }
    return sentences.get(state, f"It is in its queue again, after {deliveries}. Its state is: {state}.")


def _is_own(step: Step, message: History, deliveries: Sequence[Delivery]) -> bool:
    """Return whether a step belongs to a delivery of this message, as far as its deliveries have ended."""
    if step.time <= message.time or message.state == "running":
        return True
    return any(one.time <= step.time <= one.time + one.duration_ms / 1000 for one in deliveries)


def _results(deliveries: Sequence[Delivery], names: frozenset[str]) -> Iterator[JsonObject]:
    """Yield what the function returned about a message, newest first."""
    for one in reversed(deliveries):
        for value in _find_about(read_json(one.result), names):
            yield {"attempt": one.attempt, "time": one.time, "value": value}


def _find_about(value: JsonValue, names: frozenset[str]) -> list[JsonValue]:
    """Return the smallest objects in a function's result of which a member is one of `names`, without secrets."""
    if isinstance(value, dict):
        if any(isinstance(one, str) and one in names for one in value.values()):
            return [mask_secrets(value)]
        return [found for one in value.values() for found in _find_about(one, names)]
    return [found for one in value for found in _find_about(one, names)] if isinstance(value, list) else []


def _log_lines(delivery: Delivery, names: frozenset[str]) -> Iterator[str]:
    """Yield the lines of a delivery's log, without secrets; for a batch, only the lines that name the message."""
    for line in delivery.log.splitlines():
        value = read_json(line)
        if len(delivery.message_ids) == 1 or not names.isdisjoint(texts(value)):
            yield line if value is None else json.dumps(mask_secrets(value), ensure_ascii=False)


def _curl(message: History, base: str) -> str | None:
    """Return the command that sends the message, or None if its body cannot be shown."""
    value = read_json(message.body)
    if value is None:
        return None
    body = json.dumps({"body": show_json(value)}, ensure_ascii=False)
    url = f"{base}/_alilocal/queues/{message.queue}/messages"
    return f"curl -H 'Content-Type: application/json' {shlex.quote(url)} -d {shlex.quote(body)}"


def _event(message: History, deliveries: Sequence[Delivery]) -> str | None:
    """Return the event with which the message was delivered, without the other messages of its batch."""
    events = [read_json(one.event.decode(errors="replace")) for one in deliveries if one.event]
    if not events or read_json(message.body) is None:
        return None
    event = events[-1]
    if isinstance(event, list):
        event = [one for one in event if message.message_id in texts(one)]
    return json.dumps(show_json(event), ensure_ascii=False, indent=2)
