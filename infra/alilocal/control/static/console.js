// The page: reads its document from the API once a second, shows what changed, and carries out what one does.

import { morph } from "./dom.js";
import { clock, content, missing, tabs } from "./pages.js";

const path = location.pathname.replace(/^\/_console\/?|\/$/g, "");
const source = location.pathname.replace("/_console", "/_alilocal/console") + location.search;
const [main, notice, pause] = ["content", "notice", "pause"].map((id) => document.getElementById(id));
const busy = new WeakSet();
let page = null;
let tag = null;
let isPaused = false;
let isLost = false;
let reading = Promise.resolve();

function announce(text, failed = false) {
  notice.textContent = text;
  notice.classList.toggle("bad", failed);
}

/** Return `value` changed by a JSON merge patch (RFC 7396). */
function patched(value, patch) {
  if (patch === null || typeof patch !== "object" || Array.isArray(patch)) return patch;
  // Without a prototype, because a name in a document may be any text.
  const made = Object.assign(Object.create(null), value);
  for (const [name, one] of Object.entries(patch)) {
    if (one === null) delete made[name];
    else made[name] = patched(made[name], one);
  }
  return made;
}

/** Read what changed since the last time, one reading after another, and show it. */
function refresh() {
  reading = reading.catch(() => {}).then(read);
  return reading;
}

async function read() {
  const headers = { Accept: "application/merge-patch+json, application/json" };
  if (tag) headers["If-None-Match"] = tag;
  let answer, body;
  try {
    answer = await fetch(source, { headers, cache: "no-store" });
    body = answer.status === 304 ? null : await answer.json();
  } catch {
    isLost = true;
    announce("The cloud does not answer; the page may be out of date", true);
    return;
  }
  if (isLost) announce("The cloud answers again");
  isLost = false;
  if (!body) return;
  if (!answer.ok) {
    if (page) announce(body.error.message, true);
    else {
      document.title = document.getElementById("title").textContent = "Console";
      morph(main, missing(body.error.message));
    }
    return;
  }
  const isFirst = page === null;
  page = answer.headers.get("Content-Type").includes("merge-patch") ? patched(page, body) : body;
  tag = answer.headers.get("ETag");
  show();
  // The element that the address names was not there when the browser looked for it.
  if (isFirst && location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

function show() {
  const { title, region, accountId } = page.cloud;
  document.title = page.title ? `${page.title} - ${title}` : title;
  document.getElementById("title").textContent = title;
  document.getElementById("place").textContent = `region ${region}, account ${accountId}`;
  if (page.messages) Object.assign(document.getElementById("skip"), { hash: "#messages", textContent: "Skip to the messages" });
  morph(document.getElementById("clock"), clock(page.clock));
  morph(document.getElementById("tabs"), tabs(page, path));
  morph(main, content(page, path));
}

/** Call the API for a button or form, show what it did, and show it; `by` can do one thing at a time. */
async function act(by, method, place, body, done) {
  if (busy.has(by)) return;
  busy.add(by);
  // Clear the text first, so that screen readers announce the same text a second time.
  announce("");
  try {
    const headers = { "Content-Type": "application/json" };
    const answer = await fetch(`/_alilocal/${place}`, { method, headers, body: JSON.stringify(body) });
    const result = await answer.json();
    if (answer.ok) announce(result.notice || [done, result.messageId].filter(Boolean).join(": "));
    else announce(result.error.message, true);
  } catch {
    announce("The cloud does not answer", true);
  }
  busy.delete(by);
  await refresh();
  // A button that is gone with its row leaves the focus on the page, not nowhere.
  if (document.activeElement === document.body) main.focus({ preventScroll: true });
}

const FORMS = {
  send(form, { queue, body }) {
    if (!queue) announce("There is no queue yet: create one with an SDK, or start with --queue NAME.", true);
    else act(form, "POST", `queues/${encodeURIComponent(queue)}/messages`, { body }, `Sent to ${queue}`);
  },
  advance(form, { seconds }) {
    act(form, "POST", "clock", { advance: Number(seconds) }, `The clock was advanced by ${seconds} s`);
  },
  fault(form, fields) {
    const given = Object.entries(fields).filter(([, value]) => value !== "");
    const numbers = ["nth", "times", "probability", "status", "seconds"];
    const fault = Object.fromEntries(given.map(([name, value]) => [name, numbers.includes(name) ? Number(value) : value]));
    act(form, "POST", "faults", { times: null, ...fault }, `Fault added: ${fields.kind}`);
  },
};

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.dataset.act) return;
  event.preventDefault();
  FORMS[form.dataset.act](form, Object.fromEntries(new FormData(form)));
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  const { path: place, method, fields, notice: done, confirm: question, copy } = button.dataset;
  if (copy) await copyText(document.getElementById(copy));
  else if (place && (!question || confirm(question))) await act(button, method, place, JSON.parse(fields), done);
});

async function copyText(from) {
  announce("");
  try {
    await navigator.clipboard.writeText(from.textContent);
    announce("Copied");
  } catch {
    getSelection().selectAllChildren(from);
    announce("The browser does not allow copying; the text is selected instead", true);
  }
}

pause.hidden = false;
pause.addEventListener("click", () => {
  isPaused = !isPaused;
  pause.setAttribute("aria-pressed", String(isPaused));
  pause.textContent = isPaused ? "Continue" : "Pause";
});

(async function watch() {
  try {
    if (!page || !(isPaused || document.hidden)) await refresh();
  } finally {
    setTimeout(watch, 1000);
  }
})();
