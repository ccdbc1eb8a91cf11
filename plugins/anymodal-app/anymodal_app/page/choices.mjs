// What is made, and how: targets, samplers, weights, seed and variants.

import { button, make, newId, replace, segments, toggle } from "./dom.mjs";
import { defaults, effective, given, kept, modality, seedOf, targets } from "./request.mjs";

const WAYS = [["default", "At once"], ["drawn", "Step by step"]];
const SLIDERS = {
  steps: { text: "Steps", min: 1, step: 1 },
  temperature: { text: "Temperature", min: 0, max: 4, step: 0.05 },
  guidance: { text: "Guidance", min: 0, max: 8, step: 0.1 },
  top_p: { text: "Top p", min: 0, max: 1, step: 0.01, zero: "off" },
};
const STEPS = 64; // most steps of the slider

export class Choices {
  /** @param change takes the changed part of the state, and all is shown anew; `note` takes what is shown already. */
  constructor(chips, place, about, change, note) {
    Object.assign(this, { chips, place, about, change, chosen: null });
    this.seed = make("input", { type: "number", min: "0", max: 2 ** 32 - 1, value: "0", inputmode: "numeric", id: "seed" });
    this.seed.addEventListener("input", () => note({ seed: seedOf(this.seed.value) }));
    this.seedField = make("div", { class: "field" }, make("label", { for: "seed" }, "Seed"), this.seed);
    this.fields = make("div", { class: "fields" });
    this.summary = make("summary", { "data-key": "settings" }, "Settings");
    this.settings = make("details", { class: "settings" }); // one for good, so that it stays as people left it
  }

  show(state) {
    this.showTargets(state);
    const made = targets(this.about, state);
    if (!made.includes(this.chosen)) this.chosen = made[0] ?? null;
    replace(this.settings, this.summary, this.chosen && this.sampler(state, made), this.weights(state));
    replace(this.place, this.line(state), this.settings);
  }

  showTargets(state) {
    const [known, open, made] = [given(this.about, state), kept(this.about, state), targets(this.about, state)];
    const chips = this.about.modalities.filter(({ target }) => target).map(({ name, description }) => {
      const isGiven = known.includes(name) && !open[name];
      const flip = () => {
        const without = state.targets.filter((each) => each !== name);
        this.change({ targets: without.length === state.targets.length ? [...without, name] : without });
      };
      const told = isGiven ? " (given)" : open[name] ? " (open part)" : "";
      return toggle(name + told, made.includes(name), flip, {
        title: description, "data-key": `target-${name}`, "data-target": name, disabled: isGiven || Boolean(open[name]),
      });
    });
    const names = this.about.modalities.filter(({ target }) => target).map(({ name }) => name);
    const all = names.every((name) => state.targets.includes(name));
    const flipAll = () => this.change({ targets: all ? [] : [...state.targets, ...names.filter((name) => !state.targets.includes(name))] });
    replace(this.chips, ...chips, names.length > 4 && button(all ? "None" : "All", flipAll, { class: "quiet", "data-key": "all" }));
  }

  line(state) {
    const { variants: most } = this.about.limits;
    if (seedOf(this.seed.value) !== state.seed) this.seed.value = state.seed;
    const numbers = Array.from({ length: most }, (_, k) => [k + 1, String(k + 1)]);
    const vary = (variants) => {
      const how = variants > 1 ? "drawn" : state.how; // what is sure is the same for every seed
      this.change({ variants, how });
    };
    replace(
      this.fields,
      make("div", { class: "field" }, make("span", { class: "name" }, "Decide"),
        segments("Decide", WAYS, state.how, (how) => this.change({ how }))),
      this.seedField,
      most > 1 && make("div", { class: "field" }, make("span", { class: "name" }, "Variants"),
        segments("Variants", numbers, state.variants, vary)),
      this.about.can.uncertainty && this.check("Show how unsure it is", state.uncertainty, (uncertainty) => this.change({ uncertainty })),
    );
    return this.fields;
  }

