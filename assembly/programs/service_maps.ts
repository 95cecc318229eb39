/**
 * The maps of services as the programs use them (maps.ts): frontends, backends, source ranges, Maglev tables, session affinity,
 * translations at sockets.
 */
import {
  AffinityEntry, AffinityKey, AffinityMatchKey, BackendEntry, BackendKey, MaglevKey, MapDescriptor, MapNumber, ReverseSkEntry,
  ReverseSkKey, RevNatEntry, RevNatKey, ServiceEntry, ServiceKey, SourceRangeKey, StepKind,
} from "../abi.gen";
import { ArrayMap } from "../maps/array";
import { HashMap, LruHash } from "../maps/hash";
import { Lpm } from "../maps/lpm";
import { MapInMap } from "../maps/mapinmap";
import {
  cilium_lb4_affinity, cilium_lb4_backends_v3, cilium_lb4_maglev, cilium_lb4_reverse_nat, cilium_lb4_reverse_sk,
  cilium_lb4_services_v2, cilium_lb4_source_range, cilium_lb6_affinity, cilium_lb6_backends_v3, cilium_lb6_maglev,
  cilium_lb6_reverse_nat, cilium_lb6_reverse_sk, cilium_lb6_services_v2, cilium_lb6_source_range, cilium_lb_affinity_match,
} from "../tables";
import { Address } from "./address";
import { looked, updated } from "./map_steps";
import { Packet } from "./packet";
import { Steps } from "./steps";

const BACKEND_KEY: usize = memory.data(<i32>BackendKey.SIZE, 16);
const REV_NAT_KEY: usize = memory.data(<i32>RevNatKey.SIZE, 16);
const MATCH_KEY: usize = memory.data(<i32>AffinityMatchKey.SIZE, 16);
const RANGE_KEY: usize = memory.data(<i32>SourceRangeKey.SIZE, 16);
const MAGLEV_KEY: usize = memory.data(<i32>MaglevKey.SIZE, 16);

/** Bits before the address in LPM keys, and bits of an address. */
const HEAD_BITS: u32 = 32;
const IPV4_BITS: u32 = 32;
const IPV6_BITS: u32 = 128;

export class ServiceMaps {
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
    const value = LruHash.lookup(ServiceMaps.affinityMap(), changetype<usize>(key));
    if (TRACE) looked(ServiceMaps.affinityNumber(), changetype<usize>(key), AffinityKey.SIZE, value, 0);
    return changetype<AffinityEntry | null>(value);
  }

  static setAffinity(key: AffinityKey, entry: AffinityEntry): i32 {
    const result = LruHash.update(ServiceMaps.affinityMap(), changetype<usize>(key), changetype<usize>(entry), 0);
    if (TRACE) updated(ServiceMaps.affinityNumber(), changetype<usize>(key), AffinityKey.SIZE, result);
    return result;
  }

  static deleteAffinity(key: AffinityKey): void {
    const result = LruHash.remove(ServiceMaps.affinityMap(), changetype<usize>(key));
    if (TRACE) {
      Steps.write(StepKind.DELETE, ServiceMaps.affinityNumber(), changetype<usize>(key), AffinityKey.SIZE, result, 0,
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
}
