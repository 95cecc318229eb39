/**
 * Runs a recorded case on our programs and says what differs from the recording: verdict, drop reason, bytes, mark, device,
 * connections, NAT entries.
 */
import { parsePrefix } from "../src/cluster/address.js";
import {
  BackendState, CtBit, DeviceKind, DsrMode, FibKind, LbAlgorithm, ServiceFlag, ServiceFlag2, TunnelProtocol,
} from "../src/contract/codes.js";
import type { MapName } from "../src/contract/maps.js";
import { BASE_OPTIONS, Bench, DEVICE_MAC, field, type OptionName, POD_DEVICE, type Ran, UPLINK, Verdict } from "./programs.js";
import type { CtExpected, Hook, NatExpected, PolicyRow, VectorCase, VectorState, VectorStep } from "./vector-case.js";

/** Numbers of the devices a recording was made with. */
const CILIUM_NET = 3;
export const CILIUM_HOST = 4;
export const TUNNEL_DEVICE = 5;
export const NOW = 100_000;
/** cilium_policy_v2's places: the pod's map, the host endpoint's. */
const POD_POLICY = 0;
const HOST_POLICY = 1;
const NO_POLICY = 2;

export const PROTOCOLS: Record<string, number> = { ANY: 0, ICMP: 1, IGMP: 2, TCP: 6, UDP: 17, ICMPv6: 58, SCTP: 132 };
const SERVICE_FLAGS: Record<string, number> = {
  LoadBalancer: ServiceFlag.values.LOADBALANCER, Routable: ServiceFlag.values.ROUTABLE, SourceRange: ServiceFlag.values.SOURCE_RANGE,
  NodePort: ServiceFlag.values.NODEPORT, ExternalIP: ServiceFlag.values.EXTERNAL_IP, ExtLocalScope: ServiceFlag.values.EXT_LOCAL_SCOPE,
  HostPort: ServiceFlag.values.HOSTPORT, SessionAffinity: ServiceFlag.values.AFFINITY,
};
const SERVICE_FLAGS2: Record<string, number> = {
  TwoScopes: ServiceFlag2.values.TWO_SCOPES, IntLocalScope: ServiceFlag2.values.INT_LOCAL_SCOPE, Loopback: ServiceFlag2.values.LOOPBACK,
  FwdModeDSR: ServiceFlag2.values.FWD_MODE_DSR, SourceRangeDeny: ServiceFlag2.values.QUARANTINED,
};
const BACKEND_STATES: Record<string, number> = {
  active: BackendState.values.ACTIVE, terminating: BackendState.values.TERMINATING, quarantined: BackendState.values.QUARANTINED,
  maintenance: BackendState.values.MAINTENANCE,
};
const PROGRAMS = {
  "pod-egress": "FROM_CONTAINER", "pod-ingress": "TO_CONTAINER", "netdev-ingress": "FROM_NETDEV", "netdev-egress": "TO_NETDEV",
  "host-egress": "FROM_HOST", "host-ingress": "TO_HOST", "overlay-ingress": "FROM_OVERLAY", "overlay-egress": "TO_OVERLAY",
} as const;
const CT_MAPS = ["cilium_ct4_global", "cilium_ct_any4_global", "cilium_ct6_global", "cilium_ct_any6_global"] as const;
const NAT_MAPS = ["cilium_snat_v4_external", "cilium_snat_v6_external"] as const;
const REDIRECTS: readonly number[] = [Verdict.Redirect, Verdict.Answer, Verdict.Tunnel, Verdict.Host];
const BITS: Record<string, number> = {
  rx_closing: CtBit.values.RX_CLOSING, tx_closing: CtBit.values.TX_CLOSING, lb_loopback: CtBit.values.LB_LOOPBACK,
  seen_non_syn: CtBit.values.SEEN_NON_SYN, node_port: CtBit.values.NODE_PORT, proxy_redirect: CtBit.values.PROXY_REDIRECT,
  dsr_internal: CtBit.values.DSR_INTERNAL, from_l7lb: CtBit.values.FROM_L7LB, from_tunnel: CtBit.values.FROM_TUNNEL,
};

export class VectorRunner {
  private readonly bench: Bench;
  private readonly parts: readonly string[];
  private policyKeys: Record<string, unknown>[] = [];

  /** `version` 16 … 20; `config` as in VectorFile. */
  constructor(private readonly version: number, config: string, private readonly exact: boolean, bench = new Bench(version)) {
    this.bench = bench;
    this.parts = config.split("-");
  }

