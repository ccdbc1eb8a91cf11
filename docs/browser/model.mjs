// The model in graphs of ONNX, asked as Python asks it. `ort` is onnxruntime, whichever kind of it.

import { decodeGrid, decodeSequence, guided } from "./sampling.mjs";
import { TorchRandom } from "./random.mjs";

const ROOM = 16; // tokens of memory of a text at first; it is doubled when the text is longer
const ints = (values) => BigInt64Array.from(values, (value) => BigInt(value));
const count = (shape) => shape.reduce((product, size) => product * size, 1);

export class Model {
  /**
   * @param ort onnxruntime
   * @param read async (file) => Uint8Array of a file in the folder that `anymodal export` wrote
   */
  static async load(ort, read, progress = () => {}) {
    const json = async (file) => JSON.parse(new TextDecoder().decode(await read(file)));
    const manifest = await json("manifest.json");
    if (manifest.format !== "anymodal-onnx" || manifest.format_version !== 1) {
      throw new Error(`the manifest is of version ${manifest.format_version}, this program reads 1`);
    }
    const { chain = {} } = await json("config.json");
    return new Model(ort, read, progress, manifest, chain);
  }

  /** @param chain whether targets are made one from another, `grounded` and `free`; they are where it says nothing */
  constructor(ort, read, progress, manifest, chain = {}) {
    Object.assign(this, { ort, read, progress, manifest, chain });
    this.sessions = new Map();
    this.streams = new Map(manifest.streams.map((stream) => [stream.name, stream]));
  }

  /** Open a graph, once; one that could not be read is read again when it is asked for the next time. */
  session(graph) {
    if (!this.sessions.has(graph.file)) {
      const opening = this.open(graph);
      this.sessions.set(graph.file, opening);
      opening.catch(() => this.sessions.delete(graph.file));
    }
    return this.sessions.get(graph.file);
  }

  async open(graph) {
    const content = await this.read(graph.file);
    this.progress(graph.file, content.byteLength);
    return this.ort.InferenceSession.create(content, { executionProviders: this.ort.providers ?? ["wasm"] });
  }

  async run(graph, inputs) {
    const session = await this.session(graph);
    const feeds = {};
    for (const [name, [values, shape]] of Object.entries(inputs)) {
      const type = graph.inputs[name].dtype;
      feeds[name] = new this.ort.Tensor(type, values, shape);
    }
    return session.run(feeds);
  }

  /** What the encoder says of what is known: by stream `{values, positions}`, in the order of the manifest. */
  async encode(known) {
    const ids = [];
    const positions = [];
    const streams = [];
    const inputs = {};
    for (const stream of this.manifest.streams) {
      const given = known[stream.name];
      const dense = stream.kind === "dense";
      if (dense) {
        const rows = given ? given.positions.length : 0;
        const slots = given ? given.positions.map((_, k) => ids.length + k) : [];
        inputs[`${stream.name}.rows`] = [given ? given.values : new Float32Array(0), [1, rows, stream.width]];
        inputs[`${stream.name}.slots`] = [ints(slots), [1, rows]];
      }
      if (!given) continue;
      given.positions.forEach((position, k) => {
        ids.push(dense ? 0 : given.values[k] + stream.input_row);
        positions.push(position + stream.position_row);
        streams.push(stream.index);
      });
    }
    if (!ids.length) [ids[0], positions[0], streams[0]] = [0, 0, -1]; // padding: there is nothing
    const shape = [1, ids.length];
    Object.assign(inputs, {
      ids: [ints(ids), shape],
      positions: [ints(positions), shape],
      streams: [ints(streams), shape],
    });
    const { context, attended } = await this.run(this.manifest.encode, inputs);
    const read = await this.run(this.manifest.read, {
      context: [context.data, context.dims],
      attended: [attended.data, attended.dims],
    });
    return { k: read.context_k, v: read.context_v, attended };
  }

  /** Decoder states of targets (M) after those in `past`, and their keys and values. */
  async decode(context, ids, positions, streams, allowed, past) {
    const m = ids.length;
    const { heads_of_attention: heads, decoder_depth: depth, width } = this.manifest;
    const before = past ? past.room : 0;
    const shape = [depth, 1, heads, before, width / heads];
    const none = new Float32Array(0);
    return this.run(this.manifest.decode, {
      ids: [ints(ids), [1, m]],
      positions: [ints(positions), [1, m]],
      streams: [ints(streams), [1, m]],
      allowed: [allowed, [1, m, before + m]],
      past_k: [past ? past.k : none, shape],
      past_v: [past ? past.v : none, shape],
      context_k: [context.k.data, context.k.dims],
      context_v: [context.v.data, context.v.dims],
      context_attended: [context.attended.data, context.attended.dims],
    });
  }

