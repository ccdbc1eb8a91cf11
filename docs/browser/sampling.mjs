// From logits to ids: a port of `anymodal.generation.logits` and of the schemes 'roar', 'maskgit', 'mean' and
// 'autoregressive'. It computes as PyTorch does, in float32 with sums in float64, so that the ids are the same.

const COLD = 1e-10;
const f = Math.fround;

/** Probabilities of scores at a temperature; what is at -Infinity has none. */
export function softmax(scores, temperature = 1) {
  let most = -Infinity;
  const scaled = scores.map((score) => f(score / f(temperature)));
  for (const score of scaled) if (score > most) most = score;
  let sum = 0;
  const parts = scaled.map((score) => f(Math.exp(f(score - most))));
  for (const part of parts) sum += part;
  return parts.map((part) => f(part / f(sum)));
}

export function argmax(values) {
  let best = 0;
  for (let k = 1; k < values.length; k++) if (values[k] > values[best]) best = k;
  return best;
}

/** The scores with -Infinity where `top_k`, `min_p` and `top_p` leave an id out; 0 is off. */
export function filtered(scores, { top_k = 0, top_p = 0, min_p = 0 } = {}) {
  let kept = Float32Array.from(scores);
  if (top_k > 0 && top_k < kept.length) {
    const least = Float32Array.from(kept).sort()[kept.length - top_k];
    kept = kept.map((score) => (score >= least ? score : -Infinity));
  }
  if (min_p > 0) {
    const least = f(kept[argmax(kept)] + Math.log(min_p));
    kept = kept.map((score) => (score >= least ? score : -Infinity));
  }
  return top_p > 0 && top_p < 1 ? nucleus(kept, top_p) : kept;
}

/** The smallest set that reaches `top_p`; of equal scores at its edge the first. */
function nucleus(scores, top_p) {
  const likely = softmax(scores);
  const ordered = Float32Array.from(likely).sort().reverse();
  let sum = 0;
  let count = 0;
  for (const part of ordered) {
    sum += part;
    if (f(f(sum) - part) <= f(top_p)) count++;
  }
  const edge = Float32Array.from(scores).sort()[scores.length - count];
  let room = count;
  for (const score of scores) if (score > edge) room--;
  return scores.map((score, k) => {
    const inside = score > edge || (score === edge && room-- > 0);
    return inside && likely[k] > 0 ? score : -Infinity;
  });
}

/** An id drawn by a number in [0, 1), and its probability. At temperature 0 it is the likeliest one. */
export function draw(scores, uniform, temperature, filters) {
  if (!scores.every(Number.isFinite)) throw new Error("the model's scores are not finite: its weights are damaged");
  const likely = softmax(filtered(scores, filters), temperature <= COLD ? 1 : temperature);
  if (temperature <= COLD) {
    const id = argmax(likely);
    return { id, confidence: likely[id] };
  }
  let sum = 0;
  const reached = likely.map((part) => f((sum += part)));
  const wanted = f(f(uniform) * reached[reached.length - 1]);
  let id = reached.findIndex((value) => value > wanted);
  if (id < 0) id = likely.length - 1;
  return { id, confidence: likely[id] };
}

/** What `temperature` and the filters leave of scores, as `anymodal.generation.logits.probabilities`. */
export function probabilities(scores, temperature, filters) {
  const kept = filtered(scores, filters);
  if (temperature > COLD) return softmax(kept, temperature);
  const found = new Float32Array(scores.length);
  found[argmax(kept)] = 1;
  return found;
}

/** Guided scores: unconditional ones plus `scale` times what the conditions change. */
export function guided(unconditional, conditional, scale) {
  return conditional.map((score, k) => f(unconditional[k] + f(f(scale) * f(score - unconditional[k]))));
}

/** How many of `total` tokens each of `steps` steps decides. */
export function counts(schedule, total, steps) {
  if (schedule === "linear") {
    const edges = Array.from({ length: steps + 1 }, (_, k) => Math.trunc(k * (total / steps)));
    edges[steps] = total;
    return edges.slice(1).map((edge, k) => edge - edges[k]).sort((a, b) => b - a);
  }
  if (schedule !== "cosine") throw new Error(`the schedule ${JSON.stringify(schedule)} is not ported`);
  const left = [...Array.from({ length: steps }, (_, k) => 0.5 * (1 + Math.cos((Math.PI * k) / steps))), 0];
  const found = [];
  let done = 0;
  for (let k = 0; k < steps; k++) {
    const wanted = k < steps - 1 ? roundHalfEven(total * (left[k] - left[k + 1])) : total;
    found.push(Math.min(wanted, total - done));
    done += found[k];
  }
  return found;
}

