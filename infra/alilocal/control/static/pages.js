// What a document of the API looks like. Every function returns elements; nothing here reads or changes the cloud.

import { parallel, plot, sparklines } from "./charts.js";
import { h } from "./dom.js";

const TONES = {
  done: "good", "given up": "bad", lost: "bad", expired: "bad", running: "busy", retrying: "busy",
  FINISHED: "good", SUCCEEDED: "good", RUNNING: "busy", EARLY_STOPPED: "busy", FAILED: "bad",
};
const OUTCOME_TONES = { created: "good", succeeded: "good", rejected: "bad", failed: "bad" };
const MOST_DEPTH = 6;

const empty = (text) => h("p", { class: "empty" }, text);
const code = (text) => h("code", {}, text);
const counted = (number, word, words = `${word}s`) => `${number} ${number === 1 ? word : words}`;
const badge = (text, tone) => h("span", { class: `badge ${tone || ""}`.trim() }, text);
const state = (text) => badge(text, TONES[text]);
const outcome = (text) => text && badge(text, OUTCOME_TONES[text]);
const newestFirst = (rows) => Object.entries(rows).reverse();

/** Return a time of day, with the date as its title. */
function moment(seconds) {
  const text = new Date(seconds * 1000).toISOString().slice(0, 19);
  return h("time", { datetime: `${text}Z`, title: `${text.replace("T", " ")} UTC` }, text.slice(11));
}

const duration = (seconds) => (seconds < 1 ? `${Math.round(seconds * 1000)} ms` : `${seconds.toFixed(2)} s`);

function section(id, title, shown, count, total) {
  const text = count === undefined ? "" : total > count ? ` newest ${count} of ${total}` : ` ${count}`;
  return h("section", { id, "aria-labelledby": `h-${id}` }, h("h2", { id: `h-${id}` }, title, h("span", { class: "quiet" }, text)), shown);
}

/** Return a table; a row is its id and its cells. The roles keep it a table where a narrow page shows blocks. */
function table(heads, rows) {
  const row = ([id, cells]) =>
    h("tr", { id, role: "row" }, cells.map((one, place) => h("td", { role: "cell", "data-label": heads[place] }, one)));
  const head = heads.map((name) => h("th", { scope: "col", role: "columnheader" }, name || h("span", { class: "hidden" }, "actions")));
  return h("table", { role: "table" },
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, head)),
    h("tbody", { role: "rowgroup" }, rows.map(row)));
}

/** Return a button that calls the API. `about` says to a screen reader what it is about. */
function button({ label, path, fields, method, notice, confirm }, id, about) {
  const call = { "data-path": path, "data-method": method, "data-fields": JSON.stringify(fields), "data-notice": notice };
  const name = about ? `${label}: ${about}` : null;
  return h("button", { type: "button", id, ...call, "data-confirm": confirm || null, "aria-label": name }, label);
}

const link = (path, shown, attributes) => h("a", { ...attributes, href: `/_console/${path}` }, shown);
const linkToMessage = (id) => link(`messages/${encodeURIComponent(id)}`, code(id), { id: `m-${id}` });

function choice(text, count, href, isChosen, kind = "true") {
  return h("a", { href, "aria-current": isChosen ? kind : null }, text, h("span", { class: "figure quiet" }, ` ${count}`));
}

/** Return the links to the tabs; `path` is that of the present page. */
export function tabs(page, path) {
  return Object.entries(page.tabs).map(([name, { title, count }]) =>
    choice(title, count, name ? `/_console/${name}` : "/_console", name === path, "page"));
}

/** Return the cloud's time, which the API gives in whole seconds. */
export function clock({ now, advanced }) {
  const ahead = advanced ? ` (+${Number(advanced.toPrecision(6))} s)` : "";
  return ["cloud time ", h("span", { class: "figure" }, moment(now)), ` UTC${ahead}`].map(
    (one) => (typeof one === "string" ? document.createTextNode(one) : one));
}

/** Return what the page at `path` shows. */
export function content(page, path) {
  const sections = Object.entries(page.sections || {}).map(([id, one]) => generic(id, one, page.title));
  if (page.message) return [back(), ...message(page, sections)];
  if (page.messages) return overview(page);
  const heading = path.includes("/") ? [back(), h("h2", { class: "heading" }, page.title)] : [];
  return [...heading, page.choices && faultForm(page.choices), ...sections].filter(Boolean);
}

