/**
 * Recorded runs of Cilium's real programs against ours, bit for bit: the bytes that come out, verdict, drop
 * reason, mark, conntrack and NAT entries. 1.20-dev and, from the same inputs, 1.16 to 1.19.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  Bench, BASE_OPTIONS, field, type OptionName, type Ran, Verdict,
} from "../../test/programs.js";
import { sharedDir } from "../../test/shared.js";
import { BackendState, ServiceFlag } from "../contract/codes.js";
import type { MapName } from "../contract/maps.js";

interface Tuple { daddr: string; saddr: string; dport: number; sport: number; proto: number; flags: number }
interface CtExpected extends Tuple {
  map: string;
  expires_in: number;
  rev_nat_index: number;
  src_sec_id: number;
  node_port?: number;
  backend_id?: number;
}
interface NatExpected extends Omit<Tuple,
  "flags"> { dir: "in" | "out"; to_addr: string; to_port: number; needs_ct: number }

interface Case {
  id: string;
  state: {
    pod: { ip: string; identity: number };
    ipcache: { cidr: string; identity: number }[];
    services: {
      vip: string; port: number; proto: string; rev_nat_id: number; backends: number[]; flags: string[]; scope?: number;
    }[];
    backends: { id: number; ip: string; port: number; state: string }[];
    policy_map: { direction: string; identity: number; proto: string; port: number; port_prefix_len: number; action: string;
      precedence?: number; proxy_port?: number; proxy_port_priority?: number }[];
    endpoints: { ip: string; lxc: number; flags?: number; ident?: number }[];
    source_ranges?: { rev_nat_id: number; cidr: string }[];
    conntrack?: Tuple[];
  };
  steps: (Step & { action?: string })[];
}

interface Step {
  hook: "pod-egress" | "pod-ingress" | "netdev-ingress" | "netdev-egress";
  desc: string;
  packet_in_hex: string;
  skb_mark?: string;
  expect: { verdict: string; drop_reason?: number; packet_out_hex?: string; mark?: string; nondeterministic?: string;
    ct_after?: CtExpected[]; nat_after?: NatExpected[] };
}

const shared = sharedDir();
const PROTOCOLS: Record<string, number> = { ANY: 0, ICMP: 1, TCP: 6, UDP: 17 };
const SERVICE_FLAGS: Record<string, number> = { LoadBalancer: ServiceFlag.values.LOADBALANCER,
  Routable: ServiceFlag.values.ROUTABLE,
  SourceRange: ServiceFlag.values.SOURCE_RANGE, NodePort: ServiceFlag.values.NODEPORT,
    ExternalIP: ServiceFlag.values.EXTERNAL_IP };
const PROGRAMS = { "pod-egress": "FROM_CONTAINER", "pod-ingress": "TO_CONTAINER",
  "netdev-ingress": "FROM_NETDEV",
  "netdev-egress": "TO_NETDEV" } as const;
/** What the recording was configured with beside the common options: host routing in bpf_host only. */
const ROUTING: Record<Step["hook"], readonly OptionName[]> = { "pod-egress": [], "pod-ingress": [],
  "netdev-ingress": ["ENABLE_HOST_ROUTING"], "netdev-egress": ["ENABLE_HOST_ROUTING"] };
const NOW = 100_000;

function load(file: string): Case[] {
  return shared === null
    ? [] : (JSON.parse(readFileSync(join(shared, "vectors", file), "utf8")) as { cases: Case[] }).cases;
}

const versions: [number, string][] = [[20, "cilium-executed.json"], [19, "cilium-executed-1.19.json"], [18,
  "cilium-executed-1.18.json"],
  [17, "cilium-executed-1.17.json"], [16, "cilium-executed-1.16.json"]];

for (const [version, file] of versions) {
  describe.skipIf(shared === null)(`recorded runs of Cilium 1.${version} (needs TWINPLANE_SHARED)`, () => {
    const cases = load(file);
    it("has the cases it should have", () => expect(cases.length).toBe(version === 20 ? 24 : 31));
    it.each(cases.map((one) => [one.id, one] as const))("%s", (_id, one) => replay(one, version));
  });
}

function replay(one: Case, version: number): void {
  const bench = new Bench(version);
  prepare(bench, one, version);
  one.steps.forEach((step, index) => {
    if (step.action !== undefined) {
      change(bench, one, step.action);
      return;
    }
    const audit: OptionName[] = one.id === "pol-audit-mode" ? ["POLICY_AUDIT_MODE"] : [];
    bench.options([...BASE_OPTIONS, ...ROUTING[step.hook], ...audit]);
    const mark = step.skb_mark === undefined ? 0 : Number(step.skb_mark);
    const ran = bench.run(PROGRAMS[step.hook], Uint8Array.from(Buffer.from(step.packet_in_hex, "hex")),
      { mark, seconds: NOW + index });
    compare(bench, step, ran, NOW + index);
  });
}

const policyKeys: Record<string, unknown>[] = [];

