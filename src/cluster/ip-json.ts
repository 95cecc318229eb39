/**
 * One value of `ip -j` output, read without trust: a field of another type than expected counts as absent.
 */
import { type Family, parseAddress, parsePrefix, type Prefix, prefixOf } from "./address.js";
import type { Path, Positions } from "./positions.js";
import type { Where } from "./problem.js";

export type IpObject = Readonly<Record<string, unknown>>;

export class IpEntry {
  constructor(
    private readonly value: unknown,
    private readonly path: Path,
    private readonly positions: Positions,
  ) {}

  isList(): boolean {
    return Array.isArray(this.value);
  }

  isEmpty(): boolean {
    const object = this.object();
    return object !== null && Object.keys(object).length === 0;
  }

  object(): IpObject | null {
    const value = this.value;
    return value !== null && typeof value === "object" && !Array.isArray(value) ? value as IpObject : null;
  }

  has(key: string): boolean {
    const object = this.object();
    return object !== null && Object.hasOwn(object, key);
  }

  child(key: string): IpEntry | null {
    return this.has(key) ? new IpEntry(this.object()?.[key], [...this.path, key], this.positions) : null;
  }

  /** Items of a list, or values of an object. */
  children(): IpEntry[] {
    const entry = (key: string | number, item: unknown): IpEntry =>
      new IpEntry(item, [...this.path, key], this.positions);
    if (Array.isArray(this.value)) return this.value.map((item, index) => entry(index, item));
    return Object.entries(this.object() ?? {}).map(([key, item]) => entry(key, item));
  }

  text(key: string): string | null {
    const value = this.object()?.[key];
    return typeof value === "string" ? value : null;
  }

  texts(key: string): string[] | null {
    const value = this.object()?.[key];
    return Array.isArray(value) ? value.filter((item) => typeof item === "string") : null;
  }

  number(key: string): number | null {
    const value = this.object()?.[key];
    return typeof value === "number" && Number.isSafeInteger(value) ? value : null;
  }

  /** A prefix; a bare address is a host, `default` is everything of the family. */
  prefix(key: string, family: Family): Prefix | null {
    const text = this.text(key);
    if (text !== "default") return text === null ? null : parsePrefix(text);
    const any = parseAddress(family === 4 ? "0.0.0.0" : "::");
    return any === null ? null : prefixOf(any, 0);
  }

  json(): string {
    return JSON.stringify(this.value) ?? "nothing";
  }

  where(): Where {
    return this.positions.where(this.path);
  }
}
