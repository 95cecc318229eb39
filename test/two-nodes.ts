/**
 * Two nodes of a cluster on the bench, in both families: pods a and b on node 0, c on node 1, everything allowed.
 * Where options say tunnel mode, the pods' addresses are behind their node's.
 */
import {
  ConfigOption, DeviceKind, DropReason, EmissionKind, EndpointFlag, FibKind, IpcacheFlag, KernelReason, NodeOption, TunnelProtocol,
  UndecidedReason,
} from "../src/contract/codes.js";
import { End } from "../src/dataplane.js";
import { type PacketInput, packet, read } from "./packets.js";
import { BASE_OPTIONS, Bench, field, type OptionName, POD_DEVICE, UPLINK, type WalkInput, type Walked } from "./programs.js";

export const A = "10.1.0.1";
export const B = "10.1.0.2";
export const C = "10.2.0.3";
export const CLIENT = "203.0.113.9";
export const V6 = { A: "fd10:1::1", B: "fd10:1::2", C: "fd10:2::3", CLIENT: "2001:db8::9" };
export const NODES = ["192.168.0.1", "192.168.0.2"] as const;
export const NODES6 = ["fd00::1", "fd00::2"] as const;
/** cilium_host's addresses. */
export const ROUTERS = ["10.1.0.254", "10.2.0.254"] as const;
export const ROUTERS6 = ["fd10:1::fe", "fd10:2::fe"] as const;
export const B_DEVICE = 11;
export const C_DEVICE = 12;
/** cilium_vxlan, on both nodes. */
export const TUNNEL = 5;
export const IDENTITY = { A: 300, B: 301, C: 302, WORLD4: 9, WORLD6: 10 } as const;
const PODS = [[A, V6.A, POD_DEVICE, IDENTITY.A, 0], [B, V6.B, B_DEVICE, IDENTITY.B, 0], [C, V6.C, C_DEVICE, IDENTITY.C, 1]] as const;
const DUAL: readonly OptionName[] = ["ENABLE_IPV6", "DUAL_STACK", "ENABLE_IPV6_FRAGMENT_TRACKING", "ENABLE_BPF_MASQUERADE_IPV6"];

export interface TwoNodes {
  readonly version?: number;
  readonly options?: readonly OptionName[];
  /** Options of the bench that are off here. */
  readonly without?: readonly OptionName[];
  readonly protocol?: "VXLAN" | "GENEVE";
  /** The nodes reach each other by their IPv6 addresses. */
  readonly underlay6?: boolean;
  readonly traced?: boolean;
}

