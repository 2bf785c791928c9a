"""The overview of `hpoq status`: what is known about the queues, and why the last hour is not."""

from __future__ import annotations

import pytest

from hpoq.settings import Settings
from hpoqctl.overview import LastHour, format_overview, read_last_hour, survey_queues
from hpoqctl.queueclient import QueueAttributes, ReceivedMessage
from hpoqctl.services import Target


@pytest.mark.parametrize(
    ("endpoint", "region", "reason"),
    [
        ("http://127.0.0.1:7600", "cn-local", "the local cloud has no log project"),
        ("https://mns.example.com", None, "give --log, or set HPOQ_ACCOUNT_ID and HPOQ_REGION"),
    ],
)
def test_why_the_log_was_not_read(endpoint, region, reason):
    """A local cloud has no log; for another endpoint the message names what to set."""
    target = Target(None, "hpo-requests", None, "1000000000000001", region, endpoint)
    hour = read_last_hour(target, Settings.from_environment({}), None)
    assert hour.outcomes is None
    assert reason in hour.error


class Smq:
    """A service whose queues all have these counters, and show these messages."""

    def __init__(self, active, inactive=0, delayed=0, visible=0):
        self.attributes = QueueAttributes("q", 30, 3600, active, inactive, delayed)
        self.visible = tuple(
            ReceivedMessage(f"M{number}", "{}", None, 1, 1_000_000, None) for number in range(visible)
        )

    def get_queue_attributes(self, _name):
        return self.attributes

    def peek(self, _name, *, count):
        return self.visible[:count]


@pytest.mark.parametrize(
    ("smq", "waiting", "is_counted"),
    [
        (Smq(40, visible=16), 40, True),
        (Smq(0), 0, True),
        # SMQ has announced that it will report 0, whatever a queue holds.
        (Smq(0, visible=3), 3, False),
        (Smq(None, None, None), 0, False),
        (Smq(None, None, None, visible=2), 2, False),
    ],
)
def test_a_queue_whose_messages_are_not_counted_is_not_called_empty(smq, waiting, is_counted):
    """Messages that can be seen are counted, whatever the service's own counters say."""
    target = Target(smq, "hpo-requests", None, "1", "cn-local", "https://mns.example.com")
    state = survey_queues(target, Settings.from_environment({}))[0]
    assert (state.waiting, state.is_counted, state.as_json()["counted"]) == (waiting, is_counted, is_counted)
    (line, *_) = [line.plain for line in format_overview([state], LastHour({}), 0.0)]
    assert ("at least" in line) is not is_counted
