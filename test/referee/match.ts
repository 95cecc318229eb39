/**
 * One match of Cilium's programs against ours: the same maps, the same frames, every result compared. Frames that ours will not judge
 * are counted by reason and never as equal.
 */
import { UndecidedReason } from "../../src/contract/codes.js";
import type { MapName } from "../../src/contract/maps.js";
import { read } from "../packets.js";
import { Verdict } from "../programs.js";
import { type Ran, runProgram } from "../run-program.js";
import { VectorComparison } from "../vector-compare.js";
import type { Hook, VectorStep } from "../vector-case.js";
import type { ObjectFiles } from "./objects.js";
import { endpoints, load } from "./setup.js";
import { type Sent, Traffic } from "./traffic.js";
import { Worker } from "./worker.js";
import { buildWorld, type World } from "./world.js";

export interface MatchResult {
  readonly version: string;
  readonly frames: number;
  readonly equal: number;
  /** Frames ours would not judge, by reason. */
  readonly undecided: ReadonlyMap<string, number>;
  readonly differences: readonly { readonly frame: number; readonly text: string }[];
  /** How often each verdict came, by hook. */
  readonly verdicts: ReadonlyMap<string, number>;
  /** Programs that the kernel refused, and why. */
  readonly refused: readonly string[];
  /** Maps of ours that the objects have not. */
  readonly missing: readonly string[];
}

type Live = VectorStep["expect"];
/** What programs write. */
const STATE: readonly MapName[] = ["cilium_ct4_global", "cilium_ct_any4_global", "cilium_ct6_global", "cilium_ct_any6_global",
  "cilium_snat_v4_external", "cilium_snat_v6_external", "cilium_lb4_affinity", "cilium_lb6_affinity", "cilium_ipv4_frag_datagrams",
  "cilium_ipv6_frag_datagrams"];
const TCP = 6;
const START = 100_000;
const FLOOR = 1000;
const UPLINK = 2;
const PROGRAMS: Partial<Record<Hook, string>> = { "pod-egress": "cil_from_container", "pod-ingress": "cil_to_container",
  "netdev-ingress": "cil_from_netdev", "netdev-egress": "cil_to_netdev" };
const OURS = { "pod-egress": "FROM_CONTAINER", "pod-ingress": "TO_CONTAINER", "netdev-ingress": "FROM_NETDEV", "netdev-egress": "TO_NETDEV" } as const;

export async function runMatch(files: ObjectFiles, frames: number, seed: number, overrides: Record<string, unknown> = {}): Promise<MatchResult> {
  const world = buildWorld(files.version, files.config, overrides);
  const worker = new Worker();
  try {
    return await play(world, worker, files, frames, seed);
  } finally {
    worker.close();
  }
}

async function play(world: World, worker: Worker, files: ObjectFiles, frames: number, seed: number): Promise<MatchResult> {
  const pods = endpoints(world);
  const uplink = files.config.number("DIRECT_ROUTING_DEV_IFINDEX", UPLINK);
  const { refused, missing } = await load(world, worker, files, pods, uplink);
  const comparison = new VectorComparison(world.machine, true, Number(files.version.split(".")[1]));
  const traffic = new Traffic(world, seed);
  const undecided = new Map<string, number>();
  const verdicts = new Map<string, number>();
  const differences: { frame: number; text: string }[] = [];
  let equal = 0;
  for (let index = 0; index < frames; index++) {
    const sent = traffic.next();
    const now = START + (index >> 2);
    const pod = pods[sent.pod];
    const atPod = sent.hook.startsWith("pod");
    const live = await worker.ask<Live>({ op: "run", object: atPod ? `lxc:${pod.ifindex}` : "host", program: PROGRAMS[sent.hook],
      frame: Buffer.from(sent.bytes).toString("hex"), mark: sent.mark, now, ifindex: atPod ? pod.ifindex : uplink });
    const ran = runProgram(world.machine, OURS[sent.hook as keyof typeof OURS], sent.bytes,
      { device: atPod ? pod.ifindex : UPLINK, mark: sent.mark, seconds: now });
    count(verdicts, `${sent.hook} ${live.verdict}${live.drop_reason === undefined ? "" : ` ${live.drop_reason}`}`);
    if (ran.verdict <= -FLOOR) {
      // What ours did not judge it did not note either: both sides start anew.
      count(undecided, reasonName(-ran.verdict - FLOOR));
      await forget(world, worker);
      continue;
    }
    const step = { hook: sent.hook, packet_in_hex: "", expect: expected(live, uplink, ran) } as VectorStep;
    const found = comparison.compare(step, ran, now);
    if (found.length === 0) equal++;
    else {
      differences.push({ frame: index, text: `${describe(sent)}: ${found.join("; ")}` });
      await forget(world, worker);
    }
    if (live.verdict !== "drop") traffic.passed(sent, Uint8Array.from(Buffer.from(live.packet_out_hex!, "hex")));
  }
  return { version: files.version, frames, equal, undecided, differences, verdicts, refused, missing };
}

/** Forgets connections and translations on both sides. */
async function forget(world: World, worker: Worker): Promise<void> {
  for (const name of STATE) {
    const map = world.machine.map(name);
    for (const key of map.keys()) map.deleteBytes(key);
  }
  await worker.ask({ op: "forget", maps: STATE });
}

/** Answers go back by the device the frame came in by, whatever its number; other devices are compared by our number. */
function expected(live: Live, uplink: number, ran: Ran): Live {
  if (live.redirect === undefined || ran.verdict === Verdict.Answer) return { ...live, redirect: undefined };
  return { ...live, redirect: { ...live.redirect, ifindex: live.redirect.ifindex === uplink ? UPLINK : live.redirect.ifindex } };
}

function describe({ hook, bytes }: Sent): string {
  const { from, to, protocol, sport, dport } = read(bytes.subarray(14));
  const flags = protocol === TCP ? ` flags ${bytes[14 + (from.includes(":") ? 40 : 20) + 13]}` : "";
  return `${hook} ${protocol} ${from}:${sport} > ${to}:${dport}${flags}`;
}

function reasonName(reason: number): string {
  return Object.entries(UndecidedReason.values).find(([, value]) => value === reason)?.[0] ?? String(reason);
}

function count(table: Map<string, number>, name: string): void {
  table.set(name, (table.get(name) ?? 0) + 1);
}