export function twoNodes(given: TwoNodes = {}): Bench {
  const { version = 20, options = [], without = [], protocol = "VXLAN", underlay6 = false, traced = false } = given;
  const bench = new Bench(version, { traced });
  const all = [...BASE_OPTIONS, ...DUAL, ...options].filter((name) => !without.includes(name));
  const tunnel = all.includes("TUNNEL_MODE");
  const bits = all.reduce((sum, name) => sum | ConfigOption.values[name], 0) >>> 0;
  bench.configure({ options: bits, native_routing_cidr6: field("fd10::"), native_routing_cidr6_length: 16,
    tunnel_port: protocol === "VXLAN" ? 8472 : 6081, tunnel_protocol: tunnel ? TunnelProtocol.values[protocol] : 0 });
  for (const node of [0, 1]) {
    bench.put("twinplane_nodes", { node }, { ipv4: field(NODES[node]), ipv6: field(NODES6[node]), masquerade4: field(NODES[node]),
      masquerade6: field(NODES6[node]), router4: field(ROUTERS[node]), router6: field(ROUTERS6[node]), options: NodeOption.values.MANAGED,
      direct_routing_ifindex: UPLINK, host_sec_id: 1, host_policy: 1, tunnel_ifindex: tunnel ? TUNNEL : 0 });
    bench.put("twinplane_devices", { node, ifindex: UPLINK }, { kind: DeviceKind.values.UPLINK, mtu: 1500,
      mac: Uint8Array.of(2, 0, 0, 0, 9, node) });
    if (tunnel) bench.put("twinplane_devices", { node, ifindex: TUNNEL }, { kind: DeviceKind.values.TUNNEL, mtu: 1500 });
  }
  bench.mapPolicy(1);
  for (const egress of [true, false]) {
    bench.allow(egress, 0);
    bench.allow(egress, 0, 0, 0, {}, 0, 1);
  }
  const behind = (node: number) => tunnel ? { tunnel_endpoint: field((underlay6 ? NODES6 : NODES)[node]),
    flags: IpcacheFlag.values.HAS_TUNNEL_EP | (underlay6 ? IpcacheFlag.values.IPV6_TUNNEL_EP : 0) } : {};
  for (const [v4, v6, device, identity, node] of PODS) {
    bench.pod(v4, identity, 0, v6, device, node);
    for (const [ip, length] of [[v4, 32], [v6, 128]] as const) {
      bench.endpoint(ip, device, identity, 0, 0, node);
      bench.ipcache(`${ip}/${length}`, identity, behind(node));
      bench.route(`${ip}/${length}`, FibKind.values.ENDPOINT, device, undefined, 0, node);
    }
  }
  for (const node of [0, 1]) {
    const addresses = [[NODES[node], 32], [NODES6[node], 128], [ROUTERS[node], 32], [ROUTERS6[node], 128]] as const;
    for (const [ip, length] of addresses) {
      const router = (ROUTERS as readonly string[]).includes(ip) || (ROUTERS6 as readonly string[]).includes(ip);
      bench.ipcache(`${ip}/${length}`, 6, router ? behind(node) : { flags: IpcacheFlag.values.NODE_ADDRESS });
      bench.endpoint(ip, 0, 1, EndpointFlag.values.HOST, 0, node);
      bench.route(`${ip}/${length}`, FibKind.values.LOCAL_STACK, 0, undefined, 0, node);
      if (!router) bench.route(`${ip}/${length}`, FibKind.values.UPLINK, UPLINK, node, UPLINK, 1 - node);
    }
    bench.route(node === 0 ? "10.1.0.0/16" : "10.2.0.0/16", FibKind.values.UPLINK, UPLINK, node, UPLINK, 1 - node);
    bench.route(node === 0 ? "fd10:1::/32" : "fd10:2::/32", FibKind.values.UPLINK, UPLINK, node, UPLINK, 1 - node);
    bench.route("0.0.0.0/0", FibKind.values.UPLINK, UPLINK, undefined, 0, node);
    bench.route("::/0", FibKind.values.UPLINK, UPLINK, undefined, 0, node);
  }
  bench.ipcache("0.0.0.0/0", IDENTITY.WORLD4);
  bench.ipcache("::/0", IDENTITY.WORLD6);
  return bench;
}

export function send(bench: Bench, input: PacketInput, device: number, node = 0, more: Partial<WalkInput> = {}): Walked {
  return bench.walk([{ packet: packet(input), device, node, ...more }])[0];
}

/** `kind node/device from -> to` of each image. */
export function way({ images }: Walked): string[] {
  return images.map(({ kind, node, device, packet: bytes }) => {
    const { from, to, sport, dport, ttl } = read(bytes);
    const name = Object.entries(EmissionKind.values).find(([, value]) => value === kind)![0];
    return `${name} ${node}/${device} ${from}:${sport} -> ${to}:${dport} ttl ${ttl}`;
  });
}

/** How a frame ended, with its reason. */
export function ended({ outcome }: Walked): string {
  const name = Object.entries(End).find(([, value]) => value === outcome.end)![0];
  const reasons = outcome.end === End.Undecided ? UndecidedReason.values : { ...DropReason.values, ...KernelReason.values };
  const reason = Object.entries(reasons).find(([, value]) => value === outcome.reason)?.[0];
  return outcome.reason === 0 ? name : `${name} ${reason}`;
}
