/**
 * `iptables-save`, `ip6tables-save` and `ipset save` under other addresses, devices and names; line for line. What is not known here
 * word by word makes the dump Unmappable: an option that is passed on unread may hold an address. Counters, marks, ports and the
 * order of rules stay.
 *
 * Sources: iptables-save(8), iptables-extensions(8), ipset(8).
 */
import type { Family } from "../cluster/address.js";
import { anonymiseComment, servicePortOf } from "./comments.js";
import type { ChainNames } from "./chains.js";
import type { Mapping } from "./mapping.js";
import { Unmappable } from "./shape.js";

const TOKEN = /"(?:[^"\\]|\\.)*"|\S+/g;
const TARGETS = new Set(("ACCEPT DROP RETURN QUEUE REJECT DNAT SNAT MASQUERADE REDIRECT NETMAP MARK CONNMARK CT NOTRACK LOG NFLOG NFQUEUE"
  + " TPROXY TRACE TCPMSS CHECKSUM CLASSIFY TOS DSCP TTL HL SET AUDIT").split(" "));
const MODULES = new Set(("comment tcp udp sctp icmp icmp6 ipv6icmp conntrack state mark connmark multiport addrtype statistic set recent"
  + " limit physdev socket rpfilter length ttl hl tos dscp mac iprange nfacct pkttype owner hashlimit tcpmss frag ah esp dccp u32"
  + " string").split(" "));
/** What stands behind an option. */
const ADDRESS = new Set(["-s", "-d", "--source", "--destination"]);
const TRANSLATED = new Set(["--to-destination", "--to-source", "--on-ip"]);
const RANGE = new Set(["--src-range", "--dst-range"]);
const DEVICE = new Set(["-i", "-o", "--in-interface", "--out-interface", "--physdev-in", "--physdev-out"]);
const LABEL = new Set(["--log-prefix", "--nflog-prefix", "--hashlimit-name", "--nfacct-name"]);
const SET = new Set(["--match-set", "--add-set", "--del-set", "--map-set"]);
const NUMBERS = new Set(("--dport --sport --dports --sports --ports --destination-ports --source-ports --destination-port --source-port"
  + " --mark --set-mark --set-xmark --or-mark --and-mark --xor-mark --save-mark --restore-mark --nfmask --ctmask --to-ports --on-port"
  + " --tproxy-mark --probability --every --packet --limit-burst --seconds --hitcount --rttl --length --ttl-eq --ttl-lt --ttl-gt --ttl-set"
  + " --ttl-dec --hl-eq --hl-set --tos --set-tos --dscp --set-dscp --set-mss --mss --zone --zone-orig --zone-reply --queue-num"
  + " --queue-balance --nflog-group --nflog-size --nflog-threshold --nflog-range --log-level --uid-owner --gid-owner --set-class --timeout"
  + " --hashlimit-burst --hashlimit-srcmask --hashlimit-dstmask --hashlimit-htable-size --hashlimit-htable-expire"
  + " --tcp-option").split(" "));
