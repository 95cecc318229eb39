/**
 * The plane's configuration as programs ask for it: one Config entry that holds for every node, and the entry
 * of the node under way. Both are looked up once, when a block or a hop begins. Names are Cilium's options.
 */
import { Config, ConfigOption, DsrMode, LbOption, NodeEntry, NodeOption } from "../abi.gen";
import { Packet } from "./packet";

let configAt: usize = 0;
let nodeAt: usize = 0;

export class Options {
  @inline
  static get config(): Config {
    return changetype<Config>(configAt);
  }

  @inline
  static get node(): NodeEntry {
    return changetype<NodeEntry>(nodeAt);
  }

  @inline
  static useConfig(config: usize): void {
    configAt = config;
  }

  @inline
  static useNode(node: usize): void {
    nodeAt = node;
  }

  @inline
  static has(option: ConfigOption): bool {
    return (Options.config.options & <u32>option) != 0;
  }

  /** 16 for Cilium 1.16 … 20 for 1.20. */
  @inline
  static get version(): u32 {
    return Options.config.version;
  }

  @inline
  static get sctp(): bool {
    return Options.has(ConfigOption.ENABLE_SCTP);
  }

  @inline
  static get extendedIpProtocols(): bool {
    return Options.has(ConfigOption.ENABLE_EXTENDED_IP_PROTOCOLS) && Options.version >= 19;
  }

  @inline
  static get dsr(): bool {
    return Options.config.dsr_mode != <u8>DsrMode.SNAT;
  }

  /** Services are looked for without a protocol. */
  @inline
  static get anyProtocol(): bool {
    return (Options.config.lb_options & <u32>LbOption.ANY_PROTOCOL) != 0;
  }

  /** ENABLE_ROUTING of an endpoint: the program forwards to other endpoints of the node itself. */
  @inline
  static get routing(): bool {
    return !Options.has(ConfigOption.ENABLE_ENDPOINT_ROUTES);
  }

  @inline
  static get hostRouting(): bool {
    return Options.has(ConfigOption.ENABLE_HOST_ROUTING);
  }

  @inline
  static get masquerade(): bool {
    return Options.has(
      Packet.family == 4 ? ConfigOption.ENABLE_BPF_MASQUERADE_IPV4 : ConfigOption.ENABLE_BPF_MASQUERADE_IPV6,
    );
  }

  /** Fragment tracking for the packet's family; IPv6 has it from 1.18 on. */
  @inline
  static get fragments(): bool {
    if (Packet.family == 4) return Options.has(ConfigOption.ENABLE_IPV4_FRAGMENT_TRACKING);
    return Options.version >= 18 && Options.has(ConfigOption.ENABLE_IPV6_FRAGMENT_TRACKING);
  }

  /** The node's iptables masquerade by a masquerade agent's rules. */
  @inline
  static get masqueradeAgent(): bool {
    return (Options.node.options & <u16>NodeOption.MASQUERADE_AGENT) != 0;
  }

  /** What programs pass up goes through the node's kernel on the host's side. */
  @inline
  static get hostStack(): bool {
    return (Options.node.options & <u16>NodeOption.HOST_STACK) != 0;
  }

  /** No rule marks what the node itself sends. */
  @inline
  static get unmarked(): bool {
    return (Options.node.options & <u16>NodeOption.UNMARKED) != 0;
  }

  /** The node runs Cilium. */
  @inline
  static get managed(): bool {
    return (Options.node.options & <u16>NodeOption.MANAGED) != 0;
  }
}
