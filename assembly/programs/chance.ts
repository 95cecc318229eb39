/**
 * Chance: a hash of (seed, plane, node, flow, draw). The flow is the tuple the program has in hand, the draw
 * counts the draws for one packet at one program, so adding or splitting other packets changes nothing.
 */
import { CtTuple, StepKind } from "../abi.gen";
import { Options } from "./options";
import { Steps } from "./steps";
import { Tuple } from "./tuple";

/** Odd constants of splitmix64 (Steele, Lea, Flood 2014). */
const GAMMA: u64 = 0x9e3779b97f4a7c15;
const MIX_A: u64 = 0xbf58476d1ce4e5b9;
const MIX_B: u64 = 0x94d049bb133111eb;

export class Chance {
  /** Draws made for the packet under way. */
  static draws: u32 = 0;

  /** What is drawn where a harness answers for chance, as it does for recorded runs (`program_chance`). */
  static given: u32 = 0;
  static isGiven: bool = false;

  /** 32 bits in place of get_prandom_u32. */
  static next(tuple: CtTuple): u32 {
    if (Chance.isGiven) return Chance.given;
    const config = Options.config;
    let hash = mix(config.seed + GAMMA * (<u64>config.plane + 1));
    hash = Chance.flow(tuple, hash);
    hash = mix(hash ^ (<u64>Chance.draws * GAMMA));
    Chance.draws++;
    const drawn = <u32>(hash >> 32);
    if (TRACE) {
      Steps.write(StepKind.DRAW, Steps.NO_MAP, changetype<usize>(tuple), CtTuple.SIZE, drawn, 0,
        Chance.draws);
    }
    return drawn;
  }

  /** Hash of a tuple's addresses, ports, protocol and node, without its flags. */
  static flow(tuple: CtTuple, start: u64): u64 {
    let hash = start;
    hash = mix(hash ^ load<u64>(Tuple.daddr(tuple)));
    hash = mix(hash ^ load<u64>(Tuple.daddr(tuple), 8));
    hash = mix(hash ^ load<u64>(Tuple.saddr(tuple)));
    hash = mix(hash ^ load<u64>(Tuple.saddr(tuple), 8));
    const ports = <u64>tuple.dport | (<u64>tuple.sport << 16);
    return mix(hash ^ (ports | (<u64>tuple.nexthdr << 32) | (<u64>tuple.node << 48)));
  }
}

function mix(value: u64): u64 {
  let hash = value + GAMMA;
  hash = (hash ^ (hash >> 30)) * MIX_A;
  hash = (hash ^ (hash >> 27)) * MIX_B;
  return hash ^ (hash >> 31);
}
