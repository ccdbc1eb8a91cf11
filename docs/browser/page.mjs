import * as ort from "./ort/ort.wasm.min.mjs";
import { Model } from "./model.mjs";
import { Words, classPicture, classes, depthPicture, legend, meters, patches } from "./values.mjs";

const $ = (id) => document.getElementById(id);
const SIDE = 64;
const TARGETS = ["depth", "semseg", "caption"];
const SHOWN = { encode: "the encoder", decode: "the decoder", read: "what the decoder reads" };

ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;

async function read(file) {
  const answer = await fetch(new URL(`./model/${file}`, import.meta.url));
  if (!answer.ok) throw new Error(`${file} is not there (${answer.status}); build the page: python docs/browser/build.py`);
  return new Uint8Array(await answer.arrayBuffer());
}

let model;
let words;
let facts;
let running = 0;

function say(text, busy = false) {
  $("status").textContent = text;
  $("status").classList.toggle("busy", busy);
}

async function start() {
  try {
    say("loading the model ...", true);
    let bytes = 0;
    model = await Model.load(ort, read, (file, size) => {
      bytes += size;
      say(`loading ${SHOWN[file.split(".")[0]] ?? "tokenizers"}: ${(bytes / 1e6).toFixed(1)} MB`, true);
    });
    const text = new TextDecoder();
    words = new Words(JSON.parse(text.decode(await read("vocabulary.json"))));
    facts = JSON.parse(text.decode(await read("page.json")));
    for (const [k, name] of facts.pictures.entries()) addExample(`./model/${name}`, k);
    await choose(`./model/${facts.pictures[0]}`);
  } catch (error) {
    say(error.message);
  }
}

function addExample(address, number) {
  const button = document.createElement("button");
  const image = new Image(72, 72);
  image.src = address;
  image.alt = `rendered scene ${number + 1}`;
  button.type = "button";
  button.append(image);
  button.addEventListener("click", () => choose(address));
  $("examples").append(button);
}

/** Show a picture, cut to its centered square, and start. */
async function choose(address) {
  const image = new Image();
  image.src = address;
  try {
    await image.decode();
  } catch {
    say("that is no picture that this browser reads; choose a PNG or a JPEG");
    return;
  }
  const side = Math.min(image.naturalWidth, image.naturalHeight);
  const [x, y] = [(image.naturalWidth - side) / 2, (image.naturalHeight - side) / 2];
  const context = $("picture").getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(image, x, y, side, side, 0, 0, SIDE, SIDE);
  await run();
}

function put(id, pixels) {
  $(id).getContext("2d").putImageData(new ImageData(pixels, SIDE, SIDE), 0, 0);
}

function options() {
  if ($("how").value === "sure") return {};
  const drawn = { scheme: "roar", steps: 8, temperature: 1, top_p: 0.9 };
  return { depth: drawn, semseg: drawn, caption: { temperature: 0.7 } };
}

async function run() {
  const own = ++running; // an older run stops at its next step
  const started = performance.now();
  const rgba = $("picture").getContext("2d").getImageData(0, 0, SIDE, SIDE).data;
  const seed = Math.min(Math.max(Math.trunc(Number($("seed").value)) || 0, 0), 2 ** 32 - 1);
  $("caption").textContent = "";
  $("legend").replaceChildren();
  try {
    const known = { "rgb.pixels": patches(rgba, SIDE, model.manifest.modalities.rgb) };
    for await (const step of model.generate(known, TARGETS, { seed, options: options() })) {
      if (own !== running) return;
      say(`${step.target} ${step.step}/${step.total}`, true);
      await show(step);
      await new Promise((resolve) => setTimeout(resolve));
    }
    const seconds = (performance.now() - started) / 1000;
    say(`done in ${seconds.toFixed(1)} s, in this tab alone`);
    window.anymodal = { tokens: known, seconds, caption: $("caption").textContent, runs: own };
  } catch (error) {
    say(error.message);
    throw error;
  }
}

async function show({ target, tokens }) {
  if (target === "caption") {
    $("caption").textContent = words.decode(tokens.values, model.streams.get("caption"));
    return;
  }
  const values = (await model.detokenize(target, tokens)).data;
  if (target === "depth") {
    const depth = meters(values, model.manifest.modalities.depth);
    put("depth", depthPicture(depth, SIDE, facts.depth));
    return;
  }
  const found = classes(values, SIDE);
  put("semseg", classPicture(found, SIDE, facts.semseg));
  $("legend").replaceChildren(...legend(found, facts.semseg).map(entry));
}

function entry({ name, color, share }) {
  const item = document.createElement("li");
  const swatch = document.createElement("span");
  swatch.style.background = `rgb(${color.join(",")})`;
  item.append(swatch, `${name} ${Math.round(100 * share)} %`);
  return item;
}

$("file").addEventListener("change", () => {
  const [file] = $("file").files;
  if (!file) return;
  const address = URL.createObjectURL(file);
  choose(address).finally(() => URL.revokeObjectURL(address));
});
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  const [file] = event.dataTransfer.files;
  if (file) choose(URL.createObjectURL(file));
});
$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (model && facts) run();
});
start();