const PROTOCOL = /^(tcp|udp|udplite|sctp|icmp|icmpv6|ipv6-icmp|esp|ah|gre|dccp|igmp|ipencap|ipip|ipv6|vrrp|all|\d+)$/i;
const WORDS: Readonly<Record<string, RegExp>> = {
  "-p": PROTOCOL, "--protocol": PROTOCOL,
  "--ctstate": /^[A-Z,]{1,60}$/, "--state": /^[A-Z,]{1,60}$/, "--ctstatus": /^[A-Z_,]{1,60}$/, "--ctdir": /^(ORIGINAL|REPLY)$/,
  "--src-type": /^[A-Z]{1,20}$/, "--dst-type": /^[A-Z]{1,20}$/, "--reject-with": /^(icmp6?|tcp)-[a-z0-9-]{1,30}$/,
  "--mode": /^(random|nth)$/, "--mask": /^(255\.255\.255\.255|ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff|0x[0-9a-f]+)$/,
  "--icmp-type": /^([a-z-]{1,30}|\d+(\/\d+)?)$/, "--icmpv6-type": /^([a-z-]{1,30}|\d+(\/\d+)?)$/,
  "--limit": /^\d+\/[a-z]{1,6}$/, "--hashlimit-upto": /^\d+\/[a-z]{1,6}$/, "--hashlimit-above": /^\d+\/[a-z]{1,6}$/,
  "--hashlimit-mode": /^[a-z,]{1,40}$/, "--pkt-type": /^(unicast|broadcast|multicast)$/, "--chunk-types": /^(all|any|only)$/,
};
/** Counters of kube-proxy's (nfacct). */
const COUNTERS = /^(ct_state_invalid_dropped_pkts|iptables_ct_state_invalid_dropped_pkts|localhost_nps_accepted_pkts)$/;
/** Felix writes options at full length. */
const JUMPS = new Set(["-j", "-g", "--jump", "--goto"]);
/** Options with nothing behind them. */
const BARE = new Set(("! --random --random-fully --persistent --notrack --rcheck --set --reap --update --remove --rsource --rdest"
  + " --transparent --nowildcard --restore-skmark --physdev-is-bridged --physdev-is-in --physdev-is-out --loose --validmark"
  + " --accept-local --invert"
  + " --socket-exists --clamp-mss-to-pmtu --checksum-fill --limit-iface-in --limit-iface-out --fragment -f --save-mark --restore-mark"
  + " --exist --return-nomatch --update-counters --update-subcounters --log-tcp-sequence --log-tcp-options --log-ip-options --log-uid"
  + " --log-macdecode --queue-bypass --queue-cpu-fanout --syn").split(" "));
const NUMBER = /^(0x[0-9a-fA-F]+|\d+(\.\d{1,12})?)([:,/-](0x[0-9a-fA-F]+|\d+))*$/;

/** The rules of one family; a blank line for what is left out. */
export function anonymiseRules(text: string, family: Family, names: ChainNames, mapping: Mapping): string {
  const lines = text.split(/\r?\n/);
  learn(lines, names);
  const table = { chains: new Set<string>() };
  return lines.map((line, index) => ruleLine(line.trimEnd(), index + 1, family, table, names, mapping)).join("\n");
}

/** kube-proxy's chains, by the services that comments name and the endpoints that rules lead to. */
function learn(lines: readonly string[], names: ChainNames): void {
  const exists = new Set(lines.flatMap((line) => /^:(\S+) /.exec(line)?.[1] ?? []));
  const endpoints = new Map<string, Set<string>>();
  for (const line of lines) {
    const comment = /--comment ("(?:[^"\\]|\\.)*"|\S+)/.exec(line)?.[1];
    const portName = comment === undefined ? null : servicePortOf(unquoted(comment));
    if (portName === null) continue;
    const own = endpoints.get(portName) ?? new Set<string>();
    endpoints.set(portName, own);
    const to = / --to-destination (\S+)/.exec(line)?.[1];
    if (to !== undefined) own.add(to);
  }
  for (const [portName, own] of endpoints) {
    for (const protocol of ["TCP", "UDP", "SCTP"] as const) names.learn(portName, protocol, own, exists);
  }
}

