/**
 * Direct server return in a Geneve tunnel (bpf/lib/nodeport.h, encap_geneve_dsr_opt4 and _opt6): the request, addressed to
 * its backend already, goes through the tunnel to the backend's node as world's, and the service's address with it in an
 * option of the tunnel's header. No hop is counted.
 *
 *     class 0x014b | type 0x81 | words | service address, 4 or 16 bytes | port | 0 0        all in wire order
 */
import { IpcacheEntry, IpcacheFlag } from "../abi.gen";
import { Ethernet } from "../wire/ethernet";
import { Geneve } from "../wire/geneve";
import { Ipv4 } from "../wire/ipv4";
import { Ipv6 } from "../wire/ipv6";
import { Udp } from "../wire/udp";
import { Address } from "./address";
import { Identities } from "./identity";
import { Maps } from "./maps";
import { Packet } from "./packet";
import { Tunnel } from "./tunnel";

/** DSR_GENEVE_OPT_CLASS and DSR_GENEVE_OPT_TYPE, which is marked critical, as they stand on the wire. */
const CLASS: u16 = 0x4b01;
const TYPE: u8 = 0x81;
/** Header of an option; address and port, padded, make the rest. */
const HEAD: i32 = 4;
const LENGTH4: i32 = 12;
const LENGTH6: i32 = 24;

const ADDRESS: usize = memory.data(16, 16);

export class DsrGeneve {
  /** What the ipcache knows of the backend, which the packet is addressed to; null: it is behind no tunnel (160). */
  static remote(): IpcacheEntry | null {
    Address.read(ADDRESS, Packet.destination, Packet.family);
    const info = Maps.ipcache(ADDRESS);
    return info !== null && (info.flags & <u8>IpcacheFlag.HAS_TUNNEL_EP) != 0 ? info : null;
  }

  /** Bytes that the tunnel adds as Cilium counts them: by the inner packet's family, with the inner Ethernet header. */
  static overhead(carries: bool): i32 {
    const header = Packet.family == 4 ? Ipv4.MIN_LENGTH : Ipv6.LENGTH;
    return header + Udp.LENGTH + Geneve.LENGTH + Ethernet.LENGTH + (carries ? optionLength() : 0);
  }

  /** `carries`: with the service's 16 bytes at `address` and its port in wire order. */
  static send(info: IpcacheEntry, address: usize, port: u16, carries: bool): i32 {
    const verdict = Tunnel.to(info, Identities.world);
    if (!carries) return verdict;
    const length = optionLength();
    const option = Tunnel.option(length);
    store<u16>(option, CLASS);
    store<u8>(option, TYPE, 2);
    store<u8>(option, <u8>((length - HEAD) >> 2), 3);
    Address.write(option + HEAD, address, Packet.family);
    store<u16>(option + length - HEAD, port);
    return verdict;
  }

  /** The port, in wire order, that came with the packet, and the service's address into 16 bytes at `to`; 0: neither. */
  static read(to: usize): u16 {
    const length = optionLength();
    // bpf_skb_get_tunnel_opt: more options than asked for are an error, fewer bytes leave the rest zero.
    if (Tunnel.received == 0 || Tunnel.receivedLength < HEAD || Tunnel.receivedLength > length) return 0;
    if (load<u16>(Tunnel.received) != CLASS || load<u8>(Tunnel.received, 2) != TYPE) return 0;
    if (Tunnel.receivedLength < length) return 0;
    Address.clear(to);
    Address.read(to, Tunnel.received + HEAD, Packet.family);
    return load<u16>(Tunnel.received + length - HEAD);
  }
}

function optionLength(): i32 {
  return Packet.family == 4 ? LENGTH4 : LENGTH6;
}