function roundHalfEven(value) {
  const below = Math.floor(value);
  if (value - below !== 0.5) return Math.round(value);
  return below % 2 ? below + 1 : below;
}

/** The temperature of each step, for the tokens that the steps decide. */
export function temperatures(anneal, temperature, steps) {
  const name = typeof anneal === "string" ? anneal : anneal.name;
  const total = steps.reduce((sum, count) => sum + count, 0);
  let done = 0;
  const after = steps.map((count) => (done += count));
  if (name === "constant") return steps.map(() => temperature);
  if (name === "linear") {
    return steps.map((count, k) => Math.max(temperature * (1 - (after[k] - count) / total), 1e-9));
  }
  if (name === "down") return after.map((count) => temperature + ((anneal.minimum - temperature) * count) / total);
  if (name !== "onex") throw new Error(`the anneal ${JSON.stringify(anneal)} is not ported`);
  const curve = Array.from({ length: total }, (_, k) => (1 + (99 * k) / Math.max(total - 1, 1)) ** -anneal.power);
  const last = curve[total - 1];
  const span = curve[0] - last;
  return steps.map((_, k) => {
    const unit = span > 0 ? (curve[k] - last) / span : 1;
    return anneal.minimum + (temperature - anneal.minimum) * unit * (1 - after[k] / total);
  });
}

/** The steps of a grid: how many positions each decides, and at which temperature. Steps without any are left out. */
export function plan(how, total) {
  const steps = counts(how.schedule, total, how.steps).filter((count) => count > 0);
  const heat = temperatures(how.anneal, how.temperature, steps);
  return steps.map((count, k) => ({ count, temperature: heat[k] }));
}

/** Which `count` of the predictions are kept: the most confident, the first of equals. */
export function mostConfident(confidence, count) {
  const order = confidence.map((_, k) => k);
  return order.sort((a, b) => confidence[b] - confidence[a] || a - b).slice(0, count);
}

/**
 * Decode a grid.
 * @param how sampling options, as the manifest has them
 * @param random a TorchRandom, or whatever has its `order` and `uniform`
 * @param scores async (positions, share) => one Float32Array of guided scores for each position
 * @yields {{positions, ids, probabilities}} what each step decided; probabilities of the scheme 'mean' alone
 */
export async function* decodeGrid(how, length, random, scores) {
  const all = Array.from({ length }, (_, k) => k);
  if (how.scheme === "mean") {
    const found = (await scores(all, 0)).map((each) => probabilities(each, how.temperature, how));
    yield { positions: all, ids: found.map(argmax), probabilities: found };
    return;
  }
  if (how.scheme !== "roar" && how.scheme !== "maskgit") {
    throw new Error(`the scheme ${JSON.stringify(how.scheme)} is not ported`);
  }
  const steps = plan(how, length);
  let open = how.scheme === "roar" ? random.order(all) : all;
  let done = 0;
  for (const { count, temperature } of steps) {
    const requested = [...(how.scheme === "roar" ? open.slice(0, count) : open)].sort((a, b) => a - b);
    const found = await scores(requested, done / length);
    const uniform = random.uniform(requested.length);
    const drawn = found.map((each, k) => draw(each, uniform[k], temperature, how));
    const kept =
      how.scheme === "roar" ? requested.map((_, k) => k) : mostConfident(drawn.map((d) => d.confidence), count);
    const positions = kept.map((k) => requested[k]);
    yield { positions, ids: kept.map((k) => drawn[k].id) };
    const decided = new Set(positions);
    open = open.filter((position) => !decided.has(position));
    done += positions.length;
  }
}

/**
 * Write a text of which nothing is known.
 * @param stream the stream of the manifest
 * @param scores async (id, rank) => scores of the token after `id`, which was written last
 * @yields {number[]} the ids so far, closed by the end mark
 */
export async function* decodeSequence(how, stream, random, scores) {
  if (how.scheme !== "autoregressive") throw new Error(`the scheme ${JSON.stringify(how.scheme)} is not ported`);
  const [first, count] = stream.sentinels;
  const written = [];
  let last = first + 1;
  for (let rank = 0; rank < stream.length; rank++) {
    const { id } = draw(await scores(last, rank), random.uniform(1)[0], how.temperature, how);
    const ends = id === stream.end || (id >= first && id < first + count);
    if (!ends) written.push(id);
    yield [...written.slice(0, stream.length - 1), stream.end];
    if (ends) return;
    last = id;
  }
}
