/**
 * Points of view: the captures of a story as if taken at fewer places. Of `-i any` recordings, one node's alone, or
 * what one device saw, rewritten as a capture of that device.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { CaptureReader, LinkType, PcapngWriter } from "../src/capture/index.js";
import { SeenDirection } from "../src/capture/record.js";
import type { SessionInput } from "../src/session.js";
import { storyInput } from "./mutant-runner.js";
import { root } from "./cli.js";

export type Captures = SessionInput["captures"];

export interface Viewpoint {
  /** `node1`, `node1:eth0`, `node1:eth0 ethernet`. */
  readonly name: string;
  captures(): Captures;
}

const SLL2_HEADER = 20;
const IPV4 = 0x0800;
const IPV6 = 0x86dd;

/** Every single point of view of the captures `nodeN.any.pcap` in a folder. */
export function viewpointsOf(folder: string, area: string): Viewpoint[] {
  return ["node1", "node2"].flatMap((node) => {
    const file = join(folder, `${node}.any.pcap`);
    const bytes = readFileSync(file);
    const whole = { name: node, captures: () => [{ file, node, device: "", chunks: [bytes].values() }] };
    const devices = new Map<number, string>((JSON.parse(readFileSync(join(area, `${node}.net.json`), "utf8")) as NetFile)
      .links.map((link) => [link.ifindex, link.ifname]));
    const alone = devicesIn(bytes).filter((index) => devices.has(index)).map((index): Viewpoint => {
      const name = devices.get(index)!;
      return { name: `${node}:${name}`, captures: () => [{ file: `${node}.${name}.pcapng`, node, device: "",
        chunks: [ofDevice(bytes, index, name)].values() }] };
    });
    return [whole, ...alone];
  });
}
