"""The console without a browser: its static files, the documents of its pages, and what its buttons call."""

import base64
import json
import re
from importlib.resources import files
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from localwire import Wire

import alilocal
from alilocal.control.delta import merge_patch
from alilocal.eventstream import EventStream
from alilocal.smq.message import Outgoing

HOSTILE = '<script>alert("x")</script>\'"&\ud800'
PATCH = "application/merge-patch+json"
STATIC = files("alilocal.control") / "static"


@pytest.fixture
def ask(cloud):
    with cloud.session() as session:

        def call(path="", **headers):
            return session.get(f"{cloud.endpoint}{path}", headers=headers)

        yield call


@pytest.fixture
def page(ask):
    """Return the document of a page of the console."""
    return lambda path="": ask(f"/_alilocal/console{path}").json()


@pytest.fixture
def call(cloud):
    """Call the API as the console's buttons and forms do."""
    with cloud.session() as session:

        def send(method, path, **fields):
            answer = session.request(method, f"{cloud.endpoint}/_alilocal/{path}", json=fields)
            return answer.status_code, answer.json()

        yield send


def test_the_page_is_safe(ask):
    """Nothing is loaded from outside, nothing is inline, and the browser lets no text become code."""
    answer = ask("/_console")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = answer.headers["Content-Security-Policy"]
    for rule in ("default-src 'none'", "script-src 'self'", "require-trusted-types-for 'script'"):
        assert rule in policy
    assert not re.search(r"<script(?![^>]*src=)|<style| style=| on\w+=|https?:", answer.text)
    scripts = "".join(one.read_text() for one in STATIC.iterdir() if one.name.endswith(".js"))
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|DOMParser|document\.write|\beval\b", scripts)


def test_every_file_of_the_page_is_served(ask):
    """All static files are in the package and served, and no script or page names another one."""
    names = {one.name for one in STATIC.iterdir()} - {"index.html"}
    for name in names:
        answer = ask(f"/_console/{name}")
        assert answer.content == (STATIC / name).read_bytes()
        assert answer.headers["Content-Type"].startswith(("text/css", "text/javascript"))
    text = "".join(one.read_text() for one in STATIC.iterdir())
    assert set(re.findall(r'(?:from "\./|="/_console/)([\w.]+)"', text)) == names


def test_without_scripts_the_page_names_other_ways(ask):
    """The page says where its data is, and which command shows it."""
    (hint,) = re.findall(r"<noscript>(.*?)</noscript>", ask("/_console").text, re.DOTALL)
    assert "/_alilocal/console" in hint
    assert "hpoq status" in hint


def test_what_is_hostile_is_data(cloud, ask, page):
    """Markup in a message, a type or a subject is a text of the JSON, and no browser takes that for a page."""
    cloud.queues.create("orders").send(json.dumps({"a": HOSTILE, "<b>": 1}))
    cloud.topics.create("results")
    cloud.topics.publish("results", Outgoing(json.dumps({"type": "<i>t</i>", "subject": "<u>"})))
    for path in ("", "/events"):
        answer = ask(f"/_alilocal/console{path}")
        assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    (row,) = page("/events")["sections"]["events"]["rows"].values()
    assert (row[0]["summary"], row[1]) == ("<i>t</i>", "<u>")


def test_numbers_that_json_does_not_know_are_texts(cloud, page):
    """What a function returns may have infinities; the document is JSON all the same."""
    sent = cloud.queues.create("orders").send("{}")
    result = SimpleNamespace(ok=True, body=f'{{"id": "{sent}", "loss": NaN, "rest": [Infinity]}}'.encode())
    assert EventStream(cloud, queue="orders", invoke=lambda _: result).step()
    assert page(f"/messages/{sent}")["message"]["results"][0]["value"]["loss"] == "nan"


