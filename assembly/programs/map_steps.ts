/** Steps of accesses to maps, for `trace`; each call stands behind `if (TRACE)`. */
import { StepKind } from "../abi.gen";
import { Steps } from "./steps";

export function looked(map: u32, key: usize, size: u32, value: usize, cookie: u32): void {
  Steps.write(StepKind.LOOKUP, map, key, size, value == 0 ? 0 : 1, cookie, 0);
}

export function updated(map: u32, key: usize, size: u32, result: i32): void {
  Steps.write(StepKind.UPDATE, map, key, size, result, 0, 0);
}