  /** Scores of a stream for decoder states: one Float32Array for each of them. */
  async logits(states, stream) {
    const { logits } = await this.run(this.manifest.heads[stream.head], { states: [states.data, states.dims] });
    const size = logits.dims[2];
    return Array.from({ length: logits.dims[1] }, (_, k) => logits.data.slice(k * size, (k + 1) * size));
  }

  /** Guided scores of positions of a grid; nothing of the conditions is known to the second pass. */
  async gridScores(known, stream, positions, scale) {
    const m = positions.length;
    const ask = async (seen) => {
      const context = await this.encode(seen);
      const where = positions.map((position) => position + stream.position_row);
      const all = new Uint8Array(m * m).fill(1);
      const { states } = await this.decode(context, positions.map(() => 0), where, positions.map(() => stream.index), all);
      return this.logits(states, stream);
    };
    const conditional = await ask(known);
    if (scale === 1 || !this.conditions(known, stream).length) return conditional;
    const unconditional = await ask(this.hidden(known, stream));
    return conditional.map((scores, k) => guided(unconditional[k], scores, scale));
  }

  conditions(known, stream) {
    return Object.keys(known).filter((name) => name !== stream.name);
  }

  /** What is seen where conditions are not given: of a text one [S_1], of vectors a row of zeros, of a grid nothing. */
  hidden(known, target) {
    const seen = known[target.name] ? { [target.name]: known[target.name] } : {};
    for (const name of this.conditions(known, target)) {
      const stream = this.streams.get(name);
      if (stream.kind === "sequence") seen[name] = { values: [stream.sentinels[0] + 1], positions: [0] };
      if (stream.kind === "dense" && !stream.shape) seen[name] = { values: new Float32Array(stream.width), positions: [0] };
    }
    return seen;
  }

  /**
   * Generate targets, each from what is known and, in a chain, from the targets before it.
   * @param known by stream `{values, positions}`; what is generated in a chain is added
   * @param chain whether they are one; by default as the checkpoint says. Others are made as in a call of their own
   * @param options by target, sampling options instead of the manifest's
   * @yields {{target, step, total, done, tokens}} after every step
   */
  async *generate(known, targets, { seed = 0, grounded = true, options = {}, chain } = {}) {
    const situation = grounded ? "grounded" : "free";
    const together = chain ?? this.chain[situation] ?? true;
    const begin = () => (typeof seed === "number" ? new TorchRandom(seed) : seed);
    const shared = begin();
    for (const target of targets) {
      const [seen, random] = together ? [known, shared] : [{ ...known }, begin()];
      const stream = this.streams.get(target);
      const how = settings(this.manifest.sampling[target][situation], options[target] ?? {}, seen);
      if (typeof how.guidance !== "number") throw new Error("guidance that is no number is not ported");
      if (how.refresh > 1) throw new Error(`${target} with refresh is not ported: ask for refresh: 1`);
      if (how.views > 1) throw new Error(`several views for ${target} are not ported: ask for views: 1`);
      if (how.samples > 1 && how.scheme !== "mean") throw new Error(`several draws of ${target} are not ported: ask for samples: 1`);
      const steps = stream.kind === "sequence" ? this.text(seen, stream, how, random) : this.grid(seen, stream, how, random);
      for await (const tokens of steps) {
        yield { target, ...tokens };
      }
    }
  }

  async *grid(known, stream, how, random) {
    const tokens = { values: [], positions: [] };
    const scores = (positions) => this.gridScores(known, stream, positions, how.guidance);
    const total = how.scheme === "mean" ? 1 : how.steps;
    let step = 0;
    for await (const found of decodeGrid(how, stream.length, random, scores)) {
      tokens.positions.push(...found.positions);
      tokens.values.push(...found.ids);
      const order = tokens.positions.map((_, k) => k).sort((a, b) => tokens.positions[a] - tokens.positions[b]);
      known[stream.name] = {
        positions: order.map((k) => tokens.positions[k]),
        values: order.map((k) => tokens.values[k]),
        probabilities: found.probabilities,
      };
      step += 1;
      yield { step, total, done: tokens.positions.length === stream.length, tokens: known[stream.name] };
    }
  }

