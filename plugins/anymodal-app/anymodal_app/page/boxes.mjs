// Boxes over a picture: drawn, moved, resized, relabeled and deleted, by pointer or by keys.

import { button, make, newId, replace } from "./dom.mjs";

const LEAST = 0.03; // share of the picture's side that a box has at least
const STEP = 0.02; // of a move by keys
const CORNERS = [[0, 1], [2, 1], [0, 3], [2, 3]]; // which numbers of a box a corner moves
const rounded = (value) => Math.round(value * 1000) / 1000;
const within = (value, least, most) => Math.min(Math.max(value, least), most);

/** A box moved as a whole, which stays inside. */
export function moved([x0, y0, x1, y1], dx, dy) {
  const [x, y] = [within(dx, -x0, 1 - x1), within(dy, -y0, 1 - y1)];
  return [x0 + x, y0 + y, x1 + x, y1 + y].map(rounded);
}

/** A box of which one corner (index of `CORNERS`) is somewhere else; it never turns over. */
export function resized(box, corner, x, y) {
  const found = [...box];
  const [a, b] = CORNERS[corner];
  found[a] = a === 0 ? within(x, 0, box[2] - LEAST) : within(x, box[0] + LEAST, 1);
  found[b] = b === 1 ? within(y, 0, box[3] - LEAST) : within(y, box[1] + LEAST, 1);
  return found.map(rounded);
}

/** The box between two points. */
export function spanned([x0, y0], [x1, y1]) {
  return [Math.min(x0, x1), Math.min(y0, y1), Math.max(x0, x1), Math.max(y0, y1)].map((v) => rounded(within(v, 0, 1)));
}

export class Boxes {
  /** @param onchange is called with all boxes, [{label, box}], after each change. */
  constructor(classes, onchange) {
    Object.assign(this, { classes, onchange, boxes: [], drawing: null });
    this.layer = make("div", { class: "boxes", role: "group", "aria-label": "Boxes" });
    this.list = make("div", { class: "box-list" });
    this.names = make("datalist", { id: newId("classes") }, ...classes.map((name) => make("option", { value: name })));
    this.layer.addEventListener("pointerdown", (event) => this.draw(event));
  }

  set(boxes) {
    this.boxes = boxes.map(({ label, box }) => ({ label, box: [...box] }));
    this.show();
  }

  add(box = [0.3, 0.3, 0.7, 0.7]) {
    const label = this.boxes.at(-1)?.label ?? this.classes[0] ?? "object";
    this.boxes.push({ label, box });
    this.told();
    this.list.querySelector(`[data-key="label-${this.boxes.length - 1}"]`)?.select();
  }

  remove(number) {
    this.boxes.splice(number, 1);
    this.told();
  }

  told() {
    this.show();
    this.tell();
  }

  tell() {
    this.onchange(this.boxes.map(({ label, box }) => ({ label, box: [...box] })));
  }

  placeOf(event) {
    const { left, top, width, height } = this.layer.getBoundingClientRect();
    return [(event.clientX - left) / width, (event.clientY - top) / height];
  }

  /** A new box from here to where the pointer goes. */
  draw(event) {
    if (event.target !== this.layer) return;
    event.preventDefault();
    const start = this.placeOf(event);
    const shadow = this.layer.appendChild(make("div", { class: "box drawn" }));
    this.follow(event, (place) => lay(shadow, spanned(start, place)), (place) => {
      const box = spanned(start, place);
      shadow.remove();
      if (box[2] - box[0] >= LEAST && box[3] - box[1] >= LEAST) this.add(box);
    });
  }

  follow(event, onmove, onend) {
    const target = event.target;
    target.setPointerCapture(event.pointerId);
    const move = (next) => onmove(this.placeOf(next));
    const end = (next) => {
      target.removeEventListener("pointermove", move);
      target.removeEventListener("pointerup", end);
      target.removeEventListener("pointercancel", end);
      onend(this.placeOf(next));
    };
    target.addEventListener("pointermove", move);
    target.addEventListener("pointerup", end);
    target.addEventListener("pointercancel", end);
  }

  /** Drag a box as a whole, or its corner. */
  drag(event, number, corner) {
    event.preventDefault();
    event.stopPropagation();
    const [start, before] = [this.placeOf(event), this.boxes[number].box];
    const node = this.layer.children[number];
    node.focus();
    this.follow(event, ([x, y]) => {
      const box = corner < 0 ? moved(before, x - start[0], y - start[1]) : resized(before, corner, x, y);
      this.boxes[number].box = box;
      lay(node, box);
    }, () => this.told());
  }

  key(event, number) {
    const way = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] }[event.key];
    const { box } = this.boxes[number];
    if (event.key === "Delete" || event.key === "Backspace") this.remove(number);
    else if (event.key === "Enter") this.list.querySelector(`[data-key="label-${number}"]`)?.select();
    else if (way) {
      this.boxes[number].box = event.shiftKey ? resized(box, 3, box[2] + way[0], box[3] + way[1]) : moved(box, ...way);
      this.told();
    } else return;
    event.preventDefault();
  }

  show() {
    replace(this.layer, ...this.boxes.map((each, number) => this.boxNode(each, number)));
    const rows = this.boxes.map(({ label }, number) => this.row(label, number));
    replace(this.list, this.names, ...rows);
  }

  boxNode({ label, box }, number) {
    const node = make(
      "div",
      {
        class: "box", tabindex: "0", role: "button", "data-key": `box-${number}`,
        "aria-label": `Box of ${label}: arrow keys move it, with shift they resize it, delete removes it`,
        onpointerdown: (event) => this.drag(event, number, -1),
        onkeydown: (event) => this.key(event, number),
      },
      make("span", {}, label),
      ...CORNERS.map((_, corner) =>
        make("i", { class: `corner c${corner}`, onpointerdown: (event) => this.drag(event, number, corner) }),
      ),
    );
    lay(node, box);
    return node;
  }

  row(label, number) {
    const input = make("input", {
      type: "text", value: label, list: this.names.id, maxlength: "60", "data-key": `label-${number}`, autocomplete: "off",
      "aria-label": `Label of box ${number + 1}`,
      oninput: (event) => {
        this.boxes[number].label = event.target.value.trim() || label;
        this.layer.children[number].querySelector("span").textContent = this.boxes[number].label;
        this.tell();
      },
    });
    return make("div", { class: "line" }, input, button("Delete", () => this.remove(number), {
      class: "quiet", "aria-label": `Delete box ${number + 1}`,
    }));
  }
}

function lay(node, [x0, y0, x1, y1]) {
  const percent = (value) => `${100 * value}%`;
  Object.assign(node.style, { left: percent(x0), top: percent(y0), width: percent(x1 - x0), height: percent(y1 - y0) });
}
