/**
 * Maglev selection of a service's backend (bpf/lib/lb.h, lb4_select_backend_id_maglev; bpf/lib/hash.h, jhash.h): a
 * hash of the flow without the frontend's address is the place in the service's table.
 *
 *     1.16        jhash(client, client port << 16 | service port, protocol)
 *     1.17 on     jhash(client, service port << 16 | client port, protocol); with affinity the client port is 0
 *
 * Addresses and ports are the words that a little-endian machine loads from the wire.
 */
import { CtTuple, LbAlgorithm, LbOption, ServiceEntry } from "../abi.gen";
import { Affinity } from "./affinity";
import { Options } from "./options";
import { Packet } from "./packet";
import { ServiceMaps } from "./service_maps";
import { Tuple } from "./tuple";

/** JHASH_INITVAL + (3 << 2). */
const THREE_WORDS: u32 = 0xdeadbeef + 12;
/** LB_ALGORITHM_SHIFT: the algorithm is the top byte of a service's affinity timeout. */
const ALGORITHM_SHIFT: u32 = 24;

export class Maglev {
  /**
   * LbAlgorithm for a service. bpf_lxc chooses at random whatever bpf-lb-algorithm says, unless algorithms are the
   * services' own (bpf-lb-algorithm-annotation, from 1.17).
   */
  static algorithm(found: ServiceEntry, northSouth: bool): u32 {
    const maglev = northSouth && Options.config.lb_algorithm == <u8>LbAlgorithm.MAGLEV;
    const standard: u32 = maglev ? <u32>LbAlgorithm.MAGLEV : <u32>LbAlgorithm.RANDOM;
    if (!(Options.config.lb_options & <u32>LbOption.ALGORITHM_ANNOTATION) || Options.version < 17) return standard;
    const own = found.backend_id >> ALGORITHM_SHIFT;
    // 1.17 takes the byte as it is: a service without one has no backend.
    if (Options.version == 17) return own;
    return own == <u32>LbAlgorithm.RANDOM || own == <u32>LbAlgorithm.MAGLEV ? own : standard;
  }

  /** Place of the flow's backend id in the table of the service whose key was found last, or 0: no table. */
  static place(found: ServiceEntry, tuple: CtTuple, node: u16): usize {
    let client = tuple.dport;
    if (Options.version >= 17 && Affinity.has(found)) client = 0;
    const ports = Options.version == 16
      ? (<u32>client << 16) | <u32>tuple.sport : (<u32>tuple.sport << 16) | <u32>client;
    const hash = Packet.family == 4
      ? hash4(load<u32>(Tuple.saddr(tuple)), ports, <u32>tuple.nexthdr)
      : hash6(Tuple.saddr(tuple), ports, <u32>tuple.nexthdr);
    return ServiceMaps.maglev(found.rev_nat_index, node, hash % Options.config.maglev_table_size);
  }
}

/** jhash_3words. */
function hash4(address: u32, ports: u32, protocol: u32): u32 {
  const start = Options.config.hash_init4_seed + THREE_WORDS;
  return final(address + start, ports + start, protocol + start);
}

/** __hash_from_tuple_v6. */
function hash6(address: usize, ports: u32, protocol: u32): u32 {
  mix(load<u32>(address), load<u32>(address, 4), load<u32>(address, 8));
  mix(mixedA + load<u32>(address, 12), mixedB + ports, mixedC + protocol);
  return final(mixedA + Options.config.hash_init6_seed, mixedB, mixedC);
}

let mixedA: u32 = 0;
let mixedB: u32 = 0;
let mixedC: u32 = 0;

/** __jhash_mix, into the three variables above. */
function mix(a: u32, b: u32, c: u32): void {
  a -= c;
  a ^= rotl<u32>(c, 4);
  c += b;
  b -= a;
  b ^= rotl<u32>(a, 6);
  a += c;
  c -= b;
  c ^= rotl<u32>(b, 8);
  b += a;
  a -= c;
  a ^= rotl<u32>(c, 16);
  c += b;
  b -= a;
  b ^= rotl<u32>(a, 19);
  a += c;
  c -= b;
  c ^= rotl<u32>(b, 4);
  b += a;
  mixedA = a;
  mixedB = b;
  mixedC = c;
}

/** __jhash_final. */
function final(a: u32, b: u32, c: u32): u32 {
  c ^= b;
  c -= rotl<u32>(b, 14);
  a ^= c;
  a -= rotl<u32>(c, 11);
  b ^= a;
  b -= rotl<u32>(a, 25);
  c ^= b;
  c -= rotl<u32>(b, 16);
  a ^= c;
  a -= rotl<u32>(c, 4);
  b ^= a;
  b -= rotl<u32>(a, 14);
  c ^= b;
  c -= rotl<u32>(b, 24);
  return c;
}
