// What an index has that is like what was given.

import { make } from "./dom.mjs";

export class Found {
  constructor(results, place) {
    Object.assign(this, { results, place });
  }

  show() {
    const cards = this.results.map(({ picture, score, text, name }) =>
      make(
        "article", { class: "card" },
        picture && make("div", { class: "frame" }, make("img", { src: picture, alt: name ?? "", loading: "lazy" })),
        text && make("p", { class: "said small" }, text),
        make("p", { class: "faint" }, [name, Number.isFinite(score) && score.toFixed(2)].filter(Boolean).join("  ")),
      ),
    );
    const nothing = make("p", { class: "hint" }, "Nothing in the index is like this.");
    this.place.replaceChildren(make("div", { class: "cards small" }, ...(cards.length ? cards : [nothing])));
  }
}
