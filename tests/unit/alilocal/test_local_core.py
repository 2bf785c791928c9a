"""Clock, ids, switches, log, reset, and what arrives raw."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st
from localwire import Wire

import alilocal
from alilocal.core.clock import Deadline
from alilocal.core.http import Request
from alilocal.core.ids import Ids, is_receipt_handle


class Source:
    """A clock that a test holds still."""

    def __init__(self, moment=1_000.0):
        self.moment = moment

    def now(self):
        return self.moment


def test_the_clock_follows_its_source_and_can_be_advanced():
    """Time is the source's plus what it was advanced by, and never goes back."""
    source = Source()
    with alilocal.LocalCloud(clock=source) as cloud:
        cloud.clock.advance(5)
        source.moment += 1
        assert cloud.clock.now() == 1_006
        with pytest.raises(ValueError, match="forward"):
            cloud.clock.advance(-1)


def test_a_deadline_passes_on_a_clock_that_stands_still():
    """Real time ends a wait that the cloud's time would never end."""
    with alilocal.LocalCloud(clock=Source()) as cloud:
        deadline = Deadline(cloud.clock, 0.01)
        with cloud.changed:
            while deadline.left() > 0:
                cloud.clock.pause(deadline.left())
        assert cloud.clock.now() == 1_000


def test_a_foreign_source_is_looked_at_often():
    """A source that moves without a word still ends a wait without limit."""
    source = Source()
    with alilocal.LocalCloud(clock=source) as cloud:

        def wait():
            with cloud.changed:
                while cloud.clock.now() < 2_000:
                    cloud.clock.pause(None)

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        source.moment = 2_000.0
        thread.join(5)
        assert not thread.is_alive()


def test_seeds_repeat_ids():
    """The same seed gives the same ids, no seed fresh ones."""

    def ids(seed):
        source = Ids(seed)
        return source.request_id(), source.message_id(), source.experiment_id(), source.receipt_handle()

    assert ids(1) == ids(1)
    assert ids(1) != ids(2)
    assert ids(None) != ids(None)


def test_receipt_handles_are_recognised():
    """A handle has its form; anything else has not."""
    assert is_receipt_handle(Ids(1).receipt_handle())
    for text in ("", "1-", "1-AAAA", "2-" + "A" * 32, "1-é", Ids(1).receipt_handle() + "="):
        assert not is_receipt_handle(text)


def test_switches_refuse_slips(cloud):
    """A switch that does not exist and a value that it does not know are errors at once."""
    with pytest.raises(AttributeError, match="tag_filter"):
        cloud.behaviour.tag_filters = "ignored"
    with pytest.raises(ValueError, match="honoured"):
        cloud.behaviour.tag_filter = "ignore"
    with pytest.raises(ValueError, match="200"):
        cloud.behaviour.error_status = 500
    for name, value in (
        ("list_lag_seconds", -1),
        ("list_lag_seconds", "1"),
        ("list_lag_seconds", float("nan")),
        ("most_per_page", 0),
        ("most_per_page", 1.5),
    ):
        with pytest.raises(ValueError, match=name):
            setattr(cloud.behaviour, name, value)
    cloud.behaviour.list_lag_seconds = 2.5
    assert cloud.behaviour.list_lag_seconds == 2.5


def test_reset_forgets_everything_but_the_time(wire, cloud):
    """After a reset the cloud is as new, for the same client."""
    cloud.clock.advance(100)
    before = cloud.clock.now()
    cloud.queues.create("q")
    cloud.topics.create("t")
    wire.create()
    cloud.faults.add(kind="html", times=None)
    cloud.behaviour.create_tags = "refused"
    cloud.credentials.register("k", "s", user_id="u")
    cloud.reset()
    assert (len(cloud.queues), len(cloud.topics), cloud.experiments, len(cloud.requests)) == (0, 0, [], 0)
    assert cloud.behaviour.create_tags == "accepted"
    assert cloud.credentials.get("k") is None
    assert wire.create().ok
    assert cloud.clock.now() >= before


def test_the_log_tells_calls_but_no_content(wire, cloud):
    """Service, operation, status, code and fault of every call; neither bodies nor keys."""
    cloud.queues.create("q")
    wire.smq("GET", "/queues/q")
    wire.smq("GET", "/queues/none")
    wire.create(Name="my-secret-name", Accessibility="X")
    assert [(call.service, call.operation, call.status, call.code) for call in cloud.requests] == [
        ("smq", "GetQueueAttributes", 200, None),
        ("smq", "GetQueueAttributes", 404, "QueueNotExist"),
        ("paiautoml", "CreateHpoExperiment", 200, "INVALID_INPUT_PARAMS"),
    ]
    assert len(cloud.requests.of("GetQueueAttributes")) == 2
    text = repr(list(cloud.requests))
    assert "my-secret-name" not in text
    assert cloud.access_key_secret not in text


def test_credentials_do_not_show_their_secrets(cloud):
    """Neither secret nor token stands in a repr."""
    text = repr(cloud.credentials.get(cloud.access_key_id))
    assert cloud.access_key_secret not in text
    assert cloud.security_token not in text


def test_nobodys_paths(wire):
    """A request that is no service's is answered with 404."""
    assert wire.send("GET", "/", {}).status_code == 404


def test_a_session_hands_over_bodies_of_text_and_bytes_only(cloud):
    """A streamed body is refused clearly; text is sent as UTF-8."""
    with cloud.session() as session:
        with pytest.raises(TypeError, match="streams"):
            session.post(cloud.endpoint, data=iter([b"x"]))
        assert session.post(cloud.endpoint, data="é").status_code == 404


def test_closing_ends_long_polls():
    """A receive that waits inside the process ends when the cloud is closed."""
    with alilocal.LocalCloud() as cloud, cloud.session() as session:
        cloud.queues.create("q")
        timer = threading.Timer(0.05, cloud.close)
        timer.start()
        answer = Wire(cloud, session, cloud.endpoint).smq("GET", "/queues/q/messages?waitseconds=30")
        timer.join()
        assert answer.status_code == 404


RAW = st.text(st.characters(codec="latin-1", exclude_characters="\r\n"), max_size=30)
NAMES = st.sampled_from(
    ["Authorization", "x-acs-action", "x-acs-date", "x-mns-version", "Date", "host", "Content-MD5"]
)
VALUES = RAW | st.sampled_from(
    ["MNS a:b", "MNS :", "2015-06-06", "ACS3-HMAC-SHA256 Credential=a,SignedHeaders=host,Signature=0"]
)
TARGETS = RAW | st.sampled_from(["/queues/q", "/topics", "/api/automl/v1/hpo/experiment", "*", "/%ff?%ff=%"])


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["GET", "POST", "PUT", ""]), TARGETS, st.lists(st.tuples(NAMES, VALUES)), st.binary())
def test_any_request_is_answered(method, target, headers, body):
    """Whatever arrives, signed or not, gets an answer of its service and is never taken for good."""
    with alilocal.LocalCloud(seed=1) as cloud:
        assert 400 <= cloud.handle(Request(method, target, tuple(headers), body)).status < 500


def test_importing_it_is_light():
    """Neither requests nor anything of a vendor is loaded until a session is asked for."""
    watched = ("requests", "urllib3", "mns", "hpoq")
    code = f"import sys, alilocal, alilocal.eventstream; print([m for m in {watched} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_sessions_take_any_host(cloud):
    """A client with a real endpoint is answered here all the same."""
    with cloud.session() as session:
        assert isinstance(session, requests.Session)
        assert session.get("https://paiautoml.cn-hangzhou.aliyuncs.com/").status_code == 404
