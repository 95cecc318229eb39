/**
 * CiliumNetworkPolicy, CiliumClusterwideNetworkPolicy and, as Cilium reads it, NetworkPolicy: evaluated word by word from
 * Cilium's documentation, for one flow, by walking the objects. A second opinion on what the compiled maps say.
 *
 *   allowed = the source pod's egress allows it AND the destination pod's ingress allows it
 *
 * In a direction: a deny that matches wins over every allow, whatever objects they are in; else an allow that matches;
 * else the default, which is deny where some policy asks for it and allow elsewhere. From the pod's own node it is allow
 * (allow-localhost). With ClusterNetworkPolicy (1.20) its Admin tier comes before this and its Baseline tier after it,
 * before the default.
 *
 * With enable-host-firewall nodes are judged too, by the rules whose nodeSelector means them ("Host Policies"): what their own
 * processes send and receive, pods of their own included. For them there is no exception and no other kind of policy.
 *
 * A verdict is for the first packet of a flow, with the destination after service translation.
 */
import type { Address } from "../../cluster/address.js";
import type { CiliumFQDN, CiliumRequirement } from "../../cluster/cilium/types.js";
import type { Cluster, NetworkPolicy, Node, Pod } from "../../cluster/cluster.js";
import { LabelIndex } from "../../cluster/label-index.js";
import type { Because } from "../../dataplane.js";
import { hasTierRules, tierVerdict } from "./cluster-network-policy.js";
import type { CiliumSpecOptions } from "./options.js";
import type { Traffic } from "./ports.js";
import { type Answer, ciliumStatements, type DirectionName, hostRulesFor, isTaken, networkPolicyStatements, requiredBy, rulesFor,
  type Statement, subjectLabels } from "./statements.js";
import { type Label, type Subject, Subjects } from "./subject.js";

export interface CiliumVerdict {
  readonly verdict: "allow" | "deny" | "undecided";
  /** The statements that decide; for a default deny those that asked for it. */
  readonly by: readonly Because[];
  /** An allow: whether a proxy gets the packet. `some`: rules that match differ in that. */
  readonly proxied: Answer["proxied"];
  /** An allow: whether the rules that match ask for authentication. */
  readonly authenticated: Answer["proxied"];
  /** An allow: the names that rules which match let through the DNS proxy. */
  readonly queries: readonly CiliumFQDN[];
  /** Some rule of which the objects do not say whether it matches; the verdict is the same either way. */
  readonly unknown: boolean;
}

export interface CiliumEvaluation {
  readonly allowed: boolean;
  readonly egress: CiliumVerdict;
  readonly ingress: CiliumVerdict;
}

const OPEN: CiliumVerdict = { verdict: "allow", by: [], proxied: "none", authenticated: "none", queries: [], unknown: false };

export class CiliumSpec {
  private readonly subjects: Subjects;
  private readonly networkPolicies: LabelIndex<NetworkPolicy>;
  private readonly statements = new Map<Pod | Node, Readonly<Record<DirectionName, readonly Statement[]>>>();
  /** Of pods, by their labels: what selects one selects all that have these. */
  private readonly byLabels = new Map<string, Readonly<Record<DirectionName, readonly Statement[]>>>();

  constructor(private readonly cluster: Cluster, private readonly options: CiliumSpecOptions) {
    this.subjects = new Subjects(cluster, options);
    this.networkPolicies = new LabelIndex(cluster.networkPolicies, subjectLabels);
  }

  /**
   * @param protocol IP protocol number
   * @param port destination port in host order; for ICMP and ICMPv6 the type
   */
  evaluate(source: Address, destination: Address, protocol: number, port: number): CiliumEvaluation {
    const egress = this.direction("egress", source, destination, protocol, port);
    const ingress = this.direction("ingress", source, destination, protocol, port);
    return { allowed: egress.verdict === "allow" && ingress.verdict === "allow", egress, ingress };
  }

  private direction(direction: DirectionName, from: Address, to: Address, protocol: number, port: number): CiliumVerdict {
    const address = direction === "egress" ? from : to;
    const { pod } = this.subjects.at(address, "");
    if (from.text === to.text || this.options.enablePolicy === "never") return OPEN;
    const node = pod === null && this.options.on.has("enable-host-firewall") ? this.subjects.nodeOf(address) : null;
    const place = pod?.nodeName ?? node?.name;
    if (place === undefined) return OPEN;
    const [source, destination] = [this.subjects.at(from, place), this.subjects.at(to, place)];
    const traffic: Traffic = { direction, protocol, port, source, destination };
    if (source.claimedTwice || destination.claimedTwice) return undecided([]);
    const peer = direction === "egress" ? destination : source;
    return node === null ? this.judge(pod!, traffic, peer) : this.judgeHost(node, traffic, peer);
  }

  private judgeHost(node: Node, traffic: Traffic, peer: Subject): CiliumVerdict {
    const statements = this.hostStatementsOf(node)[traffic.direction];
    const first = this.normal(statements, peer, traffic);
    if (first !== null && first.verdict !== "maybe") return { ...first, verdict: first.verdict };
    const rest = this.closed(statements) ?? OPEN;
    if (first === null) return rest;
    return rest.verdict === "allow" ? { ...rest, unknown: true } : undecided(first.by);
  }

  private judge(pod: Pod, traffic: Traffic, peer: Subject): CiliumVerdict {
    const statements = this.statementsOf(pod)[traffic.direction];
    const tier = (name: "Admin" | "Baseline"): CiliumVerdict | null => {
      const verdict = tierVerdict(this.cluster, this.options, name, pod, peer, traffic, this.subjects);
      return verdict === null ? null : { ...OPEN, ...verdict };
    };
    const first = tier("Admin") ?? this.normal(statements, peer, traffic);
    if (first !== null && first.verdict !== "maybe") return { ...first, verdict: first.verdict };
    const rest = tier("Baseline") ?? this.byDefault(statements, peer, traffic, pod);
    // What a rule may allow matters only where nothing else does.
    if (first === null) return rest;
    return rest.verdict === "allow" ? { ...rest, unknown: true } : undecided(first.by);
  }