  /** Every difference, by step; none: equal. */
  run(one: VectorCase): string[] {
    this.prepare(one);
    return one.steps.flatMap((step, index) => {
      if (step.action !== undefined) {
        this.change(one, step);
        return [];
      }
      const now = step.at ?? NOW + index;
      this.bench.options(this.options(step.hook, one));
      this.atHost(step.hook.startsWith("host"));
      const ran = this.bench.run(PROGRAMS[step.hook], Uint8Array.from(Buffer.from(step.packet_in_hex, "hex")),
        { mark: Number(step.skb_mark ?? 0), seconds: now, vni: step.tunnel?.id, ...this.device(step.hook) });
      return this.compare(step, ran, now).map((text) => `step ${index} (${step.hook}): ${text}`);
    });
  }

  /** The recordings had the host's policy map at the programs of eth0 only; at cilium_host's it was empty. */
  private atHost(ciliumHost: boolean): void {
    // cilium_host's IPv4 address was compiled in up to 1.19.
    this.bench.node({ router4: field(this.version < 20 ? "10.200.0.1" : "10.200.0.254"),
      host_policy: ciliumHost ? NO_POLICY : HOST_POLICY });
  }

  private has(part: string): boolean {
    return this.parts.includes(part);
  }

  private device(hook: Hook): { device?: number } {
    if (hook.startsWith("host")) return { device: CILIUM_HOST };
    return hook.startsWith("overlay") ? { device: TUNNEL_DEVICE } : {};
  }

  private options(hook: Hook, one: VectorCase): OptionName[] {
    const names = new Set<OptionName>(BASE_OPTIONS);
    if (this.has("dual")) {
      for (const name of ["ENABLE_IPV6", "ENABLE_BPF_MASQUERADE_IPV6", "ENABLE_IPV6_FRAGMENT_TRACKING",
        "DUAL_STACK"] as const) names.add(name);

    }
    if (this.has("audit") || one.id === "pol-audit-mode") names.add("POLICY_AUDIT_MODE");
    if (this.has("hostfw")) names.add("ENABLE_HOST_FIREWALL");
    if (this.has("tunnel")) names.add("TUNNEL_MODE");
    if (this.has("egw")) names.add("ENABLE_EGRESS_GATEWAY");
    if (this.has("eproutes")) names.add("ENABLE_ENDPOINT_ROUTES");
    if (this.has("masqagent")) names.add("ENABLE_IP_MASQ_AGENT");
    if (this.has("sctp")) names.add("ENABLE_SCTP");
    if (this.has("drop")) names.delete("SERVICE_NO_BACKEND_RESPONSE_REJECT");
    // The recordings had host routing in bpf_host only.
    if (hook.startsWith("netdev") || hook.startsWith("host")) names.add("ENABLE_HOST_ROUTING");
    return [...names];
  }

  // State

  private prepare({ state }: VectorCase): void {
    const { bench } = this;
    // cilium_host's IPv4 address was compiled in up to 1.19.
    this.atHost(false);
    bench.mapPolicy(NO_POLICY);
    this.policyKeys = [];
    if (this.has("dual")) this.dualStack();
    bench.configure({
      tunnel_protocol: this.has("tunnel") ? TunnelProtocol.values[this.has("geneve") ? "GENEVE" : "VXLAN"] : TunnelProtocol.values.NONE,
      dsr_mode: DsrMode.values[this.has("dsr") ? "DSR_OPT" : this.has("dsrgeneve") ? "DSR_GENEVE" : this.has("dsripip")
        ? "DSR_IPIP" : "SNAT"],
      lb_algorithm: LbAlgorithm.values[this.has("maglev") ? "MAGLEV" : "RANDOM"], maglev_table_size: 16381,
      hash_init4_seed: 0xcafe, hash_init6_seed: 0xeb9f, monitor_aggregation: 5, tunnel_port: 8472,
    });
    bench.pod(state.pod.ip, state.pod.identity, POD_POLICY, state.pod.ip6 ?? "");
    for (const row of state.ipcache) {
      bench.ipcache(row.cidr, row.identity,
        row.tunnel_endpoint === undefined ? {} : { tunnel_endpoint: field(row.tunnel_endpoint), flags: 2 });
    }
    for (const row of state.policy_map) this.policy(row, POD_POLICY);
    if (state.host_policy_map !== undefined) {
      bench.mapPolicy(HOST_POLICY);
      for (const row of state.host_policy_map) this.policy(row, HOST_POLICY);
    }
    for (const one of state.services ?? []) this.service(one);
    for (const one of state.backends ?? []) this.backend(one);
    for (const { ip, lxc, flags, ident } of state.endpoints ?? []) bench.endpoint(ip, lxc, ident ?? 0, flags ?? 0);
    this.more(state);
  }