  check(text, on, onchange) {
    const input = make("input", { type: "checkbox", "data-key": text, onchange: (event) => onchange(event.target.checked) });
    input.checked = on;
    return make("label", { class: "check" }, input, text);
  }

  /** Samplers and numbers of the target that is looked at. */
  sampler(state, made) {
    const name = this.chosen;
    const { schemes } = modality(this.about, name);
    const [usual, now] = [defaults(this.about, state, name), effective(this.about, state, name)];
    const put = (key, value) => {
      const own = { ...state.options[name], [key]: value };
      this.change({ options: { ...state.options, [name]: own } });
    };
    const select = make("select", { id: newId("target"), "data-key": "of" }, ...made.map((each) => make("option", { value: each }, each)));
    select.value = name;
    select.addEventListener("change", () => {
      this.chosen = select.value;
      this.change({});
    });
    const own = Object.keys(state.options[name] ?? {}).length > 0;
    return make(
      "fieldset", {},
      make("legend", {}, "Sampler"),
      make("div", { class: "fields" },
        make("div", { class: "field" }, make("label", { for: select.id }, "Of"), select),
        schemes.length > 1 && this.scheme(schemes, usual, now, put)),
      make("div", { class: "sliders" }, ...Object.entries(SLIDERS).filter(([key]) => this.applies(key, now))
        .map(([key, how]) => this.slider(key, how, usual, now, put))),
      own && make("button", { type: "button", class: "quiet small", onclick: () => this.reset(state, name) }, "As the model has it"),
    );
  }

  applies(key, now) {
    if (now[key] === null || now[key] === undefined) return false;
    return key !== "steps" || (now.scheme !== "mean" && now.scheme !== "autoregressive");
  }

  reset(state, name) {
    const { [name]: _, ...options } = state.options;
    this.change({ options });
  }

  scheme(schemes, usual, now, put) {
    const words = (each) => (each === usual.scheme ? `${each} (default)` : each);
    const select = make("select", { id: newId("scheme"), "data-key": "scheme" }, ...schemes.map((each) => make("option", { value: each }, words(each))));
    select.value = now.scheme;
    select.addEventListener("change", () => put("scheme", select.value));
    return make("div", { class: "field" }, make("label", { for: select.id }, "Scheme"), select);
  }

  slider(key, { text, zero, max, ...range }, usual, now, put) {
    const told = (value) => (value === 0 && zero ? zero : String(value));
    const output = make("output", {}, told(now[key]));
    const most = max ?? Math.min(STEPS, this.about.limits.steps ?? STEPS);
    const input = make("input", {
      type: "range", ...range, max: Math.max(most, usual[key]), value: now[key], "data-key": `slider-${key}`, "data-option": key,
      oninput: (event) => (output.textContent = told(Number(event.target.value))),
      onchange: (event) => put(key, Number(event.target.value)),
    });
    return make("label", { class: "slider" }, make("span", {}, text), input, output,
      make("small", { class: "faint" }, `default ${told(usual[key])}`));
  }

  /** How much each input counts, once a person wants to weigh them. */
  weights(state) {
    const known = given(this.about, state);
    if (!this.about.can.weights || !known.length) return false;
    const on = Object.keys(state.weights).length > 0;
    const flip = (weighed) => this.change({ weights: weighed ? Object.fromEntries(known.map((name) => [name, 1])) : {} });
    const rows = known.map((name) => {
      const output = make("output", {}, String(state.weights[name] ?? 1));
      const input = make("input", {
        type: "range", min: "0", max: "6", step: "0.1", value: state.weights[name] ?? 1, "data-key": `weight-${name}`,
        oninput: (event) => (output.textContent = event.target.value),
        onchange: (event) => this.change({ weights: { ...state.weights, [name]: Number(event.target.value) } }),
      });
      return make("label", { class: "slider" }, make("span", {}, name), input, output);
    });
    return make("fieldset", {}, make("legend", {}, "Inputs"), this.check("weigh each input on its own", on, flip), on && make("div", { class: "sliders" }, ...rows));
  }
}
