/**
 * The IP sets that Azure NPM keeps on a node: of namespaces, of labels of pods and namespaces, of named ports, and what
 * each policy needs for its own.
 *
 * A pod is a member while it has an IPv4 address as its first, is not on the host's network and has not ended. NPM
 * does not ask whether it runs: a pending pod with an address is a member too. Every pod of the cluster is in the sets
 * of every node; with NPM Lite the node's own are.
 *
 * Source: Azure/azure-container-networking npm/pkg/controlplane/controllers/v2/podController.go,
 * namespaceController.go, npm/pkg/dataplane/ipsets/ipsetmanager_linux.go.
 */
import type { Cluster, Pod } from "../../cluster/cluster.js";
import type { NpmConfig } from "./config.js";
import { ALL_NAMESPACES, hashedSetName, namedPortSet, namespaceLabelSet, namespaceSet, type NpmNaming, podLabelSet,
  type SetName } from "./names.js";
import type { SetMatch } from "./selectors.js";
import type { NpmPolicy } from "./translate.js";

/** A set as it is in the kernel. */
export interface NpmSet {
  readonly name: SetName;
  readonly hashed: string;
  /** Addresses, `address,protocol:port`, blocks, or hashed names; sorted. */
  readonly members: readonly string[];
}

/**
 * All sets, those with addresses before the lists of them, each part sorted by readable name.
 *
 * @param node the node whose pods are known where NPM Lite is on
 */
export function npmSetsOf(cluster: Cluster, policies: readonly NpmPolicy[], config: NpmConfig, node: string): NpmSet[] {
  const book = new SetBook(config.naming);
  book.addToList(ALL_NAMESPACES, []);
  for (const pod of cluster.pods) if (isKnown(pod, config, node)) addPod(book, pod);
  for (const { name, labels } of cluster.namespaces.values()) {
    book.addToList(ALL_NAMESPACES, [namespaceSet(name)]);
    for (const [key, value] of Object.entries(labels)) {
      book.addToList(namespaceLabelSet(key), [namespaceSet(name)]);
      book.addToList(namespaceLabelSet(`${key}:${value}`), [namespaceSet(name)]);
    }
  }
  for (const policy of policies) addPolicy(book, policy);
  return book.sets();
}

/** Those that rules name, and those that these hold. */
export function referenced(sets: readonly NpmSet[], named: ReadonlySet<string>): NpmSet[] {
  const wanted = new Set(named);
  for (const { name, hashed, members } of sets) {
    if (name.kind === "list:set" && wanted.has(hashed)) for (const member of members) wanted.add(member);
  }
  return sets.filter(({ hashed }) => wanted.has(hashed));
}

/** Lines of `ipset save`, without what it says of sizes in memory. */
export function setLines(sets: readonly NpmSet[]): string[] {
  return sets.flatMap(({ name, hashed, members }) => [
    `create ${hashed} ${TYPES[name.kind]}`, ...members.map((member) => `add ${hashed} ${member.replace("/32", "")}`),
  ]);
}

/** What NPM itself feeds to `ipset restore`. */
export function restoreLines(sets: readonly NpmSet[]): string[] {
  return [
    ...sets.map(({ name, hashed }) => `-N ${hashed} --exist ${COMMANDS[name.kind]}`),
    ...sets.flatMap(({ hashed, members }) => members.map((member) => `-A ${hashed} ${member}`)),
  ];
}

const TYPES: Readonly<Record<SetName["kind"], string>> = {
  "hash:net": "hash:net family inet hashsize 1024 maxelem 65536",
  "hash:net cidr": "hash:net family inet hashsize 1024 maxelem 4294967295",
  "hash:ip,port": "hash:ip,port family inet hashsize 1024 maxelem 65536",
  "list:set": "list:set size 8",
};

const COMMANDS: Readonly<Record<SetName["kind"], string>> = {
  "hash:net": "nethash", "hash:net cidr": "nethash maxelem 4294967295", "hash:ip,port": "hash:ip,port", "list:set": "setlist",
};

function isKnown(pod: Pod, config: NpmConfig, node: string): boolean {
  return !pod.hostNetwork && pod.phase !== "Succeeded" && pod.phase !== "Failed" && pod.ips[0]?.family === 4
    && (!config.EnableNPMLite || pod.nodeName === node);
}

function addPod(book: SetBook, pod: Pod): void {
  const ip = pod.ips[0].text;
  book.add(namespaceSet(pod.namespace), ip);
  book.addToList(ALL_NAMESPACES, [namespaceSet(pod.namespace)]);
  for (const [key, value] of Object.entries(pod.labels)) {
    book.add(podLabelSet(key), ip);
    book.add(podLabelSet(`${key}:${value}`), ip);
  }
  for (const { name, protocol, containerPort, sidecar } of pod.ports) {
    // NPM reads spec.containers only.
    if (name !== "" && sidecar !== true) book.add(namedPortSet(name), `${ip},${protocol.toLowerCase()}:${containerPort}`);
  }
}

/** A set that a policy names is there, with or without members. */
function addPolicy(book: SetBook, { subject, acls, blocks }: NpmPolicy): void {
  const named = (match: SetMatch): void => {
    if (match.set.kind === "list:set") book.addToList(match.set, match.members ?? []);
    else book.add(match.set);
  };
  subject.forEach(named);
  for (const acl of acls) {
    acl.peers.forEach(named);
    if (acl.namedPort !== null) book.add(acl.namedPort);
  }
  for (const { set, members } of blocks) book.add(set, ...members);
}

/**
 * Sets by the kernel's name: two readable names with one hash share a set, as they did in the kernel with 32 bits.
 */
class SetBook {
  private readonly found = new Map<string, { name: SetName; members: Set<string> }>();
  private readonly hashes = new Map<string, string>();

  constructor(private readonly naming: NpmNaming) {}

  add(name: SetName, ...members: readonly string[]): void {
    const { members: all } = this.entry(name);
    for (const member of members) all.add(member);
  }

  addToList(list: SetName, members: readonly SetName[]): void {
    const { members: all } = this.entry(list);
    for (const member of members) {
      this.entry(member);
      all.add(this.hashed(member.text));
    }
  }

  sets(): NpmSet[] {
    const sorted = [...this.found].map(([hashed, { name, members }]) => ({ name, hashed, members: [...members].sort() }))
      .sort((a, b) => (a.name.text < b.name.text ? -1 : 1));
    const isList = ({ name }: NpmSet): boolean => name.kind === "list:set";
    return [...sorted.filter((set) => !isList(set)), ...sorted.filter(isList)];
  }

  private entry(name: SetName): { name: SetName; members: Set<string> } {
    const hashed = this.hashed(name.text);
    let entry = this.found.get(hashed);
    if (entry === undefined) this.found.set(hashed, entry = { name, members: new Set() });
    return entry;
  }

  /** A label is met once a pod and hashed once. */
  private hashed(text: string): string {
    let hashed = this.hashes.get(text);
    if (hashed === undefined) this.hashes.set(text, hashed = hashedSetName(this.naming, text));
    return hashed;
  }
}
