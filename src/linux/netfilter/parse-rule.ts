/**
 * One rule line, in iptables-save's or in iptables-restore's spelling: words -> Rule, or several where `-s`
 * or `-d` list addresses. What is wrong or not modelled is said in words; the rule then is unmodelled, so
 * that a packet that reaches it is undecided and never passes unjudged. Nothing throws.
 */
import type { Family } from "../../cluster/address.js";
import type { Extension } from "./extension.js";
import { fragmentMatch } from "./matches/fragment.js";
import { parseAddressSpec, parseNumber, parseProtocol } from "./names.js";
import { isKnownMatch, type Option, parseMatch, unmodelled } from "./parse-match.js";
import { parseTarget } from "./parse-target.js";
import type { AddressSpec, DeviceSpec, Match, NumberSpec, Rule, TableName, Target } from "./rule.js";
import type { Word } from "./words.js";

export interface RuleContext {
  readonly family: Family;
  readonly table: TableName;
  readonly file: string;
  readonly line: number;
  /** Whether a name is a chain of the table. */
  isChain(name: string): boolean;
}

export interface RuleResult {
  readonly rules: readonly Rule[];
  /** What the user should know: broken or unmodelled parts. */
  readonly faults: readonly string[];
}

/** What has been loaded by -m, -j or -g, and the options that belong to it. */
interface Loaded {
  readonly kind: "match" | "target" | "goto";
  readonly name: string;
  readonly options: Option[];
}

const coreOptions: Readonly<Record<string, string>> = {
  "--source": "-s",
  "--src": "-s",
  "--destination": "-d",
  "--dst": "-d",
  "--protocol": "-p",
  "--proto": "-p",
  "--in-interface": "-i",
  "--out-interface": "-o",
  "--match": "-m",
  "--jump": "-j",
  "--goto": "-g",
  "--fragment": "-f",
  "--set-counters": "-c",
  "--ipv4": "-4",
  "--ipv6": "-6",
};

/** How many words an option takes at most, where that is known. */
const valueLimits: Readonly<Record<string, number>> = {
  "-s": 1,
  "-d": 1,
  "-p": 1,
  "-i": 1,
  "-o": 1,
  "-m": 1,
  "-j": 1,
  "-g": 1,
  "--comment": 1,
  "--log-prefix": 1,
  "--nflog-prefix": 1,
  "-c": 2,
  "-f": 0,
};

/** Options that belong to the protocol's own match, loaded or implied by -p. */
const portOptions: ReadonlySet<string> = new Set([
  "--sport",
  "--source-port",
  "--dport",
  "--destination-port",
  "--tcp-flags",
  "--syn",
  "--tcp-option",
  "--icmp-type",
  "--icmpv6-type",
  "--chunk-types",
]);

const protocolMatches: Readonly<Record<number, string>> = {
  1: "icmp",
  6: "tcp",
  17: "udp",
  33: "dccp",
  58: "icmp6",
  132: "sctp",
  136: "udplite",
};

/** Parses the words after `-A CHAIN`. */
export function parseRule(words: readonly Word[], context: RuleContext): RuleResult {
  const reader = new RuleReader(words, context);
  return reader.read();
}

class RuleReader {
  private readonly words: readonly Word[];
  private readonly context: RuleContext;
  private readonly faults: string[] = [];
  private readonly loaded: Loaded[] = [];
  private at = 0;
  private sources: (AddressSpec | null)[] = [null];
  private destinations: (AddressSpec | null)[] = [null];
  private inDevice: DeviceSpec | null = null;
  private outDevice: DeviceSpec | null = null;
  private protocol: NumberSpec | null = null;
  private readonly extra: Match[] = [];
  private fragment: Extension | null = null;
  private packets = 0;
  private bytes = 0;
  private otherFamily = false;

  constructor(words: readonly Word[], context: RuleContext) {
    this.words = words;
    this.context = context;
  }

  read(): RuleResult {
    while (this.at < this.words.length) this.option();
    if (this.otherFamily) return { rules: [], faults: [] };
    const matches = this.matches();
    const target = this.target();
    const { file, line } = this.context;
    const rules: Rule[] = [];
    for (const source of this.sources) {
      for (const destination of this.destinations) {
        rules.push({
          file,
          line,
          source,
          destination,
          inDevice: this.inDevice,
          outDevice: this.outDevice,
          protocol: this.protocol,
          matches,
          target,
          packets: this.packets,
          bytes: this.bytes,
        });
      }
    }
    return { rules, faults: this.faults };
  }

