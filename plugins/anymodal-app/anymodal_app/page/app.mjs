// The page: what is held, what happens when something changes, and a run from the first event to the last.

import { connect } from "./backend.mjs";
import { Choices } from "./choices.mjs";
import { button, byId, make } from "./dom.mjs";
import { dataOf } from "./files.mjs";
import { History } from "./history.mjs";
import { Inputs } from "./inputs.mjs";
import { emptyState, firstInput, modality, problem, requestOf, seedOf } from "./request.mjs";
import { Run } from "./results.mjs";
import { Found } from "./search.mjs";
import { Stage } from "./stage.mjs";
import { startTheme } from "./theme.mjs";

const page = { running: null, parts: [], wishes: new Map(), reading: new Set() };

function say(text) {
  byId("status").textContent = text;
}

function complain(sentence) {
  byId("problem").textContent = sentence;
  byId("problem").hidden = !sentence;
}

/** Note that these inputs are to change. The function that comes back says whether nothing else was given since. */
function wish(names) {
  const mine = Symbol();
  for (const name of names) page.wishes.set(name, mine);
  return () => names.every((name) => page.wishes.get(name) === mine);
}

/** Change a part of what is held, and show it; of `inputs` only those named change. */
function change(part) {
  wish(Object.keys(part.inputs ?? {}));
  const inputs = { ...page.state.inputs, ...part.inputs };
  for (const name of Object.keys(inputs)) if (inputs[name] === undefined) delete inputs[name];
  page.state = { ...page.state, ...part, inputs };
  for (const each of page.parts) each.show(page.state);
}

/** Change an input, and the `rest` with it, once its file is read, unless something else is given meanwhile. */
function give(name, reading, rest = {}) {
  const read = put(name, reading, rest, wish([name]));
  page.reading.add(read);
  read.finally(() => page.reading.delete(read));
}

/** Whether it went well, or is of no more interest. */
async function put(name, reading, rest, isWanted) {
  try {
    const value = await reading;
    if (!isWanted()) return true;
    complain("");
    change({ ...rest, inputs: { [name]: value } });
    return true;
  } catch (error) {
    if (isWanted()) complain(error.message);
    return !isWanted();
  }
}

/** Wait for the files that are read; whether all went well. */
async function allRead() {
  if (!page.reading.size) return true;
  say("Reading the file");
  const well = (await Promise.all(page.reading)).every(Boolean);
  say("");
  return well;
}

/** Change what is shown already, so that nothing moves under the pointer. */
function note(part) {
  page.state = { ...page.state, ...part };
}

function busy(controller) {
  page.running = controller;
  byId("cancel").hidden = !controller;
  byId("generate").hidden = Boolean(controller);
  byId("search").hidden = Boolean(controller) || !page.backend.about.can.search;
  byId("progress").hidden = !controller;
  byId("progress").value = 0;
  byId("results").setAttribute("aria-busy", String(Boolean(controller)));
}

/** What the state asks for, or null after saying what is missing. */
function asked() {
  const wrong = problem(page.backend.about, page.state);
  complain(wrong);
  return wrong ? null : requestOf(page.backend.about, page.state);
}

/** Ask the backend; what goes wrong is said in place. Returns whether it went well. */
async function during(work) {
  const controller = new AbortController();
  const hadFocus = document.activeElement === byId("generate");
  busy(controller);
  if (hadFocus) byId("cancel").focus();
  try {
    return await work(controller.signal);
  } catch (error) {
    if (controller.signal.aborted) say("Cancelled.");
    else complain(error.message);
    if (!controller.signal.aborted) say("");
    return null;
  } finally {
    const canceled = document.activeElement === byId("cancel");
    busy(null);
    if (canceled) byId("generate").focus();
  }
}

async function generate() {
  if (page.running || !(await allRead()) || page.running) return; // by a second press that waited too
  const request = asked();
  if (!request) return;
  const run = new Run(page.backend.about, structuredClone(page.state), request, byId("run"), { can: canUse, put: putBack });
  run.show();
  if (matchMedia("(max-width: 60rem)").matches) byId("results").scrollIntoView();
  let last = "";
  await during((signal) => {
    say("Asking the model");
    return page.backend.generate(request, (event) => {
      document.dispatchEvent(new CustomEvent("anymodal", { detail: event }));
      last = told(event, last);
      if (event.event === "error") throw new Error(event.message);
      run.take(event);
      byId("progress").value = run.progress;
    }, signal);
  });
  if (run.values.size) page.history.add(run);
}

