// A mask painted on the picture: white where the brush was, black elsewhere, as large as
// the picture itself.

import { make } from "./fields.js";

const WIDTH = 0.08; // of the shorter side

export class Brush {
  #canvas = make("canvas", { className: "brush" });
  #pen = this.#canvas.getContext("2d");
  #painted;
  #last = null;
  isEmpty = true;

  /** `painted` is told of each stroke, with the mask as a PNG. */
  constructor(painted) {
    this.#painted = painted;
    this.#canvas.setAttribute("role", "img");
    this.#canvas.setAttribute("aria-label", "The mask: drag to paint it");
    this.#canvas.onpointerdown = (event) => {
      this.#canvas.setPointerCapture(event.pointerId);
      this.#last = this.#place(event);
      this.#stroke(event);
    };
    this.#canvas.onpointermove = (event) => { if (this.#last) this.#stroke(event); };
    this.#canvas.onpointerup = () => this.#lift();
    this.#canvas.onpointercancel = () => this.#lift();
  }

  /** Take strokes on this picture; null takes none. The mask stays. */
  watch(image) {
    this.#canvas.remove();
    if (!image) return;
    const { naturalWidth: width, naturalHeight: height } = image;
    if (this.#canvas.width !== width || this.#canvas.height !== height) {
      Object.assign(this.#canvas, { width, height });
      this.isEmpty = true;
    }
    image.parentElement.append(this.#canvas);
  }

  clear() {
    this.#pen.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    this.isEmpty = true;
  }

  #place(event) {
    const box = this.#canvas.getBoundingClientRect();
    return {
      x: ((event.clientX - box.left) / box.width) * this.#canvas.width,
      y: ((event.clientY - box.top) / box.height) * this.#canvas.height,
    };
  }

  #stroke(event) {
    const here = this.#place(event);
    Object.assign(this.#pen, {
      lineWidth: Math.min(this.#canvas.width, this.#canvas.height) * WIDTH,
      lineCap: "round", lineJoin: "round", strokeStyle: "#fff",
    });
    this.#pen.beginPath();
    this.#pen.moveTo(this.#last.x, this.#last.y);
    this.#pen.lineTo(here.x, here.y);
    this.#pen.stroke();
    this.#last = here;
    this.isEmpty = false;
  }

  #lift() {
    if (!this.#last) return;
    this.#last = null;
    const { width, height } = this.#canvas;
    const mask = make("canvas", { width, height });
    const pen = mask.getContext("2d");
    pen.fillRect(0, 0, width, height);
    pen.drawImage(this.#canvas, 0, 0);
    mask.toBlob((blob) => this.#painted(blob), "image/png");
  }
}
