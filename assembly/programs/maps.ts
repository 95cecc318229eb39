/**
 * The maps as the programs use them: the right one of a pair by the packet's family and protocol, typed
 * values, keys put together from an address. Every access is a step of the traced module.
 */
import {
  AffinityEntry, AffinityKey, AffinityMatchKey, BackendEntry, BackendKey, CtEntry, CtTuple, DeviceEntry,
  DeviceKey, EgressPolicyEntry, EgressPolicyKey, EndpointFlag, EndpointInfo, EndpointKey,
  Family, FibEntry, FibKey, FragEntry, FragKey, IpcacheEntry, IpcacheKey, IpMasqKey, MaglevKey, MapDescriptor, MapNumber,
  NatEntry, PolicyEntry, PolicyKey, ReverseSkEntry, ReverseSkKey, RevNatEntry, RevNatKey,
  ServiceEntry, ServiceKey, SourceRangeKey, StepKind,
} from "../abi.gen";
import { ArrayMap } from "../maps/array";
import { HashMap, LruHash } from "../maps/hash";
import { Lpm } from "../maps/lpm";
import { MapInMap } from "../maps/mapinmap";
import {
  cilium_ct4_global, cilium_ct6_global, cilium_ct_any4_global, cilium_ct_any6_global, cilium_ipcache_v2,
  cilium_egress_gw_policy_v4, cilium_egress_gw_policy_v6, cilium_ipmasq_v4, cilium_ipmasq_v6,
  cilium_ipv4_frag_datagrams, cilium_ipv6_frag_datagrams,
  cilium_lb4_affinity, cilium_lb4_backends_v3, cilium_lb4_maglev, cilium_lb4_reverse_nat, cilium_lb4_reverse_sk,
  cilium_lb4_services_v2, cilium_lb4_source_range, cilium_lb6_affinity, cilium_lb6_backends_v3,
  cilium_lb6_maglev,
  cilium_lb6_reverse_nat, cilium_lb6_reverse_sk, cilium_lb6_services_v2, cilium_lb6_source_range,
  cilium_lb_affinity_match, cilium_lxc, cilium_policy_v2, cilium_snat_v4_external, cilium_snat_v6_external,
  twinplane_clocks, twinplane_config, twinplane_devices, twinplane_fib, twinplane_nodes,
} from "../tables";
import { Address } from "./address";
import { Packet, TCP } from "./packet";
import { Steps } from "./steps";

