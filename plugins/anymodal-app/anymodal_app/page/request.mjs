// What is asked of a model, from what the page holds. Pure functions: nothing here touches the page.

export const BLANK = /_{2,}/;
const SEED_LIMIT = 2 ** 32 - 1;

export function emptyState(about) {
  return {
    inputs: {}, // by name: text, boxes [{label, box}], or a file {data, name} or {file, name}
    mask: null, // data URL of a picture: white is made anew
    more: false, // further boxes are looked for, beside those given
    targets: [...about.targets],
    how: "default", // or "drawn": step by step, another one for each seed
    options: {},
    weights: {},
    seed: 0,
    variants: 1,
    uncertainty: false,
  };
}

export const modality = (about, name) => about.modalities.find((each) => each.name === name);
export const firstInput = (about, kind) => about.modalities.find((each) => each.input && each.kind === kind);
const sequential = ({ schemes }) => schemes.includes("autoregressive");

export function isGiven(value) {
  if (typeof value === "string") return value.trim() !== "";
  return Array.isArray(value) ? value.length > 0 : Boolean(value);
}

export const given = (about, state) =>
  about.modalities.filter(({ name, input }) => input && isGiven(state.inputs[name])).map(({ name }) => name);

/** The inputs of which a part is kept, so that they are targets too: what is kept, by name. */
export function kept(about, state) {
  const found = {};
  if (!about.can.keep) return found;
  for (const name of given(about, state)) {
    const { kind, keep, target } = modality(about, name);
    if (!keep || !target) continue;
    if (kind === "text" && BLANK.test(state.inputs[name])) found[name] = true;
    if (kind === "boxes" && state.more) found[name] = true;
    if (kind === "picture" && state.mask && name === firstInput(about, "picture").name) found[name] = state.mask;
  }
  return found;
}

/** What is made: inputs with open parts, and the chosen targets that are not given. */
export function targets(about, state) {
  const [known, open] = [given(about, state), Object.keys(kept(about, state))];
  const chosen = state.targets.filter((name) => modality(about, name)?.target && !known.includes(name));
  return [...open, ...chosen];
}

export const isGrounded = (about, state) =>
  given(about, state).some((name) => modality(about, name).photographic && !kept(about, state)[name]);

export function defaults(about, state, name) {
  const { defaults: each } = modality(about, name);
  return isGrounded(about, state) ? each.grounded : each.free;
}

/** The options that make a target appear step by step, where its defaults decide all at once. */
export function drawn(each, usual) {
  if (sequential(each)) {
    const word = usual.scheme === "beam" ? { scheme: "autoregressive" } : {}; // of beams nothing is drawn
    return usual.temperature < 0.5 ? { ...word, temperature: 0.7 } : word;
  }
  if (usual.scheme !== "mean" && usual.steps > 1) return {};
  return each.schemes.includes("roar") ? { scheme: "roar", steps: 8, temperature: 0.7, top_p: 0.8 } : {};
}

/** All options of a target as they will be; there is no guidance beside weights. */
export function effective(about, state, name) {
  const usual = defaults(about, state, name);
  const base = state.how === "drawn" ? drawn(modality(about, name), usual) : {};
  return { ...usual, ...base, ...state.options[name], ...(isWeighed(about, state) ? { guidance: null } : {}) };
}

const isWeighed = (about, state) => about.can.weights && Object.keys(state.weights).length > 0;

/** Only the options that are not the model's own. */
function changed(about, state, name) {
  const usual = defaults(about, state, name);
  const all = Object.entries(effective(about, state, name));
  return Object.fromEntries(all.filter(([key, value]) => value !== null && value !== usual[key]));
}

/** One sentence that says what is missing, or "". */
export function problem(about, state) {
  const known = given(about, state);
  for (const name of known) {
    const value = state.inputs[name];
    if (typeof value === "string" && value.length > about.limits.text) {
      return `${name} has ${value.length} characters; at most ${about.limits.text} are read.`;
    }
  }
  if (!targets(about, state).length) {
    const clash = state.targets.find((name) => known.includes(name));
    return clash ? `${clash} is given already: choose something else to make.` : "Choose what to make.";
  }
  return "";
}

export function requestOf(about, state) {
  const [known, asked] = [given(about, state), targets(about, state)];
  const options = asked.map((name) => [name, changed(about, state, name)]);
  return {
    inputs: Object.fromEntries(known.map((name) => [name, state.inputs[name]])),
    targets: asked,
    options: Object.fromEntries(options.filter(([, each]) => Object.keys(each).length)),
    weights: isWeighed(about, state) ? Object.fromEntries(known.map((name) => [name, state.weights[name] ?? 1])) : {},
    keep: kept(about, state),
    seed: seedOf(state.seed),
    variants: Math.min(Math.max(state.variants, 1), about.limits.variants),
    uncertainty: Boolean(about.can.uncertainty && state.uncertainty),
  };
}

export const seedOf = (value) => Math.min(Math.max(Math.trunc(Number(value)) || 0, 0), SEED_LIMIT);

/** A text with a blank where the selection was, and where the cursor goes. */
export function withBlank(text, start, end) {
  const before = text.slice(0, start).replace(/\s*$/, (space) => (start > space.length ? " " : ""));
  const after = text.slice(end).replace(/^\s*/, (space) => (space || end < text.length ? " " : ""));
  const blank = `${before}___`;
  return { text: blank + after, cursor: blank.length };
}
