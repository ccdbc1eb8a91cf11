// The runs of this page, the latest first. A click shows one again, with what was asked.

import { button, make, replace } from "./dom.mjs";

const MOST = 30;

export class History {
  constructor(place, restore) {
    Object.assign(this, { place, restore, runs: [], current: null });
  }

  add(run) {
    this.runs = [run, ...this.runs].slice(0, MOST);
    if (run.isShown) this.current = run;
    this.show();
  }

  show() {
    const items = this.runs.map((run, k) => {
      const picture = run.thumbnail;
      const told = `Run ${this.runs.length - k}: ${run.request.targets.join(", ")}, seed ${run.request.seed}`;
      const shown = picture ? make("img", { src: picture, alt: "", width: "64", height: "64" }) : make("span", {}, run.words);
      const again = button("", () => {
        this.current = run;
        this.restore(run);
        this.show();
      }, { "aria-label": told, title: told, "data-key": `run-${this.runs.length - k}`, "aria-current": run === this.current ? "true" : false });
      again.append(shown);
      return make("li", {}, again);
    });
    const title = make("h2", {}, "History");
    replace(this.place, ...(items.length > 1 ? [title, make("ol", { class: "history" }, ...items)] : []));
  }
}