  /** null: nothing matches; `maybe`: perhaps an allow, and nothing else. */
  private normal(statements: readonly Statement[], peer: Subject, traffic: Traffic)
    : CiliumVerdict | (Omit<CiliumVerdict, "verdict"> & { readonly verdict: "maybe" }) | null {
    const answers = statements.flatMap((one) => {
      const asked = one.asked(peer, traffic);
      return asked.match === false ? [] : [{ ...asked, verdict: one.verdict, because: one.because }];
    });
    if (answers.length === 0) return null;
    const that = (verdict: Statement["verdict"], match: Answer["match"]) => answers.filter((one) => one.verdict === verdict
      && one.match === match);
    const becauses = (list: readonly { because: Because }[]): Because[] => list.map(({ because }) => because);
    if (that("deny", true).length > 0) {
      return { ...OPEN, verdict: "deny", by: becauses(that("deny", true)), unknown: answers.some(({ match }) => match === "maybe") };
    }
    if (that("deny", "maybe").length > 0) return undecided(becauses(that("deny", "maybe")));
    const allows = that("allow", true);
    if (allows.length === 0) return { ...OPEN, verdict: "maybe", by: becauses(answers) };
    return { verdict: "allow", by: becauses(allows), proxied: together(allows.map((one) => one.proxied)),
      authenticated: together(allows.map((one) => (one.authenticated ? "all" : "none"))),
      queries: allows.flatMap((one) => one.queries), unknown: answers.length > allows.length };
  }

  private byDefault(statements: readonly Statement[], peer: Subject, { direction }: Traffic, pod: Pod): CiliumVerdict {
    const { allowLocalhost, version } = this.options;
    const closed = this.closed(statements);
    if (closed === null) return OPEN;
    // 1.20 adds the exception for the own node only where some rule selects the pod (pkg/policy/repository.go).
    const exempt = direction === "ingress" && peer.kind === "host" && allowLocalhost
      && (version < 20 || statements.length > 0 || hasTierRules(this.cluster, this.options, direction, this.subjects.labelsOf(pod)));
    if (exempt) return { ...OPEN, by: [{ where: null, object: "allow-localhost", rule: "a pod's own node" }] };
    return closed;
  }

  /** The default deny; null where nothing asks for it. */
  private closed(statements: readonly Statement[]): CiliumVerdict | null {
    const closing = statements.filter(({ defaultDeny }) => defaultDeny);
    if (closing.length === 0 && this.options.enablePolicy !== "always") return null;
    const mode: Because = { where: null, object: "enable-policy", rule: "always" };
    return { ...OPEN, verdict: "deny", by: closing.length > 0 ? closing.map(({ because }) => because) : [mode] };
  }

  private statementsOf(pod: Pod): Readonly<Record<DirectionName, readonly Statement[]>> {
    let found = this.statements.get(pod);
    if (found === undefined) {
      const labels = this.subjects.labelsOf(pod);
      const key = JSON.stringify(labels.map(({ source, key: name, value }) => [source, name, value]));
      found = this.byLabels.get(key) ?? { ingress: this.collect("ingress", labels), egress: this.collect("egress", labels) };
      this.byLabels.set(key, found);
      this.statements.set(pod, found);
    }
    return found;
  }

  private hostStatementsOf(node: Node): Readonly<Record<DirectionName, readonly Statement[]>> {
    let found = this.statements.get(node);
    if (found === undefined) {
      const labels = this.subjects.hostLabelsOf(node);
      found = { ingress: this.ofCilium("ingress", labels, hostRulesFor).statements,
        egress: this.ofCilium("egress", labels, hostRulesFor).statements };
      this.statements.set(node, found);
    }
    return found;
  }

  private collect(direction: DirectionName, labels: readonly Label[]): Statement[] {
    const { cluster, options } = this;
    const context = { cluster, options, version: options.version };
    const { statements, allow } = this.ofCilium(direction, labels, rulesFor);
    const others = this.networkPolicies.candidates(labels.map(({ key, value }) => [key, value]))
      .flatMap((policy) => networkPolicyStatements(policy, direction, labels, context, allow));
    return [...statements, ...others];
  }

  /** Of Cilium's own kinds; `allow`: what fromRequires of theirs asks of allowed peers. */
  private ofCilium(direction: DirectionName, labels: readonly Label[], rules: typeof rulesFor)
    : { statements: Statement[]; allow: readonly CiliumRequirement[] } {
    const { cluster, options } = this;
    const context = { cluster, options, version: options.version };
    const selecting = cluster.ciliumPolicies.filter((policy) => isTaken(policy, options))
      .flatMap((policy) => rules(policy, labels).map((rule) => ({ policy, rule })));
    const required = (deny: boolean): CiliumRequirement[] => selecting.flatMap(({ policy, rule }) => requiredBy(policy, rule, direction,
      deny));
    const [allow, deny] = [required(false), required(true)];
    const statements = selecting.flatMap(({ policy, rule }) => ciliumStatements(policy, rule, direction, context, { allow, deny }));
    return { statements, allow };
  }
}

function together(list: readonly Answer["proxied"][]): Answer["proxied"] {
  return list.every((one) => one === "all") ? "all" : list.every((one) => one === "none") ? "none" : "some";
}

function undecided(by: readonly Because[]): CiliumVerdict {
  return { ...OPEN, verdict: "undecided", by };
}
