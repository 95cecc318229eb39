/**
 * Reads what `ip` says of a node: `ip -j -d link`, `ip -j addr`, `ip -j route show table all` (also with -4,
 * -6) and `ip -j neigh`, each in a text of its own, or together in one object with a list for each, such as
 * `{"link": […], "addr": […], "route4": […]}`. The same entry given twice counts once.
 * The output of `sysctl -a` is read too.
 *
 * The kind of a device follows from what the node itself uses it for:
 *   loopback  its LOOPBACK flag;
 *   tunnel    its link kind (vxlan, geneve, ipip …), or, without `-d`, a name only CNIs use (flannel.1);
 *   pod       a host route without gateway leads through it to a pod of the cluster;
 *   uplink    a default route leads through it; where there is none, it holds an address of the Node object;
 *   other     the rest.
 *
 * Source: iproute2's JSON output (ip/ipaddress.c, ip/iproute.c, ip/ipneigh.c).
 */
import { parseAddress } from "./address.js";
import type { Device, Neighbour, NodeFacts, Pod, Route } from "./cluster.js";
import { readDocuments } from "./documents.js";
import { IpEntry, type IpObject } from "./ip-json.js";
import type { ManifestObjects } from "./manifests.js";
import type { Problem } from "./problem.js";
import type { NamedText } from "./source-text.js";
import { VLAN_8021AD, VLAN_8021Q } from "./vlans.js";

export interface ReadFacts {
  /** null where the texts describe no device at all. */
  readonly facts: NodeFacts | null;
  readonly problems: readonly Problem[];
}

const TUNNEL_KINDS = new Set(["vxlan", "geneve", "ipip", "sit", "gre", "gretap", "ip6gre", "ip6gretap",
  "ip6tnl", "wireguard", "vti", "vti6", "xfrm", "bareudp"]);
const TUNNEL_NAMES =
  /^(flannel\.\d+|cilium_vxlan|cilium_geneve|vxlan\.calico|vxlan-v6\.calico|tunl0|wireguard\.cali)$/;
const ROUTE_TYPES = ["unicast", "local", "broadcast", "multicast", "anycast", "unreachable", "prohibit",
  "blackhole", "throw"] as const;
/** As `ip -d` names them. */
const VLAN_PROTOCOLS: Readonly<Record<string, number>> = { "802.1Q": VLAN_8021Q, "802.1ad": VLAN_8021AD };
/** `net.ipv4.ip_forward = 1`, as `sysctl -a` prints. */
const SYSCTL_LINE = /^\s*([\w-]+(?:[./][\w@-]+)+)[ \t]*=[ \t]*(.*?)[ \t]*$/m;
/** flannel's defaults: Backend.VNI and Backend.Port of its net-conf. */
const FLANNEL = { vni: 1, port: 8472 };

/**
 * @param nodeName the node the texts are of
 * @param objects the cluster, for its pods and the node's addresses
 */
