// The playground: a picture, an operation, its price, and what comes of it.

import { announce } from "../nijika/app.js";
import { newKey, post, Refused, upload } from "./asking.js";
import { Brush } from "./brush.js";
import { compare, shape } from "./compare.js";
import { field, isOpen, make, showErrors, title } from "./fields.js";
import { bytesText, kindOf } from "./kinds.js";
import { isKeyGiven, keyHeaders, offerKey } from "./own_key.js";
import { Points } from "./points.js";

const by = (id) => document.getElementById(id);
const setup = JSON.parse(by("setup").textContent);
const root = by("playground");
const form = by("request");
const mode = root.dataset.mode;
const ENDS = ["succeeded", "failed", "cancelled"];
const SHOWN_AT_ONCE = 6;
const SHOWN_BY_BROWSERS = ["image/png", "image/jpeg", "image/webp", "image/gif", "image/avif"];

const state = {
  picture: null, // {name, type, blob, shown, reference} or {name, place}
  extras: {}, // by role, as the picture
  engine: null,
  fields: [],
  job: null,
  estimating: null,
  complaint: null,
  key: null,
};
const points = new Points(changed);
const brush = new Brush(useMask);

// The operation and its form

function operation() {
  const chosen = form.elements.operation.value;
  return setup.operations.find((one) => one.name === chosen);
}

function chooseOperation() {
  const found = operation();
  by("operation-text").textContent = found.text;
  const select = by("engine");
  select.replaceChildren(...found.engines.map((one) => make("option", {
    value: one.name, textContent: one.title ? `${one.name}: ${one.title}` : one.name,
  })));
  by("engine-field").hidden = found.engines.length < 2;
  chooseEngine();
}

function chooseEngine() {
  state.engine = operation().engines.find((one) => one.name === by("engine").value)
    ?? operation().engines[0];
  offerKey(state.engine);
  showAvailability();
  buildFields();
  takeStrokes(false);
  changed();
}

const REASONS = {
  weights_missing: "Its model is not installed here.",
  license_not_acknowledged: "Its licence has not been accepted here.",
  provider_key_missing: "No provider key is set for it here.",
  extra_missing: "What it needs is not installed here.",
  loading: "It is being loaded right now. A job waits until it is there.",
  load_failed: "It could not be loaded. A job waits until it can.",
};

function showAvailability() {
  const note = by("engine-note");
  const { available, own_key: takesKey, reason } = state.engine;
  const isKeyMissing = reason === "provider_key_missing" && takesKey;
  note.hidden = available || mode === "test" || (isKeyMissing && isKeyGiven());
  note.textContent = isKeyMissing
    ? "No provider key is set for it here. It takes one of your own."
    : REASONS[reason] ?? "No worker is up for this engine right now. A job waits until one comes.";
}

/** Schemas come without an order of their own: what is asked for most stands first. */
function rank(name) {
  const place = setup.order.indexOf(name);
  return place < 0 ? setup.order.length : place;
}

/** What a drag or a click on the picture means: a mask, a point, or nothing. */
function takeStrokes(isPainting) {
  const image = by("viewer").querySelector(".compare.alone > img.before");
  brush.watch(isPainting ? image : null);
  points.watch(takesPoints() && !isPainting ? image : null);
  const button = by("paint");
  if (!button) return;
  button.setAttribute("aria-pressed", String(isPainting && Boolean(image)));
  if (isPainting && !image) complain(new Refused({ detail: "Choose a picture first." }, 422));
}

function useMask(blob) {
  by("extra-mask").value = "";
  state.extras.mask = [{ name: "mask.png", type: "image/png", blob }];
  by("clear-mask").hidden = false;
  changed();
}

function painting() {
  const paint = make("button", {
    type: "button", id: "paint", className: "button small", textContent: "Paint it on the picture",
  });
  paint.setAttribute("aria-pressed", "false");
  paint.onclick = () => takeStrokes(paint.getAttribute("aria-pressed") !== "true");
  const clear = make("button", {
    type: "button", id: "clear-mask", className: "button quiet small", textContent: "Clear",
    hidden: brush.isEmpty,
  });
  clear.onclick = () => {
    brush.clear();
    delete state.extras.mask;
    clear.hidden = true;
    changed();
  };
  return make("div", { className: "row" }, paint, clear);
}

