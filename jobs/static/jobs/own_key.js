// A key of one's own for a hosted engine. It is in its field while the page is open, and
// in the request of the job that it pays for: nowhere else in the browser.

import { Refused } from "./asking.js";

const box = document.getElementById("own-key-field");
const input = document.getElementById("own-key");
const SOUND = /^[\x21-\x7e]{1,500}$/;

/** Show the field where this engine takes a key; what was typed for another goes. */
export function offerKey(engine) {
  const header = engine.own_key?.headers[0] ?? "";
  if (box.dataset.field !== header) input.value = "";
  box.dataset.field = header;
  box.hidden = !header;
  if (!header) return;
  const provider = header.replace(/^X-/, "").replace(/(-Api)?-Key$/, "");
  const isNeeded = engine.reason === "provider_key_missing";
  document.getElementById("own-key-label").textContent =
    `Your own ${provider} key${isNeeded ? "" : " (optional)"}`;
}

export const isKeyGiven = () => !box.hidden && input.value.trim() !== "";

/** The header of the job's request. Raises Refused for what cannot be a key. */
export function keyHeaders() {
  if (!isKeyGiven()) return {};
  const key = input.value.trim();
  if (SOUND.test(key)) return { [box.dataset.field]: key };
  const message = "must be at most 500 visible ASCII characters";
  throw new Refused({ errors: [{ field: box.dataset.field, message }] }, 422);
}

// A browser that keeps the page to go back to keeps its fields, too.
addEventListener("pagehide", () => { input.value = ""; });
