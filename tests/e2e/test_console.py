"""The console in a real browser: what it shows is what the APIs say, with keys alone, in the dark, on a phone."""

import json
import os
import shutil
from pathlib import Path

import pytest
import requests

import alilocal
from alilocal.eventstream import EventStream
from hpoq.cli.cloud import DEAD_LETTER_QUEUE, QUEUE, TOPIC, environment, lay_out
from hpoq.function import Function

ROOT = Path(__file__).parents[2]
REQUEST = (ROOT / "events/requests/minimal.json").read_text()
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


class Pipeline:
    """A cloud on a port, with hpoq behind an event stream that the test drives."""

    def __init__(self, server):
        self.server, self.cloud = server, server.cloud
        lay_out(self.cloud)
        store = f"tablestore://127.0.0.1:{server.port}/hpoq?instance=local&scheme=http"
        self.function = Function(environment(self.cloud, server.url, store), session=self.cloud.session())
        self.stream = EventStream(
            self.cloud, queue=QUEUE, invoke=self.run, batch_size=1, dead_letter_queue=DEAD_LETTER_QUEUE
        )

    def run(self, event):
        from fcruntime import Fc3Context
        from fcruntime.context import FunctionInfo

        return self.function.handle(event, Fc3Context("r", FunctionInfo(timeout=300)))

    def api(self, path):
        return requests.get(f"{self.server.url}/_alilocal/{path}", timeout=10).json()


@pytest.fixture
def pipeline():
    with alilocal.serve() as server:
        made = Pipeline(server)
        yield made
        made.function.close()


@pytest.fixture
def open_console(browser, pipeline):
    """Opens the console; at the end nothing may have gone wrong in it."""
    opened = []

    def go(**options):
        context = browser.new_context(**options)
        page, problems = context.new_page(), []
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(f"{pipeline.server.url}/_console")
        opened.append((context, problems))
        return page

    yield go
    for context, problems in opened:
        context.close()
        assert problems == []


def figures(page, card):
    """The counters of a card of the pipeline."""
    heading = page.get_by_role("heading", name=card, exact=True)
    found = page.locator("#pipeline article").filter(has=heading)
    names, values = (found.locator(element).all_inner_texts() for element in ("dt", "dd"))
    return dict(zip(names, map(int, values), strict=True))


def test_a_request_is_sent_with_keys_alone_and_followed(open_console, pipeline):
    """From the form to the published event; everything that is shown is what the APIs say."""
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
    page.locator("#said", has_text="Sent to").wait_for()
    page.locator("#messages td", has_text="active").wait_for()
    (row,) = pipeline.api("messages")["messages"]
    assert row["messageId"] in page.locator("#messages tbody").inner_text()
    assert figures(page, QUEUE)["active"] == 1
    assert pipeline.stream.step()
    page.locator("#messages .badge", has_text="created").wait_for()
    page.locator("#messages summary").focus()
    page.keyboard.press("Enter")
    steps = page.locator("#messages details[open] li b").all_inner_texts()
    assert steps == [step["word"] for step in pipeline.api(f"messages/{row['messageId']}")["steps"]]
    assert [word for word in steps if word != "saved"] == [
        "enqueued",
        "delivered, attempt 1",
        "claimed",
        "created",
        "published",
        "acknowledged",
    ]
    (experiment,) = pipeline.api("experiments")["experiments"]
    shown = page.locator("#experiments tbody").inner_text()
    assert experiment["experimentId"] in shown
    assert f"{experiment['tags'][0][0]}={experiment['tags'][0][1]}" in shown
    (event,) = pipeline.api(f"topics/{TOPIC}/messages")["messages"]
    page.locator("#events summary").click()
    assert json.loads(page.locator("#events pre").inner_text())["id"] == json.loads(event["body"])["id"]
    last = pipeline.api("requests")["requests"][-1]
    assert last["operation"] in page.locator("#requests tbody tr").first.inner_text()


