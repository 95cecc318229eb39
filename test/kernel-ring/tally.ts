/** What the kernel ring went through, for its table. */
import type { Case } from "./case.js";
import type { Verdict } from "./compare.js";

export class Tally {
  clusters = 0;
  flows = 0;
  packets = 0;
  undecided = 0;
  private readonly counts = new Map<string, Map<string, number>>();

  add(one: Case, verdict: Verdict): void {
    this.clusters++;
    this.flows += verdict.flows;
    this.packets += verdict.packets;
    for (const flow of one.flows) {
      this.count("family", flow.from.includes(":") ? "IPv6" : "IPv4");
      this.count("protocol", flow.protocol);
      const [source, target] = flow.kind.split(" > ");
      this.count("from", source);
      this.count("to", target);
      if (flow.opening !== "open") this.count("opening", flow.opening);
    }
    this.count("front end", one.frontEnd, one.flows.length);
    this.count("programs", one.npm ? "kube-proxy and NPM" : "kube-proxy", one.flows.length);
    this.count("endpoint by", one.kubeProxy.statisticMode, one.flows.length);
    this.count("detectLocalMode", one.kubeProxy.detectLocalMode, one.flows.length);
    this.count("change loaded", one.reload, one.flows.length);
    for (const [reason, flows] of verdict.undecided) {
      this.undecided += flows;
      this.count("left out", reason, flows);
    }
  }

  table(): string {
    const lines = [`kernel ring: ${this.clusters} clusters, ${this.flows} flows, ${this.packets} packets, ${this.undecided} flows left out`];
    for (const [what, counts] of this.counts) {
      lines.push(`  ${what}: ${[...counts].sort((a, b) => b[1] - a[1]).map(([name, count]) => `${name} ${count}`).join(", ")}`);
    }
    return lines.join("\n");
  }

  private count(what: string, name: string, by = 1): void {
    const counts = this.counts.get(what) ?? new Map<string, number>();
    this.counts.set(what, counts);
    counts.set(name, (counts.get(name) ?? 0) + by);
  }
}
