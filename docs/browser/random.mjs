// The random numbers of PyTorch's generator on the CPU, for the same seed: the Mersenne Twister (Matsumoto & Nishimura
// 1998), with `torch.rand` and `torch.randperm` made of its 32-bit words.

const SIZE = 624;
const SHIFT = 397;

export class TorchRandom {
  /** @param {number} seed a whole number from 0 to 2 ** 32 - 1 */
  constructor(seed) {
    if (!Number.isInteger(seed) || seed < 0 || seed >= 2 ** 32) {
      throw new RangeError(`a seed is a whole number from 0 to ${2 ** 32 - 1}, got ${seed}`);
    }
    this.state = new Uint32Array(SIZE);
    this.state[0] = seed;
    for (let k = 1; k < SIZE; k++) {
      const before = this.state[k - 1] ^ (this.state[k - 1] >>> 30);
      this.state[k] = Math.imul(1812433253, before) + k;
    }
    this.next = SIZE;
  }

  /** The next 32 bits. */
  word() {
    if (this.next === SIZE) this.refill();
    let y = this.state[this.next++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  refill() {
    const s = this.state;
    for (let k = 0; k < SIZE; k++) {
      const y = (s[k] & 0x80000000) | (s[(k + 1) % SIZE] & 0x7fffffff);
      s[k] = s[(k + SHIFT) % SIZE] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    this.next = 0;
  }

  /** `torch.rand(count)`: float32 numbers in [0, 1). */
  uniform(count) {
    return Float32Array.from({ length: count }, () => (this.word() & 0xffffff) / 2 ** 24);
  }

  /** The positions in the order of `torch.randperm`. */
  order(positions) {
    const found = [...positions];
    for (let k = 0; k < found.length - 1; k++) {
      const other = k + (this.word() % (found.length - k));
      [found[k], found[other]] = [found[other], found[k]];
    }
    return found;
  }
}
