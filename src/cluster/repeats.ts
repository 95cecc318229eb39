/**
 * Objects that are in several files, or in one file several times: which of them counts, whatever order the files are read in. The
 * higher resourceVersion is the newer; what has none was written by hand, for what is to be, and comes before what a cluster said. Of
 * those that are left the last of the file that is named last by code units counts. Of one document's list the last counts.
 *
 * Where nothing says which is the newer, and they do not say the same, that is an error.
 */
import type { ObjectMeta } from "./cluster.js";
import type { Problem, Where } from "./problem.js";

interface Read {
  readonly object: ObjectMeta;
  /** null: none, or no number. */
  readonly version: bigint | null;
  /** How many were read before; of one file the order in it. */
  readonly number: number;
}

export class Repeats {
  private readonly versions = new Map<ObjectMeta, bigint>();
  private readonly found = new Map<string, Read[]>();
  private read = 0;

  /** @param ordered they are of one list, whatever file each is of */
  constructor(private readonly problems: Problem[], private readonly title: (object: ObjectMeta) => string,
    private readonly ordered: boolean) {}

  /** @param earlier what counted so far under this key */
  chosen(key: string, object: ObjectMeta, version: unknown, earlier: ObjectMeta | null): ObjectMeta {
    if (typeof version === "string" && /^\d+$/.test(version)) this.versions.set(object, BigInt(version));
    if (earlier === null) return object;
    const all = this.found.get(key) ?? [this.readOf(earlier)];
    all.push(this.readOf(object));
    this.found.set(key, all);
    return this.usedOf(all).object;
  }

  /** To be called when all are read. */
  report(): void {
    for (const all of this.found.values()) {
      const used = this.usedOf(all);
      const others = all.filter((one) => one !== used);
      const places = others.map(({ object }) => placeOf(object.where)).sort();
      const isSame = others.every(({ object }) => textOf(object) === textOf(used.object));
      const isNewer = others.every(({ version }) => version !== null && used.version !== null && version < used.version);
      const isByHand = used.version === null && others.every(({ version }) => version !== null);
      const isLater = others.every(({ object }) => object.where.file === used.object.where.file);
      const known = isSame ? "they say the same" : this.ordered ? "this later one is used"
        : isNewer ? "this one has the highest resourceVersion and is used"
        : isByHand ? "this one has no resourceVersion, as what is written by hand, and is used"
        : isLater ? "this later one is used" : null;
      const why = known ?? "nothing says which is the newest; this one is used";
      this.problems.push({ where: used.object.where, severity: known !== null ? "warning" : "error",
        what: `${this.title(used.object)} was read from ${places.join(", ")} too; expected each object once; ${why}` });
    }
    this.found.clear();
  }

  private usedOf(all: readonly Read[]): Read {
    return this.ordered ? all[all.length - 1] : all.reduce((best, one) => (counts(one, best) ? one : best));
  }

  private readOf(object: ObjectMeta): Read {
    return { object, version: this.versions.get(object) ?? null, number: this.read++ };
  }
}

/** Whether it counts rather than the other. */
function counts(one: Read, other: Read): boolean {
  if (one.version !== other.version) return one.version === null || (other.version !== null && one.version > other.version);
  const [file, than] = [one.object.where.file, other.object.where.file];
  return file === than ? one.number > other.number : file > than;
}

/** All that was read of it but where it stands. */
function textOf(object: ObjectMeta): string {
  return JSON.stringify(object, (name, value: unknown) => (name === "where" || name === "lines" ? undefined
    : typeof value === "bigint" ? String(value) : value));
}

function placeOf({ file, line }: Where): string {
  return `${file}:${line}`;
}