/** Return what is shown where there is no page, and why. */
export const missing = (text) => [back(), section("missing", "Not found", empty(text))];

const back = () => h("p", {}, h("a", { href: "/_console" }, "Back to the console"));

// The first page.

function overview(page) {
  const { messages, presets, queues, sample, clock: { now } } = page;
  const forms = h("div", { class: "forms", id: "forms" },
    h("section", {}, h("h2", {}, "Send a message"), sendForm(queues, sample)),
    h("div", {},
      h("section", {}, h("h2", {}, "Inject a fault"), presetList(presets),
        h("p", { class: "quiet" }, link("faults", "Other faults"))),
      h("section", {}, h("h2", {}, "Advance the clock"), advanceForm())));
  return [invariants(messages.invariants), pipeline(page.pipeline, queues, now), forms, search(messages), messageList(messages)];
}

function invariants({ messages, createdTwice, lost, open }) {
  const tone = createdTwice || lost ? "bad" : "good";
  return h("p", { id: "invariants" }, `${counted(messages, "message")}: `,
    badge(`${createdTwice} created twice, ${lost} lost`, tone), ` ${open} still open`);
}

function pipeline(cards, queues, now) {
  const shown = Object.entries(cards).map(([place, { kind, name, figures, flows, spans }]) => {
    const rows = Object.entries(figures).map(([label, value]) => h("div", {}, h("dt", {}, label), h("dd", {}, String(value))));
    const depth = Object.values(figures).reduce((sum, one) => sum + one, 0);
    return h("article", { class: flows ? "card flows" : "card", id: `card-${place}` },
      h("p", { class: "quiet" }, kind), h("h3", {}, name), h("dl", {}, rows), spans && sparklines(spans, depth, now));
  });
  const hint = !queues.length && empty("No queue yet: create one with an SDK, or start with --queue NAME.");
  return section("pipeline", "Pipeline", h("div", { class: "cards" }, hint, shown));
}

function sendForm(queues, sample) {
  const options = queues.map((name) => h("option", { id: `q-${name}`, value: name }, name));
  return h("form", { "data-act": "send" },
    h("label", {}, "Queue ", h("select", { id: "queues", name: "queue" }, options)),
    h("label", {}, "Message", h("textarea", { id: "send-body", name: "body", rows: 8, spellcheck: "false" }, sample)),
    h("button", { type: "submit", id: "b-send" }, "Send"));
}

function advanceForm() {
  const reset = { label: "Reset the cloud", path: "reset", fields: {}, method: "POST", notice: "Everything was deleted",
    confirm: "Delete all queues, messages, experiments, tables, faults and switches?" };
  return h("form", { "data-act": "advance", class: "row" }, number("Seconds", "seconds", 60, 0, "any"),
    h("button", { type: "submit", id: "b-advance" }, "Advance"), button(reset, "b-reset"));
}

/** Return a button for each common fault, with what it did so far. */
function presetList(presets) {
  return h("ul", { id: "presets" }, Object.entries(presets).map(([label, { fault, effect }], place) => {
    const call = { label, path: "faults", fields: fault, method: "POST", notice: `Fault added: ${label}` };
    return h("li", {}, button(call, `b-fault-${place}`), h("span", { class: "effect quiet" }, describe(effect)));
  }));
}

function describe({ injected, waiting, calls, answersLost, createdTwice, lost }) {
  if (!injected) return "";
  if (!calls) return waiting ? "waits for a call" : "over, no call hit";
  const parts = [`${counted(calls, "call")} hit`, `${counted(answersLost, "answer")} lost`, `${createdTwice} created twice`,
    `${counted(lost, "message")} lost`, waiting && "still active"];
  return parts.filter(Boolean).join("; ");
}

function address(messages, changes) {
  const { queue, text, outcome: end } = { ...messages, ...changes };
  const given = Object.entries({ queue, text, outcome: end }).filter(([, value]) => value);
  return `/_console?${new URLSearchParams(given)}#messages`;
}