def test_no_secret_of_a_message_is_shown(cloud, ask):
    secret = {
        "dlc_config": {"access_id": "AKIDXX", "access_key": "clear-key"},
        "url": "http://x?token=clear-token",
        "cmd": ["git clone https://me:clear-word@host/x", "curl 'http://x?n=1&token=clear-query&m=2'"],
        "run": "PASSWORD='token=1 clear-one clear-two' run --lr=0.1 --access_key=clear-option",
        "list": [
            "x --token clear-word --depth PASSWORD=clear-own",
            "curl -H 'Authorization: Bearer clear-key'",
        ],
    }
    sent = cloud.queues.create("orders").send(json.dumps(secret))
    cloud.queues["orders"].send("clear-text that is no JSON")
    shown = ask("/_alilocal/console").text + ask(f"/_alilocal/console/messages/{sent}").text
    for text in ("AKIDXX", "clear-"):
        assert text not in shown
    assert "n=1&token=********&m=2" in shown
    assert "--lr=0.1 --access_key=********" in shown


def test_no_secret_of_a_dead_letter_is_shown(cloud, ask):
    """The message stands in the event as text; JSON in it is masked at any depth, and other text is not shown."""
    for name in ("dead", "orders"):
        cloud.queues.create(name)
    secret = json.dumps({"name": "kept", "access_key": "clear-key"})
    bodies = [secret, base64.b64encode(secret.encode()).decode(), json.dumps({"text": secret})]
    bodies += [json.dumps(secret), "a text with a clear-key", json.dumps({"text": json.dumps(secret)})]
    sent = [cloud.queues["orders"].send(body) for body in bodies]
    stream = EventStream(
        cloud, queue="orders", invoke=lambda _: False, dead_letter_queue="dead", batch_size=len(bodies)
    )
    for _ in range(4):
        assert stream.step()
        cloud.clock.advance(20)
    letters = [one.message_id for one in cloud.queues["dead"].messages]
    assert len(letters) == len(bodies)
    pages = ["", "/dead-letters", *(f"/messages/{one}" for one in [*letters, *sent])]
    shown = "".join(ask(f"/_alilocal/console{page}").text for page in pages)
    assert "kept" in shown
    assert "clear-key" not in shown
    assert base64.b64encode(secret.encode()).decode() not in shown


def test_a_long_queue_is_shown_in_part(cloud, page):
    """The newest 100 messages are shown, and all of them are counted."""
    queue = cloud.queues.create("orders")
    for _ in range(300):
        queue.send("{}")
    shown = page()
    assert shown["messages"]["total"] == 300
    assert len(shown["messages"]["rows"]) == 100
    (card,) = (one for one in shown["pipeline"].values() if one["name"] == "orders")
    assert card["figures"]["active"] == 300


def test_forms_do_what_they_say(cloud, call):
    """The call of each form and button changes the cloud as it says."""
    queue = cloud.queues.create("orders")
    status, answer = call("POST", "queues/orders/messages", body='{\n"a": 1}')
    (message,) = queue.messages
    assert (status, answer["messageId"]) == (200, message.message_id)
    assert message.body == '{\n"a": 1}'
    (received,) = queue.receive(1)
    call("POST", f"messages/{message.message_id}/redeliver")
    assert queue.messages[0].state == "active"
    assert received.message_id == message.message_id
    call("POST", f"messages/{message.message_id}/send")
    assert len(queue.messages) == 2
    wanted = {"service": "smq", "operation": "SendMessage", "when": "after", "nth": 2, "times": None}
    _, fault = call("POST", "faults", kind="status", status=503, **wanted)
    (made,) = cloud.faults.all()
    assert (made.status, made.nth, made.times, made.when) == (503, 2, None, "after")
    call("DELETE", f"faults/{fault['id']}")
    assert cloud.faults.all() == []
    cloud.faults.add("reset")
    call("DELETE", "faults")
    assert cloud.faults.all() == []
    call("POST", "clock", advance=90)
    assert cloud.clock.advanced == 90
    call("POST", "reset")
    assert len(cloud.queues) == 0


