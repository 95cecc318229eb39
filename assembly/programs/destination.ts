/**
 * Where a packet that may leave its pod goes (bpf/bpf_lxc.c, ipv4_forward_to_destination and
 * ipv6_forward_to_destination):
 *
 *     proxy | endpoint of this node | tunnel | out by the routes | the node's stack
 */
import { ConfigOption, CtBit, CtStatus, Identity, IpcacheEntry } from "../abi.gen";
import { Address } from "./address";
import { Conntrack } from "./conntrack";
import { Deliver } from "./deliver";
import { EgressGateway } from "./egress_gateway";
import { HostPolicy } from "./host_policy";
import { Identities, Mark } from "./identity";
import { Maps } from "./maps";
import { Options } from "./options";
import { Packet } from "./packet";
import { Tunnel } from "./tunnel";
import { GO_ON, Verdict } from "./verdict";

const ADDRESS: usize = memory.data(16, 16);

export class Destination {
  /**
   * `identity` is the sender's, `status` its connection's, `loopback` says that the packet was just translated to its
   * own sender, `info` is what the ipcache knows of the destination.
   */
  static forward(identity: u32, status: i32, proxyPort: u16, loopback: bool, info: IpcacheEntry | null): i32 {
    if (proxyPort != 0) {
      // The port goes into the upper half as it stands on the wire.
      Packet.mark = Mark.TO_PROXY | (<u32>proxyPort << 16);
      return Verdict.PROXY;
    }
    const forHost = HostPolicy.on && isHost(info);
    // With routes of its own the endpoint asks the host's policy program itself.
    if (forHost && !Options.routing) return askHost(identity);
    if (Options.version >= 19) Mark.setIdentity(identity);
    const hairpin = loopback || Conntrack.has(<u16>CtBit.LB_LOOPBACK);
    let toHost: bool = false;
    if (Options.routing || hairpin || Options.hostRouting) {
      // A loopback reply is addressed to the loopback address; its own source is the pod it belongs to.
      const back = status == CtStatus.REPLY && hairpin;
      Address.read(ADDRESS, back ? Packet.source : Packet.destination, Packet.family);
      const endpoint = Maps.endpoint(ADDRESS);
      if (endpoint !== null) {
        toHost = Deliver.toHost(endpoint);
        if (toHost && forHost) return Verdict.HOST;
        if (!toHost) return Deliver.local(endpoint, identity);
      }
    }
    if (!toHost) {
      const gateway = EgressGateway.fromPod(status);
      if (gateway != GO_ON) return gateway;
      if (Options.has(ConfigOption.TUNNEL_MODE) && info !== null && Identities.tunnelled(info)) {
        return Tunnel.to(info, identity);
      }
      if (Options.hostRouting) return Deliver.byRoute(true);
    }
    return toStack(identity);
  }
}

/** The destination is an address of this node. */
function isHost(info: IpcacheEntry | null): bool {
  if (info === null) return false;
  Address.read(ADDRESS, Packet.destination, Packet.family);
  return Identities.known(info, ADDRESS) == <u32>Identity.HOST;
}

/** lxc_deliver_to_host: the host's ingress policy, then up into the stack. */
function askHost(identity: u32): i32 {
  const verdict = HostPolicy.ingress(identity);
  return verdict == GO_ON ? Verdict.PASS : verdict;
}

/** pass_to_stack. Up to 1.18 the program counts a hop here and the kernel another, unless endpoints have routes. */
function toStack(identity: u32): i32 {
  if (Options.version >= 19) return Verdict.PASS;
  if (Options.routing) {
    const expired = Deliver.countHop();
    if (expired != GO_ON) return expired;
  }
  Mark.setIdentity(identity);
  return Verdict.PASS;
}
