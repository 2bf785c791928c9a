"""Clock, ids, switches, log, reset, and unsigned requests."""

from __future__ import annotations

import fcntl
import io
import itertools
import os
import resource
import sys
import threading
from email.utils import parsedate_to_datetime

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st
from localwire import AdvancedTime, StandingTime, Wire, wait_for_poll

import alilocal
from alilocal.core import clock as clocks
from alilocal.core.clock import Deadline
from alilocal.core.descriptors import READ, wait_for
from alilocal.core.http import Request, Response
from alilocal.core.ids import Ids, is_receipt_handle
from alilocal.core.jsonvalue import load_json, read_whole
from support.budget import examples
from support.processes import run_program


def test_the_clock_follows_its_source_and_can_be_advanced():
    """The cloud's time is the source's time plus the advance, and never goes back."""
    source = StandingTime(1_000.0)
    with alilocal.LocalCloud(clock=source) as cloud:
        cloud.clock.advance(5)
        source.moment += 1
        assert cloud.clock.now() == 1_006
        with pytest.raises(ValueError, match="forward"):
            cloud.clock.advance(-1)


def test_descriptors_of_any_number_are_waited_for():
    """A cloud with many clients has descriptors beyond 1023, which `select.select` refuses."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    source, sink = os.pipe()
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limits[0], 2000), limits[1]))
    try:
        high = fcntl.fcntl(source, fcntl.F_DUPFD, 1500)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    began = clocks.monotonic()
    assert wait_for([high], READ, 0.02) == set()
    assert clocks.monotonic() - began >= 0.015, "in seconds"
    os.write(sink, b"x")
    assert wait_for([high, sink], READ, None) == {high}
    for one in (source, sink, high):
        os.close(one)


@pytest.mark.parametrize("text", ["{", b"\xff", "NaN", "[-Infinity]", "[" * 100_000])
def test_what_is_not_json_is_a_value_error(text):
    """Python's parser also takes NaN, and has an error of its own for too many levels."""
    with pytest.raises(ValueError):
        load_json(text)


def test_a_request_is_accepted_for_15_minutes_around_its_date():
    """The clock of a caller need not follow an advance, so every moment between the two times is near."""
    with alilocal.LocalCloud(clock=StandingTime(10_000.0)) as cloud:
        cloud.clock.advance(5_000)
        moments = (9_099, 9_100, 12_000, 15_900, 15_901)
        assert [cloud.clock.is_near(moment) for moment in moments] == [False, True, True, True, False]


def test_a_deadline_passes_on_a_clock_that_stands_still():
    """Real time ends a wait if the cloud's clock stands still."""
    with alilocal.LocalCloud(clock=StandingTime(1_000.0)) as cloud:
        deadline = Deadline(cloud.clock, 0.01)
        with cloud.changed:
            while deadline.left() > 0:
                cloud.clock.pause(deadline.left())
        assert cloud.clock.now() == 1_000


def test_a_wait_that_advances_its_clock_is_as_long_as_asked(monkeypatch):
    """However slow the machine is, a long poll on a test's clock takes the seconds of that clock."""
    moments = itertools.count(0.0, 2.0)
    monkeypatch.setattr(clocks, "monotonic", lambda: next(moments))
    source = AdvancedTime(1_000.0)
    began = source.now()
    with alilocal.LocalCloud(clock=source) as cloud, cloud.changed:
        deadline = Deadline(cloud.clock, 5)
        cloud.clock.pause_caller(deadline.left())
        assert (source.now() - began, deadline.left()) == (5, 0)


def test_a_foreign_source_is_looked_at_often():
    """A source that moves without notice still ends an unlimited wait."""
    source = StandingTime(1_000.0)
    with alilocal.LocalCloud(clock=source) as cloud:

        def wait():
            with cloud.changed:
                while cloud.clock.now() < 2_000:
                    cloud.clock.pause(None)

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        source.moment = 2_000.0
        thread.join(60)
        assert not thread.is_alive()


