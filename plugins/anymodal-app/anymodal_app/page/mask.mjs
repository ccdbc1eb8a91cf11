// A mask that is painted over a picture, by pointer or by keys.

import { make, replace, segments, button } from "./dom.mjs";
import { loaded } from "./files.mjs";

const SIDE = 256; // pixels of the mask, over the centered square
const STEP = 8; // pixels of a step of the cursor by keys
const SIZES = { least: 8, most: 96, first: 36 };

export class Mask {
  /** @param onchange is called with the mask as a data URL, white where it is made anew, or null where nothing is. */
  constructor(onchange) {
    this.onchange = onchange;
    Object.assign(this, { size: SIZES.first, erases: false, keeps: false, current: null, last: null });
    this.at = [SIDE / 2, SIDE / 2];
    this.canvas = make("canvas", { class: "mask", width: SIDE, height: SIDE, tabindex: "0", role: "application" });
    this.canvas.setAttribute("aria-label", "Mask: arrow keys move the brush, space paints, brackets change its size");
    this.cursor = make("div", { class: "brush", "aria-hidden": "true" });
    this.tools = make("div", { class: "tools" });
    this.context = this.canvas.getContext("2d", { willReadFrequently: true });
    this.listen();
    this.showTools();
  }

  listen() {
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      canvas.setPointerCapture(event.pointerId);
      this.last = null;
      this.paint(...this.placeOf(event));
    });
    canvas.addEventListener("pointermove", (event) => {
      this.move(...this.placeOf(event));
      if (canvas.hasPointerCapture(event.pointerId)) this.paint(...this.at);
    });
    canvas.addEventListener("pointerup", () => this.told());
    canvas.addEventListener("pointercancel", () => this.told());
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("pointerleave", () => (this.cursor.hidden = document.activeElement !== canvas));
    canvas.addEventListener("focus", () => this.move(...this.at));
    canvas.addEventListener("blur", () => (this.cursor.hidden = true));
  }

  placeOf(event) {
    const { left, top, width, height } = this.canvas.getBoundingClientRect();
    return [((event.clientX - left) / width) * SIDE, ((event.clientY - top) / height) * SIDE];
  }

  move(x, y) {
    this.at = [x, y].map((value) => Math.min(Math.max(value, 0), SIDE));
    const percent = (value) => `${(100 * value) / SIDE}%`;
    Object.assign(this.cursor.style, { left: percent(this.at[0]), top: percent(this.at[1]), width: percent(this.size) });
    this.cursor.hidden = false;
  }

  key(event) {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (way) this.move(this.at[0] + way[0] * STEP, this.at[1] + way[1] * STEP);
    else if (event.key === "[" || event.key === "]") this.resize(this.size + (event.key === "]" ? STEP : -STEP));
    else if (event.key !== " ") return;
    event.preventDefault();
    if (event.key === " ") this.last = null;
    if (event.key === " " || (way && event.shiftKey)) {
      this.paint(...this.at);
      this.told();
    }
  }

  resize(size) {
    this.size = Math.min(Math.max(size, SIZES.least), SIZES.most);
    this.move(...this.at);
    this.showTools();
  }

  paint(x, y) {
    const { context } = this;
    context.globalCompositeOperation = this.erases ? "destination-out" : "source-over";
    context.strokeStyle = context.fillStyle = "#c8401a";
    Object.assign(context, { lineWidth: this.size, lineCap: "round" });
    context.beginPath();
    if (this.last) {
      context.moveTo(...this.last);
      context.lineTo(x, y);
      context.stroke();
    } else {
      context.arc(x, y, this.size / 2, 0, 2 * Math.PI);
      context.fill();
    }
    this.last = [x, y];
  }

  told() {
    this.last = null;
    this.current = this.data();
    this.onchange(this.current);
  }

  /** White where the picture is made anew, black where it stays; null where nothing was painted, or all of it stays. */
  data() {
    const painted = this.context.getImageData(0, 0, SIDE, SIDE);
    let [any, open] = [false, false];
    for (let k = 0; k < painted.data.length; k += 4) {
      const on = painted.data[k + 3] > 127;
      any ||= on;
      open ||= on !== this.keeps;
      painted.data.fill(on !== this.keeps ? 255 : 0, k, k + 3);
      painted.data[k + 3] = 255;
    }
    if (!any || !open) return null;
    const canvas = make("canvas", { width: SIDE, height: SIDE });
    canvas.getContext("2d").putImageData(painted, 0, 0);
    return canvas.toDataURL("image/png");
  }

  clear() {
    this.context.clearRect(0, 0, SIDE, SIDE);
    this.told();
  }

  /** Paint what a mask, as `data` gives it, says is made anew. */
  async restore(data) {
    this.keeps = false;
    this.current = data;
    this.context.clearRect(0, 0, SIDE, SIDE);
    this.showTools();
    if (!data) return;
    const image = await loaded(data);
    if (data !== this.current) return; // painted or restored anew meanwhile
    this.context.globalCompositeOperation = "source-over";
    this.context.drawImage(image, 0, 0, SIDE, SIDE);
    const pixels = this.context.getImageData(0, 0, SIDE, SIDE);
    for (let k = 0; k < pixels.data.length; k += 4) {
      pixels.data.set([200, 64, 26, pixels.data[k]], k);
    }
    this.context.putImageData(pixels, 0, 0);
  }

  showTools() {
    const size = make("input", {
      type: "range", min: SIZES.least, max: SIZES.most, value: this.size, "data-key": "brush", "aria-label": "Brush size",
      oninput: (event) => (this.size = Number(event.target.value)),
    });
    replace(
      this.tools,
      segments("What is painted", [["redo", "Make anew"], ["keep", "Keep"]], this.keeps ? "keep" : "redo", (value) => {
        this.keeps = value === "keep";
        this.showTools();
        this.told();
      }),
      segments("Brush", [["paint", "Paint"], ["erase", "Erase"]], this.erases ? "erase" : "paint", (value) => {
        this.erases = value === "erase";
        this.showTools();
      }),
      make("label", { class: "slider small" }, "Size", size),
      button("Clear", () => this.clear(), { class: "quiet" }),
    );
  }
}
