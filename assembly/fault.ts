/**
 * What replaces AssemblyScript's abort: it notes where the module's own code went wrong and traps. The host reads the
 * record and reports a ProgramFault. A packet never gets here; only our own mistakes do.
 */
import { FaultRecord } from "./abi.gen";

/** The one FaultRecord, at a fixed address. */
export const faultRecord: usize = memory.data(<i32>FaultRecord.SIZE, 8);

/** Bytes of a string's text: the word before it. */
const TEXT_SIZE_BEFORE: usize = 4;

export function fault(message: usize, file: usize, line: u32, column: u32): void {
  const record = changetype<FaultRecord>(faultRecord);
  record.raised = 1;
  record.message = <u32>message;
  record.message_bytes = message != 0 ? load<u32>(message - TEXT_SIZE_BEFORE) : 0;
  record.file = <u32>file;
  record.file_bytes = file != 0 ? load<u32>(file - TEXT_SIZE_BEFORE) : 0;
  record.line = line;
  record.column = column;
  unreachable();
}
