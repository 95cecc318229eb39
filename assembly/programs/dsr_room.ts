/** Room in a packet that direct server return makes larger, and whether the device takes it then. */
import { LbOption } from "../abi.gen";
import { Ethernet } from "../wire/ethernet";
import { Maps } from "./maps";
import { Options } from "./options";
import { Packet } from "./packet";
import { ROOM } from "./room";

/** dsr_is_too_big: with enable-pmtu-discovery what would not fit is answered, with this MTU; 0: it fits. */
export function roomFor(more: i32): u32 {
  if (!(Options.config.lb_options & <u32>LbOption.PMTU_DISCOVERY)) return 0;
  const device = Maps.device(Packet.device);
  if (device === null || device.mtu == 0) return 0;
  return <u32>(Packet.wire - Ethernet.LENGTH + more) > device.mtu ? device.mtu - <u32>more : 0;
}

/** Makes `more` bytes of room behind `header` bytes of the network header. */
export function grow(header: i32, more: i32): void {
  const head = Ethernet.LENGTH + header;
  memory.copy(ROOM, Packet.frame, head);
  memory.copy(ROOM + head + more, Packet.frame + head, Packet.captured - head);
  Packet.frame = ROOM;
  Packet.captured += more;
  Packet.wire += more;
}
