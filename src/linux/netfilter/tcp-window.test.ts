/**
 * TCP tracking with the window check, against a real kernel: tcp-window-recorded.txt holds sequences that were
 * sent through Linux 6.18 with the default nf_conntrack_tcp_be_liberal=0, one a line, as tcp-segment.fixture.ts
 * reads them; the last word is the entry that `conntrack -L` then showed: `=STATE:seconds left:A` (A: assured),
 * `=` for none. A few were written by hand, the others are random and chosen among many more for the branches of
 * tcp.ts and tcp-window.ts that they decide.
 */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { Status } from "./connection.js";
import { sendSegment } from "./tcp-segment.fixture.js";
import { tcpStateNames } from "./tcp-state.js";
import { Tracker } from "./track.js";

const lines = readFileSync(new URL("tcp-window-recorded.txt", import.meta.url), "utf8")
  .split("\n")
  .filter((line) => line !== "");

describe("recorded TCP sequences, window checked", () => {
  test(`${lines.length} sequences`, () => {
    let segments = 0;
    let invalid = 0;
    for (const line of lines) {
      const tracker = new Tracker({});
      const words = line.split(" ");
      const end = words.pop() ?? "";
      const got = words.map((word) => word.slice(0, -1) + sendSegment(tracker, word));
      expect(got.join(" ")).toBe(words.join(" "));
      expect(entry(tracker, end), line).toBe(end);
      segments += words.length;
      invalid += words.filter((word) => word.endsWith("I")).length;
    }
    expect(segments).toBeGreaterThan(3000);
    expect(invalid).toBeGreaterThan(1000);
  });
});

describe("sysctls", () => {
  const handshake = [">2:1000:0:0:", "<18:5000:1001:0:", ">16:1001:5001:0:"];
  const send = (sysctls: Record<string, string>, ...more: string[]): string => {
    const tracker = new Tracker(sysctls);
    return [...handshake, ...more].map((word) => sendSegment(tracker, word)).join("");
  };

  test("nf_conntrack_tcp_be_liberal", () => {
    const far = ">16:900000:5001:10:";
    expect(send({}, far)).toBe("NEEI");
    expect(send({ "net.netfilter.nf_conntrack_tcp_be_liberal": "1" }, far)).toBe("NEEE");
  });

  test("nf_conntrack_tcp_ignore_invalid_rst", () => {
    const old = "<4:4990:0:0:";
    expect(send({}, old)).toBe("NEEI");
    expect(send({ "net.netfilter.nf_conntrack_tcp_ignore_invalid_rst": "1" }, old)).toBe("NEEE");
  });

  test("nf_conntrack_tcp_max_retrans", () => {
    const again = ["<16:5001:1001:0:", "<16:5001:1001:0:", "<16:5001:1001:0:"];
    for (const [most, seconds] of [["2", 300], ["3", 432000]] as const) {
      const tracker = new Tracker({ "net.netfilter.nf_conntrack_tcp_max_retrans": most });
      for (const word of [...handshake, ...again]) sendSegment(tracker, word);
      const [connection] = tracker.table.entries();
      expect((connection.expiresNs - tracker.table.nowNs) / 1e9).toBe(seconds);
    }
  });
});

/** As `conntrack -L` has it. The kernel's seconds are rounded down after a moment has passed. */
function entry(tracker: Tracker, recorded: string): string {
  const [connection] = tracker.table.entries();
  if (connection === undefined) return "=";
  const seconds = (connection.expiresNs - tracker.table.nowNs) / 1e9;
  const shown = Number(recorded.split(":")[1]);
  const state = tcpStateNames[connection.tcp?.state ?? 0];
  const assured = (connection.status & Status.Assured) !== 0 ? "A" : "";
  return `=${state}:${seconds - shown === 1 ? shown : seconds}:${assured}`;
}
