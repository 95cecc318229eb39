/** What is remembered of connections is bounded by how many there are. */
import { expect, it } from "vitest";
import type { Netfilter } from "../../linux/netfilter/netfilter.js";
import { CtInfo, type Hook, type Skb, Verdict } from "../../linux/skb.js";
import { StackHooks } from "./memory.js";

it("connections that the table has no more are forgotten, and those that it has are not", () => {
  const live = new Set<number>();
  const netfilter = { traceSink: null, reason: "", lastEligibleSourcePorts: [32768, 60999], hook: () => Verdict.Accept,
    conntrack: () => [...live].map((id) => ({ id })), get conntrackCount() { return live.size; } } as unknown as Netfilter;
  const hooks = new StackHooks("node-1", netfilter, false, () => []);
  const packet = (id: number, ctinfo: number): Skb => ({ family: 4, ctinfo, ct: { id } }) as unknown as Skb;
  const first = (id: number): void => {
    hooks.begin();
    hooks.hook(4 as Hook, packet(id, CtInfo.New));
  };
  for (let id = 1; id <= 100; id++) live.add(id);
  for (let id = 1; id <= 20_000; id++) {
    first(id);
    if (id > 100) live.delete(id - 1000);
    live.add(id);
  }
  for (let id = 1; id <= 100; id++) live.add(id);
  expect(hooks.remembered).toBeLessThanOrEqual(2 * 1101);
  // A connection of the last ones still knows its ports.
  Object.assign(netfilter, { lastEligibleSourcePorts: null });
  hooks.begin();
  hooks.hook(4 as Hook, packet(19_500, CtInfo.Established));
  expect(hooks.decided.ports).toEqual([32768, 60999]);
});
