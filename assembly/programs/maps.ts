/**
 * The maps as the programs use them: the right one of a pair by the packet's family and protocol, typed
 * values, keys put together from an address. Every access is a step of the traced module. Those of services: service_maps.ts.
 */
import {
  CtEntry, CtTuple, DeviceEntry, DeviceKey, EgressPolicyEntry, EgressPolicyKey, EndpointFlag, EndpointInfo, EndpointKey, Family,
  FibEntry, FibKey, FragEntry, FragKey, IpcacheEntry, IpcacheKey, IpMasqKey, MapDescriptor, MapNumber, NatEntry, PolicyEntry,
  PolicyKey, StepKind,
} from "../abi.gen";
import { ArrayMap } from "../maps/array";
import { HashMap, LruHash } from "../maps/hash";
import { Lpm } from "../maps/lpm";
import { MapInMap } from "../maps/mapinmap";
import {
  cilium_ct4_global, cilium_ct6_global, cilium_ct_any4_global, cilium_ct_any6_global, cilium_egress_gw_policy_v4,
  cilium_egress_gw_policy_v6, cilium_ipcache_v2, cilium_ipmasq_v4, cilium_ipmasq_v6, cilium_ipv4_frag_datagrams,
  cilium_ipv6_frag_datagrams, cilium_lxc, cilium_policy_v2, cilium_snat_v4_external, cilium_snat_v6_external, twinplane_clocks,
  twinplane_config, twinplane_devices, twinplane_fib, twinplane_nodes,
} from "../tables";
import { Address } from "./address";
import { looked, updated } from "./map_steps";
import { Packet, TCP } from "./packet";
import { Steps } from "./steps";

const IPCACHE_KEY: usize = memory.data(<i32>IpcacheKey.SIZE, 16);
const ENDPOINT_KEY: usize = memory.data(<i32>EndpointKey.SIZE, 16);
const DEVICE_KEY: usize = memory.data(<i32>DeviceKey.SIZE, 16);
const MASQ_KEY: usize = memory.data(<i32>IpMasqKey.SIZE, 16);
const EGRESS_KEY: usize = memory.data(<i32>EgressPolicyKey.SIZE, 16);
const FIB_KEY: usize = memory.data(<i32>FibKey.SIZE, 16);

/** What `device` found last; nothing but the host changes devices, and never during a call. */
let lastDevice: usize = 0;
let lastIfindex: u32 = 0;
let lastNode: u32 = 0;

/** Bits before the address in LPM keys, and bits of an address. */
const HEAD_BITS: u32 = 32;
const IPV4_BITS: u32 = 32;
const IPV6_BITS: u32 = 128;

export class Maps {
  // ---- conntrack, NAT, fragments

  @inline
  static conntrackMap(tuple: CtTuple): MapDescriptor {
    const tcp = tuple.nexthdr == TCP;
    if (Packet.family == 4) return tcp ? cilium_ct4_global : cilium_ct_any4_global;
    return tcp ? cilium_ct6_global : cilium_ct_any6_global;
  }

  static conntrackNumber(tuple: CtTuple): u32 {
    const tcp = tuple.nexthdr == TCP;
    if (Packet.family == 4) return tcp ? MapNumber.cilium_ct4_global : MapNumber.cilium_ct_any4_global;
    return tcp ? MapNumber.cilium_ct6_global : MapNumber.cilium_ct_any6_global;
  }

  static conntrack(tuple: CtTuple): CtEntry | null {
    const value = LruHash.lookup(Maps.conntrackMap(tuple), changetype<usize>(tuple));
    if (TRACE) looked(Maps.conntrackNumber(tuple), changetype<usize>(tuple), CtTuple.SIZE, value, 0);
    return changetype<CtEntry | null>(value);
  }

  static setConntrack(tuple: CtTuple, entry: CtEntry): i32 {
    const result = LruHash.update(Maps.conntrackMap(tuple), changetype<usize>(tuple),
      changetype<usize>(entry), 0);
    if (TRACE) updated(Maps.conntrackNumber(tuple), changetype<usize>(tuple), CtTuple.SIZE, result);
    return result;
  }

  static deleteConntrack(tuple: CtTuple): void {
    const result = LruHash.remove(Maps.conntrackMap(tuple), changetype<usize>(tuple));
    if (TRACE) Steps.write(StepKind.DELETE, Maps.conntrackNumber(tuple), changetype<usize>(tuple), CtTuple.SIZE, result, 0, 0);
  }

