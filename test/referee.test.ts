/**
 * The referee of `npm run verify:cilium`, over a program of our own under Cilium's names: what it does is known, so both an agreement and
 * a disagreement are. Needs root, clang, python3, iproute2; with TWINPLANE_CILIUM_OBJECTS (folders, separated by colons) it runs over
 * Cilium's real objects too.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runMatch } from "./referee/match.js";
import { NodeConfig, optionsOf } from "./referee/node-config.js";
import { findObjects, ObjectsError } from "./referee/objects.js";
import { missing, RefereeError, Worker } from "./referee/worker.js";
import { frame, packet, read } from "./packets.js";
import { testSeed } from "./seed.js";

const seed = testSeed("referee");
const source = fileURLToPath(new URL("./referee/tiny.bpf.c", import.meta.url));
const HEADER = `#define ENABLE_IPV4 1
#define ENABLE_NODEPORT 1
#define ENABLE_HOST_ROUTING 1
#define ENABLE_MASQUERADE_IPV4 1
#define IPV4_DIRECT_ROUTING 16820416
#define IPV4_SNAT_EXCLUSION_DST_CIDR 0xa
#define IPV4_SNAT_EXCLUSION_DST_CIDR_LEN 8
#define CT_SYN_TIMEOUT 77
`;
const absent = [...missing(), ...(spawnSync("clang", ["--version"]).status === 0 ? [] : ["clang"])];
const real = (process.env.TWINPLANE_CILIUM_OBJECTS ?? "").split(":").filter((one) => one !== "");

it.runIf(process.env.TWINPLANE_REQUIRE_KERNEL === "1")("the machine has what the referee needs", () => expect(absent).toEqual([]));

describe("what a node's files say", () => {
  it("node_config.h becomes options", () => {
    const config = new NodeConfig(`${HEADER}#define NESTED CT_SYN_TIMEOUT
#define IPV6_DIRECT_ROUTING { .addr = { 0xfd, 0x0, 0x1 } }\n`);
    expect([config.ipv4("IPV4_DIRECT_ROUTING"), config.ipv6("IPV6_DIRECT_ROUTING"), config.number("NESTED", 1), config.number("NO", 5)])
      .toEqual(["192.168.0.1", "fd00:100:0:0:0:0:0:0", 77, 5]);
    expect(optionsOf(config)).toMatchObject({ "enable-ipv6": false, "ipv4-native-routing-cidr": "10.0.0.0/8",
      "bpf-ct-timeout-regular-tcp-syn": 77, "service-no-backend-response": "drop", "enable-host-legacy-routing": false });
  });

  it("a folder without objects is refused with what was looked for", () => {
    const empty = mkdtempSync(join(tmpdir(), "twinplane-referee-"));
    expect(() => findObjects(empty, null)).toThrow(ObjectsError);
    expect(() => findObjects(empty, null)).toThrow(/bpf_lxc\.o, bpf_host\.o, node_config\.h/);
    rmSync(empty, { recursive: true });
  });
});

describe.skipIf(absent.length > 0)(`a program of our own (needs root, clang, python3, iproute2${absent.length > 0
  ? `; missing: ${absent.join(", ")}` : ""})`, () => {
  let folder = "";
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "twinplane-referee-"));
    for (const name of ["bpf_lxc.o", "bpf_host.o"]) {
      const built = spawnSync("clang", ["-O2", "-g", "-target", "bpf", "-mcpu=v3", "-c", source, "-o", join(folder, name)], { encoding: "utf8" });
      expect(built.stderr).toBe("");
    }
    writeFileSync(join(folder, "node_config.h"), HEADER);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const started = async (): Promise<Worker> => {
    const worker = new Worker();
    await worker.ask({ op: "load", objects: { host: join(folder, "bpf_host.o") }, config: { host: { security_label: 7, endpoint_id: 42 } },
      uplink: 2, pods: [3], addresses: [{ address: "192.168.0.1/24", gateway: "192.168.0.254" }] });
    return worker;
  };
  const tcp = frame(packet({ from: "10.0.0.1", to: "10.0.0.2", protocol: "TCP", ttl: 9 }));
  const run = async (worker: Worker, program: string, more: object = {}): Promise<Record<string, unknown>> =>
    worker.ask({ op: "run", object: "host", program, frame: Buffer.from(tcp).toString("hex"), now: 5000, ifindex: 2, random: 1, ...more });

  it("verdict, reason, bytes, time, chance, redirect and records come back as the program made them", async () => {
    const worker = await started();
    expect(await run(worker, "cil_from_container")).toMatchObject({ verdict: "drop", drop_reason: 133 });
    const passed = await run(worker, "cil_to_container");
    expect(passed.verdict).toBe("forward");
    expect(read(Uint8Array.from(Buffer.from(passed.packet_out_hex as string, "hex").subarray(14))).ttl).toBe(8);
    expect(await run(worker, "cil_from_netdev")).toMatchObject({ verdict: "redirect", mark: `0x${((1664525 + 1013904223) >>> 0).toString(16)}`,
      redirect: { by: "redirect", ifindex: 7, flags: 1 } });
    const noted = await run(worker, "cil_to_netdev");
    expect(noted.ct_after).toEqual([{ map: "ct4_global", daddr: "127.0.0.1", saddr: "127.0.0.2", dport: 80, sport: 40000, proto: 6, flags: 0,
      expires_in: 60, rev_nat_index: 0, src_sec_id: 42, rx_closing: 1 }]);
    expect((await run(worker, "cil_to_netdev")).verdict).toBe("drop");
    await worker.ask({ op: "forget", maps: ["cilium_ct4_global"] });
    expect((await run(worker, "cil_to_netdev")).verdict).toBe("forward");
    worker.close();
  });

  it("records are written by field name; one that is not there is said", async () => {
    const worker = await started();
    const key = { daddr: "127.0.0.1", saddr: "127.0.0.2", dport: 80, sport: 40000, nexthdr: 6 };
    expect(await worker.ask({ op: "fill", entries: [["cilium_ct4_global", null, key, { lifetime: 5009, "?nothing": 1 }], ["cilium_no", null, {}, {}]] }))
      .toEqual({ missing: ["cilium_no"] });
    expect((await run(worker, "cil_to_netdev")).verdict).toBe("drop");
    await expect(worker.ask({ op: "fill", entries: [["cilium_ct4_global", null, key, { nothing: 1 }]] })).rejects.toThrow(RefereeError);
    await expect(run(worker, "cil_no")).rejects.toThrow(/cil_no/);
    worker.close();
  });

  it("a match tells agreement from disagreement", async () => {
    const result = await runMatch(findObjects(folder, null), 120, seed);
    expect(result.version).toBe("1.18");
    // It denies all that a pod sends: equal where ours denies too, and a difference where ours does not.
    const egress = result.differences.filter(({ text }) => text.startsWith("pod-egress"));
    expect(result.verdicts.get("pod-egress drop 133")).toBeGreaterThan(egress.length);
    expect(egress.length).toBeGreaterThan(0);
    for (const { text } of egress) expect(text).toMatch(/verdict: Cilium drop 133, ours (?!drop 133)/);
    expect(result.equal).toBeGreaterThan(0);
    expect(result.equal + result.differences.length + [...result.undecided.values()].reduce((sum, one) => sum + one, 0)).toBe(result.frames);
  });
});

describe.skipIf(real.length === 0 || missing().length > 0)("Cilium's real objects (needs root and TWINPLANE_CILIUM_OBJECTS)", () => {
  it.each(real)("%s", async (folder) => {
    const result = await runMatch(findObjects(folder, null), 400, seed);
    expect(result.refused).toEqual([]);
    expect(result.differences).toEqual([]);
    expect(result.equal).toBeGreaterThan(result.frames / 2);
  }, 120_000);
});