const takesPoints = () => "points" in (state.engine.parameters.properties ?? {});

function buildFields() {
  const { properties = {} } = state.engine.parameters;
  const start = setup.start[operation().name] ?? {};
  state.fields = Object.entries(properties)
    .filter(([, schema]) => isOpen(schema))
    .sort(([one], [other]) => rank(one) - rank(other))
    .map(([name, schema]) => field(name, schema, start[name]));
  const hidden = takesPoints() ? ["points", "labels"] : [];
  const plain = state.fields.filter((one) => !one.isOutput);
  const first = plain.filter((one) => !hidden.includes(one.name)).slice(0, SHOWN_AT_ONCE);
  const rest = plain.filter((one) => !first.includes(one));
  const files = roles().map(extraField);
  place("fields", null, [...hint(), ...files, ...first.map((one) => one.element)]);
  place("more-fields", "more", rest.map((one) => one.element));
  const output = state.fields.filter((one) => one.isOutput);
  place("output-fields", "output", output.map((one) => one.element));
}

function hint() {
  if (!takesPoints()) return [];
  return [make("p", {
    className: "help soft small",
    textContent: "Click on the object in the picture; with Shift, or a long press, beside it.",
  })];
}

function place(id, details, elements) {
  by(id).replaceChildren(...elements);
  if (details) {
    by(details).hidden = !elements.length;
    by(details).open = false;
  }
}

/** What else may come along: a mask, a reference; further images where several may. */
function roles() {
  const { roles: known, needs, images } = state.engine;
  const found = known.filter((role) => role !== "image")
    .map((role) => ({ role, isNeeded: needs.includes(role), several: false }));
  if (images.max > 1) found.unshift({ role: "image", isNeeded: false, several: true });
  return found;
}

function extraField({ role, isNeeded, several }) {
  const input = make("input", {
    type: "file", accept: "image/*", id: `extra-${role}`, multiple: several,
  });
  const name = several ? "More images" : title(role) + (isNeeded ? "" : " (optional)");
  const box = make("div", { className: "field" },
    make("label", { htmlFor: input.id, textContent: name }), input,
    ...(role === "mask" ? [painting()] : []));
  box.dataset.field = several ? "more-images" : role;
  input.addEventListener("change", async () => {
    const files = [...input.files].slice(0, state.engine.images.max - 1 || 1);
    state.extras[role] = [];
    try {
      state.extras[role] = await Promise.all(files.map(prepared));
      changed();
    } catch (error) {
      complain(error);
    }
  });
  if (role !== "mask" || brush.isEmpty) delete state.extras[role];
  return box;
}

// The request

function parameters() {
  const found = {};
  for (const one of state.fields) {
    const value = one.read();
    if (value !== undefined) found[one.name] = value;
  }
  return takesPoints() && points.all.length ? { ...found, ...points.parameters } : found;
}

function request() {
  const asked = { operation: operation().name };
  if (mode === "live" && !state.engine.default) asked.engine = state.engine.name;
  const given = parameters();
  if (Object.keys(given).length) asked.parameters = given;
  return asked;
}

/** The images by role, with those that are sent already under `images`. */
function pictures() {
  const all = [];
  if (state.picture && state.engine.images.max > 0) all.push(["image", state.picture]);
  for (const [role, extras] of Object.entries(state.extras)) {
    // What was given for another operation stays for it, and is not sent with this one.
    const isTaken = role === "image" ? state.engine.images.max > 1 : state.engine.roles.includes(role);
    for (const one of isTaken ? extras : []) all.push([role, one]);
  }
  return all;
}

function changed() {
  state.key = null;
  showAvailability();
  if (state.complaint === "run") complain(null);
  by("clear-points").hidden = !takesPoints() || !points.all.length;
  clearTimeout(state.estimating?.timer);
  state.estimating?.abort?.abort();
  state.estimating = { timer: setTimeout(estimate, 200) };
}

