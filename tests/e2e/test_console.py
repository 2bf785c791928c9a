"""The console in a real browser: it shows what the APIs return, by keyboard, in the dark and on a phone."""

import json
import os
import shutil
import time
from pathlib import Path
from urllib.parse import quote

import pytest
import requests

import alilocal
from alilocal.eventstream import EventStream
from alilocal.smq.message import Outgoing
from hpoq.function import Function
from hpoq.settings import Settings
from hpoq.testing import FakeClock, smq_event
from hpoqctl.local import explain_with, recover_with
from hpoqctl.pipeline import (
    DEAD_LETTER_QUEUE,
    QUEUE,
    TIMEOUT_SECONDS,
    TOPIC,
    create_function,
    create_pipeline,
    local_store_url,
    make_environment,
)
from support.budget import sample_by_default
from support.deployment import tablestore_url
from support.request import REQUEST, request
from support.trials import local_configuration, run_config, start, wait_for

ROOT = Path(__file__).parents[2]
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def unavailable(what):
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="module")
def browser():
    """Chromium; its driver keeps a thread of its own for the module."""
    program = os.environ.get("TEST_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        unavailable("Chromium is not installed")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        unavailable("playwright is not installed: pip install -e '.[browser]'")
    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=program, args=QUIET)
        yield running
        running.close()


def visit(page, url):
    """Open a page of the console, and wait until it shows its document."""
    page.goto(url)
    page.locator("main > section").first.wait_for()


class Pipeline:
    """A cloud on a port, with hpoq behind an event stream that the test drives."""

    def __init__(self, server):
        self.server, self.cloud = server, server.cloud
        create_pipeline(self.cloud)
        store = tablestore_url(server)
        self.function = Function(
            make_environment(self.cloud, server.url, store), session=self.cloud.session()
        )
        self.settings = Settings.from_environment(make_environment(self.cloud, server.url, store))
        self.cloud.explain_message = explain_with(self.cloud, self.settings)
        self.stream = EventStream(
            self.cloud, queue=QUEUE, invoke=self.run, batch_size=1, dead_letter_queue=DEAD_LETTER_QUEUE
        )

    def run(self, event):
        from fcruntime import Fc3Context
        from fcruntime.context import FunctionInfo

        return self.function.handle(event, Fc3Context("r", FunctionInfo(timeout=300)))

    def api(self, path):
        return requests.get(f"{self.server.url}/_alilocal/{path}", timeout=60).json()


@pytest.fixture
def pipeline(request):
    """A `Pipeline` by the machine's clock, or by one that stands still if the parameter of the fixture is True."""
    clock = FakeClock(time.time()) if getattr(request, "param", False) else None
    with alilocal.LocalCloud(clock=clock) as cloud, alilocal.serve(cloud=cloud) as server:
        made = Pipeline(server)
        yield made
        made.function.close()


class Tab:
    """A page of the browser, and what went wrong in it. Each has a process, so tests share one if they can."""

    def __init__(self, browser, **options):
        self.page, self.problems = browser.new_context(**options).new_page(), []
        self.page.on("console", lambda message: self.problems.append(message.text))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))

    def clear(self):
        """Leave the console, forget what was set, and return what went wrong."""
        self.page.unroute_all()
        self.page.goto("about:blank")
        # The browser itself logs every answer that is an error, also those that a test asks for.
        found = [one for one in self.problems if "the server responded with a status of 4" not in one]
        self.problems.clear()
        return found


@pytest.fixture(scope="module")
def tab(browser):
    """The tab that tests share, one after the other. The console of each has an origin of its own."""
    return Tab(browser)


@pytest.fixture
def open_console(browser, tab, pipeline):
    """Opens a page of the console; at the end nothing may have gone wrong in it."""
    opened = []

    def go(path="", **options):
        opened.append(Tab(browser, **options) if options or opened else tab)
        if options.get("java_script_enabled", True):
            visit(opened[-1].page, f"{pipeline.server.url}/_console{path}")
        return opened[-1].page

    yield go
    problems = [problem for one in opened for problem in one.clear()]
    for one in opened:
        if one is not tab:
            one.page.context.close()
    assert problems == []


def figures(page, card):
    """Return the counters of a card of the pipeline."""
    heading = page.get_by_role("heading", name=card, exact=True)
    found = page.locator("#pipeline article").filter(has=heading)
    names, values = (found.locator(element).all_inner_texts() for element in ("dt", "dd"))
    return dict(zip(names, map(int, values), strict=True))