  async *text(known, stream, how, random) {
    const start = { [stream.name]: { values: [stream.sentinels[0] + 1], positions: [0] } };
    const writer = await Writer.start(this, { ...known, ...start }, stream);
    const guide = how.guidance === 1 ? null : await Writer.start(this, { ...this.hidden(known, stream), ...start }, stream);
    const scores = async (id, rank) => {
      const conditional = await writer.next(id, rank);
      return guide ? guided(await guide.next(id, rank), conditional, how.guidance) : conditional;
    };
    let step = 0;
    for await (const ids of decodeSequence(how, stream, random, scores)) {
      known[stream.name] = { values: ids, positions: ids.map((_, k) => k) };
      step += 1;
      yield { step, total: stream.length, done: false, tokens: known[stream.name] };
    }
    yield { step, total: step, done: true, tokens: known[stream.name] };
  }

  /** What the tokenizer of a modality makes of its tokens; of probabilities, that of the mean codes. */
  async detokenize(name, tokens) {
    const graphs = this.manifest.tokenizers[name];
    const stream = this.streams.get(name);
    const size = stream.shape ? stream.shape.join("x") : "";
    let codes;
    if (tokens.probabilities) {
      const values = new Float32Array(stream.length * stream.size);
      tokens.probabilities.forEach((each, k) => values.set(each, k * stream.size));
      ({ codes } = await this.run(graphs.mean, { probabilities: [values, [1, stream.length, stream.size]] }));
    } else {
      ({ codes } = await this.run(graphs.lookup, { ids: [ints(completed(stream, tokens)), [1, stream.length]] }));
    }
    const { values } = await this.run(graphs.decode[size], { codes: [codes.data, codes.dims] });
    return values;
  }
}

/** What is taken here instead of a checkpoint's options: one view, and for beams the likeliest word each time. */
export function ported(own) {
  const beams = (own.scheme.name ?? own.scheme) === "beam";
  return { ...(own.views > 1 ? { views: 1 } : {}), ...(beams ? { scheme: "autoregressive", temperature: 0 } : {}) };
}

/** The checkpoint's sampling options with those that are asked for; where no input is there to choose, there is one draw. */
function settings(own, asked, known) {
  const idle = own.choose && !("choose" in asked) && !(own.choose in known);
  return { ...own, ...ported(own), ...(idle ? { choose: "", samples: 1 } : {}), ...asked };
}

/** The ids of a whole grid, of which every open position is like the nearest decided one. */
export function completed(stream, tokens) {
  const columns = stream.shape ? stream.shape[1] : stream.length;
  const cell = (position) => [Math.floor(position / columns), position % columns];
  return Array.from({ length: stream.length }, (_, position) => {
    const [row, column] = cell(position);
    let best = 0;
    let least = Infinity;
    tokens.positions.forEach((known, k) => {
      const [r, c] = cell(known);
      const distance = Math.abs(r - row) + Math.abs(c - column);
      if (distance < least) [best, least] = [k, distance];
    });
    return tokens.values[best];
  });
}

/** A text while it is written: what it reads, and the keys and values of its tokens so far. */
class Writer {
  static async start(model, seen, stream) {
    return new Writer(model, await model.encode(seen), stream);
  }

  constructor(model, context, stream) {
    Object.assign(this, { model, context, stream });
    this.past = this.empty(ROOM);
  }

  empty(room) {
    const { heads_of_attention: heads, decoder_depth: depth, width } = this.model.manifest;
    const size = count([depth, heads, room, width / heads]);
    return { room, k: new Float32Array(size), v: new Float32Array(size) };
  }

  /** Scores of the token of a rank, after the one that was written last. */
  async next(id, rank) {
    if (rank === this.past.room) this.grow();
    const { stream, model, past } = this;
    const allowed = Uint8Array.from({ length: past.room + 1 }, (_, k) => (k < rank || k === past.room ? 1 : 0));
    const where = [rank + stream.position_row];
    const { states, new_k, new_v } = await model.decode(
      this.context, [id + stream.query_row], where, [stream.index], allowed, past,
    );
    this.put(past.k, new_k.data, rank);
    this.put(past.v, new_v.data, rank);
    return (await model.logits(states, stream))[0];
  }

  put(memory, values, rank) {
    const { heads_of_attention: heads, width } = this.model.manifest;
    const size = width / heads;
    for (let row = 0; row < values.length / size; row++) {
      memory.set(values.subarray(row * size, (row + 1) * size), (row * this.past.room + rank) * size);
    }
  }

  grow() {
    const old = this.past;
    const { heads_of_attention: heads, width } = this.model.manifest;
    const size = old.room * (width / heads);
    this.past = this.empty(2 * old.room);
    for (const part of ["k", "v"]) {
      for (let row = 0; row * size < old[part].length; row++) {
        this.past[part].set(old[part].subarray(row * size, (row + 1) * size), 2 * row * size);
      }
    }
  }
}
