/** Test fixture: TCP segments as words, through a Tracker between 10.1.0.2:2000 and 10.2.0.2:80. */
import { Csum, CtInfo, Hook, Skb, Verdict } from "../skb.js";
import { Packet } from "./packet.js";
import type { Tracker } from "./track.js";

/**
 * Sends `>flags:seq:ack:payload[:window:options]`: `>` from the client, `<` from the server; numbers are
 * decimal, options hexadecimal; the window is 1000 where none is given. What follows is not read. Returns what
 * iptables' conntrack match would see: N new, E established, I invalid.
 */
export function sendSegment(tracker: Tracker, word: string, timeNs = 1e9): string {
  const [flags, seq, ack, payload, ...more] = word.slice(1).split(":");
  const window = more.length > 1 ? Number(more[0]) : 1000;
  const options = more.length > 1 ? (more[1].match(/../g) ?? []).map((text) => parseInt(text, 16)) : [];
  const reply = word[0] === "<";
  const length = 40 + options.length + Number(payload);
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  bytes.set([0x45, 0, length >> 8, length, 0, 0, 0, 0, 64, 6, 0, 0]);
  bytes.set(reply ? [10, 2, 0, 2, 10, 1, 0, 2] : [10, 1, 0, 2, 10, 2, 0, 2], 12);
  view.setUint16(20, reply ? 80 : 2000);
  view.setUint16(22, reply ? 2000 : 80);
  view.setUint32(24, Number(seq));
  view.setUint32(28, Number(ack));
  view.setUint16(32, ((20 + options.length) << 10) | Number(flags));
  view.setUint16(34, window);
  bytes.set(options, 40);
  const skb = new Skb();
  Object.assign(skb, { bytes, length, headerLength: 20, protocol: 6, csum: Csum.Right, timeNs });
  const packet = new Packet();
  packet.load(skb);
  tracker.enter(Hook.Prerouting, skb, packet);
  if (skb.ct === null) return "I";
  if (tracker.leave(skb) !== Verdict.Accept) throw new Error(`${word}: dropped where it leaves`);
  return skb.ctinfo === CtInfo.New ? "N" : "E";
}