async function estimate() {
  const abort = new AbortController();
  state.estimating = { abort };
  const asked = request();
  const files = {};
  for (const [role, picture] of pictures()) {
    if (picture.place) asked[role] = picture.place;
    else files[role] = picture.name;
  }
  if (state.engine.images.min > 0 && !files.image && !asked.image) files.image = "photo.jpg";
  try {
    const found = await post(`/playground/estimate?mode=${mode}`,
      { ...asked, files, own_key: isKeyGiven() },
      { signal: abort.signal });
    showPrice(found);
    if (state.complaint !== "run") complain(null);
    showErrors(form, []);
  } catch (error) {
    if (error.name !== "AbortError") complain(error, "estimate");
  }
}

const credits = (text) => String(Number(text) === 0 ? 0 : text.replace(/0{1,2}$/, ""));

function showPrice({ price, available, is_enough: isEnough, requests }) {
  by("price").textContent = mode === "test" ? "Free" : credits(price);
  if (mode === "live") {
    by("balance").textContent = isEnough
      ? `You have ${credits(available)}`
      : `You have only ${credits(available)}`;
    by("balance").classList.toggle("bad-text", !isEnough);
  }
  by("curl").textContent = requests.curl;
  by("python").textContent = requests.python;
}

/** Say what is wrong; null takes it back. What a run was refused with stays until
 * something is changed; what the parameters are refused with, until they are right. */
function complain(error, source = "run") {
  const box = by("problem");
  state.complaint = error ? source : null;
  if (!error) {
    box.hidden = true;
    return;
  }
  const errors = error.errors ?? [];
  const rest = showErrors(form, errors);
  const text = errors.length && rest.length
    ? rest.map((one) => sentence(one)).join(" ")
    : error.message;
  box.hidden = errors.length > 0 && !rest.length;
  box.textContent = text;
}

function sentence({ field: name, message }) {
  const plain = name.replace(/^parameters\.?/, "").replaceAll(/[._]/g, " ");
  return plain ? `${title(plain)} ${message}.` : `What is chosen ${message}.`;
}

// The picture

async function prepared(blob) {
  const type = await kindOf(blob);
  if (!type) {
    throw new Refused({ detail: `${blob.name ?? "This"} is no picture in a format that is read here.` }, 415);
  }
  if (blob.size > setup.limits.upload_bytes) {
    throw new Refused({ detail: `This picture has ${bytesText(blob.size)}; ${bytesText(setup.limits.upload_bytes)} is the most.` }, 413);
  }
  return { name: blob.name || "pasted.png", type, blob, shown: URL.createObjectURL(blob) };
}

async function take(blob, name = blob.name) {
  try {
    const picture = await prepared(blob);
    picture.name = name || picture.name;
    usePicture(picture);
    await showBefore(picture);
    announce(`${picture.name} is chosen.`);
  } catch (error) {
    complain(error);
  }
}

function clearMask() {
  if (brush.isEmpty) return;
  brush.clear();
  delete state.extras.mask;
}

function usePicture(picture) {
  if (state.picture?.shown) URL.revokeObjectURL(state.picture.shown);
  state.picture = picture;
  points.clear();
  clearMask();
  complain(null);
  finishJob();
  by("invitation").hidden = true;
  by("viewer").hidden = false;
  by("under").hidden = false;
  by("download").hidden = true;
  by("open-job").hidden = true;
  by("results").hidden = true;
  by("file-name").textContent = picture.name;
  by("file-facts").textContent = picture.blob ? bytesText(picture.blob.size) : "";
  changed();
}

async function showBefore(picture) {
  const image = make("img", { className: "before", alt: "The picture that you chose" });
  const box = make("div", { className: "compare alone" }, image);
  image.src = picture.shown;
  try {
    await image.decode();
  } catch {
    const name = make("p", { textContent: "Your browser cannot show this format. It is sent as it is." });
    by("viewer").replaceChildren(make("div", { className: "unseen" }, name));
    return;
  }
  shape(box, image);
  by("file-facts").textContent = `${image.naturalWidth} × ${image.naturalHeight}, ${bytesText(picture.blob.size)}`;
  by("viewer").replaceChildren(box);
  takeStrokes(false);
  by("back").hidden = true;
}