def test_a_request_is_sent_and_followed_by_keyboard(open_console, pipeline):
    """A message is followed from the form to its published event; the page shows what the APIs return."""
    page = open_console()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.name") == "body":
            break
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(REQUEST)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.locator("#notice", has_text="Sent to").wait_for()
    page.locator("#messages td", has_text="active").wait_for()
    (row,) = pipeline.api("messages")["messages"]
    assert row["messageId"] in page.locator("#messages tbody").inner_text()
    assert figures(page, QUEUE)["active"] == 1
    assert pipeline.stream.step()
    page.locator("#messages .badge", has_text="created").wait_for()
    page.locator("#messages td a").focus()
    page.keyboard.press("Enter")
    page.locator("#timeline").wait_for()
    steps = page.locator("#timeline b").all_inner_texts()
    assert steps == [step["word"] for step in pipeline.api(f"messages/{row['messageId']}")["steps"]]
    assert [word for word in steps if word != "saved"] == [
        "enqueued",
        "delivered, attempt 1",
        "claimed",
        "created",
        "published",
        "sent",
        "acknowledged",
    ]
    (experiment,) = pipeline.api("experiments")["experiments"]
    page.get_by_role("link", name="Back to the console").click()
    page.get_by_role("navigation", name="Sections").get_by_role("link", name="Experiments").click()
    shown = page.locator("#experiments tbody").inner_text()
    assert experiment["experimentId"] in shown
    assert f"{experiment['tags'][0][0]}={experiment['tags'][0][1]}" in shown
    (event,) = pipeline.api(f"topics/{TOPIC}/messages")["messages"]
    visit(page, f"{pipeline.server.url}/_console/events")
    page.locator("#events summary").click()
    assert json.loads(page.locator("#events pre").inner_text())["id"] == json.loads(event["body"])["id"]
    visit(page, f"{pipeline.server.url}/_console/requests")
    last = pipeline.api("requests")["requests"][-1]
    assert last["operation"] in page.locator("#requests tbody tr").first.inner_text()


def test_a_message_has_a_page_that_says_why(open_console, pipeline):
    """The page shows the sentences of `hpoq status`, violations, steps and the event, at a permanent link."""
    message_id = pipeline.cloud.queues[QUEUE].send('{"experiment": {"token": "clear-token"}}')
    assert pipeline.stream.step()
    page = open_console()
    page.get_by_role("link", name=message_id).click()
    assert page.url.endswith(f"/_console/messages/{message_id}")
    assert "ended as rejected, and its event was published" in page.locator("#summary .lead").inner_text()
    assert "The producer must change:" in page.locator("#summary").inner_text()
    assert "unknown-member" in page.locator("#result table").inner_text()
    assert page.locator("#events summary").count() == 1
    words = page.locator("#timeline b").all_inner_texts()
    assert words[0] == "enqueued"
    assert words[-1] == "acknowledged"
    page.get_by_text("Copy as curl").click()
    assert f"/_alilocal/queues/{QUEUE}/messages" in page.locator("#copy-curl").inner_text()
    page.get_by_text("Copy as replay file").click()
    (event,) = json.loads(page.locator("#copy-replay").inner_text())
    assert event["data"]["messageId"] == message_id
    assert "clear-token" not in page.content()


def test_a_message_is_delivered_again_and_sent_as_new(open_console, pipeline):
    """Delivered again it keeps its id and makes no second experiment; sent as new it makes one."""
    message_id = pipeline.cloud.queues[QUEUE].send(REQUEST)
    assert pipeline.stream.step()
    page = open_console(f"/messages/{message_id}")
    page.get_by_role("button", name="Deliver again").click()
    page.locator("#notice", has_text="To be delivered again").wait_for()
    assert [one.message_id for one in pipeline.cloud.queues[QUEUE].messages] == [message_id]
    assert pipeline.stream.step()
    page.locator("#result dd", has_text="duplicate").wait_for()
    assert page.locator("#timeline .bad").count() == 0
    assert page.locator("#experiments tbody tr").count() == 1
    assert [row["messageId"] for row in pipeline.api(f"messages?queue={QUEUE}")["messages"]] == [message_id]
    assert len(pipeline.api("experiments")["experiments"]) == 1
    page.get_by_role("button", name="Send as new").click()
    page.locator("#notice", has_text="Sent as new").wait_for()
    assert pipeline.stream.step()
    assert len(pipeline.api("experiments")["experiments"]) == 2
    visit(page, f"{pipeline.server.url}/_console")
    assert page.locator("#messages tbody tr").count() == 2


def test_a_duplicate_is_not_a_failure_and_shows_the_first_message(open_console, pipeline):
    """Of two messages with one key the second shows the same experiment; the first one's steps are marked."""
    body = json.dumps({**json.loads(REQUEST), "idempotencyKey": "one"})
    _, second = (pipeline.cloud.queues[QUEUE].send(body) for _ in range(2))
    assert [pipeline.stream.step(), pipeline.stream.step()] == [True, True]
    page = open_console(f"/messages/{second}")
    assert page.locator("#result dd", has_text="duplicate").count() == 1
    assert page.locator("#experiments tbody tr").count() == 1
    assert page.locator("#timeline .bad").count() == 0
    marked = page.locator("#timeline tr", has_text="not in a delivery of this message")
    assert marked.locator("b").all_inner_texts()[:2] == ["claimed", "created"]
    own = page.locator("#timeline tr", has_not_text="not in a delivery of this message").locator("b")
    assert own.all_inner_texts()[:2] == ["enqueued", "delivered, attempt 1"]
    assert own.last.inner_text() == "acknowledged"


