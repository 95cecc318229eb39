/**
 * One row for each judged packet, as Parquet: what DuckDB and the like ask questions of.
 *
 *     select difference, count(distinct flow), count(*) from 'packets.parquet' where class = 'different' group by 1
 *
 * Columns and rows depend on the packets alone: the same input gives the same bytes. They are handed on a row group at a time, so
 * that memory holds one group however many packets there are.
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

/** Hands the bytes of each row group on, and of what comes before and behind them. */
class GroupWriter extends ByteWriter {
  constructor(private readonly sink: (bytes: Uint8Array) => void) {
    super();
  }

  /** Called by ParquetWriter behind each group. Offsets go on; what was written is not held. */
  flush(): void {
    if (this.index > 0) this.sink(this.getBytes().slice());
    this.index = 0;
  }

  override finish(): void {
    this.flush();
  }
}

/** Takes packets and hands on the bytes of the file, in order. */
export class PacketTable {
  private readonly writer: ParquetWriter;
  private cells: Cell[][] = COLUMNS.map(() => []);

  /** @param sink takes pieces of the file, which are its own to keep */
  constructor(version: string, sink: (bytes: Uint8Array) => void, private readonly groupRows = GROUP_ROWS) {
    this.writer = new ParquetWriter({ writer: new GroupWriter(sink), schema: schemaFromColumnData({ columnData: this.columns() }),
      createdBy: `twinplane version ${version}` });
  }

  /** `file`: the capture's. */
  add(judged: Judged, file: string): void {
    COLUMNS.forEach(([, , of], index) => this.cells[index].push(of(judged, file)));
    if (this.cells[0].length >= this.groupRows) this.flush();
  }

  finish(): void {
    this.flush();
    void this.writer.finish();
  }

  private flush(): void {
    if (this.cells[0].length === 0) return;
    void this.writer.write({ columnData: this.columns(), rowGroupSize: this.groupRows });
    this.cells = COLUMNS.map(() => []);
  }

  private columns(): ColumnSource[] {
    return COLUMNS.map(([name, type], index) => ({ name, type, nullable: true, data: this.cells[index] }));
  }
}