  private more(state: VectorState): void {
    for (const { rev_nat_id, cidr } of state.source_ranges ?? []) {
      const { address, length } = prefix(cidr);
      this.bench.put(cidr.includes(":") ? "cilium_lb6_source_range" : "cilium_lb4_source_range",
        { prefixlen: 32 + length, rev_nat_id, address }, { present: 1 });
    }
    for (const one of state.affinity_match ?? []) this.bench.put("cilium_lb_affinity_match", { ...one }, { present: 1 });
    for (const one of state.ipmasq ?? []) {
      const { address, length } = prefix(one);
      this.bench.put(one.includes(":") ? "cilium_ipmasq_v6" : "cilium_ipmasq_v4", { prefixlen: length, address }, { present: 1 });
    }
    for (const one of state.egress_policies ?? []) {
      const { address, length } = prefix(one.destination);
      this.bench.put(one.destination.includes(":") ? "cilium_egress_gw_policy_v6" : "cilium_egress_gw_policy_v4",
        { prefixlen: 128 + length, saddr: field(one.source), daddr: address },
        { egress_ip: field(one.egress_ip), gateway_ip: field(one.gateway_ip) });
    }
    for (const one of state.maglev ?? []) this.bench.maglev(one.family ?? 4, one.rev_nat_id, 0, Uint32Array.from(one.table));
    for (const { daddr, saddr, dport, sport, proto, flags, expires_in } of state.conntrack ?? []) {
      const v6 = daddr.includes(":");
      this.bench.put(proto === 6 ? (v6 ? "cilium_ct6_global" : "cilium_ct4_global") : v6 ? "cilium_ct_any6_global"
        : "cilium_ct_any4_global",
        { daddr: field(daddr), saddr: field(saddr), dport, sport, nexthdr: proto, flags, node: 0 }, { lifetime: NOW + (expires_in ?? 60) });
    }
  }

  /** What recordings of both families have beside the bench's IPv4. */
  private dualStack(): void {
    this.bench.configure({ native_routing_cidr6: field("fd00:10::"), native_routing_cidr6_length: 32 });
    this.bench.route("fd00::1/128", FibKind.values.LOCAL_STACK, 0);
    this.bench.put("twinplane_devices", { node: 0, ifindex: CILIUM_HOST }, { kind: DeviceKind.values.HOST, mtu: 1500 });
    this.bench.put("twinplane_devices", { node: 0, ifindex: TUNNEL_DEVICE }, { kind: DeviceKind.values.TUNNEL, mtu: 1500, mac: DEVICE_MAC });
  }

  private policy(row: PolicyRow, map: number): void {
    const precedence = this.version >= 19 ? row.precedence ?? 0 : row.proxy_port_priority ?? 0;
    this.policyKeys.push(this.bench.allow(row.direction === "egress", row.identity, PROTOCOLS[row.proto], row.port,
      { precedence, deny: row.action === "deny" ? 1 : 0, proxy_port: row.proxy_port ?? 0 }, row.port_prefix_len, map));
  }

  private service(one: NonNullable<VectorState["services"]>[number]): void {
    let flags = 0;
    let flags2 = 0;
    for (const name of one.flags) {
      if (name in SERVICE_FLAGS2) flags2 |= SERVICE_FLAGS2[name];
      else flags |= known(SERVICE_FLAGS, name);
    }
    this.bench.service(one.vip, one.port, PROTOCOLS[one.proto], one.rev_nat_id, one.backends, flags, flags2, one.scope ?? 0, undefined,
      one.affinity_timeout ?? 0);
  }

  private backend(one: NonNullable<VectorState["backends"]>[number]): void {
    this.bench.backend(one.id, one.ip, one.port, known(BACKEND_STATES, one.state ?? "active"), PROTOCOLS[one.proto ?? "TCP"]);
  }