@pytest.mark.parametrize(
    ("path", "fields", "said"),
    [
        ("queues/none/messages", {"body": "x"}, "queue name"),
        ("queues/orders/messages", {"body": ""}, "length"),
        ("faults", {"kind": "flood"}, "kind: must be one of"),
        ("faults", {"kind": "reset", "operation": "Nothing"}, "no such operation"),
        ("faults", {"kind": "reset", "lasting": "long"}, "lasting: must be a number"),
        ("clock", {"advance": -5}, "forward"),
        ("clock", {"advance": "soon"}, "a number of seconds"),
        ("messages/none/redeliver", {}, "none"),
        ("actions/paiautoml/stop", {"experiment": "none"}, "no such experiment"),
        ("actions/paiautoml/none", {}, "no action none"),
        ("actions/none/stop", {}, "no action stop"),
        ("queues/orders/messages/none/redrive", {}, "no message none"),
    ],
)
def test_a_form_reports_what_it_cannot_do(cloud, call, path, fields, said):
    """An invalid call changes nothing, and its error says what is wrong."""
    cloud.queues.create("orders")
    status, answer = call("POST", path, **fields)
    assert status in (400, 404)
    assert said in answer["error"]["message"]


def test_a_form_of_another_page_is_refused(cloud):
    """A page of another site can send forms, but not the content type that every change needs."""
    cloud.queues.create("orders")
    with cloud.session() as session:
        for path in ("/_alilocal/reset", "/_alilocal/actions/paiautoml/stop"):
            assert session.post(f"{cloud.endpoint}{path}", data={"a": "b"}).status_code == 415
            answer = session.post(f"{cloud.endpoint}{path}", json={}, headers={"Origin": "http://evil"})
            assert answer.status_code == 403
        assert session.post(f"{cloud.endpoint}/_console", data={}).status_code == 405
    assert "orders" in cloud.queues


def test_the_page_repeats_nothing_of_its_address(ask):
    """The page is the same file at every address; what an address says cannot become part of it."""
    assert ask("/_console?said=%3Cb%3Ebold&text=%3Cb%3E").content == (STATIC / "index.html").read_bytes()


def test_unknown_pages(cloud, ask):
    """Unknown paths are 404, and a person still gets a page; other methods are 405."""
    answer = ask("/_console/none")
    assert (answer.status_code, answer.headers["Content-Type"][:9]) == (404, "text/html")
    assert ask("/_alilocal/console/none").json()["error"]["code"] == "NotFound"
    assert ask("/_console/../README.md").status_code == 404
    for path in ("/messages/none", "/messages/", "/smq/x", "/paiautoml/experiment/x", "/none/x/y", "/%"):
        assert ask(f"/_console{path}").status_code == 404
    with cloud.session() as session:
        assert session.delete(f"{cloud.endpoint}/_console").status_code == 405


