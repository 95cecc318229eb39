/**
 * TCP tracking without the window check, against a real kernel: tcp-recorded.txt holds sequences of random
 * segments that were sent through Linux 6.18 with nf_conntrack_tcp_be_liberal=1, one sequence a line, one word a
 * segment as tcp-segment.fixture.ts reads it, with the state that iptables' conntrack match then saw.
 */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { sendSegment } from "./tcp-segment.fixture.js";
import { Tracker } from "./track.js";

const lines = readFileSync(new URL("tcp-recorded.txt", import.meta.url), "utf8")
  .split("\n")
  .filter((line) => line !== "");

describe("recorded TCP sequences", () => {
  test(`${lines.length} sequences`, () => {
    let segments = 0;
    for (const line of lines) {
      const tracker = new Tracker({ "net.netfilter.nf_conntrack_tcp_be_liberal": "1" });
      const got = line.split(" ").map((word) => {
        segments++;
        return word.slice(0, -1) + sendSegment(tracker, word);
      });
      expect(got.join(" ")).toBe(line);
    }
    expect(segments).toBeGreaterThan(2000);
  });
});

describe("lifetimes", () => {
  const words = (text: string): string[] => text.split(" ");

  test("states and their seconds, kernel defaults", () => {
    const tracker = new Tracker({});
    const lives: string[] = [];
    for (const word of words(
      ">2:1:0:0: <18:9:2:0: >16:2:10:0: >24:2:10:5: <16:10:7:0: >17:7:10:0: <16:10:8:0: <17:10:8:0: >16:8:11:0:",
    )) {
      sendSegment(tracker, word);
      const [connection] = tracker.table.entries();
      lives.push(`${connection.tcp?.state}:${(connection.expiresNs - tracker.table.nowNs) / 1e9}`);
    }
    // SYN_SENT, SYN_RECV, ESTABLISHED, unacknowledged data, acknowledged, FIN_WAIT, CLOSE_WAIT, LAST_ACK,
    // TIME_WAIT.
    expect(lives).toEqual([
      "1:120",
      "2:60",
      "3:432000",
      "3:300",
      "3:432000",
      "4:120",
      "5:60",
      "6:30",
      "7:120",
    ]);
  });

  test("sysctls replace them", () => {
    const tracker = new Tracker({ "net.netfilter.nf_conntrack_tcp_timeout_established": "86400" });
    for (const word of words(">2:1:0:0: <18:9:2:0: >16:2:10:0:")) sendSegment(tracker, word);
    const [connection] = tracker.table.entries();
    expect((connection.expiresNs - tracker.table.nowNs) / 1e9).toBe(86400);
  });

  test("an entry is gone exactly when its time is over", () => {
    const tracker = new Tracker({});
    sendSegment(tracker, ">2:1:0:0:", 5e9);
    expect(tracker.table.entries()).toHaveLength(1);
    // A repeated SYN does not prolong it.
    sendSegment(tracker, ">2:1:0:0:", 124e9);
    const [first] = tracker.table.entries();
    sendSegment(tracker, ">2:1:0:0:", 125e9);
    const [second] = tracker.table.entries();
    expect(second.id).not.toBe(first.id);
    expect(second.generation).toBe(1);
  });

  test("tcp_loose=0: no pick-up in the middle", () => {
    expect(sendSegment(new Tracker({ "net.netfilter.nf_conntrack_tcp_loose": "0" }), ">16:1:1:0:")).toBe("I");
    expect(sendSegment(new Tracker({}), ">16:1:1:0:")).toBe("N");
  });
});
