// The backend of the page in a browser tab: `tiny` as graphs of ONNX, run here. It takes the place of backend.mjs.

import * as ort from "./ort/ort.wasm.min.mjs";
import { Model, ported } from "./model.mjs";
import { Words, classPicture, classes, depthLegend, depthPicture, legend, meters, patches } from "./values.mjs";

const LARGE = 256; // pixels of the pictures that people see
const SHOWN = { encode: "the encoder", decode: "the decoder", read: "what the decoder reads" };

ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;

async function read(file) {
  const answer = await fetch(new URL(`./model/${file}`, import.meta.url));
  if (!answer.ok) throw new Error(`${file} is not there (${answer.status}); build the page: python docs/browser/build.py`);
  return new Uint8Array(await answer.arrayBuffer());
}

const readJson = async (file) => JSON.parse(new TextDecoder().decode(await read(file)));

export async function connect() {
  const { about, depth, semseg } = await readJson("page.json");
  for (const { defaults } of about.modalities) {
    for (const [situation, own] of Object.entries(defaults)) defaults[situation] = { ...own, ...ported(own) };
  }
  const tab = new Tab({ depth, semseg });
  return { about, generate: (request, onEvent, signal) => tab.generate(request, onEvent, signal) };
}

class Tab {
  constructor(colors) {
    this.colors = colors;
    this.model = null;
  }

  /** The model, loaded when it is first asked. */
  async load(onEvent) {
    if (this.model) return;
    let bytes = 0;
    const model = await Model.load(ort, read, (file, size) => {
      bytes += size;
      const what = SHOWN[file.split(".")[0]] ?? "tokenizers";
      onEvent({ event: "load", text: `Loading ${what}: ${(bytes / 1e6).toFixed(1)} MB` });
    });
    this.side = model.manifest.modalities.rgb.size; // pixels that the model reads
    this.words = new Words(await readJson("vocabulary.json"));
    this.model = model;
  }

  async generate(request, onEvent, signal) {
    const started = performance.now();
    await this.load(onEvent);
    const picture = request.inputs.rgb && (await pixels(request.inputs.rgb.data, this.side));
    for (let variant = 0; variant < request.variants; variant++) {
      await this.variant(request, picture, variant, onEvent, signal);
    }
    const seconds = (performance.now() - started) / 1000;
    const stated = { ...request, options: this.options(request, Boolean(picture)) };
    onEvent({ event: "done", seconds, python: python(stated), command: command(stated) });
  }

  /** The options by target with which Python makes the same: those of the request, and what is taken here by default. */
  options({ targets, options }, grounded) {
    const { sampling } = this.model.manifest;
    const each = targets.map((name) => [name, { ...ported(sampling[name][grounded ? "grounded" : "free"]), ...options[name] }]);
    return Object.fromEntries(each.filter(([, own]) => Object.keys(own).length));
  }

  async variant({ targets, options, seed: first }, picture, variant, onEvent, signal) {
    const known = picture ? { "rgb.pixels": patches(picture, this.side, this.model.manifest.modalities.rgb) } : {};
    const seed = first + variant;
    for await (const step of this.model.generate(known, targets, { seed, grounded: Boolean(picture), options })) {
      signal.throwIfAborted();
      const { length } = this.model.streams.get(step.target);
      const shown = { target: step.target, variant, ...(await this.show(step)) };
      const decided = step.done ? 1 : step.tokens.values.length / length;
      onEvent({ event: "step", ...shown, step: step.step, steps: step.total, decided });
      if (step.done) onEvent({ event: "value", ...shown, seed, tokens: step.tokens, file: fileOf(shown) });
      await new Promise((resolve) => setTimeout(resolve)); // the page is drawn, and cancels are heard
    }
  }

  /** What people see of tokens: a picture and its legend, or a text. */
  async show({ target, tokens }) {
    if (target === "caption") return { text: this.words.decode(tokens.values, this.model.streams.get("caption")) };
    const values = (await this.model.detokenize(target, tokens)).data;
    const { size: side } = this.model.manifest.modalities[target];
    if (target === "depth") {
      const depth = meters(values, this.model.manifest.modalities.depth);
      const picture = drawn(depthPicture(depth, side, this.colors.depth), side, true);
      return { picture, legend: depthLegend(depth, this.colors.depth) };
    }
    const found = classes(values, side);
    const entries = legend(found, this.colors.semseg);
    return {
      picture: drawn(classPicture(found, side, this.colors.semseg), side, false),
      legend: entries.map(({ color, name, share }) => ({ color, text: `${name} ${Math.round(100 * share)} %` })),
    };
  }
}

/** The centered square of a picture at the model's size, as RGBA. */
async function pixels(address, size) {
  const image = new Image();
  image.src = address;
  await image.decode();
  const side = Math.min(image.naturalWidth, image.naturalHeight);
  const [x, y] = [(image.naturalWidth - side) / 2, (image.naturalHeight - side) / 2];
  const context = canvasOf(size).getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(image, x, y, side, side, 0, 0, size, size);
  return context.getImageData(0, 0, size, size).data;
}

function canvasOf(side) {
  return Object.assign(document.createElement("canvas"), { width: side, height: side });
}

/** Pixels (RGBA, side x side) as the address of a larger picture. */
function drawn(rgba, side, smooth) {
  const [small, large] = [canvasOf(side), canvasOf(LARGE)];
  small.getContext("2d").putImageData(new ImageData(rgba, side, side), 0, 0);
  const context = large.getContext("2d");
  context.imageSmoothingEnabled = smooth;
  context.drawImage(small, 0, 0, LARGE, LARGE);
  return large.toDataURL("image/png");
}

function fileOf({ target, picture, text }) {
  if (picture) return { name: `${target}.png`, url: picture };
  return { name: `${target}.txt`, url: `data:text/plain;charset=utf-8,${encodeURIComponent(text)}` };
}

const inputsOf = ({ rgb }) => (rgb ? { rgb: rgb.name } : {});

/** A value as Python writes it: numbers, texts, lists and dicts of them. */
function literal(value) {
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  if (typeof value !== "object") return JSON.stringify(value);
  return `{${Object.entries(value).map(([key, each]) => `${literal(key)}: ${literal(each)}`).join(", ")}}`;
}

function python({ inputs, targets, seed, options }) {
  const own = Object.entries(options).map(([name, each]) => `    "${name}": ${literal(each)},`);
  return [
    "import anymodal as am",
    "",
    'model = am.load("tiny")',
    ...(own.length ? ["options = {", ...own, "}"] : []),
    `out = model.generate(${literal(inputsOf(inputs))}, ${literal(targets)}, seed=${seed}${own.length ? ", options=options" : ""})`,
    'out.save("out")',
  ].join("\n");
}

function command({ inputs, targets, seed, options }) {
  const quoted = (word) => (/^[\w./=,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);
  const words = Object.entries(inputsOf(inputs)).map(([name, file]) => quoted(`${name}=${file}`));
  const sets = Object.entries(options).flatMap(([name, each]) =>
    Object.entries(each).map(([key, value]) => `--set ${quoted(`${name}.${key}=${value}`)}`),
  );
  return ["anymodal generate", ...words, `--to ${targets.join(",")}`, `--seed ${seed}`, ...sets, "--out out"].join(" ");
}
