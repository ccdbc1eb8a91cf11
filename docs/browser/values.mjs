// Pictures into what the model reads, and what it writes into pictures and words.

/** Rows of standardized patches (row, column, channel) of the pixels (RGBA, side x side) of a canvas. */
export function patches(rgba, side, { patch, mean, std }) {
  const cells = side / patch;
  const width = patch * patch * 3;
  const rows = new Float32Array(cells * cells * width);
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const cell = Math.floor(y / patch) * cells + Math.floor(x / patch);
      const inside = ((y % patch) * patch + (x % patch)) * 3;
      for (let c = 0; c < 3; c++) {
        rows[cell * width + inside + c] = (rgba[4 * (y * side + x) + c] / 255 - mean[c]) / std[c];
      }
    }
  }
  return { values: rows, positions: Array.from({ length: cells * cells }, (_, k) => k) };
}

/** Meters of what the tokenizer of depth writes, between -1 and 1 on a logarithmic scale. */
export function meters(values, { low, high }) {
  return Float32Array.from(values, (value) => low * (high / low) ** ((Math.min(1, Math.max(-1, value)) + 1) / 2));
}

const logarithms = (depth) => Float32Array.from(depth, (value) => Math.log(Math.max(value, 1e-3)));

/** Logarithms of what is nearest and farthest, without the last hundredths. */
function ends(logs) {
  const ordered = Float32Array.from(logs).sort();
  return [0.01, 0.99].map((share) => ordered[Math.round(share * (ordered.length - 1))]);
}

/** Warm and bright is near; the scale is stretched to the picture. Colors go from near to far. */
export function depthPicture(depth, side, colors) {
  const logs = logarithms(depth);
  const [low, high] = ends(logs);
  return painted(side, (k) => {
    const unit = Math.min(1, Math.max(0, (logs[k] - low) / Math.max(high - low, 1e-6))) * (colors.length - 1);
    const at = Math.min(Math.floor(unit), colors.length - 2);
    return colors[at].map((color, c) => color + (colors[at + 1][c] - color) * (unit - at));
  });
}

/** What the colors of `depthPicture` mean, in meters. */
export function depthLegend(depth, colors) {
  const [low, high] = ends(logarithms(depth));
  const color = (share) => colors[Math.round(share * (colors.length - 1))];
  return [0, 0.5, 1].map((share) => ({
    color: color(share),
    text: `${Math.exp(low + share * (high - low)).toPrecision(2)} m`,
  }));
}

/** The likeliest class (an index of what the tokenizer knows) of each pixel, of logits (classes, side, side). */
export function classes(logits, side) {
  const size = side * side;
  const found = new Uint16Array(size);
  for (let k = 0; k < size; k++) {
    let best = 0;
    for (let c = 1; c * size < logits.length; c++) if (logits[c * size + k] > logits[best * size + k]) best = c;
    found[k] = best;
  }
  return found;
}

export function classPicture(found, side, known) {
  return painted(side, (k) => known[found[k]].color);
}

/** The classes of a picture with their shares, the largest first. */
export function legend(found, known, most = 6) {
  const counts = new Map();
  for (const each of found) counts.set(each, (counts.get(each) ?? 0) + 1);
  const order = [...counts].sort((a, b) => b[1] - a[1]).slice(0, most);
  return order.map(([each, count]) => ({ ...known[each], share: count / found.length }));
}

/** Pixels of a tokenizer of pictures (3, side, side), between -1 and 1. */
export function picture(values, side) {
  const size = side * side;
  return painted(side, (k) => [0, 1, 2].map((c) => ((Math.min(1, Math.max(-1, values[c * size + k])) + 1) / 2) * 255));
}

function painted(side, color) {
  const pixels = new Uint8ClampedArray(4 * side * side);
  for (let k = 0; k < side * side; k++) pixels.set([...color(k), 255], 4 * k);
  return pixels;
}

const CLEANED = [
  [" .", "."], [" ?", "?"], [" !", "!"], [" ,", ","], [" ' ", "'"], [" n't", "n't"], [" 'm", "'m"],
  [" do not", " don't"], [" 's", "'s"], [" 've", "'ve"], [" 're", "'re"],
];

/** The text of ids up to the end mark; `vocabulary` is the file of the library tokenizers. */
export class Words {
  constructor(vocabulary) {
    this.words = new Map(Object.entries(vocabulary.model.vocab).map(([word, id]) => [id, word]));
    for (const { id, content } of vocabulary.added_tokens) this.words.set(id, content);
  }

  decode(ids, { end, sentinels: [first, count] }) {
    const stop = ids.indexOf(end);
    const kept = (stop < 0 ? ids : ids.slice(0, stop)).filter((id) => id !== 0 && (id < first || id >= first + count));
    const words = kept.map((id, k) => {
      const word = this.words.get(id) ?? "";
      const spaced = k && !word.startsWith("##") ? ` ${word}` : k ? word.replace("##", "") : word;
      return CLEANED.reduce((text, [from, to]) => text.replaceAll(from, to), spaced);
    });
    return words.join("");
  }
}