def test_what_one_does_survives_that_the_page_is_renewed(open_console, pipeline):
    """Text that is typed, what is open, and where the focus is."""
    message_id = pipeline.cloud.queues[QUEUE].send(REQUEST)
    page = open_console()
    page.locator("textarea").fill("half a reque")
    page.locator("#messages summary").click()
    page.locator(f"#b-r-{message_id}").focus()
    pipeline.cloud.queues[QUEUE].send("{}")
    page.locator("#messages tbody tr").nth(1).wait_for()
    assert page.locator("textarea").input_value() == "half a reque"
    assert page.locator(f"#m-{message_id}").get_attribute("open") is not None
    assert page.evaluate("document.activeElement.id") == f"b-r-{message_id}"
    page.locator("#pause").click()
    assert page.locator("#pause").get_attribute("aria-pressed") == "true"


def test_faults_clock_and_redelivery(open_console, pipeline):
    """A fault is injected, strikes, is seen to, and the message is delivered again by hand."""
    page = open_console()
    page.locator("select[name=kind]").select_option("status")
    page.locator("select[name=service]").select_option("paiautoml")
    page.locator("input[name=operation]").fill("CreateHpoExperiment")
    page.locator("input[name=status]").fill("403")
    page.locator("input[name=times]").fill("")
    page.locator("#b-fault").click()
    page.locator("#faults td", has_text="CreateHpoExperiment").wait_for()
    pipeline.cloud.queues[QUEUE].send(REQUEST)
    assert pipeline.stream.step()
    page.locator("#messages .badge", has_text="retrying").wait_for()
    page.locator("#faults td", has_text="1 of 1").wait_for()
    assert [fault["hits"] for fault in pipeline.api("faults")["faults"]] == [1]
    assert figures(page, f"{QUEUE} to the function") == {
        "under way": 0,
        "retries due": 1,
        "went well": 0,
        "failed": 1,
    }
    page.locator("#b-clear").click()
    page.locator("#faults", has_text="None.").wait_for()
    page.locator("form[action$=advance] input[name=seconds]").fill("30")
    page.locator("#b-advance").click()
    page.locator("#clock", has_text="+30 s").wait_for()
    assert pipeline.stream.step()
    page.locator("#messages .badge", has_text="created").wait_for()
    page.locator("#messages button").click()
    page.locator("#said", has_text="Sent anew").wait_for()
    assert pipeline.stream.step()
    page.locator("#messages tbody tr").nth(1).wait_for()
    assert len(pipeline.cloud.queues[QUEUE].messages) == 0


def test_the_choice_of_queues_follows_them(open_console, pipeline):
    """A queue that is made while the page is open can be chosen, and what is chosen stays."""
    page = open_console()
    page.locator("textarea").fill("half a reque")
    for name in ("other", "third"):
        pipeline.cloud.queues.create(name)
        page.locator("#queues option", has_text=name).wait_for(state="attached")
        page.locator("#queues").select_option("other")
    page.locator("#b-send").click()
    page.locator("#said", has_text="Sent to other").wait_for()
    assert [one.body for one in pipeline.cloud.queues["other"].messages] == ["half a reque"]
    pipeline.cloud.reset()
    page.locator("#queues option").first.wait_for(state="detached")
    page.locator("#b-send").click()
    page.locator("#said.bad", has_text="There is no queue yet").wait_for()
    assert page.locator("textarea").input_value() == "half a reque"


def test_what_is_said_is_seen_wherever_one_is(open_console, pipeline):
    """Far down the page too; what failed looks otherwise than what went well."""
    for number in range(60):
        pipeline.cloud.queues[QUEUE].send(json.dumps({"number": number}))
    page = open_console(viewport={"width": 390, "height": 740})
    page.locator("#messages button").last.click()
    said = page.locator("#said", has_text="Shown again")
    said.wait_for()
    assert page.evaluate("scrollY") > 740
    assert 0 <= said.bounding_box()["y"] < 740
    assert page.locator("#said.bad").count() == 0
    page.locator("select[name=when]").select_option("after")
    page.locator("#b-fault").click()
    page.locator("#said.bad", has_text="refused connection").wait_for()
    assert pipeline.api("faults")["faults"] == []


