"""A few of the random events of `events.py`, and whether their check finds what is broken."""

import json
from dataclasses import replace

import pytest
from events import Drawn, check_event, draw_event

from hpoq.contract import request as contract
from hpoq.testing import smq_event
from support.request import make_document

SECRET = "Zq7kWx4930"
WRONG = make_document(Name=SECRET * 30, Password=SECRET)
WRONG["experiment"]["HpoExperimentConfiguration"]["metric_config"]["metric_type"] = SECRET


def check(document=WRONG):
    return check_event(Drawn(smq_event("M1", json.dumps(document)), SECRET))


def test_random_events_are_read_or_rejected():
    """Each random event keeps the rules; --count of `events.py` runs any number."""
    for seed in range(12):
        check_event(draw_event(seed))


def test_a_check_finds_a_secret_in_a_message(monkeypatch):
    """A message that quotes a secret is found."""
    assert check() == {"rejected": 1}
    monkeypatch.setattr(contract, "find_secrets", lambda _document: ())
    with pytest.raises(AssertionError, match="the secret"):
        check()


def test_a_check_finds_a_place_that_does_not_exist(monkeypatch):
    """A violation whose pointer leads nowhere is found."""
    locate = contract._OpenedRequest.locate

    def locate_elsewhere(*arguments):
        return tuple(replace(one, pointer=f"/nowhere{one.pointer}") for one in locate(*arguments))

    monkeypatch.setattr(contract._OpenedRequest, "locate", locate_elsewhere)
    with pytest.raises(AssertionError, match="names nothing"):
        check()


def test_a_check_finds_an_unexpected_error(monkeypatch):
    """An item whose reading fails is found, although its neighbours are read."""

    def fail(_document):
        raise KeyError

    monkeypatch.setattr(contract, "find_secrets", fail)
    with pytest.raises(AssertionError, match="KeyError in fail"):
        check()
