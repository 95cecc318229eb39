/**
 * One NetworkPolicy as Azure NPM understands it: who it is for, and per direction a list of allows with a drop of the
 * rest behind them; or why NPM takes none of it.
 *
 * A direction in which some rule allows everything is one allow without a drop. Ports and peers multiply: each pair is
 * an allow of its own. A rule's address block is a set of its own; 0.0.0.0/0 is two halves there, because a hash:net
 * cannot hold it.
 *
 * Source: Azure/azure-container-networking npm/pkg/controlplane/translation/translatePolicy.go and
 * npm/pkg/dataplane/policies/policy.go.
 */
import type { Prefix } from "../../cluster/address.js";
import type { NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicyRule, Protocol } from "../../cluster/cluster.js";
import type { Because } from "../../dataplane.js";
import type { NpmConfig } from "./config.js";
import { ipBlockSet, namedPortSet, namespaceSet, type SetName } from "./names.js";
import { namespaceMatches, podMatches, type SetMatch } from "./selectors.js";

export type Direction = "Ingress" | "Egress";

/** A set and its addresses: `cidr` or `cidr nomatch`. */
export interface BlockSet {
  readonly set: SetName;
  readonly members: readonly string[];
}

export interface Acl {
  readonly direction: Direction;
  readonly target: "allow" | "drop";
  /** The other end; empty: anyone. */
  readonly peers: readonly SetMatch[];
  /** null: any protocol. */
  readonly protocol: Protocol | null;
  /** First and last destination port; null: any. */
  readonly ports: readonly [number, number] | null;
  readonly namedPort: SetName | null;
  readonly because: Because;
}

export interface NpmPolicy {
  /** `namespace/name`. */
  readonly key: string;
  readonly policy: NetworkPolicy;
  /** The pods it is for. */
  readonly subject: readonly SetMatch[];
  readonly acls: readonly Acl[];
  readonly blocks: readonly BlockSet[];
}

/** Thrown inside and caught here: NPM refuses a policy as a whole. */
class Refusal extends Error {}

/** The policy translated, or a sentence that says why NPM refuses it. */
export function translatePolicy(policy: NetworkPolicy, config: NpmConfig): NpmPolicy | string {
  const reader = new PolicyReader(policy, config);
  try {
    const subject = reader.podsHere(policy.podSelector);
    for (const type of policy.policyTypes) reader.direction(type);
    return { key: reader.key, policy, subject, acls: reader.acls, blocks: reader.blocks };
  } catch (error) {
    if (error instanceof Refusal) return error.message;
    throw error;
  }
}

class PolicyReader {
  readonly key: string;
  readonly acls: Acl[] = [];
  readonly blocks: BlockSet[] = [];

  constructor(private readonly policy: NetworkPolicy, private readonly config: NpmConfig) {
    this.key = `${policy.namespace}/${policy.name}`;
  }

  direction(direction: Direction): void {
    const rules = direction === "Ingress" ? this.policy.ingress : this.policy.egress;
    const all = rules.findIndex((rule) => rule.peers === null && rule.ports === null);
    if (all >= 0) {
      this.allow(direction, [], null, this.because(direction, rules[all], all));
      return;
    }
    rules.forEach((rule, number) => { this.rule(direction, rule, number); });
    this.acls.push({ direction, target: "drop", peers: [], protocol: null, ports: null, namedPort: null,
      because: { where: this.policy.where, object: this.key, rule: `policyTypes ${direction}, and no rule matches` } });
  }

  /** Pods of the policy's own namespace. */
  podsHere(selector: NonNullable<NetworkPolicyPeer["podSelector"]>): SetMatch[] {
    return [...podMatches(this.config.naming, this.key, selector), { set: namespaceSet(this.policy.namespace), included: true }];
  }

  private rule(direction: Direction, rule: NetworkPolicyRule, number: number): void {
    if (rule.peers === null) this.ports(direction, rule, number, -1, []);
    rule.peers?.forEach((peer, index) => {
      for (const matches of this.peer(direction, peer, number, index)) this.ports(direction, rule, number, index, matches);
    });
  }

  /** Lists of sets; each is an allow for every port of the rule. */
  private peer(direction: Direction, peer: NetworkPolicyPeer, rule: number, index: number): SetMatch[][] {
    const { podSelector, namespaceSelector, ipBlock } = peer;
    if (ipBlock !== null) return [[this.block(direction, ipBlock.cidr, ipBlock.except, rule, index)]];
    if (this.config.EnableNPMLite) throw new Refusal("a peer that is no ipBlock is not supported by NPM Lite");
    if (namespaceSelector === null) return podSelector === null ? [] : [this.podsHere(podSelector)];
    const pods = podSelector === null ? [] : podMatches(this.config.naming, this.key, podSelector);
    return namespaceMatches(namespaceSelector).map((matches) => [...matches, ...pods]);
  }

  private block(direction: Direction, cidr: Prefix, except: readonly Prefix[], rule: number, index: number): SetMatch {
    if (cidr.address.family !== 4) throw new Refusal(`ipBlock ${cidr.text} is not IPv4`);
    const six = except.find((one) => one.address.family !== 4);
    if (six !== undefined) throw new Refusal(`except ${six.text} is not IPv4`);
    const { namespace, name } = this.policy;
    const set = ipBlockSet(this.config.naming, namespace, name, direction === "Ingress" ? "IN" : "OUT", rule, index);
    const holes = new Set(except.map((one) => one.text));
    const halves = cidr.length === 0 ? ["0.0.0.0/1", "128.0.0.0/1"] : [cidr.text];
    // A half that is itself left out stands there once, as a hole.
    const whole = halves.filter((half) => !holes.has(half));
    this.blocks.push({ set, members: [...whole, ...[...holes].map((hole) => `${hole} nomatch`)] });
    return { set, included: true };
  }

  private ports(direction: Direction, rule: NetworkPolicyRule, number: number, peer: number, matches: readonly SetMatch[]): void {
    if (rule.ports === null) this.allow(direction, matches, null, this.because(direction, rule, number, peer));
    rule.ports?.forEach((port, index) => {
      this.allow(direction, matches, port, this.because(direction, rule, number, peer, index));
    });
  }

  private allow(direction: Direction, peers: readonly SetMatch[], port: NetworkPolicyPort | null, because: Because): void {
    const named = typeof port?.port === "string" ? port.port : null;
    if (named !== null && this.config.EnableNPMLite) throw new Refusal(`the named port ${named} is not supported by NPM Lite`);
    const first = typeof port?.port === "number" ? port.port : null;
    this.acls.push({
      direction, target: "allow", peers, protocol: port?.protocol ?? null,
      ports: first === null ? null : [first, port?.endPort ?? first],
      namedPort: named === null ? null : namedPortSet(named), because,
    });
  }

  private because(direction: Direction, rule: NetworkPolicyRule, number: number, peer = -1, port = -1): Because {
    const [field, peers] = direction === "Ingress" ? ["ingress", "from"] : ["egress", "to"];
    return { where: rule.where, object: this.key,
      rule: `${field}[${number}]${peer < 0 ? "" : `.${peers}[${peer}]`}${port < 0 ? "" : ` ports[${port}]`}` };
  }
}