@pytest.mark.in_ci
def test_a_held_lease_is_not_a_failure(open_console, pipeline):
    """While another delivery holds the claim, the message is shown as one to retry, not as failed."""
    pipeline.cloud.faults.add("reset", service="paiautoml", operation="CreateHpoExperiment")
    message_id = pipeline.cloud.queues[QUEUE].send(REQUEST)
    assert pipeline.stream.step()
    page = open_console(f"/messages/{message_id}")
    page.locator("#timeline b", has_text="to be retried").wait_for()
    assert page.locator("#timeline .bad").all_inner_texts() == ["CreateHpoExperiment"]
    assert page.locator("#summary .badge.busy").inner_text() == "retrying"


@pytest.mark.in_ci
def test_input_and_focus_survive_an_update(open_console, pipeline):
    """An update of the page keeps typed text and the focus."""
    message_id = pipeline.cloud.queues[QUEUE].send(REQUEST)
    page = open_console()
    page.locator("textarea").fill("half a reque")
    page.locator(f"#b-r-{message_id}").focus()
    pipeline.cloud.queues[QUEUE].send("[]")
    page.locator("#messages tbody tr").nth(1).wait_for()
    assert page.locator("textarea").input_value() == "half a reque"
    assert page.evaluate("document.activeElement.id") == f"b-r-{message_id}"
    page.locator("#pause").click()
    assert page.locator("#pause").get_attribute("aria-pressed") == "true"


def test_an_update_sends_only_what_changed(open_console, pipeline):
    """A page that is up to date gets little more than the clock; a new message brings its own section."""
    for number in range(100):
        pipeline.cloud.queues[QUEUE].send(json.dumps({"number": number, "text": "x" * 500}))
    page = open_console()

    def update(ready=lambda text: True):
        """Return the next answer that brings something new."""
        with page.expect_response(lambda answer: answer.status == 200 and ready(answer.text())) as got:
            pass
        return got.value.text()

    update()
    quiet = update()
    assert json.loads(quiet).keys() == {"clock"}
    assert len(quiet) < 100
    sent = pipeline.cloud.queues[QUEUE].send("[]")
    fresh = update(lambda text: sent in text)
    assert len(fresh) < 1500
    assert sent not in update()
    assert page.get_by_role("link", name=sent).count() == 1


@pytest.mark.in_ci
def test_an_open_event_stays_open(open_console, pipeline):
    """An event that is being read stays open when another one is published."""
    pipeline.cloud.topics.publish(TOPIC, Outgoing('{"type": "one"}'))
    page = open_console("/events")
    page.locator("#events summary").click()
    pipeline.cloud.topics.publish(TOPIC, Outgoing('{"type": "two"}'))
    page.locator("#events tbody tr").nth(1).wait_for()
    assert page.locator("#events details[open] summary").all_inner_texts() == ["one"]


def test_faults_clock_and_redelivery(open_console, pipeline):
    """A fault is injected and applied; after it is removed, the message is delivered again by hand."""
    page = open_console("/faults")
    page.locator("select[name=kind]").select_option("status")
    page.locator("select[name=service]").select_option("paiautoml")
    page.locator("input[name=operation]").fill("CreateHpoExperiment")
    page.locator("input[name=status]").fill("403")
    page.locator("input[name=times]").fill("")
    page.locator("#b-fault").click()
    page.locator("#faults td", has_text="CreateHpoExperiment").wait_for()
    pipeline.cloud.queues[QUEUE].send(REQUEST)
    assert pipeline.stream.step()
    page.locator("#faults td", has_text="1 of 1").wait_for()
    assert [fault["hits"] for fault in pipeline.api("faults")["faults"]] == [1]
    page.locator("#b-clear").click()
    page.locator("#faults", has_text="None.").wait_for()
    visit(page, f"{pipeline.server.url}/_console")
    page.locator("#messages .badge", has_text="retrying").wait_for()
    assert figures(page, f"{QUEUE} to the function") == {
        "running": 0,
        "waiting for retry": 1,
        "succeeded": 0,
        "not succeeded": 1,
    }
    page.get_by_label("Seconds").fill("30")
    page.locator("#b-advance").click()
    page.locator("#clock", has_text="+30 s").wait_for()
    assert pipeline.stream.step()
    page.locator("#messages .badge", has_text="created").wait_for()
    page.locator("#messages button").click()
    page.locator("#notice", has_text="To be delivered again").wait_for()
    assert pipeline.stream.step()
    assert len(pipeline.cloud.queues[QUEUE].messages) == 0


@pytest.mark.in_ci
def test_presets_inject_faults_and_nothing_is_lost(open_console, pipeline):
    """Each common fault has a button that shows its effect, and a badge says that nothing was created twice."""
    page = open_console()
    panel = page.locator("#presets")
    before = pipeline.cloud.clock.now()
    for label in panel.get_by_role("button").all_inner_texts():
        panel.get_by_role("button", name=label).click()
        page.locator("#notice", has_text="Fault added").wait_for()
        page.evaluate("document.getElementById('notice').textContent = ''")
    after, added = pipeline.cloud.clock.now(), pipeline.cloud.faults.list()
    assert [(one.kind, one.when, one.times) for one in added] == [
        ("reset", "after", 1),
        ("status", "before", 5),
        ("kill", "after", 1),
        ("status", "before", None),
    ]
    assert added[1].is_throttling
    assert before + 60 <= added[3].until <= after + 60
    pipeline.cloud.faults.restore(added[:1])
    pipeline.cloud.queues[QUEUE].send(REQUEST)
    assert pipeline.stream.step()
    lost = panel.get_by_role("listitem").filter(has_text="The create's answer is lost")
    lost.get_by_text("1 call hit; 1 answer lost; 0 created twice; 0 messages lost", exact=True).wait_for()
    assert panel.locator(".effect:not(:empty)").count() == 1
    page.locator("#invariants .good", has_text="0 created twice, 0 lost").wait_for()
    assert page.locator("#invariants").inner_text().startswith("1 message:")
    assert len(pipeline.api("experiments")["experiments"]) == 1