  /** The changes of state that cases name. */
  private change(one: VectorCase, step: VectorStep): void {
    const { action } = step;
    if (action === "set") {
      for (const row of step.service ?? []) this.service(row);
      for (const row of step.backend ?? []) this.backend(row);
    } else if (action === "remove the only policy entry") this.bench.disallow(this.policyKeys[0]);
    else if (action === "backend 1 becomes terminating, service lists backend 2 only") {
      const [service] = one.state.services!;
      const [backend] = one.state.backends!;
      this.bench.backend(1, backend.ip, backend.port, BackendState.values.TERMINATING);
      this.bench.backend(2, "10.0.0.6", backend.port);
      this.bench.service(service.vip, service.port, PROTOCOLS[service.proto], service.rev_nat_id, [2]);
    } else throw new Error(`unknown action: ${action}`);
  }

  // Comparison

  private compare({ hook, expect: wanted }: VectorStep, ran: Ran, now: number): string[] {
    const found: string[] = [];
    const differs = (what: string, real: unknown, ours: unknown): void => {
      if (real !== ours) found.push(`${what}: Cilium ${String(real)}, ours ${String(ours)}`);
    };
    const verdict = verdictOf(ran, hook);
    differs("verdict", wanted.drop_reason === undefined ? wanted.verdict : `drop ${wanted.drop_reason}`, verdict);
    const redirected = wanted.verdict === "redirect" && wanted.redirect !== undefined;
    if (redirected && verdict === "redirect" && wanted.redirect?.by !== "redirect_neigh") {
      differs("device", wanted.redirect?.ifindex, deviceOf(ran, hook, this.version));
    }
    if (wanted.tunnel_key !== undefined && ran.verdict === Verdict.Tunnel) {
      differs("tunnel id", wanted.tunnel_key.id, ran.tunnel.id);
      differs("tunnel end", Buffer.from(field(wanted.tunnel_key.remote)).toString("hex"), Buffer.from(ran.tunnel.remote).toString("hex"));
    }
    if (wanted.packet_out_hex !== undefined && (wanted.verdict !== "drop" || !this.exact)) {
      const start = this.linkLayerVaries(wanted, ran) ? 24 : 0;
      differs("bytes", wanted.packet_out_hex.slice(start), Buffer.from(ran.frame).toString("hex").slice(start));
    }
    if (wanted.mark !== undefined && wanted.verdict !== "drop") differs("mark", wanted.mark, `0x${ran.mark.toString(16)}`);
    return [...found, ...this.conntrack(wanted.ct_after, now), ...this.nat(wanted.nat_after)];
  }

  /**
   * MAC addresses are compared where a program writes an endpoint's own, or answers. What it passes on has them from the neighbour
   * table, from the stack, or (with endpoint routes off, up to 1.18) from devices that no capture names.
   */
  private linkLayerVaries(wanted: VectorStep["expect"], ran: Ran): boolean {
    if (!this.exact) return wanted.nondeterministic !== undefined;
    return wanted.verdict !== "deliver-to-local-endpoint" && ran.verdict !== Verdict.Answer;
  }

  private conntrack(wanted: CtExpected[] | undefined, now: number): string[] {
    if (wanted === undefined) return [];
    const rows = new Map<string, Record<string, number>>();
    for (const name of CT_MAPS) {
      for (const [key, value] of this.entries(name)) rows.set(`${name.slice(7)} ${tupleText(key)}`, value as Record<string, number>);
    }
    const found: string[] = [];
    for (const one of wanted) {
      const text = `${one.map} ${wantedTuple(one)} ${one.flags}`;
      const entry = rows.get(text);
      rows.delete(text);
      if (entry === undefined) found.push(`no connection ${text}`);
      else found.push(...this.connection(text, one, entry, now));
    }
    if (this.exact || wanted.length === 0) for (const text of rows.keys()) found.push(`a connection too many: ${text}`);
    return found;
  }

  private connection(text: string, one: CtExpected, entry: Record<string, number>, now: number): string[] {
    const found: string[] = [];
    const differs = (name: string, real: number, ours: number, by = 0): void => {
      if (Math.abs(real - ours) > by) found.push(`${text} ${name}: Cilium ${real}, ours ${ours}`);
    };
    differs("expires_in", one.expires_in, entry.lifetime - now, this.exact ? 0 : 1);
    differs("rev_nat_index", one.rev_nat_index, entry.rev_nat_index);
    differs("src_sec_id", one.src_sec_id, entry.src_sec_id);
    if (one.backend_id !== undefined || this.exact && (one.flags & 4)) differs("backend_id", one.backend_id ?? 0, entry.backend_id);
    for (const name of this.exact ? Object.keys(BITS) : ["node_port"]) {
      differs(name, (one as unknown as Record<string, number>)[name] ?? 0, (entry.bits & BITS[name]) === 0 ? 0 : 1);
    }
    if (this.exact) {
      for (const name of ["tx_flags_seen", "rx_flags_seen", "nat_port"] as const) {
        differs(name, one[name] ?? 0, Number(entry[name]));
      }
    }
    return found;
  }