function search(messages) {
  const kept = ["queue", "outcome"].filter((name) => messages[name])
    .map((name) => h("input", { type: "hidden", name, value: messages[name] }));
  return h("form", { class: "search", id: "f-search", role: "search", action: "/_console" },
    h("label", {}, "Search in ids and bodies", h("input", { type: "search", id: "search", name: "text", value: messages.text })),
    kept, h("button", { type: "submit", id: "b-search" }, "Search"));
}

function messageList(messages) {
  const { queues, outcomes, rows, total } = messages;
  if (!queues["*"]) return section("messages", "Messages", empty("Nothing was sent yet. Send a message with the form above."));
  const { "*": every, ...named } = queues;
  const byQueue = [...Object.entries(named), ["*", every]].map(([name, count]) =>
    choice(name === "*" ? "all queues" : name, count, address(messages, { queue: name }), name === messages.queue));
  const byEnd = Object.entries(outcomes).sort().map(([end, count]) => {
    const isChosen = end === messages.outcome;
    return choice(end, count, address(messages, { outcome: isChosen ? "" : end }), isChosen);
  });
  const isAll = messages.queue === "*";
  const shown = Object.entries(rows).sort(([, one], [, other]) => other.time - one.time).map(([id, one]) => {
    const again = { label: "Deliver again", path: `messages/${encodeURIComponent(id)}/redeliver`, fields: {}, method: "POST",
      notice: "To be delivered again" };
    const named = h("span", {}, linkToMessage(id), " ", h("span", { class: "preview", dir: "auto" }, one.preview));
    const others = [moment(one.time), state(one.state), outcome(one.outcome), button(again, `b-r-${id}`, id)];
    return [`row-${id}`, isAll ? [named, one.queue, ...others] : [named, ...others]];
  });
  const heads = ["message", ...(isAll ? ["queue"] : []), "sent", "state", "outcome", ""];
  return section("messages", "Messages", [
    h("nav", { class: "choices", "aria-label": "Queue" }, byQueue),
    h("nav", { class: "choices", "aria-label": "Outcome" }, byEnd),
    shown.length ? table(heads, shown) : empty("No message matches."),
  ], shown.length, total);
}

// The page of a message.

function message({ title, message: one }, related) {
  const [first, ...rest] = one.sentences;
  const summary = section("summary", title, [
    h("p", { class: "lead" }, first),
    rest.map((text) => h("p", {}, text)),
    h("p", { class: "quiet" }, state(one.state), " ", outcome(one.outcome), " in ", code(one.queue), ", sent ", moment(one.time)),
  ]);
  const hint = "Delivered again, the message keeps its id and is a duplicate. Sent as new, it gets a new id.";
  const actions = h("section", { id: "actions", "aria-label": "Actions" },
    h("div", { class: "buttons" }, one.buttons.map((call) => button(call, `b-${call.path.split("/").at(-1)}`))),
    h("p", { class: "quiet" }, hint),
    copy("curl", "Copy as curl", one.curl), copy("replay", "Copy as replay file", one.event));
  return [summary, actions, timeline(one), results(one.results), ...related, log("log", "Log of its requests", one.log),
    section("body", "Message", pre(one.body))];
}

function timeline({ steps, time }) {
  const every = Object.values(steps);
  const rows = every.map((step, place) => {
    const end = every[place + 1];
    return [null, [
      h("span", { class: "figure" }, `+${duration(step.time - time)}`),
      h("b", { class: step.failed && "bad" }, step.word),
      [step.detail, !step.own && h("span", { class: "quiet" }, " (not in a delivery of this message)")],
      end && h("span", { class: "figure quiet" }, duration(end.time - step.time)),
    ]];
  });
  return section("timeline", "Timeline", table(["at", "step", "detail", "took"], rows));
}

function results(found) {
  if (!found.length) return section("result", "Result of the function", empty("The function has returned nothing that names this message."));
  return section("result", "Result of the function", found.map(({ attempt, time, value }) =>
    h("article", {}, h("p", { class: "quiet" }, `attempt ${attempt}, `, moment(time)), structure(value))));
}

