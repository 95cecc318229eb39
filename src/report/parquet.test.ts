/** The packet table's row groups: bounded whatever the number of packets, handed on as they fill, and read back whole. */
import { parquetMetadata, parquetReadObjects } from "hyparquet";
import { describe, expect, it } from "vitest";
import type { Judged } from "../compare/judged.js";
import { PacketTable } from "./parquet.js";

function packet(record: number): Judged {
  return {
    record, views: [{ capture: 0, record }], capture: 0, timeSec: 1_700_000_000 + Math.floor(record / 1000),
    timeFracNs: (record % 1000) * 1e6, kind: record % 2 === 0 ? "request" : "reply", flow: record >> 3,
    tuple: { protocol: 6, source: `10.0.${(record >> 8) & 255}.${record & 255}`,
      sourcePort: record & 0xffff, destination: "10.1.0.1", destinationPort: 80 },
    sourceName: `default/pod-${record}`, destinationName: "service default/web", bytes: 60 + (record % 1400), class: "same", finding: null,
    undecided: record % 97 === 0 ? `reason ${record}` : "", sides: null,
  } as unknown as Judged;
}

function table(packets: number, groupRows?: number): { chunks: Uint8Array[]; file: ArrayBuffer; atOnce: number } {
  const chunks: Uint8Array[] = [];
  let given = 0;
  let handed = 0;
  let atOnce = 0;
  const made = new PacketTable("test", (bytes) => {
    chunks.push(bytes);
    atOnce = Math.max(atOnce, given - handed);
    handed = given;
  }, groupRows);
  for (let record = 1; record <= packets; record++) {
    given = record;
    made.add(packet(record), "a.pcap");
  }
  made.finish();
  const file = Buffer.concat(chunks);
  return { chunks, atOnce, file: file.buffer.slice(file.byteOffset, file.byteOffset + file.length) as ArrayBuffer };
}

describe("row groups", () => {
  const sizes = [[1, 100], [100, 100], [101, 100], [4321, 100]] as const;
  it.each(sizes)("%i packets by %i: no more of them held than a group", async (packets, groupRows) => {
    const { chunks, file, atOnce } = table(packets, groupRows);
    const groups = parquetMetadata(file).row_groups.map((one) => Number(one.num_rows));
    expect(Math.max(...groups)).toBeLessThanOrEqual(groupRows);
    expect(groups).toHaveLength(Math.ceil(packets / groupRows));
    expect(atOnce).toBeLessThanOrEqual(groupRows);
    // The last is what lies behind the groups: where they are, and the schema.
    expect(chunks).toHaveLength(groups.length + 1);
    const largest = Math.max(...chunks.slice(0, -1).map((one) => one.length));
    expect(largest).toBeLessThan(200 * groupRows + 10_000);
    const rows = await parquetReadObjects({ file });
    expect(rows.map((row) => row["record"])).toEqual(Array.from({ length: packets }, (_, index) => index + 1));
    for (const row of [rows[0], rows.at(-1)!]) {
      const one = packet(row["record"] as number);
      expect(row).toMatchObject({ capture: "a.pcap", source: one.sourceName, source_ip: one.tuple.source, bytes: one.bytes, flow: one.flow,
        time_ns: BigInt(one.timeSec) * 1_000_000_000n + BigInt(one.timeFracNs), undecided: one.undecided === "" ? null : one.undecided });
    }
  });

  it("without another word are of at most 65,536 packets", () => {
    const { file, atOnce } = table(140_000);
    expect(parquetMetadata(file).row_groups.map((one) => Number(one.num_rows))).toEqual([65_536, 65_536, 8_928]);
    expect(atOnce).toBe(65_536);
  });

  it("of no packets are none, and the file can be read", async () => {
    const { file } = table(0);
    expect(await parquetReadObjects({ file })).toEqual([]);
  });
});
