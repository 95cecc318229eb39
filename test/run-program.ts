/** One program of the module on one frame, as BPF_PROG_TEST_RUN has it. */
import { Program } from "../src/contract/codes.js";
import type { Machine } from "../src/ebpf/machine.js";

export interface RunInput {
  readonly device?: number;
  readonly mark?: number;
  readonly seconds?: number;
  /** Bytes on the wire where the capture has fewer. */
  readonly wire?: number;
  readonly partial?: boolean;
  /** What get_prandom_u32 says; the plane's own chance without it. */
  readonly drawn?: number;
  /** Identifier of the VLAN tag that the device took off. */
  readonly vlan?: number;
  /** Id of the tunnel the frame came out of. */
  readonly vni?: number;
}

export interface Ran {
  readonly verdict: number;
  /** The frame afterwards, with its Ethernet header. */
  readonly frame: Uint8Array;
  readonly mark: number;
  readonly redirect: number;
  /** With the Tunnel verdict: id and the 16 bytes of the other end. */
  readonly tunnel: { readonly id: number; readonly remote: Uint8Array };
}

/** On node 0; `frame` starts with its Ethernet header. */
export function runProgram(machine: Machine, program: keyof typeof Program.values, frame: Uint8Array,
  input: RunInput & { readonly device: number }): Ran {
  const { exports, memory, arenaAddress } = machine;
  const at = arenaAddress + 64;
  new Uint8Array(memory.buffer).set(frame, at);
  exports.program_tunnel(input.vni ?? 0);
  if (input.drawn !== undefined) exports.program_chance(input.drawn);
  exports.program_vlan(input.vlan ?? 0);
  exports.program_input((input.mark ?? 0) | 0, input.partial === true ? 1 : 0);
  return whatRan(machine, machine.call(() => exports.run_program(Program.values[program], at, frame.length, input.wire ?? frame.length, 0,
    input.device, input.seconds ?? 1000)));
}

/** What the program that has just run left. */
export function whatRan({ exports, memory }: Machine, verdict: number): Ran {
  const at = exports.program_frame() >>> 0;
  const remote = exports.program_remote() >>> 0;
  return { verdict, frame: new Uint8Array(memory.buffer).slice(at, at + exports.program_length()), mark: exports.program_mark() >>> 0,
    redirect: exports.program_redirect(),
    tunnel: { id: exports.program_vni() >>> 0, remote: new Uint8Array(memory.buffer).slice(remote, remote + 16) } };
}