function prepare(bench: Bench, { state }: Case, version: number): void {
  bench.pod(state.pod.ip, state.pod.identity);
  for (const { cidr, identity } of state.ipcache) bench.ipcache(cidr, identity);
  policyKeys.length = 0;
  for (const entry of state.policy_map) {
    const precedence = version >= 19 ? entry.precedence! : entry.proxy_port_priority ?? 0;
    policyKeys.push(bench.allow(entry.direction === "egress", entry.identity, PROTOCOLS[entry.proto],
      entry.port,
      { precedence, deny: entry.action === "deny"
        ? 1 : 0, proxy_port: entry.proxy_port ?? 0 }, entry.port_prefix_len));
  }
  for (const service of state.services) {
    const flags = service.flags.reduce((bits, name) => bits | known(SERVICE_FLAGS, name), 0);
    bench.service(service.vip, service.port, PROTOCOLS[service.proto], service.rev_nat_id,
      service.backends, flags, 0, service.scope ?? 0);
  }
  for (const { id, ip, port, state: name } of state.backends) {
    bench.backend(id, ip, port, known({ active: BackendState.values.ACTIVE,
      terminating: BackendState.values.TERMINATING }, name));
  }
  for (const { ip, lxc, flags, ident } of state.endpoints) bench.endpoint(ip, lxc, ident ?? 0, flags ?? 0);
  for (const { rev_nat_id, cidr } of state.source_ranges ?? []) {
    const [network, length] = cidr.split("/");
    bench.put("cilium_lb4_source_range", { prefixlen: 32 + Number(length), rev_nat_id,
      address: field(network) }, { present: 1 });
  }
  for (const { daddr, saddr, dport, sport, proto, flags } of state.conntrack ?? []) {
    bench.put(proto === 6 ? "cilium_ct4_global" : "cilium_ct_any4_global",
      { daddr: field(daddr), saddr: field(saddr), dport, sport, nexthdr: proto, flags, node: 0 },
        { lifetime: NOW + 60 });
  }
}

/** The changes of state that cases name. */
function change(bench: Bench, one: Case, action: string): void {
  if (action === "remove the only policy entry") bench.disallow(policyKeys[0]);
  else if (action === "backend 1 becomes terminating, service lists backend 2 only") {
    const [service] = one.state.services;
    const [backend] = one.state.backends;
    bench.backend(1, backend.ip, backend.port, BackendState.values.TERMINATING);
    bench.backend(2, "10.0.0.6", backend.port);
    bench.service(service.vip, service.port, PROTOCOLS[service.proto], service.rev_nat_id, [2]);
  } else throw new Error(`unknown action: ${action}`);
}

function compare(bench: Bench, { hook, expect: wanted }: Step, ran: Ran, now: number): void {
  if (wanted.verdict === "drop") expect(ran.verdict).toBe(-wanted.drop_reason!);
  else if (wanted.verdict === "deliver-to-local-endpoint") expect(ran.verdict).toBe(Verdict.Endpoint);
  else if (wanted.verdict === "redirect") expect([Verdict.Redirect, Verdict.Answer]).toContain(ran.verdict);
  else expect(hook === "pod-ingress"
    ? [Verdict.Deliver] : [Verdict.Pass, Verdict.Proxy]).toContain(ran.verdict);
  if (wanted.packet_out_hex !== undefined) {
    // A redirected frame has its MAC addresses from the neighbour table; only then may they vary.
    const start = wanted.nondeterministic === undefined ? 0 : 12;
    const bytes = Buffer.from(ran.frame).toString("hex");
    expect(bytes.slice(2 * start)).toBe(wanted.packet_out_hex.slice(2 * start));
  }
  if (wanted.mark !== undefined) expect(`0x${ran.mark.toString(16)}`).toBe(wanted.mark);
  compareConntrack(bench, wanted.ct_after, now);
  compareNat(bench, wanted.nat_after);
}

function compareConntrack(bench: Bench, wanted: CtExpected[] | undefined, now: number): void {
  if (wanted?.length === 0) {
    for (const name of ["cilium_ct4_global", "cilium_ct_any4_global"] as const) {
      expect(bench.machine.map(name).count).toBe(0);
    }
  }
  for (const one of wanted ?? []) {
    const entry = bench.lookup(`cilium_${one.map}` as MapName, { daddr: field(one.daddr),
      saddr: field(one.saddr), dport: one.dport,
      sport: one.sport, nexthdr: one.proto, flags: one.flags, node: 0 }) as Record<string, number> | null;
    expect(entry, `${one.map} ${one.saddr}:${one.sport} ${one.daddr}:${one.dport}`).not.toBeNull();
    expect(Math.abs(entry!.lifetime - now - one.expires_in)).toBeLessThanOrEqual(1);
    expect([entry!.rev_nat_index, entry!.src_sec_id]).toEqual([one.rev_nat_index, one.src_sec_id]);
    expect((entry!.bits >> 5) & 1).toBe(one.node_port ?? 0);
    if (one.backend_id !== undefined) expect(entry!.backend_id).toBe(one.backend_id);
  }
}

function compareNat(bench: Bench, wanted: NatExpected[] | undefined): void {
  if (wanted === undefined) return;
  expect(bench.machine.map("cilium_snat_v4_external").count).toBe(wanted.length);
  for (const one of wanted) {
    const entry = bench.lookup("cilium_snat_v4_external", { daddr: field(one.daddr),
      saddr: field(one.saddr), dport: one.dport,
      sport: one.sport, nexthdr: one.proto, flags: one.dir === "in" ? 1 : 0, node: 0 });
    expect(entry, `${one.dir} ${one.saddr}:${one.sport} ${one.daddr}:${one.dport}`).not.toBeNull();
    expect(entry).toMatchObject({ port: one.to_port, needs_ct: one.needs_ct });
    expect(Buffer.from(entry!.addr as Uint8Array)).toEqual(Buffer.from(field(one.to_addr)));
  }
}

function known(table: Record<string, number>, name: string): number {
  if (!(name in table)) throw new Error(`unknown name ${name}`);
  return table[name];
}
