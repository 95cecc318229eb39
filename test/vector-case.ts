/**
 * The form of a recorded run: what the maps held, the frames that went in, what came of each. Recordings are of Cilium's real
 * programs through BPF_PROG_TEST_RUN; see test/vectors/README.md.
 */

export interface Tuple { daddr: string; saddr: string; dport: number; sport: number; proto: number; flags: number }

/** Flags are 1 where set, absent otherwise. */
export interface CtExpected extends Tuple {
  map: string;
  /** Seconds from the step's own time. */
  expires_in: number;
  rev_nat_index: number;
  src_sec_id: number;
  backend_id?: number;
  packets?: number;
  bytes?: number;
  rx_closing?: number;
  tx_closing?: number;
  seen_non_syn?: number;
  lb_loopback?: number;
  node_port?: number;
  proxy_redirect?: number;
  dsr_internal?: number;
  from_l7lb?: number;
  from_tunnel?: number;
  tx_flags_seen?: number;
  rx_flags_seen?: number;
  nat_port?: number;
}

export interface NatExpected extends Omit<Tuple, "flags"> { dir: "in" | "out"; to_addr: string; to_port: number; needs_ct: number }

export interface PolicyRow {
  direction: string; identity: number; proto: string; port: number; port_prefix_len: number; action: string;
  precedence?: number; proxy_port?: number; proxy_port_priority?: number;
}

export interface VectorState {
  pod: { ip: string; ip6?: string; identity: number };
  ipcache: { cidr: string; identity: number; tunnel_endpoint?: string }[];
  services?: {
    vip: string; port: number; proto: string; rev_nat_id: number; backends: number[]; flags: string[]; scope?: number;
    affinity_timeout?: number;
  }[];
  backends?: { id: number; ip: string; port: number; state?: string; proto?: string }[];
  policy_map: PolicyRow[];
  host_policy_map?: PolicyRow[];
  endpoints?: { ip: string; lxc: number; flags?: number; ident?: number }[];
  source_ranges?: { rev_nat_id: number; cidr: string }[];
  affinity_match?: { rev_nat_id: number; backend_id: number }[];
  maglev?: { rev_nat_id: number; family?: 4 | 6; table: number[] }[];
  ipmasq?: string[];
  egress_policies?: { source: string; destination: string; egress_ip: string; gateway_ip: string }[];
  conntrack?: (Tuple & { expires_in?: number })[];
}

export type Hook = "pod-egress" | "pod-ingress" | "netdev-ingress" | "netdev-egress" | "host-egress" | "host-ingress" | "overlay-ingress"
  | "overlay-egress";

export interface VectorStep {
  hook: Hook;
  desc?: string;
  packet_in_hex: string;
  skb_mark?: string;
  /** A change of state instead of a frame; "set" writes the rows given. */
  action?: string;
  service?: VectorState["services"];
  backend?: VectorState["backends"];
  /** VLAN tag that the device had taken off. */
  vlan?: number;
  /** Seconds; the step's number after the start without it. */
  at?: number;
  /** What the tunnel device had taken off. */
  tunnel?: { id: number; remote: string; option_hex?: string };
  expect: {
    verdict: string; drop_reason?: number; packet_out_hex?: string; mark?: string; nondeterministic?: string;
    redirect?: { by: string; ifindex: number; flags: number };
    tunnel_key?: { id: number; remote: string; local: string };
    ct_after?: CtExpected[]; nat_after?: NatExpected[];
  };
}

export interface VectorCase { id: string; state: VectorState; steps: VectorStep[] }

export interface VectorFile {
  cilium_version?: string;
  commit?: string;
  /** Parts joined by `-`: v4 or dual, then hostfw, tunnel, geneve, dsr, … ; absent in the first recordings, which are IPv4. */
  config?: string;
  /** Every entry that the maps hold is listed; else only those that must be there. */
  exact?: boolean;
  cases: VectorCase[];
}
