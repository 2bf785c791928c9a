"""The console's page without a browser: what it shows, what its forms do, and that nothing of a message is code."""

import json
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

import alilocal
from alilocal.control.html import tag
from alilocal.eventstream import EventStream
from alilocal.smq.message import Outgoing

HOSTILE = '<script>alert("x")</script>\'"&\x00\ud800'


@pytest.fixture
def page(cloud):
    with cloud.session() as session:
        yield lambda path="": session.get(f"{cloud.endpoint}/_console{path}").text


@pytest.fixture
def post(cloud, page):
    token = re.search(r'name="token" value="([^"]+)"', page())[1]
    with cloud.session() as session:

        def send(action, *, token=token, **form):
            form = {"token": token, **form}
            answer = session.post(f"{cloud.endpoint}/_console/{action}", data=form, allow_redirects=False)
            return answer.status_code, answer.headers.get("Location", "")

        yield send


def test_the_page_is_safe(cloud):
    with cloud.session() as session:
        answer = session.get(f"{cloud.endpoint}/_console")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert not re.search(r"<script(?![^>]*src=)|<style| style=| on\w+=", answer.text)


def test_empty_states_tell_what_to_do(page):
    shown = page()
    assert "No queue yet" in shown
    assert "Nothing was sent yet" in shown


def test_what_is_hostile_is_text(cloud, page):
    cloud.queues.create("orders").send(json.dumps({"a": HOSTILE, "<b>": 1}).replace("\\u0000", ""))
    cloud.topics.create("results")
    cloud.topics.publish("results", Outgoing(json.dumps({"type": "<i>t</i>", "subject": "<u>"})))
    cloud.behaviour.strict_required = False
    shown = page() + page("/live")
    assert "<script>alert" not in shown
    for element in ("<b>:", "<i>t", "<u>"):
        assert element not in shown
    assert "&lt;i&gt;t&lt;/i&gt;" in shown


def test_no_secret_of_a_message_is_shown(cloud, page):
    secret = {
        "dlc_config": {"access_id": "AKIDXX", "access_key": "clear-key"},
        "url": "http://x?token=clear-token",
    }
    cloud.queues.create("orders").send(json.dumps(secret))
    cloud.queues["orders"].send("clear-text that is no JSON")
    shown = page()
    for text in ("AKIDXX", "clear-key", "clear-token", "clear-text"):
        assert text not in shown


def test_a_long_queue_is_shown_in_part(cloud, page):
    queue = cloud.queues.create("orders")
    for _ in range(300):
        queue.send("{}")
    shown = page()
    assert "newest 100 of 300" in shown
    assert shown.count('id="m-') == 100
    assert "<dd>300</dd>" in shown


def test_forms_do_what_they_say(cloud, post):
    queue = cloud.queues.create("orders")
    status, location = post("send", queue="orders", body='{\r\n"a": 1}')
    assert (status, location[:15]) == (303, "/_console?said=")
    (message,) = queue.messages
    assert message.body == '{\n"a": 1}'
    (received,) = queue.receive(1)
    post("redeliver", message=message.message_id)
    assert queue.messages[0].state == "active"
    assert received.message_id == message.message_id
    post(
        "fault",
        kind="status",
        status="503",
        service="smq",
        operation="SendMessage",
        when="after",
        nth="2",
        times="",
    )
    (fault,) = cloud.faults.all()
    assert (fault.status, fault.nth, fault.times, fault.when) == (503, 2, None, "after")
    post("remove-fault", fault=str(cloud.faults.numbered()[0][0]))
    assert cloud.faults.all() == []
    cloud.faults.add("reset")
    post("clear-faults")
    assert cloud.faults.all() == []
    post("advance", seconds="90")
    assert cloud.clock.advanced == 90
    post("reset")
    assert len(cloud.queues) == 0


@pytest.mark.parametrize(
    ("action", "form", "said"),
    [
        ("send", {"queue": "none", "body": "x"}, "queue%20name"),
        ("send", {"queue": "orders", "body": ""}, "length"),
        ("fault", {"kind": "flood"}, "flood"),
        ("fault", {"kind": "reset", "operation": "Nothing"}, "no%20such%20operation"),
        ("advance", {"seconds": "-5"}, "forward"),
        ("advance", {"seconds": "soon"}, "soon"),
        ("redeliver", {"message": "none"}, "none"),
    ],
)
def test_what_a_form_cannot_do_is_said(cloud, post, action, form, said):
    cloud.queues.create("orders")
    status, location = post(action, **form)
    assert status == 303
    assert said in location


def test_a_form_of_another_page_is_refused(cloud, post):
    cloud.queues.create("orders")
    assert post("reset", token="guessed")[0] == 403
    assert post("reset", token="")[0] == 403
    assert "orders" in cloud.queues


def test_what_was_said_is_text(page):
    assert "<b>" not in page("?said=%3Cb%3Ebold")


def test_unknown_pages(cloud):
    with cloud.session() as session:
        assert session.get(f"{cloud.endpoint}/_console/none").status_code == 404
        assert session.get(f"{cloud.endpoint}/_console/../README.md").status_code == 404
        assert session.delete(f"{cloud.endpoint}/_console").status_code == 405


class Reader(HTMLParser):
    """What a browser makes of HTML: elements with their attributes, and text."""

    def __init__(self):
        super().__init__()
        self.elements, self.text = [], ""

    def handle_starttag(self, name, attributes):
        self.elements.append((name, attributes))

    def handle_data(self, data):
        self.text += data


def flat(parts):
    return parts if isinstance(parts, str) else "".join(map(flat, parts))


CARRIED = st.text(st.characters(exclude_categories=["Cs", "Cc"]))


@given(st.recursive(CARRIED, lambda inner: st.lists(inner, max_size=3), max_leaves=5), CARRIED)
def test_any_text_comes_back_as_it_was(parts, value):
    """Whatever it is, it makes one element, with one attribute and one text."""
    reader = Reader()
    reader.feed(str(tag("p", parts, title=value)))
    reader.close()
    assert reader.elements == [("p", [("title", value)])]
    assert reader.text == flat(parts)


def test_a_reset_forgets_what_is_shown(cloud, page):
    cloud.queues.create("orders").send("{}")
    assert 'id="m-' in page()
    cloud.reset()
    assert 'id="m-' not in page()


def test_ten_thousand_messages_cost_a_page_no_more_than_their_count(count_calls):
    """The page looks at each message's state, not at its body or history."""
    with alilocal.LocalCloud() as cloud, cloud.session() as session:
        queue = cloud.queues.create("orders")
        for _ in range(500):
            queue.send("{}")
        few = count_calls(lambda: session.get(f"{cloud.endpoint}/_console/live"))
        for _ in range(4500):
            queue.send("{}")
        many = count_calls(lambda: session.get(f"{cloud.endpoint}/_console/live"))
        assert (many - few) / 4500 < 20


def test_a_queue_that_feeds_a_function_is_offered_first(cloud, page):
    """Not the one whose name comes first, such as that of its dead letters."""
    for name in ("dead", "orders"):
        cloud.queues.create(name)
    EventStream(cloud, queue="orders", invoke=print)
    offered = re.search(r"<select name=\"queue\".*?</select>", page())[0]
    assert re.findall(r'value="(\w+)"', offered) == ["orders", "dead"]
