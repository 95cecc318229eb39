/** What nodes carry for others and nobody opens: undecided, not traffic of the nodes' own that makes no difference. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LinkType, PcapWriter } from "../src/capture/index.js";
import type { Report } from "../src/report/report.js";
import { root, runCli } from "./cli.js";
import { packet } from "./packets.js";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "twinplane-tunnels-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const NODE1 = "192.168.50.11";
const NODE2 = "192.168.50.12";
const INNER = packet({ from: "10.244.1.20", to: "10.244.2.20", protocol: "TCP", sport: 40_000, dport: 80 });

/** An IPv4 packet of any protocol around bytes. */
function carried(protocol: number, from: string, to: string): Uint8Array {
  const outer = packet({ from, to, protocol: "UDP", sport: 50_000, dport: 50_000, payload: INNER });
  outer[9] = protocol;
  outer[10] = 0;
  outer[11] = 0;
  let sum = 0;
  for (let at = 0; at < 20; at += 2) sum += (outer[at] << 8) | outer[at + 1];
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  outer[10] = (~sum >> 8) & 255;
  outer[11] = ~sum & 255;
  return outer;
}

async function reportOf(bytes: Uint8Array): Promise<Report> {
  const writer = new PcapWriter({ linkType: LinkType.Raw });
  writer.write(1_772_366_400, 0, bytes, 0, bytes.length, bytes.length);
  const file = join(folder, "node1.pcap");
  writeFileSync(file, writer.take());
  const lab = join(root, "traces/lab");
  const ran = await runCli(["compare", "-f", join(lab, "cluster.yaml"), join(lab, "node1.net.json"), join(lab, "node2.net.json"),
    "-r", `node1=${file}`, "--cluster-cidr", "10.244.0.0/16", "--non-masquerade-cidr", "192.168.50.0/24", "-o", "json"]);
  return JSON.parse(ran.stdout);
}

describe("between nodes", () => {
  it.each([[4, "IPIP"], [41, "6in4"], [47, "GRE"], [50, "ESP"]])("protocol %i: %s is undecided", async (protocol, name) => {
    const report = await reportOf(carried(protocol, NODE1, NODE2));
    expect(report.undecided).toEqual([[`what ${name} carries between nodes is not judged`, 1]]);
    expect(report.verdict.exitCode).toBe(3);
  });

  it("so is WireGuard, by its port", async () => {
    const report = await reportOf(packet({ from: NODE1, to: NODE2, protocol: "UDP", sport: 51_871, dport: 51_871, payload: INNER }));
    expect(report.undecided).toEqual([["what WireGuard carries between nodes is not judged", 1]]);
  });

  it("a pod's own such packets are judged", async () => {
    expect((await reportOf(carried(50, "10.244.1.20", NODE2))).undecided).toEqual([]);
  });
});