export function readNodeFacts(sources: readonly NamedText[], nodeName: string, objects: ManifestObjects)
  : ReadFacts {
  const reader = new FactsReader(nodeName, objects);
  for (const source of sources) {
    if (!/^\s*[[{]/.test(source.text) && SYSCTL_LINE.test(source.text)) {
      reader.readSysctls(source);
      continue;
    }
    const documents = readDocuments(source);
    reader.problems.push(...documents.problems);
    for (const item of documents.items) reader.read(new IpEntry(item.value, [], item.positions));
  }
  return { facts: reader.facts(), problems: reader.problems };
}

/** A link while its outputs are joined. */
interface Link {
  readonly index: number;
  name: string;
  mac: string;
  mtu: number;
  flags: readonly string[];
  infoKind: string;
  infoData: IpObject | null;
  /** Name of the device it stands on, in this network namespace. */
  lower: string;
  /** In a bridge or bond, which takes tagged frames that no VLAN device took. */
  enslaved: boolean;
  readonly addresses: Map<string, Device["addresses"][number]>;
}

class FactsReader {
  readonly problems: Problem[] = [];
  private readonly links = new Map<number, Link>();
  private readonly routeEntries: IpEntry[] = [];
  private readonly neighbourEntries: IpEntry[] = [];
  private readonly seen = new Set<string>();
  private readonly sysctls = new Map<string, string>();
  private readonly podByAddress: ReadonlyMap<string, Pod>;
  private readonly nodeAddresses: ReadonlySet<string>;

  constructor(private readonly nodeName: string, objects: ManifestObjects) {
    this.podByAddress = podAddresses(objects.pods, nodeName);
    const node = objects.nodes.find((one) => one.name === nodeName);
    this.nodeAddresses = new Set(node?.addresses.map((one) => one.address.text));
  }

  /** Sorts the entries of an output: links and addresses are joined now, the others need all of them. */
  read(root: IpEntry): void {
    const lists = root.isList() ? [root] : root.children().filter((child) => child.isList());
    if (lists.length === 0) {
      this.error(root, "found no list", "the output of `ip -j link`, `addr`, `route` or `neigh`");
    }
    for (const list of lists) for (const entry of list.children()) this.sort(entry);
  }

  readSysctls(source: NamedText): void {
    source.text.split(/\r?\n/).forEach((text, index) => {
      if (text.trim() === "") return;
      const match = SYSCTL_LINE.exec(text);
      if (match !== null) this.sysctls.set(match[1].replaceAll("/", "."), match[2]);
      else this.problems.push({ where: { file: source.name, line: index + 1 }, severity: "error",
        what: `node ${this.nodeName}: found a line that is no setting, expected \`name = value\`` });
    });
  }

  private sort(entry: IpEntry): void {
    const key = entry.json();
    // `ip -j` prints an empty object for what its filter left out.
    if (entry.isEmpty() || this.seen.has(key)) return;
    this.seen.add(key);
    if (entry.has("ifname")) this.link(entry);
    else if (entry.has("dst") && entry.has("state")) this.neighbourEntries.push(entry);
    else if (entry.has("dst")) this.routeEntries.push(entry);
    else this.error(entry, "found what is no link, address, route or neighbour", "`ip -j` output");
  }

  facts(): NodeFacts | null {
    if (this.links.size === 0) {
      this.problems.push({ where: null, severity: "error",
        what: `nothing read for node ${this.nodeName} has devices; expected the output of \`ip -j -d link\` `
          + "or `ip -j addr`" });
      return null;
    }
    const byName = new Map([...this.links.values()].map((link) => [link.name, link]));
    const routes = this.routeEntries.map((entry) => this.route(entry, byName))
      .filter((route) => route !== null);
    const neighbours = this.neighbourEntries.map((entry) => this.neighbour(entry, byName))
      .filter((neighbour) => neighbour !== null);
    const links = [...this.links.values()].sort((a, b) => a.index - b.index);
    const devices = links.map((link) => this.device(link, routes));
    this.nameUplinks(devices);
    return { devices, routes, neighbours, sysctls: Object.fromEntries(this.sysctls), source: "read" };
  }

  // ---- links ----

  private link(entry: IpEntry): void {
    const index = entry.number("ifindex");
    const name = entry.text("ifname");
    if (index === null || name === null) {
      this.error(entry, "found a link without ifindex or ifname", "both");
      return;
    }
    const link = this.links.get(index) ?? newLink(index, name);
    this.links.set(index, link);
    link.mac = entry.text("address") ?? link.mac;
    link.mtu = entry.number("mtu") ?? link.mtu;
    link.flags = entry.texts("flags") ?? link.flags;
    const info = entry.child("linkinfo");
    link.infoKind = info?.text("info_kind") ?? link.infoKind;
    link.infoData = info?.child("info_data")?.object() ?? link.infoData;
    if (!entry.has("link_netnsid")) link.lower = entry.text("link") ?? link.lower;
    link.enslaved ||= entry.has("master");
    for (const one of entry.child("addr_info")?.children() ?? []) {
      const address = parseAddress(one.text("local") ?? "");
      const length = one.number("prefixlen");
      if (one.isEmpty()) continue;
      if (address === null || length === null) this.error(one, "found no local and prefixlen", "both");
      else link.addresses.set(`${address.text}/${length}`, { address, length });
    }
  }

  private device(link: Link, routes: readonly Route[]): Device {
    const pod = this.podBehind(link, routes);
    const kind = this.kindOf(link, routes, pod);
    return {
      index: link.index, name: link.name, kind, mac: link.mac, mtu: link.mtu,
      up: link.flags.includes("UP"),
      addresses: [...link.addresses.values()],
      pod: kind === "pod" ? pod : null,
      vxlan: kind === "tunnel" ? this.vxlan(link, routes) : null,
      ...this.vlan(link),
    };
  }

  /** Of what `ip` was asked without `-d`, a device that stands on another may be a VLAN device or something else. */
  private vlan(link: Link): Pick<Device, "vlan" | "vlansUnknown"> {
    const all = [...this.links.values()];
    const hidden = link.enslaved || all.some((one) => one.lower === link.name && one.infoKind === "");
    const parent = all.find((one) => one.name === link.lower)?.index;
    const id = link.infoData?.["id"];
    const protocol = VLAN_PROTOCOLS[String(link.infoData?.["protocol"] ?? "")];
    const isVlan = link.infoKind === "vlan" && parent !== undefined && typeof id === "number" && protocol !== undefined;
    return { ...(isVlan ? { vlan: { parent, id, protocol } } : {}), ...(hidden ? { vlansUnknown: true } : {}) };
  }

  private kindOf(link: Link, routes: readonly Route[], pod: string | null): Device["kind"] {
    if (link.flags.includes("LOOPBACK") || link.name === "lo") return "loopback";
    if (TUNNEL_KINDS.has(link.infoKind) || TUNNEL_NAMES.test(link.name)) return "tunnel";
    if (pod !== null) return "pod";
    return routes.some((route) => isDefault(route) && route.device === link.index) ? "uplink" : "other";
  }

  /** The pod a host route without gateway leads to. */
  private podBehind(link: Link, routes: readonly Route[]): string | null {
    for (const route of routes) {
      if (route.device !== link.index || route.via !== null || route.type !== "unicast") continue;
      if (route.destination.length !== route.destination.address.bytes.length * 8) continue;
      const pod = this.podByAddress.get(route.destination.address.text);
      if (pod !== undefined) return `${pod.namespace}/${pod.name}`;
    }
    return null;
  }

  private vxlan(link: Link, routes: readonly Route[]): Device["vxlan"] {
    const data = link.infoData;
    const vni = data?.["id"];
    const port = data?.["port"];
    if (typeof vni === "number" && typeof port === "number") {
      const local = data?.["local"] ?? data?.["local6"];
      return { vni, port, local: typeof local === "string" ? parseAddress(local) : null };
    }
    if (!link.name.startsWith("flannel.")) return null;
    this.problems.push({ where: null, severity: "warning",
      what: `device ${link.name} of node ${this.nodeName} has no VXLAN details, so flannel's defaults are `
        + `assumed (VNI ${FLANNEL.vni}, port ${FLANNEL.port}); expected \`ip -j -d link\`` });
    const uplink = routes.find((route) => isDefault(route))?.device ?? null;
    const addresses = uplink === null ? [] : [...this.links.get(uplink)?.addresses.values() ?? []];
    return { ...FLANNEL, local: addresses.find((one) => one.address.family === 4)?.address ?? null };
  }

  /** Without any default route, the device that holds the Node's address leads to the other nodes. */
  private nameUplinks(devices: Device[]): void {
    if (devices.some((device) => device.kind === "uplink")) return;
    devices.forEach((device, index) => {
      const holds = device.addresses.some((one) => this.nodeAddresses.has(one.address.text));
      if (device.kind === "other" && holds) devices[index] = { ...device, kind: "uplink" };
    });
    if (devices.some((device) => device.kind === "uplink")) return;
    this.problems.push({ where: null, severity: "error",
      what: `no device of node ${this.nodeName} leads out of it; expected a default route, or the Node's `
        + "address on a device" });
  }

  // ---- routes and neighbours ----

  private route(entry: IpEntry, links: ReadonlyMap<string, Link>): Route | null {
    const type = ROUTE_TYPES.find((one) => one === (entry.text("type") ?? "unicast"));
    const hops = entry.child("nexthops")?.children() ?? [];
    if (hops.length > 1) this.warn(entry, "found a route with several next hops, of which the first is used");
    const hop = hops[0] ?? entry;
    const viaText = hop.text("gateway") ?? hop.child("via")?.text("host") ?? null;
    const via = viaText === null ? null : parseAddress(viaText);
    // Only IPv6 routes have a router preference.
    const destination = entry.prefix("dst", via?.family ?? (entry.has("pref") ? 6 : 4));
    if (type === undefined || destination === null || (viaText !== null && via === null)) {
      this.error(entry, `found ${entry.json()}`, "a route with an address or prefix as dst");
      return null;
    }
    const device = this.deviceOf(hop, links);
    if (device === undefined) return null;
    return {
      destination, table: entry.text("table") ?? "main", type, via, device,
      prefSrc: parseAddress(entry.text("prefsrc") ?? ""),
      metric: entry.number("metric") ?? 0,
      mtu: entry.child("metrics")?.children()[0]?.number("mtu") ?? null,
    };
  }

  private neighbour(entry: IpEntry, links: ReadonlyMap<string, Link>): Neighbour | null {
    const address = parseAddress(entry.text("dst") ?? "");
    const mac = entry.text("lladdr");
    const device = this.deviceOf(entry, links);
    if (address === null) this.error(entry, `found ${entry.json()}`, "a neighbour with an address as dst");
    // An entry without link address is one the kernel has not resolved.
    return address === null || mac === null || device === undefined || device === null ? null
      : { address, device, mac };
  }

  /** ifindex; null where the entry names no device; undefined, with a Problem, where there is none such. */
  private deviceOf(entry: IpEntry, links: ReadonlyMap<string, Link>): number | null | undefined {
    const name = entry.text("dev");
    if (name === null) return null;
    const link = links.get(name);
    if (link === undefined) this.error(entry, `found device ${name}`, "a device among the links");
    return link?.index;
  }

  private error(entry: IpEntry, found: string, expected: string): void {
    this.problems.push({ where: entry.where(), severity: "error",
      what: `node ${this.nodeName}: ${found}, expected ${expected}; it is not used` });
  }

  private warn(entry: IpEntry, what: string): void {
    this.problems.push({ where: entry.where(), severity: "warning", what: `node ${this.nodeName}: ${what}` });
  }
}

function newLink(index: number, name: string): Link {
  return { index, name, mac: "", mtu: 1500, flags: [], infoKind: "", infoData: null, lower: "", enslaved: false, addresses: new Map() };
}

function isDefault(route: Route): boolean {
  return route.destination.length === 0 && route.type === "unicast" && route.table === "main";
}

/** Pods of this node with an address of their own. */
function podAddresses(pods: readonly Pod[], nodeName: string): Map<string, Pod> {
  const byAddress = new Map<string, Pod>();
  for (const pod of pods) {
    const ended = pod.phase === "Succeeded" || pod.phase === "Failed";
    if (pod.hostNetwork || ended || pod.nodeName !== nodeName) continue;
    for (const ip of pod.ips) byAddress.set(ip.text, pod);
  }
  return byAddress;
}