def test_what_is_read_stays_where_it_is(open_console, pipeline):
    """Messages that come in above it do not move it."""
    sent = [pipeline.cloud.queues[QUEUE].send(json.dumps({"number": number})) for number in range(60)]
    page = open_console(viewport={"width": 1000, "height": 600})
    read = page.locator(f"#m-{sent[20]}")
    read.locator("summary").click()
    page.evaluate("(id) => document.getElementById(id).scrollIntoView()", f"m-{sent[20]}")
    before = read.bounding_box()["y"]
    for _ in range(5):
        pipeline.cloud.queues[QUEUE].send("{}")
    page.locator("#messages tbody tr").nth(64).wait_for()
    assert abs(read.bounding_box()["y"] - before) < 2


def test_an_impatient_click_sends_once(open_console, pipeline):
    page, held = open_console(), []
    page.route("**/_console/send", lambda route: held.append(route))
    with page.expect_request("**/_console/send"):
        page.locator("#b-send").click()
    page.locator("#b-send").click()
    held[0].continue_()
    page.locator("#said", has_text="Sent to").wait_for()
    assert len(held) == 1
    assert len(pipeline.api("messages")["messages"]) == 1


def test_a_selection_keeps_only_its_own_section_as_it_is(open_console, pipeline):
    """What is being copied stays; the rest goes on."""
    pipeline.cloud.queues[QUEUE].send(REQUEST)
    page = open_console()
    page.locator("#messages code").first.dblclick()
    pipeline.cloud.queues[QUEUE].send("{}")
    pipeline.cloud.faults.add("reset")
    page.locator("#faults td", has_text="reset").wait_for()
    assert page.locator("#messages tbody tr").count() == 1
    page.evaluate("getSelection().removeAllRanges()")
    page.locator("#messages tbody tr").nth(1).wait_for()


def test_messages_can_be_told_apart(open_console, pipeline):
    """By how their bodies begin, without secrets and without becoming part of the page."""
    pipeline.cloud.queues[QUEUE].send('{"name": "<b>one</b>", "token": "hidden"}')
    page = open_console()
    assert page.locator("#messages .preview").inner_text() == '{"name": "<b>one</b>", "token": "********"}'
    page.locator("#messages summary").click()
    assert page.locator("#messages .preview").is_hidden()


def test_it_works_without_javascript(open_console, pipeline):
    """Forms lead back to the page, and a reset asks first."""
    page = open_console(java_script_enabled=False)
    assert page.locator("#pause").is_hidden()
    page.locator("textarea").fill(REQUEST)
    page.locator("#b-send").click()
    assert "Sent to hpo-requests" in page.locator("#said").inner_text()
    assert page.locator("#messages tbody tr").count() == 1
    page.get_by_text("Reset the cloud").click()
    assert len(pipeline.cloud.queues) > 0
    page.get_by_text("Forget everything", exact=True).click()
    assert "Everything is forgotten" in page.locator("#said").inner_text()
    assert len(pipeline.cloud.queues) == 0


@pytest.mark.parametrize("width", [320, 360, 800, 1280])
def test_nothing_is_cut_off_at_any_width(open_console, pipeline, width):
    for body in (REQUEST, '{"long": "' + "x" * 3000 + '"}', "{}"):
        pipeline.cloud.queues[QUEUE].send(body)
        pipeline.stream.step()
    pipeline.cloud.faults.add("reset", service="paiautoml", operation="CreateHpoExperiment")
    page = open_console(viewport={"width": width, "height": 740})
    for summary in page.locator("summary").all():
        summary.click()
    assert page.evaluate("document.scrollingElement.scrollWidth") <= width


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


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_schemes(open_console, pipeline, scheme):
    """Every text has the contrast that WCAG AA asks for."""
    pipeline.cloud.queues[QUEUE].send(REQUEST)
    pipeline.cloud.queues[QUEUE].send("{}")
    pipeline.cloud.queues[QUEUE].send("{}", delay_seconds=60)
    while pipeline.stream.step():
        pass
    page = open_console(color_scheme=scheme)
    page.locator("#messages summary").first.click()
    assert page.locator("#messages .badge").count() > 3
    assert page.evaluate(CONTRAST) == []


def test_it_says_that_the_cloud_is_gone(browser):
    with alilocal.serve() as server:
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"{server.url}/_console")
    page.locator("#said", has_text="does not answer").wait_for()
    context.close()
