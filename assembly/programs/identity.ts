/**
 * Security identities of addresses (bpf/lib/identity.h, bpf/lib/eps.h): one lookup in the ipcache, most
 * specific prefix first; no entry means world.
 */
import { ConfigOption, EndpointFlag, Identity, IpcacheEntry, IpcacheFlag, NodeEntry } from "../abi.gen";
import { Address } from "./address";
import { Maps } from "./maps";
import { Options } from "./options";
import { Packet } from "./packet";

/** Top byte of an identity: where it is valid. */
const SCOPE: u32 = 0xff000000;
/** Bits of the mark that say what the rest means (MARK_MAGIC_HOST_MASK). */
const MAGIC: u32 = 0x0f00;

export class Mark {
  static readonly TO_PROXY: u32 = 0x0200;
  static readonly SNAT_DONE: u32 = 0x0300;
  static readonly OVERLAY: u32 = 0x0400;
  static readonly EGRESS_GATEWAY_DONE: u32 = 0x0500;
  static readonly PROXY_INGRESS: u32 = 0x0a00;
  static readonly PROXY_EGRESS: u32 = 0x0b00;
  static readonly HOST: u32 = 0x0c00;
  static readonly IDENTITY: u32 = 0x0f00;

  @inline
  static get magic(): u32 {
    return Packet.mark & MAGIC;
  }

  @inline
  static setMagic(magic: u32): void {
    Packet.mark = (Packet.mark & ~MAGIC) | magic;
  }

  /** set_identity_mark: low 16 bits above, the next eight below the magic. */
  @inline
  static setIdentity(identity: u32): void {
    Packet.mark = ((identity & 0xffff) << 16) | Mark.IDENTITY | ((identity >> 16) & 0xff);
  }

  @inline
  static get identity(): u32 {
    return ((Packet.mark & 0xff) << 16) | (Packet.mark >> 16);
  }
}

export class Identities {
  /**
   * Identity of 16 bytes at `address` from its ipcache entry; no entry is world, as identity 0 is up to 1.17.
   */
  @inline
  static of(entry: IpcacheEntry | null, address: usize): u32 {
    if (entry === null || (entry.sec_identity == 0 && Options.version < 18)) return Identities.world;
    return Identities.known(entry, address);
  }

  /**
   * The identity an entry has in the eyes of this node. The map is one for all nodes and has remote-node for
   * every node's address; a node's own addresses are host.
   */
  @inline
  static known(entry: IpcacheEntry, address: usize): u32 {
    const identity = entry.sec_identity;
    return Identities.isRemoteNode(identity) && isOwnAddress(address) ? <u32>Identity.HOST : identity;
  }

  /** The address is behind a tunnel, where there are tunnels. A node has no tunnel to itself. */
  static tunnelled(entry: IpcacheEntry): bool {
    if ((entry.flags & (<u8>IpcacheFlag.HAS_TUNNEL_EP | <u8>IpcacheFlag.SKIP_TUNNEL))
      != <u8>IpcacheFlag.HAS_TUNNEL_EP) return false;
    const own = changetype<usize>(Options.node)
      + ((entry.flags & <u8>IpcacheFlag.IPV6_TUNNEL_EP) != 0 ? NodeEntry.IPV6 : NodeEntry.IPV4);
    return !Address.equal(own, changetype<usize>(entry) + IpcacheEntry.TUNNEL_ENDPOINT);
  }

  @inline
  static get world(): u32 {
    if (!Options.has(ConfigOption.DUAL_STACK)) return <u32>Identity.WORLD;
    return Packet.family == 4 ? <u32>Identity.WORLD_IPV4 : <u32>Identity.WORLD_IPV6;
  }

  @inline
  static isRemoteNode(identity: u32): bool {
    return identity == <u32>Identity.REMOTE_NODE || identity == <u32>Identity.KUBE_APISERVER
      || (identity & SCOPE) == <u32>Identity.REMOTE_NODE_SCOPE;
  }

  /** Identities that no endpoint has, so that the address says more (identity_is_reserved). */
  @inline
  static isReserved(identity: u32): bool {
    if (identity < <u32>Identity.UNMANAGED || Identities.isRemoteNode(identity)) return true;
    return Options.has(ConfigOption.DUAL_STACK)
      && (identity == <u32>Identity.WORLD_IPV4 || identity == <u32>Identity.WORLD_IPV6);
  }

  /**
   * resolve_srcid: a reserved identity gives way to that of the source address, unless the ipcache says host:
   * then the packet only carries the node's address.
   */
  static resolveSource(carried: u32, address: usize): u32 {
    if (!Identities.isReserved(carried)) return carried;
    const entry = Maps.ipcache(address);
    if (entry === null) return carried;
    const identity = Identities.known(entry, address);
    return identity == <u32>Identity.HOST ? carried : identity;
  }
}

function isOwnAddress(address: usize): bool {
  const endpoint = Maps.endpoint(address);
  return endpoint !== null && (endpoint.flags & <u32>EndpointFlag.HOST) != 0;
}
