"use strict";
// Without this script the console works by loading anew. With it, what changes is replaced once a second.
(() => {
  const said = document.getElementById("said");
  const pause = document.getElementById("pause");
  if (!pause) return;
  let paused = false;
  let lost = false;

  const openOnes = (root) => new Set([...root.querySelectorAll("details[open]")].map((one) => one.id));

  function selecting(one) {
    const selection = document.getSelection();
    return selection && !selection.isCollapsed && selection.containsNode(one, true);
  }

  function tell(text, failed) {
    said.textContent = text;
    said.classList.toggle("bad", failed);
  }

  function replace(old, fresh) {
    const open = openOnes(old);
    for (const one of fresh.querySelectorAll("details")) one.open = open.has(one.id);
    if (old.innerHTML === fresh.innerHTML || selecting(old)) return;
    const chosen = old.value;
    const focused = old.contains(document.activeElement) ? document.activeElement : null;
    const key = focused && (focused.id || (focused.closest("[id]") || {}).id);
    const inner = focused && focused.matches("summary, pre") ? focused.localName : null;
    const scrolls = new Map([...old.querySelectorAll("details[open] pre")].map((one) => [one.closest("details").id, one.scrollTop]));
    // What is being read stays where it is when something comes in above it.
    const top = (one) => one.getBoundingClientRect().top;
    const read = top(old) < 0 && [...old.querySelectorAll("details")].find((one) => one.getBoundingClientRect().bottom > 0);
    const stood = read && top(read);
    old.replaceChildren(...fresh.childNodes);
    const stands = read && document.getElementById(read.id);
    if (stands) scrollBy(0, top(stands) - stood);
    if (chosen && [...old.children].some((one) => one.value === chosen)) old.value = chosen;
    for (const [id, top] of scrolls) {
      const one = document.getElementById(id);
      if (one) one.querySelector("pre").scrollTop = top;
    }
    if (!key) return;
    const again = document.getElementById(key);
    if (again) (inner ? again.querySelector(inner) : again).focus({ preventScroll: true });
  }

  async function refresh() {
    try {
      const answer = await fetch("/_console/live", { cache: "no-store" });
      if (!answer.ok) throw new Error(answer.status);
      const parsed = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const fresh of parsed.querySelectorAll("[data-live]")) {
        const old = document.getElementById(fresh.id);
        if (old) replace(old, fresh);
      }
      if (lost) tell("The cloud is back", false);
      lost = false;
    } catch {
      lost = true;
      tell("The cloud does not answer; what is shown may be old", true);
    }
  }

  async function loop() {
    if (!paused && !document.hidden) await refresh();
    setTimeout(loop, 1000);
  }

  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (!form.action.includes("/_console/") || document.querySelector(".narrow")) return;
    event.preventDefault();
    if (form.dataset.busy) return;
    form.dataset.busy = "true";
    // Also what is said twice is to be noticed twice.
    tell("", false);
    try {
      const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) });
      const told = new URL(answer.url).searchParams;
      if (answer.ok) tell(told.get("said"), told.has("failed"));
      else tell((await answer.json()).error.message, true);
    } catch {
      tell("The cloud does not answer", true);
    }
    delete form.dataset.busy;
    await refresh();
  });

  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    pause.textContent = paused ? "Go on" : "Pause";
  });
  setTimeout(loop, 1000);
})();
