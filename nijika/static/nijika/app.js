// What every page has: times in the reader's zone, copying, the theme, the menu.

const MINUTE = 60, HOUR = 3600, DAY = 86400;
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "long", timeStyle: "long" });
const short = new Intl.DateTimeFormat(undefined, {
  day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit",
});
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });

/** How long ago, or how soon, in words; a date once that says more. */
function words(at) {
  const seconds = (at.getTime() - Date.now()) / 1000;
  const span = Math.abs(seconds);
  if (span < 10) return "just now";
  if (span < MINUTE) return relative.format(Math.round(seconds), "second");
  if (span < HOUR) return relative.format(Math.round(seconds / MINUTE), "minute");
  if (span < DAY) return relative.format(Math.round(seconds / HOUR), "hour");
  if (span < 6 * DAY) return relative.format(Math.round(seconds / DAY), "day");
  return short.format(at);
}

/** Every <time> in `root`: words to read, the exact time on hover. */
export function tellTimes(root = document) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    const at = new Date(element.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    element.title = exact.format(at);
    element.textContent = words(at);
  }
}

/** Say something that a screen reader reads out too. */
export function announce(text) {
  let region = document.getElementById("announcer");
  if (!region) {
    region = document.createElement("div");
    region.id = "announcer";
    region.className = "hidden-text";
    region.setAttribute("role", "status");
    document.body.append(region);
  }
  region.textContent = text;
}

async function copy(button) {
  const source = document.querySelector(button.dataset.copy);
  if (!source) return;
  const text = "value" in source ? source.value : source.textContent;
  const label = button.querySelector("span") ?? button;
  const before = label.textContent;
  try {
    await navigator.clipboard.writeText(text.trim());
    label.textContent = "Copied";
    announce("Copied");
  } catch {
    getSelection().selectAllChildren(source);
    label.textContent = "Press Ctrl+C";
  }
  setTimeout(() => { label.textContent = before; }, 1600);
}

function switchTheme() {
  const root = document.documentElement;
  const isDark = getComputedStyle(root).colorScheme === "dark"
    || (root.dataset.theme !== "light"
        && matchMedia("(prefers-color-scheme: dark)").matches);
  root.dataset.theme = isDark ? "light" : "dark";
  try {
    localStorage.setItem("theme", root.dataset.theme);
  } catch {
    // It then lasts for this page.
  }
}

function toggleMenu(button) {
  const open = button.getAttribute("aria-expanded") !== "true";
  button.setAttribute("aria-expanded", String(open));
  document.getElementById(button.getAttribute("aria-controls"))
    .classList.toggle("open", open);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy],[data-theme-switch],[data-menu]");
  for (const one of document.querySelectorAll("details.confirm[open]")) {
    if (!one.contains(event.target)) one.open = false;
  }
  if (!button) return;
  if ("copy" in button.dataset) copy(button);
  else if ("themeSwitch" in button.dataset) switchTheme();
  else toggleMenu(button);
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const one of document.querySelectorAll("details.confirm[open]")) {
    one.open = false;
    one.querySelector("summary").focus();
  }
});
document.addEventListener("change", (event) => {
  // A filter takes effect when it is chosen; without a script its button does that.
  event.target.closest("form[data-submit-on-change]")?.requestSubmit();
});

/** A small picture that cannot be made, of a damaged file perhaps, leaves no ruin. */
function tidy(image) {
  image.closest(".picture")?.setAttribute("hidden", "");
  if (image.classList.contains("thumb")) {
    image.replaceWith(Object.assign(document.createElement("span"), { className: "thumb none" }));
  }
}
document.addEventListener("error", (event) => {
  if (event.target instanceof HTMLImageElement) tidy(event.target);
}, true);
for (const image of document.images) {
  if (image.complete && !image.naturalWidth && image.src) tidy(image);
}

const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (zone && !document.cookie.includes(`zone=${zone}`)) {
  // So that the server counts days as the reader does, from the next page on.
  document.cookie = `zone=${zone};path=/;max-age=31536000;samesite=lax`;
}

for (const button of document.querySelectorAll("[data-theme-switch]")) button.hidden = false;
tellTimes();
setInterval(tellTimes, 20_000);
