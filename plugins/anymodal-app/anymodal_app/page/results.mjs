// What was made, target by target, while it is made.

import { button, make, replace, toggle } from "./dom.mjs";
import { modality } from "./request.mjs";

const MANY = 6; // cards, from which they are smaller
const MOST = 12; // entries of a legend

/** A run: what was asked, and all that was told of it. It can be shown again without asking anew. */
export class Run {
  constructor(about, state, request, place, use) {
    Object.assign(this, { about, state, request, place, use, values: new Map(), overlays: new Set(), done: null });
    this.cards = new Map();
    this.first = request.seed;
  }

  key = (target, variant) => `${target} ${variant}`;

  /** Take an event in and show what it says. */
  take(event) {
    if (event.event === "step" || event.event === "value") {
      const before = this.values.get(this.key(event.target, event.variant)) ?? {};
      if (event.event === "step" && before.final) return;
      this.values.set(this.key(event.target, event.variant), { ...before, ...event, final: event.event === "value" });
      this.fill(event.target, event.variant);
    }
    if (event.event === "done") {
      this.done = event;
      this.showDone();
    }
  }

  /** How far the run is, 0 to 1. */
  get progress() {
    const shares = [...this.values.values()].map(({ final, decided }) => (final ? 1 : 0.98 * (decided ?? 0)));
    return shares.reduce((sum, share) => sum + share, 0) / (this.request.targets.length * this.request.variants);
  }

  /** Whether the page shows it, and not another one. */
  get isShown() {
    return this.foot?.isConnected ?? false;
  }

  /** A picture that stands for the run. */
  get thumbnail() {
    const shown = ({ target, picture, final, rows }) => picture && final && !rows?.length && !this.isText(target);
    return [...this.values.values()].find(shown)?.picture ?? null;
  }

  get words() {
    return [...this.values.values()].find(({ text }) => text)?.text ?? this.request.targets.join(", ");
  }

  show() {
    this.cards.clear();
    this.foot = make("div", { class: "foot" });
    const cards = this.request.targets.map((target) => this.card(target));
    this.place.replaceChildren(make("div", { class: cards.length > MANY ? "cards many" : "cards" }, ...cards), this.foot);
    for (const target of this.request.targets) {
      for (let variant = 0; variant < this.request.variants; variant++) this.fill(target, variant);
    }
    if (this.done) this.showDone();
  }

  card(target) {
    const variants = Array.from({ length: this.request.variants }, () => make("div", { class: "variant" }));
    this.cards.set(target, variants);
    const wide = variants.length > 1 ? " wide" : "";
    return make("article", { class: `card${wide}`, "data-target": target, "aria-label": target },
      make("h3", {}, target), make("div", { class: "variants", "data-count": variants.length }, ...variants));
  }

  fill(target, variant) {
    const node = this.cards.get(target)?.[variant];
    if (!node) return;
    const value = this.values.get(this.key(target, variant));
    node.classList.toggle("waiting", !value);
    node.dataset.state = value ? (value.final ? "made" : "growing") : "waiting";
    if (!value) {
      node.replaceChildren(make("div", { class: this.isText(target) ? "frame lines" : "frame" }));
      return;
    }
    replace(node, this.frame(value), this.text(value), this.bar(value), this.doubts(value), rows(value), legend(value), this.tools(value));
  }

  bar({ final, decided, step, steps }) {
    if (final) return false;
    const told = make("span", { class: "faint" }, steps ? `step ${step} of ${steps}` : `step ${step}`);
    return make("div", { class: "grow-bar" }, make("progress", { max: "1", value: decided ?? 0, "aria-hidden": "true" }), told);
  }

