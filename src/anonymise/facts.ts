/** Node facts (`ip -j`, `sysctl -a`) and conntrack's lines under other addresses and device names. */
import { readDocuments } from "../cluster/documents.js";
import type { Mapping } from "./mapping.js";
import { address, asObject, device, fields, type Json, list, mac, plain, type Shape, text, Unmappable } from "./shape.js";

/** Words of the kernel's own: flags, states, kinds, scopes, tables. */
const word = text((value) => (/^[A-Za-z0-9_-]{1,20}$/.test(value) ? value : null), "a word of the kernel");
const flags = list(text((value) => (/^[A-Z0-9_-]{1,20}$/.test(value) ? value : null), "flags"));
const table: Shape = text((value, mapping) => (/^(main|local|default|\d+)$/.test(value) ? value : mapping.name(value)));
/** `default` is what `ip` prints for everything. */
const destination = text((value, mapping) => (value === "default" ? value : mapping.addressText(value)), "an address or a CIDR");
const via = fields({ family: word, host: address });
const prefSrc = address;
const tuple = { id: plain, port: plain, local: address, local6: address };

const entry = fields({
  ifindex: plain, type: word, dst: destination, ifname: device, flags, mtu: plain, address: mac, broadcast: mac,
  linkinfo: fields({ info_kind: word, info_data: fields(tuple) }),
  addr_info: list(fields({ family: word, local: address, prefixlen: plain, scope: word })),
  gateway: address, via, dev: device, table, prefsrc: prefSrc, metric: plain, metrics: list(fields({ mtu: plain })),
  nexthops: list(fields({ gateway: address, via, dev: device })), pref: word, protocol: word, scope: word, lladdr: mac, state: list(word),
});

/** The lists of one output, or of several under the names that the reader knows. */
export function anonymiseIpJson(file: { readonly name: string; readonly text: string }, mapping: Mapping): string {
  const { items, problems } = readDocuments(file);
  if (problems.length > 0) throw new Unmappable(`line ${problems[0].where?.line ?? 0}`, "the output of `ip -j`");
  return items.map(({ value }) => `${JSON.stringify(output(value, mapping))}\n`).join("");
}

function output(value: unknown, mapping: Mapping): unknown {
  if (Array.isArray(value)) return list(entry)(value, mapping, "entries");
  const lists = Object.entries(asObject(value, "output"))
    .filter(([key, one]) => /^(link|addr|route[46]?|neigh[46]?)$/.test(key) && Array.isArray(one));
  return Object.fromEntries(lists.map(([key, one]) => [key, list(entry)(one, mapping, key)])) as Json;
}

const DEVICE_SYSCTL = /^(net\.ipv[46]\.(?:conf|neigh)\.)(.+)(\.[a-z0-9_]+)$/;

/** Settings of the network that are numbers; others are dropped. */
export function anonymiseSysctls(content: string, mapping: Mapping): string {
  const kept = content.split(/\r?\n/).flatMap((line) => {
    const match = /^\s*([\w@./-]+)[ \t]*=[ \t]*([-\d\t ]*)$/.exec(line);
    const setting = match === null ? "" : match[1].includes(".") ? match[1] : match[1].replaceAll("/", ".");
    if (match === null || !/^net\.(ipv[46]|netfilter|bridge|core)\./.test(setting)) return [];
    const named = DEVICE_SYSCTL.exec(setting);
    if (named === null) return /^[a-z0-9_.]+$/.test(setting) ? [`${setting} = ${match[2]}`] : [];
    const [, head, called, tail] = named;
    // A dot in a device's name is printed as a slash.
    const own = called === "all" || called === "default" ? called : mapping.device(called.replaceAll("/", ".")).replaceAll(".", "/");
    return [`${head}${own}${tail} = ${match[2]}`];
  });
  return kept.length === 0 ? "" : `${kept.join("\n")}\n`;
}

const CONNTRACK_WORD = new RegExp("^(\\[\\d+\\.\\d{1,9}\\s*\\]|\\[[A-Z_]+\\]|ipv[46]|tcp|udp|udplite|icmp|icmpv6|sctp|dccp|gre|unknown"
  + "|[A-Z_0-9]{1,20}|\\d{1,20})$");
const CONNTRACK_NUMBER = new RegExp("^(sport|dport|type|code|id|packets|bytes|mark|use|zone|zone-orig|zone-reply|portid|srckey|dstkey"
  + "|delta-time)=(0x[0-9a-f]+|\\d+)$");

/** Lines of `conntrack -E` and `-L`. A line with anything else in it cannot be mapped; process names are left out. */
export function anonymiseConntrack(content: string, mapping: Mapping): string {
  return content.split("\n").map((line, index) => {
    if (line.startsWith("conntrack v")) return "";
    return line.split(/(\s+)/).map((one, at) => {
      if (at % 2 === 1 || one === "" || CONNTRACK_WORD.test(one) || CONNTRACK_NUMBER.test(one)) return one;
      const match = /^(src|dst)=(.+)$/.exec(one);
      const mapped = match === null ? null : mapping.addressText(match[2]);
      if (/^(progname|secctx|helper|labels)=/.test(one)) return "";
      if (mapped === null) throw new Unmappable(`line ${index + 1}`, "what conntrack -E or -L prints");
      return `${match?.[1]}=${mapped}`;
    }).join("").trimEnd();
  }).join("\n");
}
