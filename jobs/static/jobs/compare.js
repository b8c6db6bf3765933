// A picture before and after, with a border between them that can be moved: by mouse,
// by finger, and by keys, for it is a range input. `--cut` is where it stands.

function image(className, source, words) {
  const element = document.createElement("img");
  element.className = className;
  element.alt = words;
  element.src = source;
  return element;
}

function loaded(element) {
  return new Promise((resolve, reject) => {
    element.addEventListener("load", resolve);
    element.addEventListener("error", () => reject(new Error("no picture")));
  });
}

const SAME = 0.015;

function isAlike(one, other) {
  const [a, b] = [one, other].map((it) => it.naturalWidth / it.naturalHeight);
  return Math.abs(a / b - 1) < SAME;
}

function slider(box) {
  const input = document.createElement("input");
  input.type = "range";
  input.min = "0";
  input.max = "100";
  input.step = "0.5";
  input.value = "50";
  input.setAttribute("aria-label", "Border between before and after");
  const follow = () => box.style.setProperty("--cut", `${input.value}%`);
  input.addEventListener("input", follow);
  follow();
  return input;
}

function mark(className, words) {
  const element = document.createElement("span");
  element.className = className;
  element.textContent = words;
  element.setAttribute("aria-hidden", "true");
  return element;
}

/** The box has exactly the picture's shape, so that a place in it is one in the picture. */
export function shape(box, { naturalWidth, naturalHeight }) {
  box.style.setProperty("--ratio", `${naturalWidth} / ${naturalHeight}`);
  box.style.setProperty("--fit", String(naturalWidth / naturalHeight));
}

/** A box with both pictures; with the one after alone where their shapes differ. */
export async function compare(before, after) {
  const box = document.createElement("div");
  box.className = "compare";
  const second = image("after", after, "The result");
  const ready = loaded(second);
  const layer = document.createElement("div");
  layer.className = "layer";
  layer.append(second);
  box.append(layer);
  await ready;
  shape(box, second);
  if (!before) return alone(box);
  const first = image("before", before, "The picture before");
  try {
    await loaded(first);
  } catch {
    return alone(box);
  }
  if (!isAlike(first, second)) return alone(box);
  box.prepend(first);
  box.append(mark("mark left", "Before"), mark("mark right", "After"));
  box.append(mark("border", ""), slider(box));
  return box;
}

function alone(box) {
  box.classList.add("alone");
  return box;
}
