/**
 * Maglev as its description tells it, naively: whole permutations, arithmetic on big integers, no state kept. For
 * tests; written from the algorithm's descriptions (Maglev paper, MurmurHash3 and jhash as published, and what Cilium
 * says of names, seeds and weights), not from the product's code.
 */
const B = BigInt;
const MASK = (1n << 64n) - 1n;

export interface ModelBackend {
  readonly id: number;
  readonly ip: string;
  readonly port: number;
  readonly protocol: "TCP" | "UDP" | "SCTP";
  readonly weight: number;
}

export function modelName({ ip, port, protocol }: ModelBackend, version: number): string {
  const plain = `${ip.includes(":") ? `[${ip}]` : ip}:${port}`;
  return version === 16 ? plain : `[${plain}/${protocol},State:active]`;
}

/** Backend ids by place. */
export function modelTable(backends: readonly ModelBackend[], size: number, seed: number, version: number): number[] {
  const named = backends.map((backend) => ({ ...backend, name: modelName(backend, version) }));
  named.sort((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)));
  const permutations = named.map(({ name }) => {
    const [h1, h2] = murmur128([...Buffer.from(name)], seed);
    const offset = h1 % B(size);
    const skip = (h2 % B(size - 1)) + 1n;
    return Array.from({ length: size }, (_, j) => Number((offset + B(j) * skip) % B(size)));
  });
  const sum = named.reduce((total, one) => total + one.weight, 0);
  const counters = named.map((one) => one.weight / named.length);
  const places: (number | undefined)[] = Array.from({ length: size });
  for (let n = 0; n < size; n++) {
    let i = n % named.length;
    if (Math.trunc(sum / named.length) > 1) {
      while ((n + 1) * named[i].weight < Math.trunc(counters[i])) i = (i + 1) % named.length;
      counters[i] += sum;
    }
    const place = permutations[i].find((candidate) => places[candidate] === undefined)!;
    places[place] = named[i].id;
  }
  return places as number[];
}

/** MurmurHash3_x64_128, byte by byte. */
function murmur128(data: readonly number[], seed: number): [bigint, bigint] {
  const mul = (a: bigint, b: bigint): bigint => (a * b) & MASK;
  const rot = (a: bigint, n: number): bigint => ((a << B(n)) | (a >> B(64 - n))) & MASK;
  const [c1, c2] = [0x87c37b91114253d5n, 0x4cf5ad432745937fn];
  let [h1, h2] = [B(seed), B(seed)];
  const block = (from: number): bigint =>
    data.slice(from, from + 8).reduce((value, byte, index) => value | (B(byte) << B(8 * index)), 0n);
  let at = 0;
  for (; at + 16 <= data.length; at += 16) {
    h1 = (mul(rot(h1 ^ mul(rot(mul(block(at), c1), 31), c2), 27) + h2, 5n) + 0x52dce729n) & MASK;
    h2 = (mul(rot(h2 ^ mul(rot(mul(block(at + 8), c2), 33), c1), 31) + h1, 5n) + 0x38495ab5n) & MASK;
  }
  h2 ^= mul(rot(mul(block(at + 8), c2), 33), c1);
  h1 ^= mul(rot(mul(block(at), c1), 31), c2);
  h1 ^= B(data.length);
  h2 ^= B(data.length);
  h1 = (h1 + h2) & MASK;
  h2 = (h2 + h1) & MASK;
  const fmix = (k: bigint): bigint => {
    for (const factor of [0xff51afd7ed558ccdn, 0xc4ceb9fe1a85ec53n]) k = mul(k ^ (k >> 33n), factor);
    return k ^ (k >> 33n);
  };
  h1 = fmix(h1);
  h2 = fmix(h2);
  h1 = (h1 + h2) & MASK;
  return [h1, (h1 + h2) & MASK];
}

export interface ModelFlow {
  /** 4 or 16 bytes, as on the wire. */
  readonly client: Uint8Array;
  readonly clientPort: number;
  readonly servicePort: number;
  readonly protocol: number;
  readonly affinity: boolean;
}

/** Hash of a flow; `seed` is jhash0 for IPv4, jhash1 for IPv6. */
export function modelHash(flow: ModelFlow, seed: number, version: number): number {
  const swapped = (port: number): number => ((port & 0xff) << 8) | (port >> 8);
  const client = flow.affinity && version > 16 ? 0 : swapped(flow.clientPort);
  const service = swapped(flow.servicePort);
  const ports = version === 16 ? client * 65536 + service : service * 65536 + client;
  const word = (from: number): number => new DataView(flow.client.buffer, flow.client.byteOffset).getUint32(from, true);
  if (flow.client.length === 4) {
    const start = seed + 0xdeadbeef + 12;
    return jhashFinal([word(0) + start, ports + start, flow.protocol + start]);
  }
  const state = jhashMix([word(0), word(4), word(8)]);
  const again = jhashMix([state[0] + word(12), state[1] + ports, state[2] + flow.protocol]);
  return jhashFinal([again[0] + seed, again[1], again[2]]);
}

/** Bob Jenkins' lookup3: a step of `x -= z; x ^= rot(z, n); z += y` for each rotation. */
function jhashMix(words: readonly number[]): number[] {
  const s = words.map((word) => word >>> 0);
  [4, 6, 8, 16, 19, 4].forEach((bits, step) => {
    const [x, y, z] = [step % 3, (step + 1) % 3, (step + 2) % 3];
    s[x] = (s[x] - s[z]) >>> 0;
    s[x] = (s[x] ^ rol(s[z], bits)) >>> 0;
    s[z] = (s[z] + s[y]) >>> 0;
  });
  return s;
}

function jhashFinal(words: readonly number[]): number {
  const s = words.map((word) => word >>> 0);
  [14, 11, 25, 16, 4, 14, 24].forEach((bits, step) => {
    const [x, y] = [(step + 2) % 3, (step + 1) % 3];
    s[x] = (((s[x] ^ s[y]) >>> 0) - rol(s[y], bits)) >>> 0;
  });
  return s[2];
}

function rol(word: number, bits: number): number {
  return ((word << bits) | (word >>> (32 - bits))) >>> 0;
}
