// Points on the picture: a click is on the object, one with Shift (or a long press, or the
// other button) beside it. The same parameters may be written by hand under "More options".

import { make } from "./fields.js";

export class Points {
  #image = null;
  #layer = make("div", { className: "points" });
  #changed;
  all = [];

  constructor(changed) {
    this.#changed = changed;
  }

  /** Take clicks on this picture; null takes none. */
  watch(image) {
    this.#layer.remove();
    this.#image = image;
    if (!image) return;
    image.parentElement.append(this.#layer);
    this.#layer.onclick = (event) => this.#add(event, event.shiftKey ? 0 : 1);
    this.#layer.oncontextmenu = (event) => {
      event.preventDefault();
      this.#add(event, 0);
    };
    this.#draw();
  }

  clear() {
    if (!this.all.length) return;
    this.all = [];
    this.#draw();
    this.#changed();
  }

  /** The parameters that say the same. */
  get parameters() {
    if (!this.all.length) return {};
    return {
      points: this.all.map(({ x, y }) => [x, y]),
      labels: this.all.map(({ label }) => label),
    };
  }

  #add(event, label) {
    const box = this.#layer.getBoundingClientRect();
    const across = (event.clientX - box.left) / box.width;
    const down = (event.clientY - box.top) / box.height;
    this.all.push({
      x: Math.round(across * this.#image.naturalWidth),
      y: Math.round(down * this.#image.naturalHeight),
      label,
    });
    this.#draw();
    this.#changed();
  }

  #draw() {
    this.#layer.replaceChildren(...this.all.map(({ x, y, label }, number) => {
      const mark = make("button", {
        type: "button", className: label ? "point" : "point beside",
        title: "Take this point away",
      });
      mark.setAttribute("aria-label", `Point ${number + 1}, take it away`);
      mark.style.setProperty("left", `${(x / this.#image.naturalWidth) * 100}%`);
      mark.style.setProperty("top", `${(y / this.#image.naturalHeight) * 100}%`);
      mark.onclick = (event) => {
        event.stopPropagation();
        this.all.splice(number, 1);
        this.#draw();
        this.#changed();
      };
      return mark;
    }));
  }
}
