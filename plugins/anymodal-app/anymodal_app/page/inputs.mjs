// Inputs beside the picture: words with blanks, and files of everything else.

import { button, make, newId, replace } from "./dom.mjs";
import { fileInput } from "./files.mjs";
import { BLANK, firstInput, withBlank } from "./request.mjs";

export class Inputs {
  /** @param how `change`, `give` and `complain`, as Stage has them */
  constructor(place, about, how) {
    Object.assign(this, { place, about, ...how, added: new Set() });
    const shown = ["picture", "boxes", "text"].map((kind) => firstInput(about, kind)?.name);
    this.main = firstInput(about, "text");
    this.others = about.modalities.filter(({ name, input, kind }) => input && kind !== "boxes" && !shown.includes(name));
    this.texts = new Map();
  }

  put(name, value) {
    this.complain("");
    this.change({ inputs: { [name]: value } });
  }

  show(state) {
    const rows = this.others.filter(({ name }) => this.added.has(name) || state.inputs[name] !== undefined);
    const absent = this.others.filter((each) => !rows.includes(each));
    replace(
      this.place,
      this.main && this.text(this.main, state),
      ...rows.map((each) => (each.kind === "text" ? this.text(each, state) : this.file(each, state))),
      absent.length > 0 && this.adder(absent),
    );
  }

  /** The field of a text; it stays the same element, so that writing is not disturbed. */
  text(modality, state) {
    const { name } = modality;
    const value = state.inputs[name] ?? "";
    if (!this.texts.has(name)) this.texts.set(name, this.newText(modality));
    const { node, area, blank } = this.texts.get(name);
    if (area.value !== value) area.value = value;
    blank.hidden = !(this.about.can.keep && modality.keep);
    node.querySelector(".hint").hidden = !BLANK.test(value) || blank.hidden;
    return node;
  }

  newText({ name, description }) {
    const area = make("textarea", {
      id: newId("text"), rows: "2", maxlength: this.about.limits.text, spellcheck: "false", "data-key": `text-${name}`,
      placeholder: name === this.main?.name ? "a red cup on a wooden table" : "", title: description,
      oninput: () => this.put(name, area.value),
    });
    const blank = button("Insert a blank", () => {
      const { text, cursor } = withBlank(area.value, area.selectionStart, area.selectionEnd);
      area.value = text;
      area.focus();
      area.setSelectionRange(cursor, cursor);
      this.put(name, text);
    }, { class: "quiet small" });
    const label = make("label", { for: area.id }, name);
    const hint = make("p", { class: "hint" }, "The words around the blanks stay; the model fills the blanks.");
    const remove = name !== this.main?.name && this.remover(name);
    const line = make("div", { class: "line" }, label, make("span", { class: "push" }, blank, remove));
    return { node: make("div", { class: "field" }, line, area, hint), area, blank };
  }

  file(modality, state) {
    const { name, kind, suffixes, description } = modality;
    const value = state.inputs[name];
    const input = make("input", {
      type: "file", class: "hidden-file", id: newId("file"), accept: kind === "picture" ? "image/*" : suffixes.join(","),
      onchange: (event) => event.target.files.length && this.give(name, fileInput(event.target.files[0], modality, this.about.limits)),
    });
    const thumb = value?.preview && make("img", { src: value.preview, alt: "", width: "40", height: "40" });
    return make(
      "div", { class: "field file", title: description }, input, thumb,
      make("span", { class: "grow" }, make("b", {}, name), " ", make("span", { class: "faint" }, value ? value.name : suffixes.join(" "))),
      make("label", { class: "button quiet small", for: input.id }, value ? "Another" : "Choose a file"),
      this.remover(name),
    );
  }

  remover(name) {
    return button("Remove", () => {
      this.added.delete(name);
      this.put(name, undefined);
    }, { class: "quiet small", "aria-label": `Remove ${name}` });
  }

  adder(absent) {
    const options = absent.map(({ name }) => make("option", { value: name }, name));
    const select = make("select", { "aria-label": "Add an input", "data-key": "adder" }, make("option", { value: "" }, "Add an input"), ...options);
    select.addEventListener("change", () => {
      this.added.add(select.value);
      this.change({});
    });
    return make("div", { class: "field" }, select);
  }
}