@pytest.mark.in_ci
def test_a_killed_instance_and_the_log_of_a_message(browser):
    """Killed after its create, an instance leaves one experiment; the page has the log lines of its own message."""
    with alilocal.serve() as server:
        cloud, url = server.cloud, server.url
        create_pipeline(cloud)
        store = local_store_url(f"127.0.0.1:{server.port}")
        function = create_function(cloud, make_environment(cloud, url, store))
        stream = EventStream(cloud, queue=QUEUE, invoke=function, batch_size=2)
        cloud.faults.add("kill", service="paiautoml", operation="CreateHpoExperiment", when="after")
        first = cloud.queues[QUEUE].send(REQUEST)
        assert stream.step()
        assert [one.result.error_type for one in function.invocations] == ["UnhandledInvocationError"]
        cloud.clock.advance(TIMEOUT_SECONDS + 60)
        assert stream.step()
        second, third = (cloud.queues[QUEUE].send(body) for body in (REQUEST, "[]"))
        assert stream.step()
        assert len(cloud.experiments) == 2
        page = browser.new_page()
        visit(page, f"{url}/_console")
        page.locator("#invariants .good", has_text="0 created twice, 0 lost").wait_for()
        visit(page, f"{url}/_console/messages/{first}")
        assert page.locator("#timeline .bad").all_inner_texts() == ["CreateHpoExperiment"]
        for own, other in ((second, third), (third, second)):
            visit(page, f"{url}/_console/messages/{own}")
            shown = page.locator("#log pre").inner_text()
            assert own in shown
            assert other not in shown
        page.close()


@pytest.mark.in_ci
def test_the_queue_selection_follows_the_queues(open_console, pipeline):
    """A queue that is made while the page is open can be chosen, and what is chosen stays."""
    page = open_console()
    page.locator("textarea").fill("half a reque")
    for name in ("other", "third"):
        pipeline.cloud.queues.create(name)
        page.locator("#queues option", has_text=name).wait_for(state="attached")
        page.locator("#queues").select_option("other")
    page.locator("#b-send").click()
    page.locator("#notice", has_text="Sent to other").wait_for()
    assert [one.body for one in pipeline.cloud.queues["other"].messages] == ["half a reque"]
    pipeline.cloud.reset()
    page.locator("#queues option").first.wait_for(state="detached")
    page.locator("#b-send").click()
    page.locator("#notice.bad", has_text="There is no queue yet").wait_for()
    assert page.locator("textarea").input_value() == "half a reque"


@pytest.mark.in_ci
def test_a_notice_is_visible_at_any_scroll_position(open_console, pipeline):
    """A notice is visible far down the page too; a failure looks different from a success."""
    for number in range(60):
        pipeline.cloud.queues[QUEUE].send(json.dumps({"number": number}))
    page = open_console(viewport={"width": 390, "height": 740})
    page.locator("#messages button").last.click()
    notice = page.locator("#notice", has_text="To be delivered again")
    notice.wait_for()
    assert page.evaluate("scrollY") > 740
    assert 0 <= notice.bounding_box()["y"] < 740
    assert page.locator("#notice.bad").count() == 0
    visit(page, f"{pipeline.server.url}/_console/faults")
    page.locator("select[name=when]").select_option("after")
    page.locator("#b-fault").click()
    page.locator("#notice.bad", has_text="refused connection").wait_for()
    assert pipeline.api("faults")["faults"] == []


@pytest.mark.in_ci
def test_an_update_does_not_move_what_is_read(open_console, pipeline):
    """New messages above the text that is being read do not move it."""
    sent = [pipeline.cloud.queues[QUEUE].send(json.dumps({"number": number})) for number in range(60)]
    page = open_console(viewport={"width": 1000, "height": 600})
    read = page.locator(f"#m-{sent[20]}")
    page.evaluate("(id) => document.getElementById(id).scrollIntoView()", f"m-{sent[20]}")
    before = read.bounding_box()["y"]
    for _ in range(5):
        pipeline.cloud.queues[QUEUE].send("[]")
    page.locator("#messages tbody tr").nth(64).wait_for()
    assert abs(read.bounding_box()["y"] - before) < 2