def test_a_long_poll_moves_a_source_that_stands_still():
    """If cloud and clients share a clock that can be advanced, no poll waits in real time."""
    source = AdvancedTime(1_000.0)
    with alilocal.LocalCloud(clock=source) as cloud, cloud.session() as session:
        cloud.queues.create("q")
        cloud.queues["q"].send("later", delay_seconds=7)
        wire = Wire(cloud, session, cloud.endpoint)
        assert wire.smq("GET", "/queues/q/messages?waitseconds=30").ok
        assert source.moment == 1_007
        assert wire.smq("GET", "/queues/q/messages?waitseconds=20").status_code == 404
        assert source.moment == 1_027


@pytest.mark.parametrize("service", ["paiautoml", "smq", "tablestore", "eventbridge", "nobody's"])
def test_every_answer_has_a_date(wire, cloud, service):
    """Every answer, also an error, has a Date, as RFC 9110 requires; none has one once the clock was advanced."""
    headers = {
        "smq": {"x-mns-version": "2015-06-06"},
        "tablestore": {"x-ots-apiversion": "2015-12-31"},
        "eventbridge": {"x-acs-version": "2020-04-01"},
    }
    path = "/api/automl/v1/hpo/experiments" if service == "paiautoml" else "/x"
    answer = wire.send("GET", path, headers.get(service, {}))
    assert not answer.ok
    dated = parsedate_to_datetime(answer.headers["Date"]).timestamp()
    assert abs(dated - cloud.clock.now()) < 10
    cloud.clock.advance(1_000)
    assert "Date" not in wire.send("GET", path, headers.get(service, {})).headers


def test_seeds_repeat_ids():
    """Clouds with one seed make equal ids; without a seed ids differ."""

    def ids(seed):
        source = Ids(seed)
        return source.request_id(), source.message_id(), source.experiment_id(), source.receipt_handle()

    assert ids(1) == ids(1)
    assert ids(1) != ids(2)
    assert ids(None) != ids(None)


def test_receipt_handles_are_recognized():
    """Only texts with the form of a receipt handle are recognized as one."""
    assert is_receipt_handle(Ids(1).receipt_handle())
    for text in ("", "1-", "1-AAAA", "2-" + "A" * 32, "1-é", Ids(1).receipt_handle() + "="):
        assert not is_receipt_handle(text)


def test_switches_refuse_slips(cloud):
    """An unknown switch and an invalid value are errors at once."""
    with pytest.raises(AttributeError, match="tag_filter"):
        cloud.behaviour.tag_filters = "ignored"
    with pytest.raises(ValueError, match="honoured"):
        cloud.behaviour.tag_filter = "ignore"
    with pytest.raises(ValueError, match="200"):
        cloud.behaviour.error_status = 500
    for name, value in (
        ("list_lag_seconds", -1),
        ("nonce_memory_seconds", -1),
        ("listing_total_offset", 1.5),
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
    """After a reset the same client finds an empty cloud, at the same time."""
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


def test_the_log_has_calls_without_content(wire, cloud):
    """The log has service, operation, status, code and fault of every call, and neither bodies nor keys."""
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
    """The repr of a credential contains neither secret nor token."""
    text = repr(cloud.credentials.get(cloud.access_key_id))
    assert cloud.access_key_secret not in text
    assert cloud.security_token not in text


def test_a_path_of_no_service(wire):
    """A request that no service owns is answered with 404."""
    assert wire.send("GET", "/nobody", {}).status_code == 404


def test_a_session_accepts_bodies_of_any_kind(cloud):
    """Text is sent as UTF-8; files and iterables of bytes are read; anything else is a TypeError."""
    with cloud.session() as session:
        for body in ("é", b"x", iter([b"x"]), io.BytesIO(b"x")):
            assert session.post(cloud.endpoint, data=body).status_code == 404
        prepared = requests.PreparedRequest()
        prepared.prepare(method="POST", url=cloud.endpoint)
        prepared.body = 7
        with pytest.raises(TypeError, match="not int"):
            session.send(prepared)


def test_closing_ends_long_polls():
    """A receive that waits in-process ends when the cloud is closed."""
    with alilocal.LocalCloud() as cloud, cloud.session() as session:
        cloud.queues.create("q")
        closer = threading.Thread(target=lambda: (wait_for_poll(cloud), cloud.close()))
        closer.start()
        answer = Wire(cloud, session, cloud.endpoint).smq("GET", "/queues/q/messages?waitseconds=30")
        closer.join()
        assert answer.status_code == 404
        assert cloud.changed.closed


RAW = st.text(st.characters(codec="latin-1", exclude_characters="\r\n"), max_size=30)
NAMES = st.sampled_from(
    ["Authorization", "x-acs-action", "x-acs-date", "x-mns-version", "Date", "host", "Content-MD5"]
)
VALUES = RAW | st.sampled_from(
    ["MNS a:b", "MNS :", "2015-06-06", "ACS3-HMAC-SHA256 Credential=a,SignedHeaders=host,Signature=0"]
)
TARGETS = RAW | st.sampled_from(["/queues/q", "/topics", "/api/automl/v1/hpo/experiment", "*", "/%ff?%ff=%"])


@settings(max_examples=examples(100), deadline=None)
@given(st.sampled_from(["GET", "POST", "PUT", ""]), TARGETS, st.lists(st.tuples(NAMES, VALUES)), st.binary())
def test_any_request_is_answered(method, target, headers, body):
    """Every request gets an answer, and one without a valid signature gets an error of status 4xx."""
    with alilocal.LocalCloud(seed=1) as cloud:
        assert 400 <= cloud.handle(Request(method, target, tuple(headers), body)).status < 500


def test_importing_it_is_light():
    """Importing alilocal loads neither requests nor a vendor SDK."""
    watched = ("requests", "urllib3", "mns", "hpoq")
    code = f"import sys, alilocal, alilocal.eventstream; print([m for m in {watched} if m in sys.modules])"
    done = run_program([sys.executable, "-c", code], check=True)
    assert done.stdout.strip() == "[]"


def test_sessions_take_any_host(cloud):
    """A session sends requests for real endpoints to the cloud too."""
    with cloud.session() as session:
        assert isinstance(session, requests.Session)
        assert session.get("https://paiautoml.cn-hangzhou.aliyuncs.com/").status_code == 404


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *((text, int(text)) for text in ("5", "007", "10")),
        *((text, None) for text in ("0", "11", "-5", "+5", " 5", "", "5.0", "²", "٣", "1_0", "9" * 5000)),
    ],
)
def test_whole_numbers_in_texts(text, number):
    """Only decimal digits of ASCII make a number, and no text makes an error."""
    assert read_whole(text, 1, 10) == number