  /** The picture of a value; of words and numbers there is none, they are set by the page itself. */
  frame({ picture, target, variant, uncertainty, rows }) {
    if (!picture || rows?.length || this.isText(target)) return false;
    const frame = make("div", { class: "frame" }, make("img", { src: picture, alt: this.name(target, variant), decoding: "sync" }));
    if (uncertainty?.picture && this.overlays.has(target)) {
      frame.append(make("img", { class: "overlay", src: uncertainty.picture, alt: `unsure: ${uncertainty.text}` }));
    }
    return frame;
  }

  isText = (target) => modality(this.about, target).kind === "text";

  name(target, variant) {
    return this.request.variants > 1 ? `${target}, seed ${this.first + variant}` : target;
  }

  text({ text, target, final, uncertainty }) {
    if (text === undefined || text === null) return false;
    const look = this.isText(target) ? "said" : "said small";
    const parts = this.isText(target) && this.overlays.has(target) && uncertainty?.parts;
    return make("p", { class: final ? look : `${look} open` }, ...(parts ? parts.flatMap(tinted) : [text]));
  }

  doubts({ target, uncertainty }) {
    if (!uncertainty || !this.overlays.has(target)) return false;
    const tinted = this.isText(target) && uncertainty.parts;
    const [veil, words] = ["the stronger the color, the less sure", tinted ? "" : uncertainty.text];
    const told = uncertainty.picture || tinted ? [veil, words].filter(Boolean).join(": ") : `sure of ${words}`;
    return make("p", { class: "hint" }, told);
  }

  tools(value) {
    const { target, variant, uncertainty, file, final } = value;
    if (!final) return false;
    const flip = () => {
      if (!this.overlays.delete(target)) this.overlays.add(target);
      for (let k = 0; k < this.request.variants; k++) this.fill(target, k);
    };
    return make(
      "div", { class: "tools small" },
      this.request.variants > 1 && make("span", { class: "seed" }, `seed ${this.first + variant}`),
      uncertainty && toggle("Unsure where", this.overlays.has(target), flip, { class: "quiet", "data-key": `unsure-${target}-${variant}` }),
      file && make("a", { class: "button quiet", href: file.url, download: file.name }, "Download"),
      this.use.can(value) && button("Use as input", () => this.use.put(value), { class: "quiet" }),
    );
  }

  showDone() {
    const { python, command, download } = this.done;
    const code = make("pre", { tabindex: "0", "aria-label": "The same in code" }, make("code", {}));
    const copied = make("span", { role: "status", class: "faint" });
    const copy = (text, what) => button(`Copy as ${what}`, async () => {
      code.firstChild.textContent = text;
      code.hidden = false;
      copied.textContent = (await toClipboard(text)) ? "copied" : "select it below";
    });
    code.hidden = true;
    replace(
      this.foot,
      make("div", { class: "tools" }, python && copy(python, "Python"), command && copy(command, "command"),
        download && make("a", { class: "button", href: download.url, download: download.name }, "Download everything"), copied),
      code,
    );
  }
}

/** A word whose ground is the stronger the less sure it is. */
function tinted([word, sure]) {
  const node = make("span", { class: "doubt", title: `${Math.round(100 * sure)} % sure` }, word);
  node.style.setProperty("--doubt", `${Math.round(70 * (1 - sure))}%`);
  return [node, " "];
}

function rows({ rows: each }) {
  if (!each?.length) return false;
  const cells = each.map(([name, value]) => make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, String(value))));
  return make("table", {}, make("tbody", {}, ...cells));
}

function legend({ legend: entries }) {
  if (!entries?.length) return false;
  const items = entries.slice(0, MOST).map(({ color, text }) => {
    const swatch = color && make("i", { class: "swatch" });
    if (swatch) swatch.style.backgroundColor = `rgb(${color.join(" ")})`;
    return make("li", {}, swatch, text);
  });
  const left = entries.length - MOST;
  return make("ul", { class: "legend" }, ...items, left > 0 && make("li", { class: "faint" }, `and ${left} more`));
}

async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false; // pages without TLS, other than those of this machine, may not
  }
}