@pytest.mark.in_ci
def test_an_impatient_click_sends_once(open_console, pipeline):
    page, held = open_console(), []
    page.route("**/queues/*/messages", lambda route: held.append(route))
    with page.expect_request("**/queues/*/messages"):
        page.locator("#b-send").click()
    page.locator("#b-send").click()
    held[0].continue_()
    page.locator("#notice", has_text="Sent to").wait_for()
    assert len(held) == 1
    assert len(pipeline.api("messages")["messages"]) == 1


@pytest.mark.in_ci
def test_a_text_selection_survives_an_update(open_console, pipeline):
    """Selected text stays selected and unchanged while new messages arrive."""
    message_id = pipeline.cloud.queues[QUEUE].send(REQUEST)
    page = open_console()
    page.locator("#messages .preview").first.dblclick()
    selected = page.evaluate("String(getSelection())")
    pipeline.cloud.queues[QUEUE].send("[]")
    page.locator("#messages tbody tr").nth(1).wait_for()
    assert page.evaluate("String(getSelection())") == selected != ""
    visit(page, f"{pipeline.server.url}/_console/messages/{message_id}")
    page.locator("#summary .lead").click(click_count=3)
    selected = page.evaluate("String(getSelection())")
    assert pipeline.stream.step()
    page.locator("#timeline b", has_text="acknowledged").wait_for()
    assert page.evaluate("String(getSelection())") == selected
    page.evaluate("getSelection().removeAllRanges()")
    page.locator("#summary .lead", has_text="ended as created").wait_for()


@pytest.mark.in_ci
def test_helper_queues_do_not_crowd_out_messages(open_console, pipeline):
    """The pipeline's queue is shown first, others have a link each; a search and an outcome narrow it."""
    pipeline.cloud.queues[QUEUE].send(REQUEST)
    bad = pipeline.cloud.queues[QUEUE].send('{"experiment": {"needle": 1}}')
    while pipeline.stream.step():
        pass
    for number in range(1200):
        pipeline.cloud.queues["hpo-watch"].send(json.dumps({"number": number}))
    page = open_console()
    assert page.locator("#messages tbody tr").count() == 2
    page.get_by_role("navigation", name="Outcome").get_by_role("link", name="rejected").click()
    page.wait_for_url("**outcome=rejected**")
    page.locator("#messages h2", has_text="Messages 1").wait_for()
    assert page.locator("#messages td a").inner_text() == bad
    page.get_by_role("navigation", name="Queue").get_by_role("link", name="hpo-watch").click()
    page.locator("#messages", has_text="No message matches.").wait_for()
    visit(page, f"{pipeline.server.url}/_console")
    page.get_by_label("Search in ids and bodies").fill("NEEDLE")
    page.keyboard.press("Enter")
    page.wait_for_url("**/_console?text=NEEDLE*")
    page.locator("#messages h2", has_text="Messages 1").wait_for()
    assert page.locator("#messages tbody tr").count() == 1
    assert page.get_by_label("Search in ids and bodies").input_value() == "NEEDLE"
    second = pipeline.cloud.queues[QUEUE].send('{"a": "needle"}')
    page.get_by_role("link", name=second).wait_for()
    assert page.locator("#messages tbody tr").count() == 2


def test_messages_are_distinguishable(open_console, pipeline):
    """Messages show the start of their bodies, without secrets and without being interpreted as HTML."""
    pipeline.cloud.queues[QUEUE].send('{"name": "<b>one</b>", "token": "hidden"}')
    page = open_console()
    assert page.locator("#messages .preview").inner_text() == '{"name": "<b>one</b>", "token": "********"}'


def test_without_javascript_the_page_names_other_ways(open_console, pipeline):
    """Without JavaScript the page links to the JSON and names the command that shows the same."""
    page = open_console(java_script_enabled=False)
    page.goto(f"{pipeline.server.url}/_console")
    assert page.locator("#pause").is_hidden()
    assert "hpoq status" in page.locator("noscript").inner_text()
    page.get_by_role("link", name="/_alilocal/console").click()
    assert json.loads(page.locator("body").inner_text())["cloud"]["title"] == "alilocal"


def test_a_reset_asks_first(open_console, pipeline):
    """A reset deletes everything only after a confirmation; then the page says what to do next."""
    page = open_console()
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.locator("#b-reset").click()
    assert len(pipeline.cloud.queues) > 0
    page.once("dialog", lambda dialog: dialog.accept())
    page.locator("#b-reset").click()
    page.locator("#notice", has_text="Everything was deleted").wait_for()
    assert len(pipeline.cloud.queues) == 0
    page.locator("#pipeline .empty", has_text="No queue yet").wait_for()
    page.locator("#messages .empty", has_text="Nothing was sent yet").wait_for()


@pytest.mark.in_ci
def test_nothing_is_cut_off_at_any_width(open_console, pipeline):
    for body in (REQUEST, request(Name="x" * 3000), '{"long": "' + "x" * 3000 + '"}', "[]"):
        pipeline.cloud.queues[QUEUE].send(body)
        pipeline.stream.step()
    pipeline.cloud.faults.add("reset", service="paiautoml", operation="CreateHpoExperiment")
    page = open_console(viewport={"width": 320, "height": 740})
    message = page.locator("#messages td a").first.get_attribute("href").removeprefix("/_console")
    for path in ("", "/experiments", "/events", "/dead-letters", "/faults", "/requests", message):
        visit(page, f"{pipeline.server.url}/_console{path}")
        for summary in page.locator("summary").all():
            summary.click()
        for width in (1280, 800, 360, 320):
            page.set_viewport_size({"width": width, "height": 740})
            assert page.evaluate("document.scrollingElement.scrollWidth") <= width, (path, width)


