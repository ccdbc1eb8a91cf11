// Replays what Python recorded: cases.json in, what the port makes of them out.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [place, file] = process.argv.slice(2);
const port = await import(pathToFileURL(`${place}/sampling.mjs`));
const { Model } = await import(pathToFileURL(`${place}/model.mjs`));
const { TorchRandom } = await import(pathToFileURL(`${place}/random.mjs`));
const cases = JSON.parse(readFileSync(file));
const rows = (values) => values.map((row) => Float32Array.from(row));

const found = {
  draws: cases.draws.map(({ logits, uniform, temperature, filters }) =>
    rows(logits).map((scores, k) => port.draw(scores, uniform[k], temperature, filters).id),
  ),
  probabilities: cases.draws.map(({ logits, temperature, filters }) =>
    rows(logits).map((scores) => [...port.probabilities(scores, temperature, filters)]),
  ),
  plans: cases.plans.map(({ how, total }) => port.plan(how, total).map(({ count, temperature }) => [count, temperature])),
  random: cases.random.map(({ seed, calls }) => {
    const random = new TorchRandom(seed);
    return calls.map(([name, size]) =>
      name === "order" ? random.order(Array.from({ length: size }, (_, k) => k)) : [...random.uniform(size)],
    );
  }),
  grids: [],
  texts: [],
  chains: [],
};
for (const { how, length, seed, steps } of cases.grids) {
  let step = 0;
  const scores = async (positions) => {
    if (JSON.stringify(positions) !== JSON.stringify(steps[step].requested)) throw new Error(`step ${step}: ${positions}`);
    return rows(steps[step].logits);
  };
  const told = [];
  for await (const { positions, ids } of port.decodeGrid(how, length, new TorchRandom(seed), scores)) {
    told.push([positions, ids]);
    step += 1;
  }
  found.grids.push(told);
}
for (const { how, stream, seed, logits } of cases.texts) {
  const told = [];
  const scores = async (id, rank) => Float32Array.from(logits[rank]);
  for await (const ids of port.decodeSequence(how, stream, new TorchRandom(seed), scores)) told.push(ids);
  found.texts.push(told);
}
class Replayed extends Model {
  /** Scores that were recorded, for the same positions where the same is known. */
  async gridScores(known, stream, positions) {
    const { logits, ...wanted } = this.recorded[stream.name].shift();
    const asked = { positions, known: Object.keys(known).filter((name) => name !== stream.name).sort() };
    if (JSON.stringify(asked) !== JSON.stringify(wanted)) throw new Error(`${stream.name}: ${JSON.stringify(asked)}`);
    return rows(logits);
  }
}
for (const { manifest, chain, known, targets, seed, recorded } of cases.chains) {
  const model = Object.assign(new Replayed(null, null, null, manifest, chain), { recorded });
  const told = {};
  for await (const { target, tokens } of model.generate(known, targets, { seed })) told[target] = tokens.values;
  found.chains.push(told);
}
const { manifest } = cases.chains[0];
const choosing = structuredClone(manifest);
Object.assign(choosing.sampling.depth.free, { scheme: "roar", samples: 4, choose: "caption", views: 4 });
class Beginning extends Model {
  async gridScores() {
    throw new Error("one draw begins");
  }
}
const firstError = async (known, options) => {
  const steps = new Beginning(null, null, null, choosing).generate(known, ["depth"], { grounded: false, options });
  return steps.next().then(() => "", (error) => error.message);
};
const caption = { values: [], positions: [] };
found.refused = [
  await firstError({ caption }, {}),
  await firstError({}, { depth: { samples: 2 } }),
  await firstError({}, { depth: { choose: "caption" } }),
  await firstError({}, { depth: { refresh: 4 } }),
  await firstError({}, { depth: { views: 2 } }),
];
found.single = [await firstError({}, {}), await firstError({ caption }, { depth: { samples: 1 } })];
process.stdout.write(JSON.stringify(found));
