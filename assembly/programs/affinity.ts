/**
 * Session affinity of services (bpf/lib/lb.h, __lb4_affinity_backend_id): a client keeps its backend for as
 * long as less than the service's timeout lies between two packets, and the backend is still one of the
 * service's. The client is an address on packet paths, and a network namespace at sockets.
 *
 * The service's own lookup is not here: service.ts and socket.ts ask `kept` where they would choose, and
 * `refresh` after the choice.
 */
import { AffinityEntry, AffinityKey, ServiceEntry, ServiceFlag, UndecidedReason, Errno } from "../abi.gen";
import { Address } from "./address";
import { Packet } from "./packet";
import { ServiceMaps } from "./service_maps";
import { GO_ON, Verdict } from "./verdict";

const KEY: usize = memory.data(<i32>AffinityKey.SIZE, 16);
const ENTRY: usize = memory.data(<i32>AffinityEntry.SIZE, 8);

/** The timeout's part of ServiceEntry.backend_id, seconds (AFFINITY_TIMEOUT_MASK). */
const TIMEOUT: u32 = 0x00ffffff;
/** Cookie of a node's own network namespace: every node's first, and the only one whose sockets are here. */
const HOST_NETNS: u64 = 1;

export class Affinity {
  @inline
  static has(service: ServiceEntry): bool {
    return (service.flags & <u8>ServiceFlag.AFFINITY) != 0;
  }

  /** The client is 16 bytes at `address`. */
  static clientAddress(service: ServiceEntry, address: usize): void {
    const key = changetype<AffinityKey>(KEY);
    Address.copy(KEY + AffinityKey.CLIENT_ID, address);
    key.netns_cookie = 0;
    complete(key, service);
  }

  /** The client is the node's network namespace. */
  static clientSocket(service: ServiceEntry): void {
    const key = changetype<AffinityKey>(KEY);
    Address.clear(KEY + AffinityKey.CLIENT_ID);
    store<u64>(KEY + AffinityKey.CLIENT_ID, HOST_NETNS);
    key.netns_cookie = 1;
    complete(key, service);
  }

  /** The backend that the client named last keeps now, and its time begins again; 0: none. */
  static kept(service: ServiceEntry): u32 {
    const key = changetype<AffinityKey>(KEY);
    const entry = ServiceMaps.affinity(key);
    if (entry === null) return 0;
    const over = <u64>entry.last_used + <u64>(service.backend_id & TIMEOUT) <= <u64>Packet.now;
    if (over || !ServiceMaps.affinityMatches(entry.backend_id, service.rev_nat_index)) {
      ServiceMaps.deleteAffinity(key);
      return 0;
    }
    entry.last_used = Packet.now;
    return entry.backend_id;
  }

  /** The client named last has this backend from now on. */
  static refresh(backend: u32): i32 {
    const entry = changetype<AffinityEntry>(ENTRY);
    entry.last_used = Packet.now;
    entry.backend_id = backend;
    // Cilium ignores a refused update; one that only memory here refused would change what follows.
    const refused = ServiceMaps.setAffinity(changetype<AffinityKey>(KEY), entry);
    return refused == -<i32>Errno.ENOMEM ? Verdict.undecided(UndecidedReason.MAP_MEMORY) : GO_ON;
  }
}

function complete(key: AffinityKey, service: ServiceEntry): void {
  key.rev_nat_id = service.rev_nat_index;
  key.node = <u16>Packet.node;
}
