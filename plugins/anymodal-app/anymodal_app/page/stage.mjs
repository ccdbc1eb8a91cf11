// The picture, with boxes and a mask over it.

import { Boxes } from "./boxes.mjs";
import { button, make, newId, replace, segments } from "./dom.mjs";
import { SIDE, drawSquare, fileInput, loaded } from "./files.mjs";
import { Mask } from "./mask.mjs";
import { firstInput } from "./request.mjs";

export class Stage {
  /**
   * @param place where it stands
   * @param about what the model is and can
   * @param how `change` takes the changed part of the state; `give` an input's name, the promise of its value and what
   *     changes with it; `complain` a sentence, or "" when it is over
   */
  constructor(place, about, how) {
    Object.assign(this, { place, about, ...how, mode: "look" });
    this.picture = firstInput(about, "picture");
    this.objects = firstInput(about, "boxes");
    if (!this.picture && !this.objects) return;
    this.canvas = make("canvas", { width: SIDE, height: SIDE, role: "img", "aria-label": "The picture" });
    const masked = about.can.keep && this.picture?.keep && this.picture.target;
    this.mask = masked ? new Mask((mask) => this.change({ mask })) : null;
    this.boxes = this.objects ? new Boxes(this.objects.classes ?? [], (boxes) => this.changeBoxes(boxes)) : null;
    this.file = make("input", { type: "file", accept: "image/*", id: newId("file"), class: "hidden-file" });
    this.file.addEventListener("change", () => this.chosen(this.file.files));
    this.empty = make("label", { class: "empty", for: this.file.id }, make("strong", {}, "Drop a picture"),
      make("span", {}, "paste it, or choose a file"));
    this.square = make("div", { class: "square" }, this.canvas, this.boxes?.layer, this.mask?.canvas, this.mask?.cursor,
      this.picture && this.empty);
    this.tools = make("div", { class: "stage-tools" });
    this.below = make("div", {});
    this.maskTools = this.mask && make("div", {},
      make("p", { class: "hint" }, "Paint over the part that is made anew, or that stays."), this.mask.tools);
    this.adding = make("div", { class: "tools" });
    this.boxTools = this.boxes && make("div", {},
      make("p", { class: "hint" }, "Draw a box on the picture, or add one; drag it or its corners."), this.boxes.list, this.adding);
    place.append(this.picture ? this.file : "", this.square, this.tools, this.below);
    this.listen();
  }

  listen() {
    const hasFiles = (event) => event.dataTransfer.types.includes("Files");
    document.addEventListener("dragover", (event) => {
      if (!hasFiles(event)) return; // words are for the fields
      event.preventDefault();
      this.square.classList.add("over");
    });
    for (const name of ["dragleave", "drop"]) {
      document.addEventListener(name, () => this.square.classList.remove("over"));
    }
    document.addEventListener("drop", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      this.chosen(event.dataTransfer.files);
    });
    document.addEventListener("paste", (event) => {
      if (event.clipboardData.files.length) this.chosen(event.clipboardData.files);
    });
  }

  chosen(files) {
    const [file] = files;
    this.file.value = "";
    if (file && this.picture) this.give(this.picture.name, fileInput(file, this.picture, this.about.limits), { mask: null });
  }

  changeBoxes(boxes) {
    this.change({ inputs: { [this.objects.name]: boxes } });
  }

  /** Show a state: the picture, its boxes and its mask. */
  show(state) {
    if (!this.canvas) return;
    const value = this.picture && state.inputs[this.picture.name];
    const boxes = (this.objects && state.inputs[this.objects.name]) || [];
    const fresh = value !== this.shown;
    this.shown = value;
    this.square.classList.toggle("filled", Boolean(value));
    if (this.mode === "mask" && !value) this.mode = "look";
    if (this.boxes && JSON.stringify(boxes.map(plain)) !== JSON.stringify(this.boxes.boxes.map(plain))) {
      this.boxes.set(boxes);
    }
    if (this.mask && state.mask !== this.mask.current) this.mask.restore(state.mask);
    this.showTools(state, Boolean(value), boxes.length);
    if (fresh) this.draw(value);
  }

  async draw(value) {
    if (!value) {
      this.canvas.getContext("2d").clearRect(0, 0, SIDE, SIDE);
      return;
    }
    try {
      const image = await loaded(value.preview ?? value.data);
      if (value === this.shown) drawSquare(this.canvas, image);
    } catch {
      if (value !== this.shown) return;
      this.complain(`${value.name} is no picture that this browser reads: choose a PNG or a JPEG.`);
      this.change({ inputs: { [this.picture.name]: undefined }, mask: null });
    }
  }

  showTools(state, filled, count) {
    const modes = [["look", "Look"], this.boxes && ["boxes", count ? `Boxes (${count})` : "Boxes"],
      this.mask && filled && ["mask", "Mask"]].filter(Boolean);
    const choose = (mode) => {
      this.mode = mode;
      this.change({});
    };
    this.square.dataset.mode = this.mode;
    const remove = () => this.change({ inputs: { [this.picture.name]: undefined }, mask: null });
    replace(
      this.tools,
      modes.length > 1 && segments("What to do with the picture", modes, this.mode, choose),
      filled && make("label", { class: "button quiet small", for: this.file.id }, "Another"),
      filled && button("Remove", remove, { class: "quiet small", "aria-label": "Remove the picture" }),
    );
    if (this.boxes) this.showBoxTools(state, count);
    replace(this.below, this.mode === "mask" && this.maskTools, this.mode === "boxes" && this.boxTools);
  }

  showBoxTools(state, count) {
    const more = make("input", { type: "checkbox", "data-key": "more" });
    more.checked = state.more;
    more.addEventListener("change", () => this.change({ more: more.checked }));
    const open = count > 0 && this.about.can.keep && this.objects.keep && this.objects.target;
    replace(this.adding, button("Add a box", () => this.boxes.add(), { "data-key": "add" }),
      open && make("label", { class: "check" }, more, "find more of them"));
  }
}

const plain = ({ label, box }) => [label, box];