CONTRAST = """() => {
  const parse = (text) => text.match(/[0-9.]+/g).map(Number);
  const light = (rgb) => rgb.slice(0, 3).map((v) => v / 255)
    .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const back = (one) => {
    const own = parse(getComputedStyle(one).backgroundColor);
    return (own.length === 3 || own[3] > 0) || !one.parentElement ? own : back(one.parentElement);
  };
  const worst = [];
  for (const one of document.querySelectorAll("body *")) {
    const text = [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!text || !one.getClientRects().length) continue;
    const [a, b] = [light(parse(getComputedStyle(one).color)), light(back(one))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) worst.push([one.tagName, one.className, ratio]);
  }
  return worst;
}"""


@pytest.mark.in_ci
def test_text_has_enough_contrast_in_both_colour_schemes(open_console, pipeline):
    """Every text has the contrast that WCAG AA asks for."""
    pipeline.cloud.queues[QUEUE].send(REQUEST)
    pipeline.cloud.queues[QUEUE].send("[]")
    pipeline.cloud.queues[QUEUE].send("[]", delay_seconds=60)
    while pipeline.stream.step():
        pass
    page = open_console(color_scheme="light")

    def check(path):
        backgrounds = []
        for scheme in ("dark", "light"):
            page.emulate_media(color_scheme=scheme)
            assert page.evaluate(CONTRAST) == [], (path, scheme)
            backgrounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert len(set(backgrounds)) == 2

    assert page.locator("#messages .badge").count() > 3
    check("")
    pipeline.cloud.queues[DEAD_LETTER_QUEUE].send("[]")
    pipeline.cloud.faults.add("reset", service="paiautoml", operation="CreateHpoExperiment")
    message = page.locator("#messages td a").first.get_attribute("href").removeprefix("/_console")
    for path in ("/experiments", "/events", "/dead-letters", "/faults", "/requests", message):
        visit(page, f"{pipeline.server.url}/_console{path}")
        check(path)


def test_the_page_reports_that_the_cloud_has_stopped(browser):
    with alilocal.serve() as server:
        context = browser.new_context()
        page = context.new_page()
        visit(page, f"{server.url}/_console")
    page.locator("#notice", has_text="does not answer").wait_for()
    context.close()


def test_an_experiment_opens_to_trials_that_can_be_stopped(browser):
    """The list leads to an experiment's leaderboard and charts and to a trial's output; Stop ends running trials."""
    configuration = local_configuration(
        "echo accuracy=${x}; [ $NNI_TRIAL_SEQ_ID = 0 ] || sleep 1010", yml_config=run_config(2, 1)
    )
    with alilocal.LocalCloud(run_trials=True) as cloud, alilocal.serve(cloud=cloud) as server:
        experiment = start(cloud, configuration)
        wait_for(cloud, lambda: [one.status for one in experiment.trials] == ["SUCCEEDED", "RUNNING"])
        page, problems = browser.new_page(), []
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        visit(page, f"{server.url}/_console/experiments")
        page.get_by_role("link", name=experiment.experiment_id).click()
        page.get_by_role("img").nth(1).wait_for()
        page.locator("#leaderboard .badge", has_text="RUNNING").wait_for()
        page.locator("#leaderboard").get_by_role("link", name=experiment.trials[0].trial_id).click()
        page.locator("#log-stdout pre", has_text="accuracy=").wait_for()
        page.get_by_role("link", name=experiment.experiment_id).click()
        page.locator("#experiment").get_by_role("button", name="Stop").click()
        page.locator("#experiment .badge", has_text="USER_CANCELED").wait_for()
        page.locator("#leaderboard .badge", has_text="USER_CANCELED").wait_for()
        assert experiment.status == "USER_CANCELED"
        page.close()
        assert problems == []


HOSTILE = (
    "<script>document.title = 'owned'</script>",
    "</script><img src=x onerror=\"document.title = 'owned'\">",
    "javascript:document.title='owned'",
    "\"'><svg onload=document.title='owned'>&amp;",
    "\u202eright to left\u2066 \u05e9\u05dc\u05d5\u05dd",
    "__proto__",
)


