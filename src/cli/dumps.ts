/**
 * Dumps of nodes' rules and sets among the inputs: which node and family each is of, and whether its node is one
 * whose rules can stand in for generated ones.
 */
import { type Family, parseAddress } from "../cluster/address.js";
import type { Cluster } from "../cluster/cluster.js";
import type { Problem } from "../cluster/problem.js";
import { dumpKind } from "../iptables/dump/kind.js";
import type { DumpText, NodeDump } from "../iptables/planeNode.js";
import type { Profile } from "../planes.js";

/** A dump among the inputs, before the nodes are known. */
export interface FoundDump {
  readonly file: string;
  readonly text: DumpText;
  /** null: a set dump. */
  readonly family: Family | null;
  /** The node the user said; null: told by the file's name. */
  readonly node: string | null;
}

export interface DumpsFound {
  readonly dumps: readonly FoundDump[];
  readonly problems: readonly Problem[];
  /** Why the file cannot be used, in a sentence. */
  readonly refused: string | null;
}

/** The dumps in a text; none where it is something else. */
export function findDumps(file: string, text: string, node: string | null): DumpsFound {
  const kind = dumpKind(file, text);
  return {
    dumps: [...kind.rules.map((one) => ({ file, text: { file, text: one.text }, family: one.family, node })),
      ...kind.sets.map((one) => ({ file, text: one, family: null, node }))],
    problems: kind.problems, refused: kind.refused,
  };
}

/** By node. One of a kind is used for a node; a second is an error, because nothing says which of them is true. */
export function dumpsByNode(found: readonly FoundDump[], nodes: readonly string[], nodeOf: (file: string) => string | null,
  unusable: (file: string, what: string) => void): Map<string, NodeDump> {
  const byNode = new Map<string, NodeDump>();
  for (const { file, text, family, node: said } of found) {
    const node = said ?? nodeOf(file);
    if (node === null || !nodes.includes(node)) {
      unusable(file, node === null
        ? "rules or sets of an unknown node; expected a file name that begins with a node's name, or --rules node=FILE"
        : `no node ${node} in the manifests; the nodes are ${nodes.slice(0, 8).join(", ")}${nodes.length > 8 ? ", …" : ""}`);
      continue;
    }
    const before = byNode.get(node) ?? { v4: null, v6: null, sets: null };
    const kind = family === null ? "sets" : `v${family}` as const;
    const other = before[kind];
    if (other === null) byNode.set(node, { ...before, [kind]: text });
    else {
      const what = family === null ? "sets" : `IPv${family} rules`;
      unusable(file, `a second dump of the ${what} of ${node}; ${other.file} is the first`);
    }
  }
  return byNode;
}

export interface JudgedDumps {
  readonly usable: ReadonlyMap<string, NodeDump>;
  readonly problems: readonly Problem[];
  readonly refused: number;
}

/** Where no side is made of iptables rules. */
export function unusedDumps(dumps: ReadonlyMap<string, NodeDump>): JudgedDumps {
  const files = [...dumps.values()].flatMap((dump) => [dump.v4, dump.v6, dump.sets]).filter((one) => one !== null);
  return { usable: new Map(), refused: 0, problems: files.map(({ file }) => ({ where: { file, line: 0 }, severity: "warning",
    what: "a node's rules are not used: they stand in for generated ones where --current is kube-proxy" })) };
}

/**
 * Dumps that say how kube-proxy balances on their node. A node with Services and no chain of kube-proxy in its rules
 * has another mode or another program, and is refused: its Services would seem to lead nowhere.
 */
export function judgeDumps(dumps: ReadonlyMap<string, NodeDump>, cluster: Cluster, engine: Profile["engine"] | null): JudgedDumps {
  const problems: Problem[] = [];
  const usable = new Map<string, NodeDump>();
  let refused = 0;
  for (const [node, dump] of dumps) {
    let judged = dump;
    for (const family of [4, 6] as const) {
      const text = family === 4 ? dump.v4 : dump.v6;
      if (text === null) continue;
      const what = otherBalancer(text.text, cluster, family);
      if (what !== null) {
        problems.push({ where: { file: text.file, line: 0 }, severity: "error", what });
        refused++;
        judged = { ...judged, [`v${family}`]: null };
      } else if (/^:CILIUM_/m.test(text.text)) {
        problems.push({ where: { file: text.file, line: 0 }, severity: "warning",
          what: `holds Cilium's chains: ${node} is not a node of kube-proxy alone, and what its eBPF programs do is not judged`
            + " on this side" });
      }
      const absent = what === null ? absentServices(text.text, cluster, family) : null;
      if (absent !== null) problems.push({ where: { file: text.file, line: 0 }, severity: "error", what: absent });
      const other = engine === null ? null : otherEngine(text.text, engine);
      if (other !== null) {
        problems.push({ where: { file: text.file, line: 0 }, severity: "warning",
          what: `holds chains of ${other[0]}, so ${node} enforces NetworkPolicy by them; --current ${other[1]} says so` });
      }
    }
    usable.set(node, judged);
  }
  return { usable, problems, refused };
}

/** A policy engine whose chains are there while the profile names another or none. */
function otherEngine(text: string, engine: Profile["engine"]): readonly [name: string, profile: Profile["engine"]] | null {
  const engines = [[/^:AZURE-NPM/m, "Azure NPM", "kube-proxy+npm"], [/^:cali-/m, "Calico", "kube-proxy+calico"]] as const;
  const found = engines.find(([chains]) => chains.test(text));
  return found === undefined || found[2] === engine ? null : [found[1], found[2]];
}

/** Rules that know few of the cluster's Services are of another cluster, or of another time. */
function absentServices(text: string, cluster: Cluster, family: Family): string | null {
  if (!isWhole(text)) return null;
  const said = new Set([...text.matchAll(/ -d ([0-9a-fA-F.:]+)/g)].map((match) => parseAddress(match[1])?.text));
  const services = cluster.services.filter((service) => !service.headless && service.ports.length > 0);
  const asked = services.flatMap((service) => service.clusterIPs.filter((ip) => ip.family === family));
  const absent = asked.filter((ip) => !said.has(ip.text));
  if (absent.length * 2 <= asked.length) return null;
  return `${absent.length} of the cluster's ${asked.length} IPv${family} ClusterIPs are nowhere in these rules (${absent[0].text}, …):`
    + " a dump of another cluster or time? It is used";
}

/** Whether the last table of a dump has its end. */
function isWhole(text: string): boolean {
  return /^COMMIT\b/m.test(text.slice(Math.max(text.lastIndexOf("\n*"), 0)));
}

function otherBalancer(text: string, cluster: Cluster, family: Family): string | null {
  // Where the dump is cut off, the chain may stand in the rest; what is cut off is undecided.
  const balanced = cluster.services.some((service) => !service.headless && service.clusterIPs.some((ip) => ip.family === family));
  if (!balanced || !isWhole(text) || /^:KUBE-SERVICES\b/m.test(text)) return null;
  const who = /^:CILIUM_/m.test(text) ? "Cilium takes kube-proxy's place on this node"
    : "its kube-proxy is in nftables or IPVS mode, or something else takes its place";
  return `no chain KUBE-SERVICES, though the cluster has IPv${family} Services: ${who}, which iptables rules do not show;`
    + " this dump is not used";
}
