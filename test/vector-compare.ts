/**
 * What differs between a recorded or live run of Cilium's programs and ours: verdict, drop reason, device, bytes, mark, connections and
 * NAT entries.
 */
import { CtBit } from "../src/contract/codes.js";
import type { MapName } from "../src/contract/maps.js";
import type { Machine } from "../src/ebpf/machine.js";
import { field, POD_DEVICE, type Ran, UPLINK, Verdict } from "./programs.js";
import type { CtExpected, Hook, NatExpected, VectorStep } from "./vector-case.js";

/** Numbers of the devices a recording was made with. */
const CILIUM_NET = 3;
export const CILIUM_HOST = 4;
export const TUNNEL_DEVICE = 5;
const IPIP_DEVICES = { 4: 6, 6: 7 } as const;
const CT_MAPS = ["cilium_ct4_global", "cilium_ct_any4_global", "cilium_ct6_global", "cilium_ct_any6_global"] as const;
const NAT_MAPS = ["cilium_snat_v4_external", "cilium_snat_v6_external"] as const;
const REDIRECTS: readonly number[] = [Verdict.Redirect, Verdict.Answer, Verdict.Tunnel, Verdict.Host, Verdict.Ipip];
const ENCAPSULATED: readonly number[] = [Verdict.Tunnel, Verdict.Ipip];
const BITS: Record<string, number> = {
  rx_closing: CtBit.values.RX_CLOSING, tx_closing: CtBit.values.TX_CLOSING, lb_loopback: CtBit.values.LB_LOOPBACK,
  seen_non_syn: CtBit.values.SEEN_NON_SYN, node_port: CtBit.values.NODE_PORT, proxy_redirect: CtBit.values.PROXY_REDIRECT,
  dsr_internal: CtBit.values.DSR_INTERNAL, from_l7lb: CtBit.values.FROM_L7LB, from_tunnel: CtBit.values.FROM_TUNNEL,
};

export class VectorComparison {
  /** `exact`: every entry that the maps hold is listed, and times are exact. */
  constructor(private readonly machine: Machine, private readonly exact: boolean, private readonly version = 20) {}

  /** What differs; `now` is the step's second. */
  compare({ hook, expect: wanted }: VectorStep, ran: Ran, now: number): string[] {
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
    if (wanted.tunnel_key !== undefined && ENCAPSULATED.includes(ran.verdict)) {
      differs("tunnel id", wanted.tunnel_key.id, ran.tunnel.id);
      differs("tunnel end", Buffer.from(field(wanted.tunnel_key.remote)).toString("hex"), printedEnd(ran));
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
    return (this.machine.map(name) as unknown as { entries(): Iterable<[Record<string, unknown>, Record<string, unknown>]> }).entries();
  }
}

/**
 * The harness printed bpf_tunnel_key.remote_ipv4, a number: of an IPv6 end, which lies in its place, that is the first four bytes
 * in the order of the machine.
 */
function printedEnd({ verdict, frame, tunnel }: Ran): string {
  const v6 = verdict === Verdict.Ipip && familyOf(frame) === 6;
  const bytes = v6 ? Uint8Array.from(tunnel.remote.slice(0, 4)).reverse() : tunnel.remote;
  return Buffer.from(v6 ? field([...bytes].join(".")) : bytes).toString("hex");
}

function familyOf(frame: Uint8Array): 4 | 6 {
  return frame[14] >> 4 === 6 ? 6 : 4;
}

interface Tuple5 { daddr: string; saddr: string; dport: number; sport: number; nexthdr: number }

/** A drop of ours never asks for a reason by name; undecided shows as such and is never equal to a recording. */
function verdictOf({ verdict }: Ran, hook: Hook): string {
  if (verdict <= -1000) return `undecided ${-verdict - 1000}`;
  if (verdict < 0) return `drop ${-verdict}`;
  if (verdict === Verdict.Endpoint) return "deliver-to-local-endpoint";
  if (REDIRECTS.includes(verdict)) return "redirect";
  // At the pod's own device a proxy is reached by way of cilium_net, where the pod sends by the stack.
  if (hook === "pod-ingress" && verdict === Verdict.Proxy) return "redirect";
  if (hook === "pod-ingress") return verdict === Verdict.Deliver ? "forward" : `verdict ${verdict}`;
  return verdict === Verdict.Pass || verdict === Verdict.Proxy ? "forward" : `verdict ${verdict}`;
}

/** What is for the node goes out of cilium_net, or into it or cilium_host: the same. */
function deviceOf({ verdict, redirect, frame }: Ran, hook: Hook, version: number): number {
  if (verdict === Verdict.Tunnel) return TUNNEL_DEVICE;
  if (verdict === Verdict.Ipip) return IPIP_DEVICES[familyOf(frame)];
  if (verdict === Verdict.Proxy) return CILIUM_NET;
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