NAMES = st.sampled_from(["a", "b", "__proto__", "0"])
DOCUMENTS = st.recursive(
    st.integers(0, 2) | st.text(max_size=2) | st.lists(st.integers(0, 1), max_size=2),
    lambda inner: st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


def apply_patch(value, patch):
    """Return `value` changed by `patch`, by the algorithm of RFC 7396, section 2."""
    if not isinstance(patch, dict):
        return patch
    made = dict(value) if isinstance(value, dict) else {}
    for name, one in patch.items():
        if one is None:
            made.pop(name, None)
        else:
            made[name] = apply_patch(made.get(name), one)
    return made


@given(st.dictionaries(NAMES, DOCUMENTS, max_size=3), st.dictionaries(NAMES, DOCUMENTS, max_size=3))
def test_a_patch_makes_the_new_document_of_the_old_one(before, after):
    """A merge patch contains everything that changed, and is empty if nothing did."""
    assert apply_patch(before, merge_patch(before, after)) == after
    assert merge_patch(after, after) == {}


def test_what_a_caller_has_already_is_not_sent(cloud, ask):
    """A caller names its document, and gets 304, the difference, or everything if that document is unknown."""
    cloud.queues.create("orders").send("{}")
    path = "/_alilocal/messages"
    first = ask(path, Accept=PATCH)
    tag = first.headers["ETag"]
    assert first.headers["Content-Type"].startswith("application/json")
    assert (ask(path, **{"If-None-Match": tag}).status_code, ask(path).status_code) == (304, 200)
    page = ask("/_alilocal/console", Accept=PATCH)
    sent = cloud.queues["orders"].send("[]")
    second = ask("/_alilocal/console", Accept=PATCH, **{"If-None-Match": page.headers["ETag"]})
    assert second.headers["Content-Type"].startswith(PATCH)
    patch = second.json()
    assert set(patch) <= {"clock", "tabs", "pipeline", "messages"}
    assert list(patch["messages"]["rows"]) == [sent]
    assert len(second.content) < 800
    assert apply_patch(page.json(), patch)["messages"]["total"] == 2
    for headers in ({"If-None-Match": '"unknown"', "Accept": PATCH}, {"If-None-Match": page.headers["ETag"]}):
        assert "cloud" in ask("/_alilocal/console", **headers).json()


def test_a_reset_forgets_what_is_shown(cloud, page):
    """After a reset the page shows no old messages."""
    cloud.queues.create("orders").send("{}")
    assert page()["messages"]["rows"]
    cloud.reset()
    assert page()["messages"]["rows"] == {}
    assert page()["pipeline"].keys() == {"0"}


def test_ten_thousand_messages_cost_a_page_no_more_than_their_count(count_calls):
    """The page reads the state of every message, but bodies and histories only of the newest."""
    with alilocal.LocalCloud() as cloud, cloud.session() as session:
        queue = cloud.queues.create("orders")

        def read():
            return session.get(f"{cloud.endpoint}/_alilocal/console")

        for _ in range(500):
            queue.send("{}")
        few = count_calls(read)
        for _ in range(4500):
            queue.send("{}")
        many = count_calls(read)
        assert (many - few) / 4500 < 20
        assert count_calls(read) < many / 2, "histories were composed again although nothing has happened"


def test_a_queue_that_feeds_a_function_is_offered_first(cloud, page):
    """The form offers the queue of an event stream first, not the queue whose name sorts first."""
    for name in ("dead", "orders"):
        cloud.queues.create(name)
    EventStream(cloud, queue="orders", invoke=print)
    assert page()["queues"] == ["orders", "dead"]


def test_each_stream_stands_behind_its_queue(cloud, page):
    """Two streams of one queue, and one of another: every stream has a card, other queues come last."""
    for name in ("a-dead", "orders", "others"):
        cloud.queues.create(name)
    for name in ("orders", "others", "orders"):
        EventStream(cloud, queue=name, invoke=print)
    heads = [one["name"] for one in page()["pipeline"].values()]
    assert [one for one in heads if one.startswith(("a-", "o"))] == [
        "orders",
        "orders to the function",
        "others",
        "others to the function",
        "orders to the function",
        "a-dead",
    ]


def test_a_queue_shows_what_went_through_it(cloud, page):
    """Messages that are sent, received and removed are counted in spans of five seconds, for five minutes."""
    queue = cloud.queues.create("orders")
    for _ in range(3):
        queue.send("{}")
    (one, _) = queue.receive(2)
    queue.delete(one.receipt_handle)

    def spans():
        return [*page()["pipeline"]["1"]["spans"].values()]

    assert page()["pipeline"]["1"]["name"] == "orders"
    assert [sum(counts) for counts in zip(*spans(), strict=True)] == [3, 2, 1]
    cloud.clock.advance(20)
    queue.purge()
    assert spans()[-1] == [0, 0, 2]
    cloud.clock.advance(310)
    assert spans() == []
    cloud.load(cloud.snapshot())
    assert spans() == []


def invariants(page):
    """Return the counts of the badge: created twice, lost, still open, and all messages."""
    found = page()["messages"]["invariants"]
    return [found[name] for name in ("createdTwice", "lost", "open", "messages")]


def test_a_badge_says_if_something_was_lost_or_created_twice(cloud, page, call):
    """A function that creates again after a lost answer, and a message that is dropped, are an alarm."""
    queue = cloud.queues.create("orders")
    assert invariants(page) == [0, 0, 0, 0]

    def effect():
        found = page()["presets"]["The create's answer is lost"]["effect"]
        return [found[name] for name in ("injected", "waiting", "calls", "answersLost", "createdTwice")]

    assert effect() == [0, 0, 0, 0, 0]
    with cloud.session() as session:
        wire = Wire(cloud, session, cloud.endpoint)
        stream = EventStream(cloud, queue="orders", invoke=lambda _: wire.create().ok)
        call("POST", "faults", **page()["presets"]["The create's answer is lost"]["fault"])
        assert effect() == [1, 1, 0, 0, 0]
        queue.send("{}")
        assert stream.step()
        assert effect() == [1, 0, 1, 1, 0]
        assert invariants(page) == [0, 0, 1, 1]
        cloud.clock.advance(20)
        assert stream.step()
        assert invariants(page) == [1, 0, 0, 1]
        assert effect() == [1, 0, 1, 1, 1]
        cloud.faults.add("status", operation="CreateHpoExperiment", status=400, times=None)
        queue.send("{}")
        for _ in range(4):
            assert stream.step()
            cloud.clock.advance(20)
    assert invariants(page) == [1, 1, 0, 2]
    assert effect() == [1, 0, 1, 1, 1], "the other fault has its own effect"


def test_a_message_that_expires_in_its_queue_is_lost(cloud, page):
    """Nobody has deleted it, so it was not taken. One that was deleted before, or was acknowledged, is not lost."""
    queue = cloud.queues.create("orders", message_retention_period=3600)
    expired, taken = queue.send("1"), queue.send("2")
    queue.remove(taken)
    retried = cloud.queues.create("retried", message_retention_period=3600).send("3")
    stream = EventStream(cloud, queue="retried", invoke=lambda _: False, retry="EXPONENTIAL_DECAY_RETRY")
    assert stream.step()
    cloud.clock.advance(3601)
    shown = page("?queue=*")["messages"]
    states = {message_id: row["state"] for message_id, row in shown["rows"].items()}
    assert states == {expired: "expired", taken: "taken", retried: "expired"}
    assert shown["invariants"]["lost"] == 2
    document = page(f"/messages/{expired}")["message"]
    assert document["sentences"] == [
        "Its queue deleted it at the end of its retention period, after 0 deliveries."
    ]
    assert [step["word"] for step in document["steps"].values()] == ["enqueued", "expired"]


def test_a_fault_can_last_for_some_time(cloud, page, call):
    """With `lasting` it ends that many seconds later on the cloud's clock."""
    preset = page()["presets"]["Topics are down for a minute"]
    _, fault = call("POST", "faults", **preset["fault"])
    assert 55 < fault["until"] - cloud.clock.now() <= 60
    assert page()["presets"]["Topics are down for a minute"]["effect"]["waiting"] == 1
    cloud.clock.advance(61)
    assert page()["presets"]["Topics are down for a minute"]["effect"]["waiting"] == 0


def test_the_page_of_a_message_shows_what_the_function_returned(cloud, page):
    """The page shows only what names its message, not the rest of the batch; secrets are masked, also in copies."""
    queue = cloud.queues.create("orders")
    ids = [queue.send(json.dumps({"token": "clear", "n": n})) for n in range(2)]

    def run(event):
        rows = [{"id": one, "reasons": [{"where": "/n", "secret": "clear"}]} for one in ids]
        log = "".join(f"{json.dumps({'event': 'seen', 'of': one, 'token': 'clear'})}\n" for one in ids)
        return SimpleNamespace(ok=True, body=json.dumps({"rows": rows}).encode(), log=log)

    assert EventStream(cloud, queue="orders", invoke=run).step()
    shown = page(f"/messages/{ids[0]}")["message"]
    assert shown["sentences"] == ["The function acknowledged it, after 1 delivery."]
    assert shown["results"][0]["value"]["reasons"][0]["where"] == "/n"
    assert ids[1] not in json.dumps(shown)
    assert "clear" not in json.dumps(shown)
    (line,) = shown["log"].values()
    assert json.loads(line)["event"] == "seen"


def test_what_a_function_knows_of_a_message_comes_first(cloud, page):
    """The cloud's own sentence is replaced by those that the function's owner gives."""
    cloud.explain_message = lambda message_id, body: [f"{body} is fine.", "<b>Nothing</b> to do."]
    text = page(f"/messages/{cloud.queues.create('orders').send('{}')}")
    assert text["message"]["sentences"] == ["{} is fine.", "<b>Nothing</b> to do."]
    assert page("/messages/none")["error"]["code"] == "NotFound"


def dead_letters(page):
    """Return the dead letters that are shown, newest first: their queue, and the calls of their buttons."""
    rows = page("/dead-letters")["sections"]["dead-letters"]["rows"].values()
    return [(row[1], [button["path"] for button in row[-1]["buttons"]]) for row in rows]


def test_dead_letters_of_a_policy_are_sent_again_or_dropped(cloud, page, call):
    """A message that a policy moved goes back to its queue as it was; one that is dropped is gone."""
    for name in ("dead", "orders"):
        cloud.queues.create(name)
    cloud.queues["orders"].dead_letter("dead", 1)
    assert page()["tabs"]["dead-letters"] == {"title": "Dead letters", "count": 0}
    for body in ('{"n": 1}', '{"n": 2}'):
        cloud.queues["orders"].send(body)
    cloud.queues["orders"].receive(2)
    cloud.clock.advance(31)
    cloud.queues.bury_exhausted(cloud.queues["orders"])
    assert page()["tabs"]["dead-letters"]["count"] == 2
    (_, (redrive, _)), (queue, (_, drop)) = dead_letters(page)
    assert queue == "dead"
    status, answer = call("POST", redrive)
    (again,) = cloud.queues["orders"].messages
    assert (status, answer["queue"], answer["messageId"]) == (200, "orders", again.message_id)
    assert again.body == '{"n": 2}'
    assert call("DELETE", drop) == (200, {})
    assert call("DELETE", drop)[0] == 404
    assert cloud.queues["dead"].messages == []


def test_a_dead_letter_of_a_stream_is_sent_again_as_its_message(cloud, page, call):
    """The stream has put the event of the message there; its body goes back to the queue of the stream."""
    for name in ("dead", "orders"):
        cloud.queues.create(name)
    stream = EventStream(cloud, queue="orders", invoke=lambda _: False, dead_letter_queue="dead")
    cloud.queues["orders"].send('{"n": 1}')
    for _ in range(4):
        assert stream.step()
        cloud.clock.advance(20)
    ((_, (redrive, _)),) = dead_letters(page)
    assert call("POST", redrive)[1]["queue"] == "orders"
    assert [one.body for one in cloud.queues["orders"].messages] == ['{"n": 1}']


def test_a_dead_letter_that_cannot_be_sent_stays(cloud, page, call):
    """What the function's owner cannot read, and what the queue refuses, stays in the dead-letter queue."""
    for name in ("dead", "orders"):
        cloud.queues.create(name)
    cloud.queues["orders"].dead_letter("dead", 1)
    letter = cloud.queues["dead"].send('{"of": "the function"}')
    cloud.recover_message = lambda body, origin: [f"{body}!"] if "{" not in body else []
    path = f"queues/dead/messages/{letter}/redrive"
    status, answer = call("POST", path)
    assert (status, answer["error"]["message"]) == (
        400,
        f"the messages in the dead letter {letter} cannot be read",
    )
    cloud.recover_message = lambda body, origin: ["x" * 70_000]
    assert call("POST", path)[0] == 400
    assert [one.message_id for one in cloud.queues["dead"].messages] == [letter]
    cloud.recover_message = lambda body, origin: ["one", "two"]
    assert len(call("POST", path)[1]["messageIds"]) == 2
    assert [one.body for one in cloud.queues["orders"].messages] == ["one", "two"]
