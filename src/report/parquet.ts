/**
 * One row for each judged packet, as Parquet: what DuckDB and the like ask questions of.
 *
 *     select difference, count(distinct flow), count(*) from 'packets.parquet' where class = 'different' group by 1
 *
 * Columns and rows depend on the packets alone: the same input gives the same bytes.
 */
import { ByteWriter, type ColumnSource, ParquetWriter, schemaFromColumnData } from "hyparquet-writer";
import { END_WORDS, type Judged, type JudgedSide, protocolName } from "../compare/judged.js";

/** Rows of a row group, and so of what is kept unpacked. */
const GROUP_ROWS = 65_536;

type Cell = string | number | bigint | boolean | null;
type Column = readonly [name: string, type: "STRING" | "INT32" | "INT64" | "BOOLEAN", of: (judged: Judged, file: string) => Cell];

const COLUMNS: readonly Column[] = [
  ["capture", "STRING", (_, file) => file],
  ["record", "INT32", (one) => one.record],
  ["records", "INT32", (one) => one.views.length],
  ["time_ns", "INT64", (one) => BigInt(one.timeSec) * 1_000_000_000n + BigInt(one.timeFracNs)],
  ["kind", "STRING", (one) => one.kind],
  ["flow", "INT32", (one) => (one.flow < 0 ? null : one.flow)],
  ["protocol", "STRING", (one) => protocolName(one.tuple.protocol)],
  ["source", "STRING", (one) => one.sourceName],
  ["source_ip", "STRING", (one) => one.tuple.source],
  ["source_port", "INT32", (one) => one.tuple.sourcePort],
  ["destination", "STRING", (one) => one.destinationName],
  ["destination_ip", "STRING", (one) => one.tuple.destination],
  ["destination_port", "INT32", (one) => one.tuple.destinationPort],
  ["bytes", "INT32", (one) => one.bytes],
  ["class", "STRING", (one) => one.class],
  ["difference", "STRING", (one) => one.finding?.id ?? null],
  ["facet", "STRING", (one) => one.finding?.facet ?? null],
  ["undecided", "STRING", (one) => (one.undecided === "" ? null : one.undecided)],
  ...sideColumns("current", 0), ...sideColumns("target", 1),
];

function sideColumns(name: string, index: 0 | 1): Column[] {
  const of = (get: (side: JudgedSide) => Cell) => (one: Judged): Cell => (one.sides === null ? null : get(one.sides[index]));
  return [
    [`${name}_end`, "STRING", of((side) => END_WORDS[side.end])],
    [`${name}_reason`, "STRING", of((side) => (side.reason === "" ? null : side.reason))],
    [`${name}_node`, "STRING", of((side) => side.node)],
    [`${name}_source_seen`, "STRING", of((side) => side.arrived?.source ?? null)],
    [`${name}_destination`, "STRING", of((side) => side.arrived?.destination ?? null)],
    [`${name}_destination_port`, "INT32", of((side) => side.arrived?.destinationPort ?? null)],
    [`${name}_because`, "STRING", of((side) => (side.becauses.length === 0 ? null
      : side.becauses.map((because) => `${because.object} ${because.rule}`).join("; ")))],
  ];
}

/** Takes packets and gives the file at the end. */
export class PacketTable {
  private readonly bytes = new ByteWriter();
  private readonly writer: ParquetWriter;
  private cells: Cell[][] = COLUMNS.map(() => []);

  constructor(version: string) {
    this.writer = new ParquetWriter({ writer: this.bytes, schema: schemaFromColumnData({ columnData: this.columns() }),
      createdBy: `twinplane version ${version}` });
  }

  /** `file`: the capture's. */
  add(judged: Judged, file: string): void {
    COLUMNS.forEach(([, , of], index) => this.cells[index].push(of(judged, file)));
    if (this.cells[0].length >= GROUP_ROWS) this.flush();
  }

  finish(): Uint8Array {
    this.flush();
    void this.writer.finish();
    return this.bytes.getBytes();
  }

  private flush(): void {
    if (this.cells[0].length === 0) return;
    void this.writer.write({ columnData: this.columns(), rowGroupSize: GROUP_ROWS });
    this.cells = COLUMNS.map(() => []);
  }

  private columns(): ColumnSource[] {
    return COLUMNS.map(([name, type], index) => ({ name, type, nullable: true, data: this.cells[index] }));
  }
}
