/**
 * Targets that say something or mark for the link, and change nothing a dataplane shows: LOG, NFLOG, TRACE, AUDIT,
 * CLASSIFY, CHECKSUM. Their texts are printed as iptables-save prints them.
 */
import { gather, type Option, type Options, plain1, plainFlag, type Shape } from "../matches/options.js";
import { parseNumber } from "../names.js";

/** Text after `-j`, what iptables would refuse as {fault}, or null where an option is not known here. */
export type QuietResult = { readonly text: string } | { readonly fault: string } | null;

const shapes: Readonly<Record<string, Readonly<Record<string, Shape>>>> = {
  LOG: {
    "--log-prefix": plain1, "--log-level": plain1, "--log-tcp-sequence": plainFlag, "--log-tcp-options": plainFlag,
    "--log-ip-options": plainFlag, "--log-uid": plainFlag, "--log-macdecode": plainFlag,
  },
  NFLOG: {
    "--nflog-prefix": plain1, "--nflog-group": plain1, "--nflog-range": plain1, "--nflog-size": plain1,
    "--nflog-threshold": plain1,
  },
  TRACE: {},
  AUDIT: { "--type": plain1 },
  CLASSIFY: { "--set-class": plain1 },
  CHECKSUM: { "--checksum-fill": plainFlag },
};

const logLevels = ["emerg", "alert", "crit", "error", "warning", "notice", "info", "debug"];
const levelSynonyms: Readonly<Record<string, number>> = { panic: 0, err: 3, warn: 4 };

export function isQuiet(name: string): boolean {
  return Object.hasOwn(shapes, name);
}

export function readQuiet(name: string, options: readonly Option[]): QuietResult {
  const found = gather(options, shapes[name]);
  if (found === null) return null;
  if (typeof found === "string") return { fault: found };
  switch (name) {
    case "LOG":
      return readLog(found);
    case "NFLOG":
      return readNflog(found);
    case "TRACE":
      return { text: "TRACE" };
    case "AUDIT": {
      const type = found.get("--type")?.values[0] ?? "";
      return /^(accept|drop|reject)$/i.test(type) ? { text: `AUDIT --type ${type.toLowerCase()}` }
        : { fault: "AUDIT needs --type accept, drop or reject" };
    }
    case "CLASSIFY":
      return readClass(found.get("--set-class")?.values[0] ?? "");
    default:
      return found.size === 1 ? { text: "CHECKSUM --checksum-fill" } : { fault: "CHECKSUM needs --checksum-fill" };
  }
}

/** libxt_LOG. */
function readLog(options: Options): QuietResult {
  let text = "LOG";
  const prefix = options.get("--log-prefix")?.values[0];
  // The kernel keeps 29 characters.
  if (prefix !== undefined && prefix !== "") text += ` --log-prefix ${quote(prefix.slice(0, 29))}`;
  const levelText = options.get("--log-level")?.values[0] ?? "warning";
  const level = logLevel(levelText.toLowerCase());
  if (level === null) return { fault: `--log-level ${levelText} is not a level of syslog` };
  if (level !== 4) text += ` --log-level ${level}`;
  for (const name of Object.keys(shapes.LOG).slice(2)) if (options.has(name)) text += ` ${name}`;
  return { text };
}

function logLevel(text: string): number | null {
  if (/^\d+$/.test(text)) return parseNumber(text, 7);
  const level = levelSynonyms[text] ?? logLevels.indexOf(text);
  return level < 0 ? null : level;
}

/** libxt_NFLOG. */
function readNflog(options: Options): QuietResult {
  const number = (name: string, most: number): number | null =>
    options.has(name) ? parseNumber(options.get(name)?.values[0] ?? "", most) : 0;
  const prefix = options.get("--nflog-prefix")?.values[0] ?? "";
  if (prefix.length > 63) return { fault: "--nflog-prefix is longer than 63 characters" };
  const group = number("--nflog-group", 65535);
  const range = number("--nflog-range", 0xffffffff);
  const size = number("--nflog-size", 0xffffffff);
  const threshold = number("--nflog-threshold", 65535);
  if (group === null || range === null || size === null || threshold === null)
    return { fault: "a number of NFLOG is not one" };
  let text = "NFLOG";
  if (prefix !== "") text += ` --nflog-prefix ${quote(prefix)}`;
  if (group !== 0) text += ` --nflog-group ${group}`;
  if (options.has("--nflog-size")) text += ` --nflog-size ${size}`;
  else if (range !== 0) text += ` --nflog-range ${range}`;
  if (threshold > 1) text += ` --nflog-threshold ${threshold}`;
  return { text };
}

/** libxt_CLASSIFY: two hexadecimal numbers. */
function readClass(given: string): QuietResult {
  const match = /^([0-9a-f]{1,4}):([0-9a-f]{1,4})$/i.exec(given);
  if (match === null) return { fault: `--set-class ${given} is not MAJOR:MINOR` };
  return { text: `CLASSIFY --set-class ${match[1].toLowerCase().padStart(4, "0")}:${match[2].toLowerCase().padStart(4, "0")}` };
}

/** xtables_save_string: quoted unless all of letters, digits, `_` and `-`. */
function quote(text: string): string {
  return /^[-\w]+$/.test(text) ? text : `"${text.replace(/["\\]/g, "\\$&")}"`;
}
