/**
 * Every form of rule that kube-proxy and the masquerade agent write, and how often packets met each on the kernel. A
 * form is told from the generator's own line; the counter is the kernel's, of the rule at the same place. A line that
 * fits no form, or several, is an error: a new kind of rule belongs into this table.
 */
import type { NodeFacts } from "../../src/cluster/cluster.js";
import { generatedRules } from "../../src/iptables/planeNode.js";
import { type Case, clusterFrom, configOf, nodeOf, type Recording } from "./case.js";
import { countersOf } from "./counters.js";

interface Form {
  /** Section of the rule set as a list: chains 5, fixed rules 6, dispatch 7, a service's own chains 8, tail 9, agents. */
  readonly section: string;
  readonly name: string;
  /** `table CHAIN`, whole; the names of service chains end in `-`. */
  readonly chain: string;
  readonly text: RegExp;
}

const VIP = "(198\\.51\\.100\\.|2001:db8:b::)";
const form = (section: string, name: string, chain: string, text: RegExp): Form => ({ section, name, chain, text });

const JUMPS: readonly Form[] = [
  ["filter INPUT", ["-j KUBE-FIREWALL", "-j KUBE-PROXY-FIREWALL", "-j KUBE-NODEPORTS", "-j KUBE-EXTERNAL-SERVICES"]],
  ["filter FORWARD", ["-j KUBE-PROXY-FIREWALL", "-j KUBE-FORWARD", "-j KUBE-SERVICES", "-j KUBE-EXTERNAL-SERVICES"]],
  ["filter OUTPUT", ["-j KUBE-FIREWALL", "-j KUBE-PROXY-FIREWALL", "-j KUBE-SERVICES"]],
  ["nat PREROUTING", ["-j KUBE-SERVICES"]], ["nat OUTPUT", ["-j KUBE-SERVICES"]], ["nat POSTROUTING", ["-j KUBE-POSTROUTING"]],
].flatMap(([chain, targets]) => (targets as string[]).map((target) => (
  form("5", `${chain} ${target}`, chain as string, new RegExp(`${target}$`)))));

const FIXED: readonly Form[] = [
  form("6.1", "KUBE-POSTROUTING RETURN without the mark", "nat KUBE-POSTROUTING", /-j RETURN$/),
  form("6.1", "KUBE-POSTROUTING --xor-mark", "nat KUBE-POSTROUTING", /--xor-mark/),
  form("6.1", "KUBE-POSTROUTING MASQUERADE", "nat KUBE-POSTROUTING", /-j MASQUERADE$/),
  form("6.1", "KUBE-POSTROUTING MASQUERADE --random-fully", "nat KUBE-POSTROUTING", /--random-fully$/),
  form("6.1", "KUBE-MARK-MASQ --or-mark", "nat KUBE-MARK-MASQ", /--or-mark/),
  form("6.1", "KUBE-FIREWALL, localhost from outside: DROP", "filter KUBE-FIREWALL", /-j DROP$/),
  form("6.1", "KUBE-FORWARD INVALID DROP", "filter KUBE-FORWARD", /INVALID -j DROP$/),
  form("6.1", "KUBE-FORWARD INVALID DROP with nfacct", "filter KUBE-FORWARD", /INVALID -m nfacct .* -j DROP$/),
  form("6.1", "KUBE-FORWARD marked: ACCEPT", "filter KUBE-FORWARD", /-m mark .* -j ACCEPT$/),
  form("6.1", "KUBE-FORWARD RELATED,ESTABLISHED: ACCEPT", "filter KUBE-FORWARD", /RELATED,ESTABLISHED -j ACCEPT$/),
];