  @inline
  private static natMap(): MapDescriptor {
    return Packet.family == 4 ? cilium_snat_v4_external : cilium_snat_v6_external;
  }

  static natNumber(): u32 {
    return Packet.family == 4 ? MapNumber.cilium_snat_v4_external : MapNumber.cilium_snat_v6_external;
  }

  static nat(tuple: CtTuple): NatEntry | null {
    const value = LruHash.lookup(Maps.natMap(), changetype<usize>(tuple));
    if (TRACE) looked(Maps.natNumber(), changetype<usize>(tuple), CtTuple.SIZE, value, 0);
    return changetype<NatEntry | null>(value);
  }

  static setNat(tuple: CtTuple, entry: NatEntry, flag: u32): i32 {
    const result = LruHash.update(Maps.natMap(), changetype<usize>(tuple), changetype<usize>(entry), flag);
    if (TRACE) updated(Maps.natNumber(), changetype<usize>(tuple), CtTuple.SIZE, result);
    return result;
  }

  static deleteNat(tuple: CtTuple): i32 {
    const result = LruHash.remove(Maps.natMap(), changetype<usize>(tuple));
    if (TRACE) {
      Steps.write(StepKind.DELETE, Maps.natNumber(), changetype<usize>(tuple), CtTuple.SIZE, result, 0, 0);
    }
    return result;
  }

  static fragment(key: FragKey): FragEntry | null {
    const map = Packet.family == 4 ? cilium_ipv4_frag_datagrams : cilium_ipv6_frag_datagrams;
    const value = LruHash.lookup(map, changetype<usize>(key));
    if (TRACE) looked(Maps.fragmentNumber(), changetype<usize>(key), FragKey.SIZE, value, 0);
    return changetype<FragEntry | null>(value);
  }

  static setFragment(key: FragKey, ports: FragEntry): i32 {
    const map = Packet.family == 4 ? cilium_ipv4_frag_datagrams : cilium_ipv6_frag_datagrams;
    const result = LruHash.update(map, changetype<usize>(key), changetype<usize>(ports), 0);
    if (TRACE) updated(Maps.fragmentNumber(), changetype<usize>(key), FragKey.SIZE, result);
    return result;
  }

  static fragmentNumber(): u32 {
    return Packet.family == 4 ? MapNumber.cilium_ipv4_frag_datagrams : MapNumber.cilium_ipv6_frag_datagrams;
  }

  // ---- identities, endpoints, policy

  /** The most specific ipcache entry for 16 bytes at `address`. */
  static ipcache(address: usize): IpcacheEntry | null {
    const key = changetype<IpcacheKey>(IPCACHE_KEY);
    key.prefixlen = HEAD_BITS + (Packet.family == 4 ? IPV4_BITS : IPV6_BITS);
    key.family = Packet.familyKey;
    Address.copy(IPCACHE_KEY + IpcacheKey.ADDRESS, address);
    const value = Lpm.lookup(cilium_ipcache_v2, IPCACHE_KEY);
    if (TRACE) {
      looked(MapNumber.cilium_ipcache_v2, IPCACHE_KEY, IpcacheKey.SIZE, value,
        value == 0 ? 0 : changetype<IpcacheEntry>(value).cookie);
    }
    return changetype<IpcacheEntry | null>(value);
  }

  /** The endpoint with this address on the node under way. */
  static endpoint(address: usize): EndpointInfo | null {
    const key = changetype<EndpointKey>(ENDPOINT_KEY);
    Address.copy(ENDPOINT_KEY + EndpointKey.ADDRESS, address);
    key.node = <u16>Packet.node;
    key.family = Packet.familyKey;
    const value = HashMap.lookup(cilium_lxc, ENDPOINT_KEY);
    if (TRACE) looked(MapNumber.cilium_lxc, ENDPOINT_KEY, EndpointKey.SIZE, value, 0);
    return changetype<EndpointInfo | null>(value);
  }

  /** Whether this IPv4 address is the node's own, whatever the packet's family. */
  static isHost4(address: usize): bool {
    const key = changetype<EndpointKey>(ENDPOINT_KEY);
    Address.copy(ENDPOINT_KEY + EndpointKey.ADDRESS, address);
    key.node = <u16>Packet.node;
    key.family = <u8>Family.IPV4;
    const value = HashMap.lookup(cilium_lxc, ENDPOINT_KEY);
    if (TRACE) looked(MapNumber.cilium_lxc, ENDPOINT_KEY, EndpointKey.SIZE, value, 0);
    return value != 0 && (changetype<EndpointInfo>(value).flags & <u32>EndpointFlag.HOST) != 0;
  }

