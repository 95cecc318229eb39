/**
 * Port ranges as aligned blocks: what an LPM key can hold.
 *
 * 5-10 is {5/16, 6/15, 8/15, 10/16}. The blocks are disjoint, cover the range exactly and are the fewest
 * possible, in ascending order (`pkg/policy/types`, port range to masks).
 */
export interface PortBlock {
  readonly port: number;
  /** 0..16 leading bits that are fixed. */
  readonly prefixLength: number;
}

/** Blocks of [first, last], both 0..65535 and first <= last. */
export function splitPortRange(first: number, last: number): PortBlock[] {
  if (first < 0 || last > 65535 || first > last) throw new Error(`no port range: ${first}-${last}`);
  const blocks: PortBlock[] = [];
  let port = first;
  while (port <= last) {
    let bits = 0;
    // Widen while the block stays aligned and inside the range.
    while (bits < 16 && (port & ((2 << bits) - 1)) === 0 && port + (2 << bits) - 1 <= last) bits++;
    blocks.push({ port, prefixLength: 16 - bits });
    port += 1 << bits;
  }
  return blocks;
}