  /** One option with its values, `!` before or after it. */
  private option(): void {
    let invert = false;
    while (this.isBare("!")) {
      invert = !invert;
      this.at++;
    }
    const word = this.words[this.at++];
    if (word === undefined || word.quoted || !word.text.startsWith("-")) {
      this.broken(`"${word?.text ?? "!"}" stands where an option was expected`);
      return;
    }
    const name = coreOptions[word.text] ?? word.text;
    if (this.isBare("!") && !(this.words[this.at + 1]?.text.startsWith("-") ?? true)) {
      // Old spelling: --dport ! 80.
      invert = !invert;
      this.at++;
    }
    const values: string[] = [];
    const limit = valueLimits[name] ?? 99;
    while (values.length < limit && this.at < this.words.length) {
      const next = this.words[this.at];
      // A text may begin with anything; other values do not begin with a dash.
      if (limit !== 1 && !next.quoted && (next.text.startsWith("-") || next.text === "!")) break;
      values.push(next.text);
      this.at++;
    }
    this.take({ name, values, invert });
  }

  private isBare(text: string): boolean {
    const word = this.words[this.at];
    return word !== undefined && !word.quoted && word.text === text;
  }

  private take(option: Option): void {
    const value = option.values[0] ?? "";
    switch (option.name) {
      case "-s":
        this.sources = this.addresses(value, option.invert);
        break;
      case "-d":
        this.destinations = this.addresses(value, option.invert);
        break;
      case "-p": {
        const protocol = parseProtocol(value);
        if (protocol === null) this.broken(`-p ${value} is not a protocol`);
        else this.protocol = { value: protocol, invert: option.invert };
        break;
      }
      case "-i":
        this.inDevice = this.device(value, option.invert);
        break;
      case "-o":
        this.outDevice = this.device(value, option.invert);
        break;
      case "-m":
        this.loaded.push({ kind: "match", name: value, options: [] });
        break;
      case "-j":
      case "-g":
        this.loaded.push({ kind: option.name === "-j" ? "target" : "goto", name: value, options: [] });
        break;
      case "-c":
        this.packets = parseNumber(value, 0xffffffff) ?? (Number(value) || 0);
        this.bytes = Number(option.values[1] ?? 0) || 0;
        break;
      case "-f":
        if (this.context.family === 4) this.fragment = fragmentMatch(option.invert);
        else this.broken("-f is not an option of IPv6");
        break;
      case "-4":
      case "-6":
        if (option.name !== `-${this.context.family}`) this.otherFamily = true;
        break;
      default:
        this.matchOption(option);
    }
  }

  /**
   * An option of a match or target: of the protocol's match where it is one of a protocol, else of the last
   * loaded.
   */
  private matchOption(option: Option): void {
    if (!option.name.startsWith("--") || option.name === "--") {
      this.broken(`option ${option.name} is not known`);
      return;
    }
    let owner: Loaded | undefined = this.loaded[this.loaded.length - 1];
    if (portOptions.has(option.name)) {
      const implied = this.impliedMatch();
      owner = this.loaded.findLast((loaded) => loaded.kind === "match" && loaded.name === implied);
      if (owner === undefined && implied !== null) {
        owner = { kind: "match", name: implied, options: [] };
        this.loaded.push(owner);
      }
    } else if (option.name === "--comment") {
      owner = this.loaded.findLast((loaded) => loaded.name === "comment");
    }
    if (owner === undefined) {
      this.broken(`option ${option.name} belongs to no match or target of the rule`);
      return;
    }
    owner.options.push(option);
  }

  private impliedMatch(): string | null {
    if (this.protocol === null || this.protocol.invert)
      return (
        this.loaded.findLast(({ name }) => /^(tcp|udp|sctp|udplite|dccp|icmp6?)$/.test(name))?.name ?? null
      );
    return protocolMatches[this.protocol.value] ?? null;
  }

