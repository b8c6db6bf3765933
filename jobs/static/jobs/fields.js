// Form fields from a JSON schema. Each is {name, element, read()}; `read` gives the value,
// undefined where it says nothing that the default does not.

let count = 0;

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

const TITLES = {
  add_shadow: "Shadow",
  bg_color: "Background colour",
  bg_image: "Background image",
  channels: "Result",
  dpr: "Pixel ratio",
  icc: "Colour profile",
  max_bytes: "Largest file, in bytes",
  n: "How many",
  roi: "Region",
};

const title = (name) => {
  if (name in TITLES) return TITLES[name];
  const words = name.replaceAll("_", " ");
  return words[0].toUpperCase() + words.slice(1);
};

function shell(name, schema, control, { label = true } = {}) {
  count += 1;
  control.id ||= `field-${count}-${name}`;
  const box = make("div", { className: "field" });
  box.dataset.field = name;
  if (label) box.append(make("label", { htmlFor: control.id, textContent: title(name) }));
  return { box, control };
}

function finish({ box, control }, schema, ...shown) {
  box.append(...(shown.length ? shown : [control]));
  if (schema.description) {
    const help = make("p", { className: "help", textContent: schema.description });
    help.id = `${control.id}-help`;
    control.setAttribute("aria-describedby", help.id);
    box.append(help);
  }
  return box;
}

function choice(name, schema, value) {
  const control = make("input", { type: "checkbox", checked: Boolean(value) });
  const parts = shell(name, schema, control, { label: false });
  const line = make("label", { className: "choice" }, control,
    make("span", { textContent: title(name) }));
  return {
    element: finish(parts, schema, line),
    read: () => (control.checked === (schema.default ?? false) ? undefined : control.checked),
  };
}

function select(name, schema, value) {
  const control = make("select");
  if (schema.default === undefined) {
    control.append(make("option", { value: "", textContent: "Not set" }));
  }
  for (const one of schema.enum) {
    const text = one === schema.default ? `${one} (usual)` : String(one);
    control.append(make("option", { value: JSON.stringify(one), textContent: text }));
  }
  const chosen = value ?? schema.default;
  control.value = chosen === undefined ? "" : JSON.stringify(chosen);
  return {
    element: finish(shell(name, schema, control), schema),
    read() {
      if (!control.value) return undefined;
      const found = JSON.parse(control.value);
      return found === schema.default ? undefined : found;
    },
  };
}

function slider(name, schema, value) {
  const control = make("input", {
    type: "range", min: schema.minimum, max: schema.maximum, step: 1,
    value: value ?? schema.default,
  });
  const shown = make("output", { value: control.value });
  control.addEventListener("input", () => { shown.value = control.value; });
  const parts = shell(name, schema, control);
  const line = make("div", { className: "slider" }, control, shown);
  return {
    element: finish(parts, schema, line),
    read() {
      const found = Number(control.value);
      return found === schema.default ? undefined : found;
    },
  };
}

function number(name, schema, value) {
  const control = make("input", {
    type: "number", inputMode: "decimal", value: value ?? "",
    step: schema.type === "integer" ? "1" : "any",
    placeholder: schema.default === undefined ? "" : `${schema.default}`,
  });
  const least = schema.minimum ?? schema.exclusiveMinimum;
  if (least !== undefined) control.min = least;
  if (schema.maximum !== undefined) control.max = schema.maximum;
  return {
    element: finish(shell(name, schema, control), schema),
    read() {
      if (control.value === "") return undefined;
      const found = Number(control.value);
      return found === schema.default ? undefined : found;
    },
  };
}

const isColour = (schema) => /a-fA-F/.test(schema.pattern ?? "")
  || (schema.anyOf ?? []).some((one) => /a-fA-F/.test(one.pattern ?? ""));

function colour(name, schema, value) {
  const control = make("input", {
    type: "text", value: value ?? "", placeholder: "#ffffff", spellcheck: false,
  });
  const picker = make("input", { type: "color", value: value ?? "#ffffff" });
  picker.setAttribute("aria-label", `Choose ${title(name).toLowerCase()}`);
  picker.addEventListener("input", () => {
    control.value = picker.value;
    control.dispatchEvent(new Event("input", { bubbles: true }));
  });
  const line = make("div", { className: "colour" }, picker, control);
  return {
    element: finish(shell(name, schema, control), schema, line),
    read: () => control.value.trim() || undefined,
  };
}

function words(name, schema, value) {
  const isLong = /prompt/.test(name) || (schema.maxLength ?? 0) > 300;
  const control = isLong
    ? make("textarea", { rows: 3 })
    : make("input", { type: "text", spellcheck: false });
  control.value = value ?? "";
  if (schema.default !== undefined) control.placeholder = schema.default;
  if (schema.maxLength) control.maxLength = schema.maxLength;
  return {
    element: finish(shell(name, schema, control), schema),
    read: () => control.value.trim() || undefined,
  };
}

/** Anything else, as JSON. What is none is sent as text, which the server refuses. */
function json(name, schema, value) {
  const control = make("textarea", {
    rows: 2, spellcheck: false, className: "mono",
    value: value === undefined ? "" : JSON.stringify(value),
    placeholder: "JSON",
  });
  return {
    element: finish(shell(name, schema, control), schema),
    read() {
      const text = control.value.trim();
      if (!text) return undefined;
      try {
        return JSON.parse(text);
      } catch {
        return text;
      }
    },
  };
}

const MOST_STEPS = 100;

function maker(schema) {
  if (schema.enum) return select;
  if (schema.type === "boolean") return choice;
  if (schema.type === "integer" || schema.type === "number") {
    const steps = schema.maximum - schema.minimum;
    const slides = schema.type === "integer" && schema.default !== undefined;
    return slides && steps <= MOST_STEPS ? slider : number;
  }
  if (isColour(schema)) return colour;
  return schema.type === "string" ? words : json;
}

/** Whether a client may say anything here. */
export const isOpen = (schema) => schema !== false && typeof schema === "object"
  && !("not" in schema && !schema.type && !schema.enum);

export function field(name, schema, value) {
  return { name, isOutput: Boolean(schema["x-output"]), ...maker(schema)(name, schema, value) };
}

/** Show what is wrong beside the fields; gives what belongs to none of them. */
export function showErrors(form, errors) {
  for (const old of form.querySelectorAll(".field > .error")) old.remove();
  for (const old of form.querySelectorAll("[aria-invalid]")) old.removeAttribute("aria-invalid");
  return errors.filter((error) => {
    const name = error.field.replace(/^parameters\./, "").split(".")[0];
    const box = form.querySelector(`[data-field="${CSS.escape(name)}"]`);
    if (!box) return true;
    box.append(make("p", { className: "error", textContent: `${title(name)} ${error.message}` }));
    box.querySelector("[id^=field-],[id^=extra-]")?.setAttribute("aria-invalid", "true");
    box.closest("details")?.setAttribute("open", "");
    return false;
  });
}

export { make, title };
