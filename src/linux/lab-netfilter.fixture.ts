/** Test support: the netfilter of a lab node, with the rules that the lab loaded. */
import type { ConntrackFlow } from "../cluster/conntrack-flow.js";
import { createNetfilter, type Netfilter } from "./netfilter/netfilter.js";
import { parseRuleSet } from "./netfilter/rule-set.js";
import type { NetfilterHooks, NodeServices } from "./skb.js";

export class LabNetfilter {
  private netfilter: Netfilter | null = null;

  constructor(private readonly node: string, private readonly v4: string, private readonly v6: string) {}

  create(services: NodeServices): NetfilterHooks {
    const rules4 = parseRuleSet(this.v4, `${this.node}.v4.rules`, 4);
    const rules6 = parseRuleSet(this.v6, `${this.node}.v6.rules`, 6);
    const problems = [...rules4.problems, ...rules6.problems];
    if (problems.length > 0) throw new Error(`the lab's rules are not understood: ${problems[0].what}`);
    this.netfilter = createNetfilter({
      services, rules4: rules4.rules, rules6: rules6.rules,
      chance: (flow, draw) => Math.imul(flow ^ Math.imul(draw + 1, 0x9e3779b1), 0x85ebca6b) >>> 0,
    });
    return this.netfilter;
  }

  /** Number of entries deleted. */
  destroy(flow: ConntrackFlow): number {
    const { original, reply } = flow;
    return this.netfilter?.deleteConntrack({
      node: this.node, family: flow.family, protocol: flow.protocol, originalSource: original.source,
      originalDestination: original.destination, originalSourcePort: original.sourcePort,
      originalDestinationPort: original.destinationPort, replySource: reply.source,
    }) ?? 0;
  }
}