FC = "/2023-03-30"
TARGETS = {"EventTargets": '[{"Type": []}]'}


@pytest.mark.parametrize(
    ("version", "target", "action", "query"),
    [
        ("2023-03-30", f"{FC}/functions", "ListFunctions", {"limit": "²"}),
        ("2023-03-30", f"{FC}/functions", "ListFunctions", {"limit": "9" * 5000}),
        ("2023-03-30", f"{FC}/tags-v2", "ListTagResources", {"resourceId": "[x]"}),
        ("2020-04-01", "/", "ListEventBuses", {"Limit": "²"}),
        ("2020-04-01", "/", "ListEventBuses", {"NextToken": "9" * 5000}),
        ("2020-04-01", "/", "CreateRule", {"EventBusName": "default", "RuleName": "r", **TARGETS}),
        ("2022-01-19", "/", "ListQueue", {"PageNum": "²"}),
    ],
)
def test_an_odd_parameter_is_an_error_of_the_service(wire, version, target, action, query):
    """What a service cannot read is an error in its own form, and never a failure of the local cloud."""
    method = "GET" if target != "/" else "POST"
    answer = wire.pai(method, target, action, query=query, x_acs_version=version)
    assert answer.status_code == 400
    assert answer.json()["Code"] in ("InvalidArgument", "InvalidParameter")


@pytest.mark.parametrize("status", [204, 304])
def test_a_body_that_a_status_cannot_have_is_not_sent(status):
    """A client would take what follows the headers for its next answer."""
    answer = Response(status, body=b"x")
    assert (answer.sent_body, answer.sent_headers) == (b"", ())


@pytest.mark.parametrize("kind", ["queues", "topics", "buses"])
def test_resources_are_listed_by_name(kind):
    """The order does not depend on which was created first."""
    with alilocal.LocalCloud() as cloud:
        resources = getattr(cloud, kind)
        for name in ("second", "first"):
            resources.create(name)
        names = [one.name for one in resources]
        assert [one.name for one in resources.list()] == names == sorted(names)
        assert len(resources) == len(names) >= 2
        assert "first" in resources
        assert "third" not in resources