def test_hostile_content_stays_text(open_console, pipeline):
    """Markup in a message, an event, a search or a trial is shown as text; it runs and loads nothing."""
    queues, sent = pipeline.cloud.queues, {}
    for text in HOSTILE:
        body = json.dumps({"experiment": {"Name": text, text: text}, "idempotencyKey": text, "text": text})
        sent[text] = queues[QUEUE].send(body)
        assert pipeline.stream.step()
        event = {"type": f"a.{text}", "subject": text, "data": {text: sent[text]}}
        pipeline.cloud.topics.publish(TOPIC, Outgoing(json.dumps(event)))
        queues[DEAD_LETTER_QUEUE].send(body)
    space = {text: {"_type": "choice", "_value": [text, "other"]} for text in HOSTILE}
    experiment = start(
        pipeline.cloud, local_configuration("echo", search_space=space, yml_config=run_config(2))
    )
    pipeline.cloud.clock.advance(100)
    page = open_console()
    asked = []
    page.on("request", lambda request: asked.append(request.url))

    def check(path):
        visit(page, f"{pipeline.server.url}/_console{path}")
        for summary in page.locator("summary").all():
            summary.click()
        assert page.locator("main script, main img, main svg[onload]").count() == 0
        assert page.locator("a[href^=javascript]").count() == 0
        assert page.title().endswith("alilocal")
        return page.locator("main").inner_text()

    for path in ("", "/events", "/dead-letters"):
        assert "<script>" in check(path)
    for text in sample_by_default(HOSTILE):
        assert json.dumps(text, ensure_ascii=False)[1:-1] in check(f"/messages/{sent[text]}")
    assert page.locator("#search").count() == 0
    check(f"?text={quote(HOSTILE[1])}")
    assert page.locator("#search").input_value() == HOSTILE[1]
    place = f"/paiautoml/experiment/{experiment.experiment_id}"
    assert HOSTILE[0] in check(place)
    assert HOSTILE[1] in check(f"{place}/trial/{experiment.trials[0].trial_id}")
    assert all(one.startswith(pipeline.server.url) for one in asked)


@pytest.mark.in_ci
def test_a_huge_result_does_not_break_the_page(open_console, pipeline):
    """A result of 200 kB in one word is shown, and the page stays as wide as it was."""
    word = "x" * 200_000
    stream = EventStream(pipeline.cloud, queue="hpo-watch", invoke=lambda event: {"id": sent, "word": word})
    sent = pipeline.cloud.queues["hpo-watch"].send("{}")
    assert stream.step()
    page = open_console(f"/messages/{sent}", viewport={"width": 390, "height": 740})
    assert len(page.locator("#result dd").last.inner_text()) == 200_000
    assert page.evaluate("document.scrollingElement.scrollWidth") == 390


@pytest.mark.in_ci
def test_the_page_stays_fast_with_thousands_of_messages(open_console, pipeline):
    """Of 5,000 messages the newest are shown, an old one is found, and an update is small."""
    for number in range(1000):
        for name in (QUEUE, "hpo-watch", "a", "b", "c"):
            pipeline.cloud.queues.create(name) if name not in pipeline.cloud.queues else None
            pipeline.cloud.queues[name].send(json.dumps({"number": f"{name}-{number}"}))
    page = open_console()
    assert page.locator("#messages tbody tr").count() == 100
    assert page.locator("#messages h2").inner_text() == "Messages newest 100 of 1000"
    assert (
        page.get_by_role("navigation", name="Queue")
        .get_by_role("link", name="all queues")
        .inner_text()
        .endswith("5000")
    )
    page.get_by_label("Search in ids and bodies").fill(f'{QUEUE}-7"')
    page.keyboard.press("Enter")
    page.locator("#messages h2", has_text="Messages 1").wait_for()
    with page.expect_response(lambda answer: answer.status == 200) as got:
        pipeline.cloud.queues[QUEUE].send("[]")
    assert len(got.value.text()) < 2000


def test_dead_letters_are_shown_redriven_and_dropped(open_console, pipeline):
    """A tab lists dead letters; one goes back to its queue under its key, another is dropped after a confirmation."""
    pipeline.cloud.recover_message = recover_with(pipeline.cloud, pipeline.settings)
    for number in (1, 2):
        pipeline.cloud.queues[DEAD_LETTER_QUEUE].send(smq_event(f"M{number}", REQUEST).decode())
    unknown = pipeline.cloud.queues[DEAD_LETTER_QUEUE].send('{"no": "key", "token": "clear-token"}')
    page = open_console()
    page.get_by_role("navigation", name="Sections").get_by_role("link", name="Dead letters 3").click()
    page.locator("#dead-letters summary", has_text=unknown).click()
    assert "no" in page.locator("#dead-letters details[open] pre").inner_text()
    assert "clear-token" not in page.content()
    page.get_by_role("button", name=f"Redrive: {unknown}").click()
    page.locator("#notice.bad", has_text="cannot be read").wait_for()
    page.get_by_role("button", name="Redrive").last.click()
    page.locator("#notice", has_text="Sent again as").wait_for()
    page.locator("#dead-letters tbody tr").nth(2).wait_for(state="detached")
    assert pipeline.stream.step()
    assert [row["name"] for row in pipeline.api("experiments")["experiments"]] == [
        json.loads(REQUEST)["experiment"]["Name"]
    ]
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name=f"Drop: {unknown}").click()
    page.locator("#notice", has_text="Dropped").wait_for()
    page.locator("#content:focus").wait_for()
    assert len(pipeline.cloud.queues[DEAD_LETTER_QUEUE].messages) == 1


