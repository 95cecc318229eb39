/** What an object needs of a Cilium's version and options, noted while it is read. */
import type { Field } from "../field.js";
import type { CiliumCondition } from "./types.js";

export class Conditions {
  readonly list: CiliumCondition[] = [];

  /** @param found as a Problem says it: `toPorts beside toServices` */
  add(field: Field, found: string, needs: Pick<CiliumCondition, "since" | "until" | "option">): void {
    this.list.push({ where: field.where(), path: field.pathText(), found, ...needs });
  }
}
