/**
 * The command-line flags of a program that a DaemonSet runs, in the order they stand, each with its line.
 *
 * `--name=value`, `--name value` and `--name` are read, from `command` and `args` of the first container that has flags;
 * also inside one text for a shell (`sh -c "kube-proxy --v=2 …"`). What a shell would expand is not expanded.
 */
import type { OtherObject } from "../cluster/cluster.js";
import { whereOf } from "../cluster/lines.js";
import type { Where } from "../cluster/problem.js";

export interface Flag {
  /** Without dashes. */
  readonly name: string;
  /** null: the flag stands alone. */
  readonly value: string | null;
  readonly where: Where;
}

interface Word {
  readonly text: string;
  readonly where: Where;
}

export function flagsOf(daemonSet: OtherObject): Flag[] {
  const containers = fieldAt(daemonSet.object, ["spec", "template", "spec", "containers"]);
  if (!Array.isArray(containers)) return [];
  for (let index = 0; index < containers.length; index++) {
    const flags = flagsIn(wordsOf(daemonSet, index, containers[index]));
    if (flags.length > 0) return flags;
  }
  return [];
}

function wordsOf(daemonSet: OtherObject, index: number, container: unknown): Word[] {
  return ["command", "args"].flatMap((list) => {
    const texts = fieldAt(container, [list]);
    if (!Array.isArray(texts)) return [];
    return texts.flatMap((text, position) => {
      const where = whereOf(daemonSet, ["spec", "template", "spec", "containers", index, list, position]);
      return typeof text !== "string" ? []
        : /\s--\w/.test(text) ? text.split(/\s+/).map((word) => ({ text: word, where })) : [{ text, where }];
    });
  });
}

/** The word after a flag without `=` is its value, unless it is a flag itself or a shell's redirection. */
function flagsIn(words: readonly Word[]): Flag[] {
  const flags: Flag[] = [];
  for (let index = 0; index < words.length; index++) {
    const { text, where } = words[index];
    const match = /^--?([A-Za-z][\w-]*)(?:=(.*))?$/s.exec(text);
    if (match === null || (!text.startsWith("--") && text.length > 2 && match[2] === undefined)) continue;
    if (text === "-c") continue;
    const next = words[index + 1]?.text;
    const separate = match[2] === undefined && next !== undefined && !/^(-|[12]?>|[&|;])/.test(next);
    flags.push({ name: match[1], value: match[2] ?? (separate ? next : null), where });
    if (separate) index++;
  }
  return flags;
}

/** A field deep inside a value; undefined where there is none. */
export function fieldAt(value: unknown, path: readonly string[]): unknown {
  let at = value;
  for (const key of path) {
    if (at === null || typeof at !== "object" || !Object.hasOwn(at, key)) return undefined;
    at = (at as Record<string, unknown>)[key];
  }
  return at;
}