  /** Egress gateway policy of a pod's address for a destination. */
  static egressPolicy(source: usize, destination: usize): EgressPolicyEntry | null {
    const four = Packet.family == 4;
    const key = changetype<EgressPolicyKey>(EGRESS_KEY);
    key.prefixlen = IPV6_BITS + (four ? IPV4_BITS : IPV6_BITS);
    Address.copy(EGRESS_KEY + EgressPolicyKey.SADDR, source);
    Address.copy(EGRESS_KEY + EgressPolicyKey.DADDR, destination);
    const value = Lpm.lookup(four ? cilium_egress_gw_policy_v4 : cilium_egress_gw_policy_v6, EGRESS_KEY);
    if (TRACE) {
      looked(four ? MapNumber.cilium_egress_gw_policy_v4 : MapNumber.cilium_egress_gw_policy_v6, EGRESS_KEY,
        EgressPolicyKey.SIZE, value, 0);
    }
    return changetype<EgressPolicyEntry | null>(value);
  }

  /** Before the first look-up of a call: the host may have changed the maps. */
  @inline
  static forget(): void {
    lastDevice = 0;
  }

  static device(ifindex: u32): DeviceEntry | null {
    if (lastDevice != 0 && lastIfindex == ifindex && lastNode == Packet.node) {
      return changetype<DeviceEntry>(lastDevice);
    }
    lastIfindex = ifindex;
    lastNode = Packet.node;
    const key = changetype<DeviceKey>(DEVICE_KEY);
    key.ifindex = ifindex;
    key.node = <u16>Packet.node;
    lastDevice = HashMap.lookup(twinplane_devices, DEVICE_KEY);
    return changetype<DeviceEntry | null>(lastDevice);
  }

  /** Longest match in the policy map number `policy`; none where there is no such map. */
  static policy(policy: u32, key: PolicyKey): PolicyEntry | null {
    const inner = MapInMap.at(cilium_policy_v2, policy);
    const value: usize = inner == 0
      ? 0 : Lpm.lookupInner(MapInMap.inner(cilium_policy_v2), inner, changetype<usize>(key));
    if (TRACE) {
      looked(MapNumber.cilium_policy_v2, changetype<usize>(key), PolicyKey.SIZE, value,
        value == 0 ? 0 : changetype<PolicyEntry>(value).cookie);
    }
    return changetype<PolicyEntry | null>(value);
  }

  /** Whether ip-masq-agent exempts this destination. */
  static notMasqueraded(address: usize): bool {
    const four = Packet.family == 4;
    const key = changetype<IpMasqKey>(MASQ_KEY);
    key.prefixlen = four ? IPV4_BITS : IPV6_BITS;
    Address.copy(MASQ_KEY + IpMasqKey.ADDRESS, address);
    const value = Lpm.lookup(four ? cilium_ipmasq_v4 : cilium_ipmasq_v6, MASQ_KEY);
    if (TRACE) {
      looked(four
        ? MapNumber.cilium_ipmasq_v4 : MapNumber.cilium_ipmasq_v6, MASQ_KEY, IpMasqKey.SIZE, value, 0);
    }
    return value != 0;
  }

  // ---- the node

  static config(): usize {
    return ArrayMap.at(twinplane_config, 0);
  }

  static node(node: u32): usize {
    return ArrayMap.at(twinplane_nodes, node);
  }

  /** The node's NodeClock, or 0. */
  static clock(node: u32): usize {
    return ArrayMap.at(twinplane_clocks, node);
  }

  /** Where the node under way sends 16 bytes at `address`. */
  static route(address: usize): FibEntry | null {
    const key = changetype<FibKey>(FIB_KEY);
    key.prefixlen = HEAD_BITS + (Packet.family == 4 ? IPV4_BITS : IPV6_BITS);
    key.node = <u16>Packet.node;
    key.family = Packet.familyKey;
    Address.copy(FIB_KEY + FibKey.ADDRESS, address);
    const value = Lpm.lookup(twinplane_fib, FIB_KEY);
    if (TRACE) looked(MapNumber.twinplane_fib, FIB_KEY, FibKey.SIZE, value, 0);
    return changetype<FibEntry | null>(value);
  }
}
