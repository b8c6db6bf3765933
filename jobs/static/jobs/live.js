// Pages that change while they are looked at: what stands in [data-live] is fetched anew
// when the job's events say so, or every so often. And tabs.

import { announce, tellTimes } from "../nijika/app.js";

const ENDS = ["succeeded", "failed", "cancelled"];

async function refresh() {
  const shown = document.querySelector("[data-live]");
  // Nothing moves under somebody who is about to press a button in it.
  if (shown.querySelector("details[open]")) return;
  const response = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!response.ok || response.redirected) return;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const fresh = page.querySelector("[data-live]");
  if (!fresh) return;
  const focused = shown.contains(document.activeElement)
    ? document.activeElement.getAttribute("href") : null;
  shown.replaceChildren(...fresh.childNodes);
  for (const name of ["data-refresh", "data-events"]) {
    if (!fresh.hasAttribute(name)) shown.removeAttribute(name);
  }
  tellTimes(shown);
  if (focused) shown.querySelector(`[href="${CSS.escape(focused)}"]`)?.focus();
}

function follow(url) {
  const source = new EventSource(url);
  let waiting = null;
  const soon = () => {
    waiting ??= setTimeout(async () => { waiting = null; await refresh(); }, 250);
  };
  for (const type of ["queued", "started", "requeued", "progress"]) {
    source.addEventListener(type, soon);
  }
  for (const type of ENDS) {
    source.addEventListener(type, () => {
      source.close();
      clearTimeout(waiting);
      announce(`The job has ${type}.`);
      refresh();
    });
  }
}

function keepFresh(shown) {
  const every = Number(shown.dataset.refresh);
  const timer = setInterval(() => {
    if (!shown.dataset.refresh) clearInterval(timer);
    else if (!document.hidden) refresh();
  }, every);
}

function choose(tab) {
  const tabs = [...tab.closest("[role=tablist]").querySelectorAll("[role=tab]")];
  for (const one of tabs) {
    const chosen = one === tab;
    one.setAttribute("aria-selected", String(chosen));
    one.tabIndex = chosen ? 0 : -1;
    document.getElementById(one.getAttribute("aria-controls")).hidden = !chosen;
  }
}

document.addEventListener("click", (event) => {
  const tab = event.target.closest("[role=tab]");
  if (tab) choose(tab);
});
document.addEventListener("keydown", (event) => {
  const tab = event.target.closest("[role=tab]");
  if (!tab || !["ArrowLeft", "ArrowRight"].includes(event.key)) return;
  const tabs = [...tab.closest("[role=tablist]").querySelectorAll("[role=tab]")];
  const step = event.key === "ArrowRight" ? 1 : tabs.length - 1;
  const next = tabs[(tabs.indexOf(tab) + step) % tabs.length];
  choose(next);
  next.focus();
});

const live = document.querySelector("[data-live]");
if (live?.dataset.events) follow(live.dataset.events);
if (live?.dataset.refresh) keepFresh(live);
