/**
 * Frontends of services (bpf/lib/lb.h): which one a packet is for, whom it serves, and what it says of packets that find no
 * backend. Works on a tuple in conntrack's order: daddr is the frontend, sport its port.
 */
import {
  AllNodes, ConfigOption, CtTuple, Identity, IpcacheFlag, LbOption, LookupScope, ServiceEntry, ServiceFlag, ServiceFlag2, ServiceKey,
} from "../abi.gen";
import { Address } from "./address";
import { Identities } from "./identity";
import { Maps } from "./maps";
import { Options } from "./options";
import { Packet } from "./packet";
import { ServiceMaps } from "./service_maps";
import { Tuple } from "./tuple";

const KEY: usize = memory.data(<i32>ServiceKey.SIZE, 16);

export class Frontend {
  /** The key found last was the port 0 / protocol 0 entry of the address. */
  static wildcard: bool = false;

  @inline
  static get key(): ServiceKey {
    return changetype<ServiceKey>(KEY);
  }

  /**
   * lb4_lookup_service. North-south, an unknown port of a known address finds the wildcard entry (from 1.19);
   * east-west, a frontend with two scopes is used in its internal form, even where that form does not exist.
   */
  static lookup(tuple: CtTuple, eastWest: bool): ServiceEntry | null {
    const key = Frontend.key;
    Address.copy(KEY + ServiceKey.ADDRESS, Tuple.daddr(tuple));
    key.dport = tuple.sport;
    key.proto = Options.version == 16 || Options.anyProtocol ? 0 : tuple.nexthdr;
    return lookupKey(key, eastWest);
  }

  /**
   * lb4_lookup_wildcard_service, 1.20: a node's address and a node port (or the own node's address and a host
   * port) is looked up under the zero address.
   */
  static lookupNodePort(tuple: CtTuple): ServiceEntry | null {
    if (Options.version < 20 || !Options.has(ConfigOption.ENABLE_NODEPORT)) return null;
    const info = Maps.ipcache(Tuple.daddr(tuple));
    if (info === null) return null;
    const nodePort = Frontend.inNodePortRange(tuple.sport);
    const identity = Identities.known(info, Tuple.daddr(tuple));
    const host = identity == <u32>Identity.HOST;
    const remote = Identities.isRemoteNode(identity) && !(info.flags & <u8>IpcacheFlag.REMOTE_CLUSTER);
    if (!host && !(nodePort && remote)) return null;
    return Frontend.lookupAnyAddress(nodePort);
  }

  /**
   * The key looked up last under the zero address: a node port's frontend in its range, else a host port's.
   */
  static lookupAnyAddress(nodePort: bool): ServiceEntry | null {
    Address.clear(KEY + ServiceKey.ADDRESS);
    const found = lookupKey(Frontend.key, true);
    if (found === null) return null;
    const wanted = nodePort ? <u8>ServiceFlag.NODEPORT : <u8>ServiceFlag.HOSTPORT;
    return found.flags & wanted ? found : null;
  }

  /** `port` in wire order. */
  @inline
  static inNodePortRange(port: u16): bool {
    const host = bswap(port);
    return host >= Options.config.nodeport_port_min && host <= Options.config.nodeport_port_max;
  }

  /** lb4_svc_is_l7_punt_proxy: what is for a backend of this node goes to a proxy as it is. */
  static delegates(found: ServiceEntry): bool {
    return (found.flags2 & <u8>ServiceFlag2.LOOPBACK) != 0 && !(found.flags & <u8>ServiceFlag.HOSTPORT);
  }

  /** lb4_src_range_ok: an allow list, or a deny list where the service says so (from 1.17). */
  static sourceAllowed(found: ServiceEntry, source: usize): bool {
    if (!(found.flags & <u8>ServiceFlag.SOURCE_RANGE)) return true;
    const listed = ServiceMaps.sourceRange(found.rev_nat_index, source);
    const denies = Options.version >= 17 && (found.flags2 & <u8>ServiceFlag2.QUARANTINED) != 0;
    return listed != denies;
  }

  /** handle_nonroutable_endpoints_v4: without endpoints the service's address is left to the node's routes. */
  static passesOn(found: ServiceEntry): bool {
    if (!Frontend.leavesUnroutable()) return false;
    return isExternal(found)
      ? (found.flags & <u8>ServiceFlag.EXT_LOCAL_SCOPE) == 0 : (found.flags2 & <u8>ServiceFlag2.INT_LOCAL_SCOPE) == 0;
  }

  /** enable-no-service-endpoints-routable is off (from 1.19). */
  static leavesUnroutable(): bool {
    return Options.version >= 19 && (Options.config.lb_options & <u32>LbOption.NO_ENDPOINTS_UNROUTABLE) != 0;
  }
}

function lookupKey(key: ServiceKey, eastWest: bool): ServiceEntry | null {
  const port = key.dport;
  const protocol = key.proto;
  key.backend_slot = 0;
  key.scope = <u8>LookupScope.EXTERNAL;
  Frontend.wildcard = false;
  let found = probe(key);
  if (found === null) {
    // 1.17 and 1.18 look for services written without a protocol; later the wildcard takes this place.
    if (Options.version < 19) {
      if (protocol == 0) return null;
      key.proto = 0;
      found = probe(key);
      if (found === null) {
        key.proto = protocol;
        return null;
      }
    } else {
      if (eastWest) return null;
      key.dport = 0;
      key.proto = 0;
      found = probe(key);
      Frontend.wildcard = found !== null;
      if (found === null) {
        key.dport = port;
        key.proto = protocol;
      }
      return found;
    }
  }
  if (!eastWest || !(found.flags2 & <u8>ServiceFlag2.TWO_SCOPES)) return found;
  key.scope = <u8>LookupScope.INTERNAL;
  return probe(key);
}

/** An entry that every node has, or this node's own; a frontend is in one of the two forms. */
function probe(key: ServiceKey): ServiceEntry | null {
  key.node = <u16>AllNodes.ALL;
  const shared = ServiceMaps.service(key);
  if (shared !== null) return shared;
  key.node = <u16>Packet.node;
  return ServiceMaps.service(key);
}

/** lb4_svc_is_external. */
function isExternal(found: ServiceEntry): bool {
  return (found.flags
    & (<u8>ServiceFlag.EXTERNAL_IP | <u8>ServiceFlag.NODEPORT | <u8>ServiceFlag.LOADBALANCER)) != 0;
}