/** Say what an event means, once for each target. */
function told(event, last) {
  const words = {
    load: () => event.text,
    queue: () => (event.position > 1 ? `Waiting: ${event.position - 1} before you` : "Waiting for the model"),
    step: () => `Making ${event.target}`,
    value: () => `Made ${event.target}`,
    done: () => `Done in ${event.seconds.toFixed(1)} s`,
  };
  const text = words[event.event]?.() ?? last;
  if (text !== last) say(text);
  return text;
}

async function search() {
  if (page.running || !(await allRead()) || page.running) return;
  const request = { ...requestOf(page.backend.about, page.state), count: 12 };
  const { inputs, weights, seed, count } = request;
  if (!Object.keys(inputs).length) {
    complain("Give something to search by: a picture, or words.");
    return;
  }
  complain("");
  say("Searching");
  const found = await during((signal) => page.backend.search({ inputs, weights, seed, count }, () => {}, signal));
  if (!found) return;
  if (found.error) complain(found.error);
  else new Found(found.results, byId("run")).show();
  say(found.error ? "" : `Found ${found.results.length}`);
}

const names = () => page.backend.about.modalities.map(({ name }) => name);

/** Whether a value can go in again. */
function canUse({ target, text, boxes, file, picture }) {
  const { input, kind } = modality(page.backend.about, target);
  if (!input) return false;
  return { text: text !== undefined, boxes: Boolean(boxes), picture: Boolean(picture && file) }[kind] ?? Boolean(file);
}

function putBack(value) {
  const { kind } = modality(page.backend.about, value.target);
  const file = value.file && { file: value.file.id, name: `${value.target} made here`, preview: value.picture };
  const input = { text: value.text, boxes: value.boxes?.map(({ label, box }) => ({ label, box })) }[kind] ?? file;
  change({ inputs: { [value.target]: input }, ...(kind === "picture" && { mask: null }) });
  say(`${value.target} is an input now`);
}

function restore(run) {
  wish(names());
  page.state = structuredClone(run.state);
  complain("");
  run.show();
  change({});
  say(`Shown again: ${run.request.targets.join(", ")}`);
}

async function useExample(example, running) {
  const [isWanted, { targets }, inputs] = [wish(names()), page.state, {}];
  try {
    for (const [name, value] of Object.entries(example.inputs)) {
      inputs[name] = value.url ? await fetched(value) : value;
    }
  } catch {
    if (isWanted()) complain(`The example ${example.name} cannot be loaded.`);
    return;
  }
  if (!isWanted()) return;
  complain("");
  const own = example.targets ?? page.backend.about.targets;
  const chosen = page.state.targets === targets ? own : page.state.targets; // meanwhile
  page.state = { ...page.state, inputs: {}, mask: null, more: false, targets: chosen };
  change({ inputs });
  if (running) await generate();
}

async function fetched({ url, name }) {
  const answer = await fetch(new URL(url, document.baseURI));
  if (!answer.ok) throw new Error(String(answer.status));
  return { data: await dataOf(await answer.blob()), name };
}

function showExamples() {
  const items = page.backend.about.examples.map((example) => {
    const url = Object.values(example.inputs).find((value) => value.url)?.url;
    const words = Object.values(example.inputs).find((value) => typeof value === "string");
    const node = button("", () => useExample(example, !page.running), { title: example.name, "aria-label": `Example: ${example.name}` });
    if (url) node.append(make("img", { src: url, alt: "", width: "56", height: "56", class: words && "small" }));
    if (words || !url) node.append(make("span", {}, words ?? example.name));
    return node;
  });
  byId("examples").replaceChildren(...items);
}

function listen() {
  byId("form").addEventListener("submit", (event) => {
    event.preventDefault();
    generate();
  });
  byId("search").addEventListener("click", search);
  byId("cancel").addEventListener("click", () => page.running?.abort());
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") page.running?.abort();
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) generate();
  });
}

async function start() {
  startTheme();
  try {
    page.backend = await connect();
  } catch (error) {
    complain(error.message);
    say("");
    return;
  }
  const { about } = page.backend;
  byId("about").textContent = [about.model, about.description].filter(Boolean).join(": ");
  const links = (about.links ?? []).map(({ text, url }) => make("a", { href: url }, text));
  byId("footer").replaceChildren(...links);
  page.state = { ...emptyState(about), seed: seedOf(new URLSearchParams(location.search).get("seed") ?? 0) };
  page.history = new History(byId("history"), restore);
  page.parts = [
    new Stage(byId("stage"), about, { change, give, complain }),
    new Inputs(byId("inputs"), about, { change, give, complain }),
    new Choices(byId("targets"), byId("choices"), about, change, note),
  ];
  showExamples();
  listen();
  busy(null);
  change({});
  say("Choose what to make, then generate.");
  document.documentElement.dataset.ready = "true";
  if (about.examples.length && firstInput(about, "picture")) await useExample(about.examples[0], false);
}

start();