@pytest.mark.in_ci
@pytest.mark.parametrize("pipeline", [True], indirect=True, ids=["still"])
def test_a_queue_shows_its_depth_and_rates(open_console, pipeline):
    """A queue's recent rates are drawn with the present values, and are the same after a reload."""
    for _ in range(30):
        pipeline.cloud.queues[QUEUE].send("[]")
    assert [pipeline.stream.step() for _ in range(10)] == [True] * 10
    page = open_console()
    for _ in range(2):
        sparks = (
            page.locator("#pipeline article")
            .filter(has=page.get_by_role("heading", name=QUEUE, exact=True))
            .locator(".sparks p")
        )
        names = sparks.locator("span:first-child").all_inner_texts()
        values = dict(zip(names, sparks.locator(".figure").all_inner_texts(), strict=True))
        assert values["depth"] == "20"
        assert float(values["sent"].removesuffix("/s")) > float(values["deleted"].removesuffix("/s")) > 0
        assert sparks.locator("polyline").count() == 4
        page.reload()
        page.locator("#pipeline").wait_for()


@pytest.mark.in_ci
def test_two_streams_of_a_queue_keep_a_card_each(open_console, pipeline):
    """Cards with the same name stay separate when the page is updated."""
    EventStream(pipeline.cloud, queue=QUEUE, invoke=pipeline.run)
    page = open_console()
    for name in ("new", "newer"):
        pipeline.cloud.queues.create(name)
        page.get_by_role("heading", name=name, exact=True).wait_for()
        assert page.get_by_role("heading", name=f"{QUEUE} to the function").count() == 2


def test_the_page_is_accessible_to_screen_readers(open_console, pipeline):
    """The page has landmarks, one main heading, a live region, a marked current tab, and a name for every control."""
    pipeline.cloud.queues[QUEUE].send(REQUEST)
    assert pipeline.stream.step()
    page = open_console()
    assert page.get_by_role("banner").count() == page.get_by_role("main").count() == 1
    assert page.get_by_role("heading", level=1).inner_text() == "alilocal"
    assert page.get_by_role("status").get_attribute("id") == "notice"
    for path, tab in (("", "Messages"), ("/dead-letters", "Dead letters"), ("/faults", "Faults")):
        visit(page, f"{pipeline.server.url}/_console{path}")
        assert page.locator("#tabs [aria-current=page]").inner_text().startswith(tab)
        for control in page.locator("main :is(button, input:not([type=hidden]), select, textarea, a)").all():
            name = control.evaluate("one => one.ariaLabel || one.labels?.[0]?.innerText || one.innerText")
            assert name.strip(), control.evaluate("one => one.outerHTML")
    visit(page, f"{pipeline.server.url}/_console")
    assert page.get_by_role("table").get_by_role("columnheader").count() == 5


@pytest.mark.in_ci
def test_the_page_is_titled_after_what_was_started(open_console, pipeline):
    """The title of the browser tab names the cloud and the page."""
    pipeline.cloud.title = "hpoq demo"
    message_id = pipeline.cloud.queues[QUEUE].send("[]")
    page = open_console()
    assert (page.title(), page.locator("h1").inner_text()) == ("hpoq demo", "hpoq demo")
    visit(page, f"{pipeline.server.url}/_console/messages/{message_id}")
    assert page.title() == f"Message {message_id} - hpoq demo"


@pytest.mark.in_ci
def test_a_missing_page_is_explained(open_console, pipeline):
    """A link to a message that is too old leads to an explanation and to the other pages."""
    page = open_console()
    page.goto(f"{pipeline.server.url}/_console/messages/none")
    page.locator("main", has_text="There is no page messages/none").wait_for()
    page.get_by_role("link", name="Back to the console").click()
    page.locator("#pipeline").wait_for()


CHARTS = """async ([kind, chart]) => {
  const drawn = (await import("/_console/charts.js"))[kind](chart);
  return [drawn.textContent, [...drawn.querySelectorAll("circle")].map((one) => Number(one.getAttribute("cy"))),
    drawn.querySelectorAll("polyline").length];
}"""


def test_an_empty_chart_shows_a_hint(open_console):
    """Without values, a hint is shown instead of a chart."""
    page = open_console()
    nothing = {
        "label": "l",
        "across": "x",
        "points": [],
        "line": [],
        "axes": [],
        "lines": [],
        "empty": "nothing yet",
    }
    for kind in ("plot", "parallel"):
        assert page.evaluate(CHARTS, [kind, nothing])[0] == "nothing yet"


def test_charts_stay_within_their_box(open_console):
    """Points far from the line are drawn at the edge, and equal values make no division by zero."""
    page = open_console()
    points = {"label": "l", "across": "x", "points": [[1, 1e9], [2, -1e9], [3, 5]], "line": [[1, 5], [3, 5]]}
    _, heights, _ = page.evaluate(CHARTS, ["plot", points])
    assert len(heights) == 3
    assert all(0 <= one <= 240 for one in heights)
    axes = [{"name": "a", "ticks": [[0.5, "1"]]}, {"name": "metric", "ticks": [[0, "0"], [1, "1"]]}]
    lines = [{"label": "one", "shares": [0.5, 1]}, {"label": "two", "shares": [0.5, 0]}]
    assert page.evaluate(CHARTS, ["parallel", {"label": "l", "axes": axes, "lines": lines}])[2] == 2