function takeAddress(place) {
  usePicture({ name: place.split(/[?#]/)[0].split("/").pop() || place, place });
  const text = make("p", { className: "mono", textContent: place });
  by("viewer").replaceChildren(make("div", { className: "unseen" },
    make("p", { className: "strong", textContent: "A picture from this address:" }), text));
}

function leavePicture() {
  if (state.picture?.shown) URL.revokeObjectURL(state.picture.shown);
  state.picture = null;
  points.watch(null);
  brush.watch(null);
  clearMask();
  finishJob();
  for (const id of ["viewer", "under", "results", "download", "open-job"]) by(id).hidden = true;
  by("invitation").hidden = false;
  by("file").value = "";
  by("file").focus();
  changed();
}

async function sent(picture) {
  if (picture.place) return picture.place;
  picture.reference ??= upload(picture.blob, picture.type, {
    mode,
    progress: (part) => showRunning("Sending the picture", { step: part, total: 1 }),
  });
  try {
    return await picture.reference;
  } catch (error) {
    picture.reference = null;
    throw error;
  }
}

// The job

async function run(event) {
  event.preventDefault();
  if (by("run").getAttribute("aria-disabled") === "true") return;
  complain(null);
  const asked = request();
  if (state.engine.images.min > 0 && !state.picture) {
    complain(new Refused({ detail: "Choose a picture first: drop one, paste one, or take a sample." }, 422));
    by("file").focus();
    return;
  }
  setBusy(true);
  try {
    const paying = keyHeaders();
    const all = {};
    for (const [role, picture] of pictures()) (all[role] ??= []).push(await sent(picture));
    for (const [role, places] of Object.entries(all)) {
      asked[role] = places.length > 1 ? places : places[0];
    }
    showRunning("Asking");
    state.key ??= newKey();
    const job = await post(`/playground/jobs?mode=${mode}`, asked,
      { headers: { "Idempotency-Key": state.key, ...paying } });
    follow(job);
  } catch (error) {
    finishJob();
    complain(error);
  }
}

function follow(job) {
  const source = new EventSource(`/jobs/${job.id}/events`);
  state.job = { id: job.id, source, began: performance.now() };
  state.key = null;
  by("cancel").disabled = false;
  showRunning("In the queue");
  state.job.timer = setInterval(showTime, 100);
  source.addEventListener("started", () => showRunning("Working"));
  source.addEventListener("requeued", () => showRunning("Back in the queue: it is tried again"));
  source.addEventListener("progress", (event) => showProgress(JSON.parse(event.data)));
  for (const type of ENDS) {
    source.addEventListener(type, (event) => end(JSON.parse(event.data).job));
  }
}

function showProgress({ status, step, total, message, position }) {
  if (status === "queued") {
    showRunning(position ? `${position}. in the queue` : "In the queue");
  } else {
    showRunning(message ? message[0].toUpperCase() + message.slice(1) : "Working", { step, total });
  }
}

function showRunning(text, { step, total } = {}) {
  by("running").hidden = false;
  by("running-text").textContent = text;
  const bar = by("running-bar");
  if (total) {
    bar.max = total;
    bar.value = step ?? 0;
  } else bar.removeAttribute("value");
}

function showTime() {
  const seconds = (performance.now() - state.job.began) / 1000;
  by("running-time").textContent = `${seconds.toFixed(1)} s`;
}

function setBusy(isBusy) {
  const button = by("run");
  // Not `disabled`: whoever has pressed it by keyboard would lose their place.
  button.setAttribute("aria-disabled", String(isBusy));
  button.querySelector("span").textContent = isBusy ? "Running" : "Run";
  by("cancel").disabled = true;
  if (isBusy) showRunning("Sending the picture");
}

function finishJob() {
  state.job?.source?.close();
  clearInterval(state.job?.timer);
  state.job = null;
  by("running").hidden = true;
  by("running-time").textContent = "";
  setBusy(false);
}

async function end(job) {
  const seconds = ((performance.now() - state.job.began) / 1000).toFixed(1);
  finishJob();
  by("open-job").hidden = false;
  by("open-job").href = `/jobs/${job.id}`;
  by("under").hidden = false;
  estimate();
  if (job.status !== "succeeded") {
    const text = job.status === "failed"
      ? `${setup.errors[job.error.code] ?? job.error.message} Nothing was charged.`
      : "The job was cancelled. Nothing was charged.";
    complain(new Refused({ detail: text }, 0));
    return;
  }
  announce("The job is done.");
  by("file-name").textContent = `Done in ${seconds} s`;
  await showResults(job);
}

async function showResults(job) {
  const list = by("results");
  list.hidden = job.results.length < 2;
  list.replaceChildren(...job.results.map((result) => make("li", {}, choiceOf(job, result))));
  await showResult(job, job.results[0]);
}

function choiceOf(job, result) {
  const image = make("img", { src: `/jobs/${job.id}/${result.index}/thumb`, alt: `Result ${result.index + 1}` });
  const button = make("button", { type: "button" }, image);
  button.onclick = () => showResult(job, result);
  return button;
}

async function showResult(job, result) {
  const file = `/jobs/${job.id}/result/${result.index}`;
  by("download").hidden = false;
  by("download").href = file;
  const size = result.width_px ? `${result.width_px} × ${result.height_px}, ` : "";
  by("file-facts").textContent = `${size}${bytesText(result.size_bytes)}, ${result.content_type.split("/")[1]}`;
  by("invitation").hidden = true;
  by("viewer").hidden = false;
  if (!result.content_type.startsWith("image/")) {
    by("viewer").replaceChildren(make("div", { className: "unseen" },
      make("p", { textContent: "The result is a file to download." })));
    return;
  }
  const isShown = SHOWN_BY_BROWSERS.includes(result.content_type);
  const after = isShown ? file : `/jobs/${job.id}/${result.index}/preview`;
  by("viewer").replaceChildren(await compare(before(job), after));
  points.watch(null);
  brush.watch(null);
  by("paint")?.setAttribute("aria-pressed", "false");
  by("back").hidden = !state.picture?.shown;
}

function before(job) {
  if (!state.picture || state.engine.images.max === 0) return null;
  const isShown = SHOWN_BY_BROWSERS.includes(state.picture.type);
  return isShown ? state.picture.shown : `/jobs/${job.id}/input/preview`;
}

async function cancel() {
  if (!state.job) return;
  by("cancel").disabled = true;
  showRunning("Cancelling");
  const body = new FormData();
  body.set("csrfmiddlewaretoken", document.querySelector("meta[name=csrf-token]").content);
  await fetch(`/jobs/${state.job.id}/cancel`, { method: "POST", body, redirect: "manual" });
}

// What a person does

form.addEventListener("submit", run);
form.addEventListener("input", (event) => {
  if (event.target.name === "operation") chooseOperation();
  else if (event.target.id === "engine") chooseEngine();
  else if (event.target.type !== "file") changed();
});
by("cancel").addEventListener("click", cancel);
by("back").addEventListener("click", () => {
  by("file-name").textContent = state.picture.name;
  showBefore(state.picture);
});
by("other").addEventListener("click", leavePicture);
by("clear-points").addEventListener("click", () => points.clear());
by("file").addEventListener("change", (event) => {
  if (event.target.files[0]) take(event.target.files[0]);
});
root.addEventListener("click", async (event) => {
  const sample = event.target.closest("[data-sample]");
  if (!sample) return;
  const response = await fetch(sample.dataset.sample);
  take(await response.blob(), sample.dataset.name);
});

const drop = by("drop");
let inside = 0;
drop.addEventListener("dragenter", (event) => {
  event.preventDefault();
  inside += 1;
  drop.classList.add("over");
});
drop.addEventListener("dragleave", () => {
  inside -= 1;
  if (!inside) drop.classList.remove("over");
});
drop.addEventListener("dragover", (event) => event.preventDefault());
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  inside = 0;
  drop.classList.remove("over");
  taken(event.dataTransfer);
});
document.addEventListener("paste", (event) => {
  if (event.target.matches?.("input,textarea")) return;
  if (taken(event.clipboardData)) event.preventDefault();
});

/** A file, or the address of one. */
function taken(given) {
  const [file] = given.files;
  if (file) {
    take(file);
    return true;
  }
  const place = (given.getData("text/uri-list") || given.getData("text/plain")).trim();
  if (!/^https?:\/\/\S+$/.test(place)) return false;
  takeAddress(place);
  return true;
}

// The start

const wanted = new URLSearchParams(location.search).get("operation");
const radios = [...form.querySelectorAll("[name=operation]")];
(radios.find((one) => one.value === wanted) ?? radios[0]).checked = true;
by("most").textContent = bytesText(setup.limits.upload_bytes);
chooseOperation();