function ruleLine(line: string, number: number, family: Family, table: { chains: Set<string> }, names: ChainNames, mapping: Mapping)
  : string {
  const unmappable = (expected: string): never => {
    throw new Unmappable(`line ${number}`, expected);
  };
  if (line === "" || line === "COMMIT") return line;
  if (line.startsWith("#")) return commentLine(line, family);
  if (/^\*(raw|mangle|nat|filter|security)$/.test(line)) {
    table.chains = new Set();
    return line;
  }
  const chain = /^:(\S+) (ACCEPT|DROP|-)( \[\d+:\d+\])?$/.exec(line);
  if (chain !== null) {
    table.chains.add(chain[1]);
    return `:${names.chain(chain[1])} ${chain[2]}${chain[3] ?? ""}`;
  }
  const rule = /^(\[\d+:\d+\] )?-A (\S+)(.*)$/.exec(line);
  if (rule === null) return unmappable("what iptables-save prints");
  const words = rule[3].match(TOKEN) ?? [];
  const out = [`${rule[1] ?? ""}-A ${names.chain(rule[2])}`];
  for (let at = 0; at < words.length;) {
    const option = words[at++];
    out.push(option);
    if (BARE.has(option) && !(NUMBERS.has(option) && /^[^-!]/.test(words[at] ?? "-"))) continue;
    const value = words[at++] ?? unmappable(`a value behind ${option.replace(/[^a-z-]/gi, "")}`);
    const flags = (): string => (/^(src|dst)(,(src|dst)){0,5}$/.test(words[at] ?? "") ? words[at++]
      : unmappable("src and dst behind a set"));
    if (ADDRESS.has(option)) out.push(mapping.addressText(value) ?? unmappable("an address or a CIDR"));
    else if (TRANSLATED.has(option)) out.push(translated(value, names, mapping) ?? unmappable("an address and a port"));
    else if (RANGE.has(option)) out.push(range(value, mapping) ?? unmappable("one address; ranges that are no CIDR are not kept together"));
    else if (DEVICE.has(option)) out.push(device(value, mapping) ?? unmappable("a device's name that programs give"));
    else if (option === "--mac-source") out.push(mapping.macText(value.toLowerCase()) ?? unmappable("a link address"));
    else if (option === "--comment") out.push(quoted(anonymiseComment(unquoted(value), names)));
    else if (LABEL.has(option)) out.push(COUNTERS.test(value) ? value : `x${names.word("label", unquoted(value), 16)}`);
    else if (SET.has(option)) out.push(names.set(value), flags());
    else if (option === "--name") out.push(names.chain(value));
    else if (option === "-m" || option === "--match") out.push(MODULES.has(value) ? value : unmappable("a match that is known here"));
    else if (JUMPS.has(option)) {
      if (table.chains.has(value)) out.push(names.chain(value));
      else out.push(TARGETS.has(value) ? value : unmappable("a target that is known here, or a chain of the table"));
    } else if (option === "--tcp-flags") out.push(tcpFlags(value, words[at++] ?? "") ?? unmappable("TCP flags"));
    else if (NUMBERS.has(option)) out.push(NUMBER.test(value) && !/\d+\.\d+\.\d/.test(value) ? value : unmappable("a number"));
    else out.push((WORDS[option] as RegExp | undefined)?.test(value) === true ? value : unmappable("options that are known here"));
  }
  return out.join(" ");
}

function commentLine(line: string, family: Family): string {
  if (/^# Generated by /.test(line)) {
    return `# Generated by ip${family === 6 ? "6" : ""}tables-save${line.includes("nf_tables") ? " (nf_tables)" : ""}`;
  }
  const table = /^# Table [`'"]?(raw|mangle|nat|filter|security)[`'"]? is incompatible/.exec(line);
  if (table !== null) return `# Table \`${table[1]}' is incompatible`;
  return /^# Warning: ip6?tables-legacy tables present/.exec(line)?.[0] ?? "";
}

/** `ip`, `ip:port`, `ip:port-port`, `[ip]:port`, `:port`. */
function translated(text: string, names: ChainNames, mapping: Mapping): string | null {
  const range6 = /^\[?([0-9a-f:.]+)\]?(:\d+(?:-\d+)?(?:\/\d+)?)?$/i.exec(text);
  const whole = mapping.addressText(text);
  if (whole !== null) return whole;
  if (/^:\d+(-\d+)?$/.test(text)) return text;
  const plain = names.endpoint(text);
  if (plain !== null || range6 === null) return plain;
  const [, address, ports] = /^(\[[^\]]+\]|[\d.]+)(:\d+-\d+(?:\/\d+)?)$/.exec(text) ?? [];
  const mapped = address === undefined ? null : mapping.addressText(address.replace(/[[\]]/g, ""));
  return mapped === null ? null : `${address.startsWith("[") ? `[${mapped}]` : mapped}${ports}`;
}

function range(text: string, mapping: Mapping): string | null {
  const [first, last = first, ...more] = text.split("-");
  const mapped = mapping.addressText(first);
  return first !== last || more.length > 0 || mapped === null ? null : `${mapped}-${mapped}`;
}

function device(text: string, mapping: Mapping): string | null {
  if (!text.endsWith("+")) return mapping.device(text);
  const stem = text.slice(0, -1);
  return stem === "" || mapping.keepsStem(stem) ? text : null;
}