  private addresses(text: string, invert: boolean): (AddressSpec | null)[] {
    const specs: AddressSpec[] = [];
    for (const part of text.split(",")) {
      const spec = parseAddressSpec(part, this.context.family, invert);
      if (spec === null) {
        this.broken(`${part} is not an IPv${this.context.family} address or network`);
        return [null];
      }
      specs.push(spec);
    }
    if (invert && specs.length > 1) {
      this.broken(`! with a list of addresses (${text}) is refused by iptables`);
      return [null];
    }
    // 0.0.0.0/0 says nothing; iptables-save leaves it out.
    if (specs.length === 1 && !invert && specs[0].mask.every((mask) => mask === 0)) return [null];
    return specs;
  }

  private device(text: string, invert: boolean): DeviceSpec | null {
    if (text === "" || text.length > 15) {
      this.broken(`${text} is not a device name`);
      return null;
    }
    // `+` alone is every device.
    if (text === "+" && !invert) return null;
    return text.endsWith("+")
      ? { name: text.slice(0, -1), prefix: true, invert }
      : { name: text, prefix: false, invert };
  }

  private matches(): Match[] {
    const matches: Match[] = [];
    for (const { kind, name, options } of this.loaded) {
      if (kind !== "match") continue;
      if (!isKnownMatch(name)) {
        matches.push(unmodelled(name, options));
        this.faults.push(`match ${name} is not modelled; a packet that reaches this rule is undecided`);
        continue;
      }
      const match = parseMatch(name, options, this.context.family);
      if (typeof match === "string") this.broken(match);
      else matches.push(match);
      if (typeof match !== "string" && match.kind === "unmodelled") {
        this.faults.push(
          `${match.text}: an option is not modelled; a packet that reaches this rule is undecided`,
        );
      }
      if (
        typeof match !== "string" &&
        match.kind === "ports" &&
        (this.protocol?.value !== match.protocol || this.protocol.invert)
      ) {
        this.broken(`match ${name} needs -p ${name}`);
      }
      if (typeof match !== "string" && match.kind === "multiport" && !this.hasProtocol(6, 17, 132, 136, 33))
        this.broken("match multiport needs -p tcp, udp, udplite, sctp or dccp");
    }
    const fragment: Match[] = this.fragment === null ? [] : [{ kind: "extension", extension: this.fragment }];
    return [...fragment, ...matches, ...this.extra];
  }

  private target(): Target {
    const targets = this.loaded.filter(({ kind }) => kind !== "match");
    if (targets.length === 0) return { kind: "none" };
    if (targets.length > 1) {
      this.broken("a rule has one target");
      return { kind: "unmodelled", text: targets[0].name };
    }
    const { kind, name, options } = targets[0];
    if (this.context.isChain(name) || kind === "goto") {
      if (options.length > 0) this.broken(`a jump to ${name} takes no options`);
      return { kind: "jump", chain: name, goto: kind === "goto" };
    }
    const target = parseTarget(name, options, this.context.family, this.context.table);
    if (typeof target === "string") {
      this.broken(target);
      return { kind: "unmodelled", text: name };
    }
    // The targets' own checks of the rule they stand in (reject_tg_check, tcpmss_tg4_check, libxt_nat).
    if (target.kind === "reject" && target.with === "tcp-reset" && !this.hasProtocol(6))
      this.broken("REJECT --reject-with tcp-reset needs -p tcp");
    if (target.kind === "extension" && target.extension.text.startsWith("TCPMSS") && !this.hasProtocol(6))
      this.broken("TCPMSS needs -p tcp");
    if (target.kind === "nat" && target.range.minPort !== 0 && this.protocol === null)
      this.broken(`${target.name} with a port needs -p`);
    if (target.kind === "unmodelled")
      this.faults.push(`target ${target.text} is not modelled; a packet that reaches this rule is undecided`);
    return target;
  }

  /** Whether -p names one of these, uninverted. */
  private hasProtocol(...protocols: number[]): boolean {
    return this.protocol !== null && !this.protocol.invert && protocols.includes(this.protocol.value);
  }

  /** Something that iptables itself would refuse: the rule stays as one that is never decided. */
  private broken(what: string): void {
    this.faults.push(what);
    this.extra.push({ kind: "unmodelled", text: what });
  }
}