/** Return JSON as a table or a list of names and values; what is nested too deeply stays JSON. */
function structure(value, depth = 0) {
  if (value === null || value === undefined) return null;
  if (typeof value === "string") return h("span", { dir: "auto" }, value);
  if (typeof value !== "object" || depth >= MOST_DEPTH) return code(JSON.stringify(value));
  if (!Array.isArray(value)) {
    const pairs = Object.entries(value).filter(([, one]) => one !== null);
    return h("dl", { class: "facts" }, pairs.map(([name, one]) => h("div", {}, h("dt", {}, name), h("dd", {}, structure(one, depth + 1)))));
  }
  if (value.length && value.every((one) => one && typeof one === "object" && !Array.isArray(one))) {
    const heads = [...new Set(value.flatMap(Object.keys))];
    return table(heads, value.map((one) => [null, heads.map((name) => structure(one[name], depth + 1))]));
  }
  return h("ul", {}, value.map((one) => h("li", {}, structure(one, depth + 1))));
}

function copy(name, label, text) {
  return text && h("details", { id: `d-${name}` }, h("summary", {}, label),
    h("button", { type: "button", "data-copy": `copy-${name}`, hidden: !navigator.clipboard }, "Copy"), pre(text, `copy-${name}`));
}

const pre = (text, id) => h("pre", { id, tabindex: 0, dir: "auto" }, text);

function log(id, title, lines) {
  const text = Object.values(lines).join("\n");
  return section(id, title, text ? pre(text) : empty("There are no log lines of this message."));
}

// All other pages: tables, charts and logs of services, dead letters, faults, requests.

function generic(id, one, about) {
  if (one.plot) return section(id, one.title, plot(one.plot));
  if (one.parallel) return section(id, one.title, parallel(one.parallel));
  if (one.lines) return section(id, one.title, pre(Object.values(one.lines).join("\n") || "empty"));
  const rows = newestFirst(one.rows);
  if (!rows.length) return section(id, one.title, empty(one.empty));
  const shown = rows.map(([number, cells]) => [`${id}-${number}`, cells.map((value) => cell(value, nameOf(cells) || about))]);
  const clear = id === "faults" && button({ label: "Clear all", path: "faults", fields: {}, method: "DELETE", notice: "All faults removed" }, "b-clear");
  return section(id, one.title, [table(one.heads, shown), clear], rows.length, one.total);
}

/** Return what a row is about: the text of its first link, body or text. */
const nameOf = ([first]) => (typeof first === "string" ? first : first.link || first.summary);

function cell(value, about) {
  if (typeof value === "string") return value && h("span", { dir: "auto" }, value);
  if (value.code) return h("span", {}, value.code.map((text) => [code(text), " "]));
  if ("badge" in value) return badge(value.badge, value.bad ? "bad" : TONES[value.badge]);
  if ("time" in value) return moment(value.time);
  if (value.path) return link(value.path, code(value.link));
  if ("body" in value) return h("details", { id: value.id }, h("summary", {}, value.summary), pre(value.body));
  return h("div", { class: "buttons" }, value.buttons.map((one) =>
    button(one, `b-${[one.path, ...Object.values(one.fields)].join("-")}`, about)));
}

function faultForm({ kinds, services, operations }) {
  const plain = (names) => names.map((name) => [name, name.replaceAll("_", " ")]);
  return h("section", { class: "panel", id: "inject" }, h("h2", {}, "Inject a fault"),
    h("form", { "data-act": "fault" },
      h("div", { class: "grid" },
        select("Kind", "kind", plain(kinds)),
        select("Service", "service", [["", "any"], ...services.map((name) => [name, name])]),
        h("label", {}, "Operation", h("input", { name: "operation", list: "operations", placeholder: "any", autocomplete: "off" })),
        h("datalist", { id: "operations" }, operations.map((value) => h("option", { value }))),
        select("When", "when", [["before", "before it arrives"], ["forwarded", "after the gateway checked it"], ["after", "after the service acted"]]),
        number("From call", "nth", 1, 1), number("Times", "times", 1, 1, "1", "empty: always"),
        number("Probability", "probability", 1, 0, "any"), number("Status", "status", null, 200, "1", "status, foreign"),
        number("Seconds", "seconds", null, 0, "any", "stall, late, copy, drip")),
      h("button", { type: "submit", id: "b-fault" }, "Inject")));
}

function select(label, name, options) {
  return h("label", {}, label, h("select", { name }, options.map(([value, text]) => h("option", { value }, text))));
}

function number(label, name, value, min, step = "1", placeholder = null) {
  return h("label", {}, label, h("input", { type: "number", name, value, min, step, placeholder }));
}