function tcpFlags(mask: string, set: string): string | null {
  const flags = /^(ALL|NONE|(FIN|SYN|RST|PSH|ACK|URG)(,(FIN|SYN|RST|PSH|ACK|URG))*)$/;
  return flags.test(mask) && flags.test(set) ? `${mask} ${set}` : null;
}

function unquoted(text: string): string {
  return text.startsWith('"') ? text.slice(1, -1) : text;
}

function quoted(text: string): string {
  return /\s|"/.test(text) ? `"${text}"` : text;
}

const SET_TYPE = /^(hash|bitmap|list):((ip|net|port|mac|iface|mark|set)(,(ip|net|port|mac|iface|mark))*)$/;

/** Sets and their entries. */
export function anonymiseSets(text: string, names: ChainNames, mapping: Mapping): string {
  const types = new Map<string, readonly string[]>();
  return text.split(/\r?\n/).map((line, index) => {
    const unmappable = (expected: string): never => {
      throw new Unmappable(`line ${index + 1}`, expected);
    };
    const words: readonly string[] = line.match(TOKEN) ?? [];
    if (words.length === 0 || words[0].startsWith("#")) return "";
    const [verb, name, subject = ""] = words;
    if (verb !== "create" && verb !== "add") return unmappable("what ipset save prints");
    const type = verb === "create" ? SET_TYPE.exec(subject) : null;
    if (type !== null) types.set(name, type[2].split(","));
    const parts: readonly string[] = types.get(name) ?? unmappable("a set of a type that is known");
    const what = verb === "create" ? subject : element(subject, parts, names, mapping) ?? unmappable("an entry of the set's type");
    return [verb, names.set(name), what, ...extensions(words.slice(3), names, mapping, unmappable)].join(" ");
  }).join("\n");
}

function element(text: string, parts: readonly string[], names: ChainNames, mapping: Mapping): string | null {
  const values = text.split(",");
  if (values.length !== parts.length) return null;
  const mapped = values.map((value, at) => {
    switch (parts[at]) {
      case "ip": case "net": return mapping.addressText(value);
      case "mac": return mapping.macText(value.toLowerCase());
      case "set": return names.set(value);
      case "iface": {
        const [, side, own] = /^(physdev:)?(.+)$/.exec(value) ?? [];
        return `${side ?? ""}${mapping.device(own)}`;
      }
      case "mark": return /^0x[0-9a-f]+$|^\d+$/.test(value) ? value : null;
      default: return /^((tcp|udp|udplite|sctp|icmp|icmpv6|\d+):)?[a-z0-9/-]{1,40}$/.test(value) ? value : null;
    }
  });
  return mapped.includes(null) ? null : mapped.join(",");
}

function extensions(words: readonly string[], names: ChainNames, mapping: Mapping, unmappable: (expected: string) => never): string[] {
  const out: string[] = [];
  for (let at = 0; at < words.length; at++) {
    const word = words[at];
    out.push(word);
    if (/^(counters|skbinfo|forceadd|nomatch)$/.test(word)) continue;
    // Of a set's definition the word stands alone.
    if (word === "comment" && (words[at + 1] === undefined || !words[at + 1].startsWith('"'))) continue;
    const value = words[++at] ?? unmappable("a value behind an option of a set");
    if (word === "comment") out.push(`"x${names.word("comment", value, 16)}"`);
    else if (word === "family") out.push(/^inet6?$/.test(value) ? value : unmappable("a family"));
    else if (word === "range") {
      out.push(/^\d+(-\d+)?$/.test(value) ? value : mapping.addressText(value) ?? unmappable("a range that is a CIDR, or of ports"));
    } else if (/^(hashsize|maxelem|timeout|netmask|size|bucketsize|initval|markmask|packets|bytes|skbmark|skbprio|skbqueue)$/.test(word)) {
      out.push(/^(0x[0-9a-f]+|\d+)([/:](0x)?[0-9a-f]+)?$/.test(value) ? value : unmappable("a number"));
    } else unmappable("options of a set that are known here");
  }
  return out;
}

/** Sets that rules name. */
export function setsNamed(rules: string): Set<string> {
  return new Set([...rules.matchAll(/ --(?:match|add|del|map)-set (\S+)/g)].map((match) => match[1]));
}