const DISPATCH: readonly Form[] = [
  form("7.1", "cluster IP to SVC", "nat KUBE-SERVICES", /cluster IP" .* -j KUBE-SVC-/),
  form("7.1", "cluster IP to SVL", "nat KUBE-SERVICES", /cluster IP" .* -j KUBE-SVL-/),
  form("7.1", "cluster IP: REJECT", "filter KUBE-SERVICES", /no endpoints" .* -j REJECT$/),
  form("7.1", "cluster IP: DROP", "filter KUBE-SERVICES", /no local endpoints" .* -j DROP$/),
  form("7.2", "external IP to EXT", "nat KUBE-SERVICES", /external IP" .* -j KUBE-EXT-/),
  form("7.2", "external IP: REJECT", "filter KUBE-EXTERNAL-SERVICES", new RegExp(`-d (?!${VIP}).* -j REJECT$`)),
  form("7.2", "external IP: DROP", "filter KUBE-EXTERNAL-SERVICES", new RegExp(`-d (?!${VIP}).* -j DROP$`)),
  form("7.3", "VIP to EXT", "nat KUBE-SERVICES", /loadbalancer IP" .* -j KUBE-EXT-/),
  form("7.3", "VIP to FW", "nat KUBE-SERVICES", /loadbalancer IP" .* -j KUBE-FW-/),
  form("7.3", "VIP outside its source ranges: DROP", "filter KUBE-PROXY-FIREWALL", /not accepted by KUBE-FW-\w+" .* -j DROP$/),
  form("7.3", "VIP: REJECT", "filter KUBE-EXTERNAL-SERVICES", new RegExp(`-d ${VIP}.* -j REJECT$`)),
  form("7.3", "VIP: DROP", "filter KUBE-EXTERNAL-SERVICES", new RegExp(`-d ${VIP}.* -j DROP$`)),
  form("7.4", "node port on localhost, with nfacct, to EXT", "nat KUBE-NODEPORTS", /-d 127\.0\.0\.0\/8 .*nfacct.* -j KUBE-EXT-/),
  form("7.4", "node port to EXT", "nat KUBE-NODEPORTS", /-p \w+ --dport \d+ -j KUBE-EXT-/),
  form("7.4", "node port: REJECT", "filter KUBE-EXTERNAL-SERVICES", /--dst-type LOCAL .* -j REJECT$/),
  form("7.4", "node port: DROP", "filter KUBE-EXTERNAL-SERVICES", /--dst-type LOCAL .* -j DROP$/),
  form("7.5", "health check node port: ACCEPT", "filter KUBE-NODEPORTS", /-j ACCEPT$/),
];

/** The same for SVC and SVL. */
const CHOICES: readonly Form[] = ["SVC", "SVL"].flatMap((kind) => [
  form("8.1", `${kind}: masquerade all of a cluster IP`, `nat KUBE-${kind}-`, /--dport \d+ -j KUBE-MARK-MASQ$/),
  form("8.1", `${kind}: masquerade by source range`, `nat KUBE-${kind}-`, /--dport \d+ ! -s \S+ -j KUBE-MARK-MASQ$/),
  form("8.1", `${kind}: masquerade by bridge`, `nat KUBE-${kind}-`, /--dport \d+ ! -i cbr0 -j KUBE-MARK-MASQ$/),
  form("8.1", `${kind}: masquerade by name of the device`, `nat KUBE-${kind}-`, /--dport \d+ ! -i veth\+ -j KUBE-MARK-MASQ$/),
  form("8.4", `${kind}: the client's endpoint again`, `nat KUBE-${kind}-`, /-m recent .*--rcheck/),
  form("8.4", `${kind}: one of several`, `nat KUBE-${kind}-`, /-m statistic /),
  form("8.4", `${kind}: the last`, `nat KUBE-${kind}-`, /^(?!.*(statistic|recent)).*-j KUBE-SEP-/),
]);

const OWN: readonly Form[] = [
  ...CHOICES,
  form("8.2", "EXT Cluster: masquerade", "nat KUBE-EXT-", /"masquerade traffic for/),
  form("8.2", "EXT Local: pods by source range", "nat KUBE-EXT-", /"pod traffic for.* -s \S+ -j KUBE-SVC-/),
  form("8.2", "EXT Local: pods by bridge", "nat KUBE-EXT-", /"pod traffic for.* -i cbr0 -j KUBE-SVC-/),
  form("8.2", "EXT Local: pods by name of the device", "nat KUBE-EXT-", /"pod traffic for.* -i veth\+ -j KUBE-SVC-/),
  form("8.2", "EXT Local: masquerade the node", "nat KUBE-EXT-", /"masquerade LOCAL traffic/),
  form("8.2", "EXT Local: route the node", "nat KUBE-EXT-", /"route LOCAL traffic/),
  form("8.2", "EXT to SVC", "nat KUBE-EXT-", /^-j KUBE-SVC-/),
  form("8.2", "EXT to SVL", "nat KUBE-EXT-", /^-j KUBE-SVL-/),
  form("8.3", "FW: source range to EXT", "nat KUBE-FW-", new RegExp(`-s (?!${VIP}\\S+ ).* -j KUBE-EXT-`)),
  form("8.3", "FW: the VIP itself to EXT", "nat KUBE-FW-", new RegExp(`-s ${VIP}\\S* -j KUBE-EXT-`)),
  form("8.3", "FW: the rest, without target", "nat KUBE-FW-", /will be dropped by KUBE-PROXY-FIREWALL"$/),
  form("8.5", "SEP: hairpin", "nat KUBE-SEP-", /-s \S+ -j KUBE-MARK-MASQ$/),
  form("8.5", "SEP: DNAT", "nat KUBE-SEP-", /^(?!.*recent).*-j DNAT/),
  form("8.5", "SEP: DNAT with recent --set", "nat KUBE-SEP-", /-m recent .*--set .*-j DNAT/),
];

const TAIL: readonly Form[] = [
  form("9", "node ports on all addresses", "nat KUBE-SERVICES", /NOTE.*--dst-type LOCAL -j KUBE-NODEPORTS$/),
  form("9", "node ports but ::1", "nat KUBE-SERVICES", /NOTE.*LOCAL ! -d ::1\/128 -j KUBE-NODEPORTS$/),
  form("9", "node ports but 127.0.0.0/8", "nat KUBE-SERVICES", /NOTE.*LOCAL ! -d 127\.0\.0\.0\/8 -j KUBE-NODEPORTS$/),
  form("9", "node ports on one address", "nat KUBE-SERVICES", /NOTE.*" -d \S+ -j KUBE-NODEPORTS$/),
];

const AGENTS: readonly Form[] = [
  form("cni", "POSTROUTING -j CNI-MASQ", "nat POSTROUTING", /-j CNI-MASQ$/),
  form("cni", "CNI-MASQ RETURN", "nat CNI-MASQ", /-j RETURN$/),
  form("cni", "CNI-MASQ MASQUERADE", "nat CNI-MASQ", /-j MASQUERADE$/),
  form("cni", "CNI-MASQ MASQUERADE --random-fully", "nat CNI-MASQ", /-j MASQUERADE --random-fully$/),
  form("agent", "POSTROUTING -j IP-MASQ-AGENT", "nat POSTROUTING", /-j IP-MASQ-AGENT$/),
  form("agent", "IP-MASQ-AGENT RETURN", "nat IP-MASQ-AGENT", /-j RETURN$/),
  form("agent", "IP-MASQ-AGENT MASQUERADE", "nat IP-MASQ-AGENT", /-j MASQUERADE$/),
  form("agent", "IP-MASQ-AGENT MASQUERADE --random-fully", "nat IP-MASQ-AGENT", /-j MASQUERADE --random-fully$/),
];

const NPM: readonly Form[] = [
  form("npm", "FORWARD -j AZURE-NPM", "filter FORWARD", /-j AZURE-NPM /),
  ...["INGRESS", "EGRESS", "ACCEPT"].map((next) => form("npm", `AZURE-NPM -j AZURE-NPM-${next}`, "filter AZURE-NPM", new RegExp(`-j AZURE-NPM-${next}$`))),
  ...["INGRESS", "EGRESS"].flatMap((side) => [
    form("npm", `${side}: to the policies of all pods`, `filter AZURE-NPM-${side}`, new RegExp(`^-j AZURE-NPM-${side}-\\S+ .*-POLICY-.*-(TO|FROM)-ns-`)),
    form("npm", `${side}: to a policy of pods by label`, `filter AZURE-NPM-${side}`, new RegExp(`^-j AZURE-NPM-${side}-\\S+ .*-POLICY-.*-(TO|FROM)-(?!ns-)`)),
    form("npm", `${side}: DROP what is marked`, `filter AZURE-NPM-${side}`, /^-j DROP/),
    form("npm", `${side} policy: allow from or to all`, `filter AZURE-NPM-${side}-`, /^-j AZURE-NPM-(INGRESS-ALLOW-MARK|ACCEPT) .*--comment ALLOW-ALL/),
    form("npm", `${side} policy: allow by sets`, `filter AZURE-NPM-${side}-`, /^-j AZURE-NPM-(INGRESS-ALLOW-MARK|ACCEPT) .*--comment ALLOW-(FROM|TO)-(?!.*cidr)/),
    form("npm", `${side} policy: allow by address blocks`, `filter AZURE-NPM-${side}-`, /^-j AZURE-NPM-(INGRESS-ALLOW-MARK|ACCEPT) .*--comment ALLOW-(FROM|TO)-.*cidr/),
    form("npm", `${side} policy: mark for DROP`, `filter AZURE-NPM-${side}-`, /^-j MARK --set-mark 0x[48]00/),
  ]),
  form("npm", "EGRESS: ACCEPT what ingress allowed", "filter AZURE-NPM-EGRESS", /^-j AZURE-NPM-ACCEPT /),
  form("npm", "INGRESS-ALLOW-MARK: mark", "filter AZURE-NPM-INGRESS-ALLOW-MARK", /^-j MARK --set-mark 0x200/),
  form("npm", "INGRESS-ALLOW-MARK: on to egress", "filter AZURE-NPM-INGRESS-ALLOW-MARK", /^-j AZURE-NPM-EGRESS$/),
  form("npm", "ACCEPT", "filter AZURE-NPM-ACCEPT", /^-j ACCEPT$/),
];

export const FORMS: readonly Form[] = [...JUMPS, ...FIXED, ...DISPATCH, ...OWN, ...TAIL, ...AGENTS, ...NPM];

/** Packets that met each form, by `section name`, and rules of that form that were in place. */
export class Hits {
  readonly packets = new Map<string, number>(FORMS.map((one) => [label(one), 0]));
  readonly rules = new Map<string, number>(FORMS.map((one) => [label(one), 0]));
  /** What fits no form or several. */
  readonly unclear = new Set<string>();

  /** Adds what a recorded case's rules counted before and after the change. */
  add(one: Case, { facts, events }: Recording): void {
    let cluster = one.objects;
    let baseline: readonly (readonly number[])[] = [[], []];
    for (const event of events) {
      if (event.kind === "change") cluster = one.later;
      if (event.kind !== "counters") continue;
      const counted = event.texts.map((text) => countersOf(text).filter((line) => line.position > 0));
      if (event.baseline) {
        baseline = counted.map((lines) => lines.map((line) => line.packets));
        continue;
      }
      for (const [at, family] of ([4, 6] as const).entries()) {
        const lines = linesOf(one, cluster, facts, family);
        counted[at].forEach((line, index) => {
          const text = lines.get(`${line.table} ${line.chain} ${line.position}`);
          if (text === undefined) this.unclear.add(`not of the generator: ${line.table} ${line.chain} ${line.text}`);
          else this.count(`${line.table} ${line.chain}`, text, line.packets - (baseline[at][index] ?? 0));
        });
      }
    }
  }

  private count(chain: string, text: string, packets: number): void {
    const fitting = FORMS.filter((one) => (one.chain.endsWith("-") ? chain.startsWith(one.chain) : chain === one.chain) && one.text.test(text));
    if (fitting.length !== 1) {
      this.unclear.add(`${fitting.map(label).join(" and ") || "no form"}: ${chain} ${text}`);
      return;
    }
    const key = label(fitting[0]);
    this.packets.set(key, (this.packets.get(key) ?? 0) + packets);
    this.rules.set(key, (this.rules.get(key) ?? 0) + 1);
  }

  /** A line a form. */
  table(): string {
    return [...this.packets].map(([name, packets]) => `${String(packets).padStart(8)} packets ${String(this.rules.get(name)).padStart(6)} rules  ${name}`)
      .join("\n");
  }
}

function label(one: Form): string {
  return `${one.section.padEnd(5)} ${one.name}`;
}

/** The generator's lines by table, chain and position. */
function linesOf(one: Case, objects: Case["objects"], facts: NodeFacts, family: 4 | 6): Map<string, string> {
  const found = new Map<string, string>();
  const positions = new Map<string, number>();
  let table = "";
  for (const line of generatedRules(clusterFrom(objects, facts), nodeOf(facts), family, configOf(one)).text.split("\n")) {
    if (line.startsWith("*")) table = line.slice(1);
    const rule = /^-A (\S+) ?(.*)$/.exec(line);
    if (rule === null) continue;
    const position = (positions.get(`${table} ${rule[1]}`) ?? 0) + 1;
    positions.set(`${table} ${rule[1]}`, position);
    found.set(`${table} ${rule[1]} ${position}`, rule[2]);
  }
  return found;
}