const BACKEND_KEY: usize = memory.data(<i32>BackendKey.SIZE, 16);
const REV_NAT_KEY: usize = memory.data(<i32>RevNatKey.SIZE, 16);
const IPCACHE_KEY: usize = memory.data(<i32>IpcacheKey.SIZE, 16);
const ENDPOINT_KEY: usize = memory.data(<i32>EndpointKey.SIZE, 16);
const DEVICE_KEY: usize = memory.data(<i32>DeviceKey.SIZE, 16);
const MATCH_KEY: usize = memory.data(<i32>AffinityMatchKey.SIZE, 16);
const RANGE_KEY: usize = memory.data(<i32>SourceRangeKey.SIZE, 16);
const MAGLEV_KEY: usize = memory.data(<i32>MaglevKey.SIZE, 16);
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

  // ---- services

  static service(key: ServiceKey): ServiceEntry | null {
    const four = Packet.family == 4;
    const value = HashMap.lookup(four
      ? cilium_lb4_services_v2 : cilium_lb6_services_v2, changetype<usize>(key));
    if (TRACE) {
      looked(four
        ? MapNumber.cilium_lb4_services_v2 : MapNumber.cilium_lb6_services_v2, changetype<usize>(key),
        ServiceKey.SIZE, value, value == 0 ? 0 : changetype<ServiceEntry>(value).cookie);
    }
    return changetype<ServiceEntry | null>(value);
  }

  static backend(id: u32): BackendEntry | null {
    const four = Packet.family == 4;
    changetype<BackendKey>(BACKEND_KEY).backend_id = id;
    const value = HashMap.lookup(four ? cilium_lb4_backends_v3 : cilium_lb6_backends_v3, BACKEND_KEY);
    if (TRACE) {
      looked(four
        ? MapNumber.cilium_lb4_backends_v3 : MapNumber.cilium_lb6_backends_v3, BACKEND_KEY, BackendKey.SIZE,
        value, value == 0 ? 0 : changetype<BackendEntry>(value).cookie);
    }
    return changetype<BackendEntry | null>(value);
  }

  static revNat(index: u16): RevNatEntry | null {
    const four = Packet.family == 4;
    changetype<RevNatKey>(REV_NAT_KEY).rev_nat_index = index;
    const value = HashMap.lookup(four ? cilium_lb4_reverse_nat : cilium_lb6_reverse_nat, REV_NAT_KEY);
    if (TRACE) {
      looked(four
        ? MapNumber.cilium_lb4_reverse_nat : MapNumber.cilium_lb6_reverse_nat, REV_NAT_KEY, RevNatKey.SIZE,
        value, 0);
    }
    return changetype<RevNatEntry | null>(value);
  }

  /** Whether `source` is in one of the service's source ranges. */
  static sourceRange(revNat: u16, source: usize): bool {
    const four = Packet.family == 4;
    const key = changetype<SourceRangeKey>(RANGE_KEY);
    key.prefixlen = HEAD_BITS + (four ? IPV4_BITS : IPV6_BITS);
    key.rev_nat_id = revNat;
    Address.copy(RANGE_KEY + SourceRangeKey.ADDRESS, source);
    const value = Lpm.lookup(four ? cilium_lb4_source_range : cilium_lb6_source_range, RANGE_KEY);
    if (TRACE) {
      looked(four ? MapNumber.cilium_lb4_source_range : MapNumber.cilium_lb6_source_range, RANGE_KEY,
        SourceRangeKey.SIZE, value, 0);
    }
    return value != 0;
  }

  /** Place `index` of the service's Maglev table on `node`, a u32 backend id; 0: no table. */
  static maglev(revNat: u16, node: u16, index: u32): usize {
    const map = Packet.family == 4 ? cilium_lb4_maglev : cilium_lb6_maglev;
    const key = changetype<MaglevKey>(MAGLEV_KEY);
    key.rev_nat_id = revNat;
    key.node = node;
    const inner = MapInMap.lookup(map, MAGLEV_KEY);
    const value: usize = inner == 0 ? 0 : ArrayMap.atInner(MapInMap.inner(map), inner, index);
    if (TRACE) {
      looked(Packet.family == 4 ? MapNumber.cilium_lb4_maglev : MapNumber.cilium_lb6_maglev, MAGLEV_KEY,
        MaglevKey.SIZE, value, 0);
    }
    return value;
  }

  // ---- session affinity

  static affinity(key: AffinityKey): AffinityEntry | null {
    const value = LruHash.lookup(Maps.affinityMap(), changetype<usize>(key));
    if (TRACE) looked(Maps.affinityNumber(), changetype<usize>(key), AffinityKey.SIZE, value, 0);
    return changetype<AffinityEntry | null>(value);
  }

  static setAffinity(key: AffinityKey, entry: AffinityEntry): i32 {
    const result = LruHash.update(Maps.affinityMap(), changetype<usize>(key), changetype<usize>(entry), 0);
    if (TRACE) updated(Maps.affinityNumber(), changetype<usize>(key), AffinityKey.SIZE, result);
    return result;
  }

  static deleteAffinity(key: AffinityKey): void {
    const result = LruHash.remove(Maps.affinityMap(), changetype<usize>(key));
    if (TRACE) {
      Steps.write(StepKind.DELETE, Maps.affinityNumber(), changetype<usize>(key), AffinityKey.SIZE, result, 0,
        0);
    }
  }

  /** Whether this backend may be kept for the service. */
  static affinityMatches(backend: u32, revNat: u16): bool {
    const key = changetype<AffinityMatchKey>(MATCH_KEY);
    key.backend_id = backend;
    key.rev_nat_id = revNat;
    const value = HashMap.lookup(cilium_lb_affinity_match, MATCH_KEY);
    if (TRACE) {
      looked(MapNumber.cilium_lb_affinity_match, MATCH_KEY, AffinityMatchKey.SIZE, value, 0);
    }
    return value != 0;
  }

  @inline
  private static affinityMap(): MapDescriptor {
    return Packet.family == 4 ? cilium_lb4_affinity : cilium_lb6_affinity;
  }

  private static affinityNumber(): u32 {
    return Packet.family == 4 ? MapNumber.cilium_lb4_affinity : MapNumber.cilium_lb6_affinity;
  }

  // ---- translations at sockets

  static socket(key: ReverseSkKey): ReverseSkEntry | null {
    const four = Packet.family == 4;
    const value = LruHash.lookup(four
      ? cilium_lb4_reverse_sk : cilium_lb6_reverse_sk, changetype<usize>(key));
    if (TRACE) {
      looked(four ? MapNumber.cilium_lb4_reverse_sk : MapNumber.cilium_lb6_reverse_sk, changetype<usize>(key),
        ReverseSkKey.SIZE, value, 0);
    }
    return changetype<ReverseSkEntry | null>(value);
  }

  static setSocket(key: ReverseSkKey, entry: ReverseSkEntry): i32 {
    const map = Packet.family == 4 ? cilium_lb4_reverse_sk : cilium_lb6_reverse_sk;
    return LruHash.update(map, changetype<usize>(key), changetype<usize>(entry), 0);
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

function looked(map: u32, key: usize, size: u32, value: usize, cookie: u32): void {
  Steps.write(StepKind.LOOKUP, map, key, size, value == 0 ? 0 : 1, cookie, 0);
}

function updated(map: u32, key: usize, size: u32, result: i32): void {
  Steps.write(StepKind.UPDATE, map, key, size, result, 0, 0);
}