  private nat(wanted: NatExpected[] | undefined): string[] {
    if (wanted === undefined) return [];
    const text = (one: Omit<Tuple5, "nexthdr"> & { proto: number }, dir: string): string => `${dir} ${wantedTuple(one)}`;
    const rows = new Map<string, string>();
    for (const name of NAT_MAPS) {
      for (const [key, value] of this.entries(name)) {
        rows.set(`${Number(key.flags) & 1 ? "in" : "out"} ${tupleText(key).replace(/ \d+$/, "")}`,
          `${Buffer.from(value.addr as Uint8Array).toString("hex")} ${value.port} ${value.needs_ct}`);
      }
    }
    const found: string[] = [];
    for (const one of wanted) {
      const key = text(one, one.dir);
      const real = `${Buffer.from(field(one.to_addr)).toString("hex")} ${one.to_port} ${one.needs_ct}`;
      const ours = rows.get(key);
      rows.delete(key);
      if (ours !== real) found.push(`NAT entry ${key}: Cilium ${real}, ours ${ours}`);
    }
    for (const key of rows.keys()) found.push(`a NAT entry too many: ${key}`);
    return found;
  }

  private entries(name: MapName): Iterable<[Record<string, unknown>, Record<string, unknown>]> {
    return (this.bench.machine.map(name) as unknown as { entries(): Iterable<[Record<string, unknown>, Record<string,
      unknown>]> }).entries();
  }
}

interface Tuple5 { daddr: string; saddr: string; dport: number; sport: number; nexthdr: number }

/** A drop of ours never asks for a reason by name; undecided shows as such and is never equal to a recording. */
function verdictOf({ verdict }: Ran, hook: Hook): string {
  if (verdict <= -1000) return `undecided ${-verdict - 1000}`;
  if (verdict < 0) return `drop ${-verdict}`;
  if (verdict === Verdict.Endpoint) return "deliver-to-local-endpoint";
  if (REDIRECTS.includes(verdict)) return "redirect";
  if (hook === "pod-ingress") return verdict === Verdict.Deliver ? "forward" : `verdict ${verdict}`;
  return verdict === Verdict.Pass || verdict === Verdict.Proxy ? "forward" : `verdict ${verdict}`;
}

/** What is for the node goes out of cilium_net, or into it or cilium_host: the same. */
function deviceOf({ verdict, redirect }: Ran, hook: Hook, version: number): number {
  if (verdict === Verdict.Tunnel) return TUNNEL_DEVICE;
  if (verdict === Verdict.Host) return version < 19 || hook === "pod-egress" ? CILIUM_NET : CILIUM_HOST;
  return verdict === Verdict.Answer ? { pod: POD_DEVICE, netdev: UPLINK, host: CILIUM_HOST, overlay: TUNNEL_DEVICE }[hook.split("-")[0]]!
    : redirect;
}

function tupleText(key: Record<string, unknown>): string {
  const hex = (value: unknown): string => Buffer.from(value as Uint8Array).toString("hex");
  return `${hex(key.saddr)}:${key.sport} ${hex(key.daddr)}:${key.dport} ${key.nexthdr} ${key.flags}`;
}

function wantedTuple(one: { daddr: string; saddr: string; dport: number; sport: number; proto: number }): string {
  const hex = (value: string): string => Buffer.from(field(value)).toString("hex");
  return `${hex(one.saddr)}:${one.sport} ${hex(one.daddr)}:${one.dport} ${one.proto}`;
}

function prefix(text: string): { address: Uint8Array; length: number } {
  const parsed = parsePrefix(text);
  if (parsed === null) throw new Error(`${text} is not a prefix`);
  return { address: field(parsed.address.text), length: parsed.length };
}

function known(table: Record<string, number>, name: string): number {
  if (!(name in table)) throw new Error(`unknown name ${name}`);
  return table[name];
}
