/**
 * Runs a recorded case on our programs and says what differs from the recording: verdict, drop reason, bytes, mark, device,
 * connections, NAT entries.
 */
import { parsePrefix } from "../src/cluster/address.js";
import {
  BackendState, DeviceKind, DsrMode, FibKind, LbAlgorithm, ServiceFlag, ServiceFlag2, TunnelProtocol,
} from "../src/contract/codes.js";
import { BASE_OPTIONS, Bench, DEVICE_MAC, field, type OptionName } from "./programs.js";
import { CILIUM_HOST, TUNNEL_DEVICE, VectorComparison } from "./vector-compare.js";
import type { Hook, PolicyRow, VectorCase, VectorState, VectorStep } from "./vector-case.js";

export const NOW = 100_000;
/**
 * What the harness answered to get_prandom_u32, as far as it is known: the lower half. Ports drawn in recordings of all versions
 * come from it, by a remainder (1.16) and by multiplication (later).
 */
export const DRAWN = 10103;
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

export class VectorRunner {
  private readonly bench: Bench;
  private readonly parts: readonly string[];
  private readonly comparison: VectorComparison;
  private policyKeys: Record<string, unknown>[] = [];

  /** `version` 16 … 20; `config` as in VectorFile. */
  constructor(private readonly version: number, config: string, exact: boolean, bench = new Bench(version)) {
    this.bench = bench;
    this.comparison = new VectorComparison(bench.machine, exact, version);
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
        { mark: Number(step.skb_mark ?? 0), seconds: now, drawn: DRAWN, vni: step.tunnel?.id, vlan: step.vlan,
          ...this.device(step.hook) });
      return this.comparison.compare(step, ran, now).map((text) => `step ${index} (${step.hook}): ${text}`);
    });
  }

  /** The recordings had the host's policy map at the programs of eth0 only; at cilium_host's it was empty. */
  private atHost(ciliumHost: boolean): void {
    this.bench.node({ router4: field("10.200.0.254"),
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
    this.bench.put("twinplane_devices", { node: 0, ifindex: TUNNEL_DEVICE },
      { kind: DeviceKind.values.TUNNEL, mtu: 1500, mac: DEVICE_MAC });
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
