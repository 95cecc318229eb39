import { describe, expect, it } from "vitest";
import { OPTION_NAMES } from "../../ebpf/option-values.js";
import { DECIDING, decidingOptions } from "./deciding-options.js";
import type { Situation } from "./difference.js";
import { CATALOGUE } from "./index.js";

/** As far as the table asks; `10.0.0.5` is a node, `missing` an option that the version does not have. */
const situation = (destination: string, missing = "", options: Record<string, unknown> = {}): Situation => ({
  source: "10.1.0.1", protocol: "TCP", names: { node: (address: string) => (address === "10.0.0.5" ? "n1" : null) },
  current: { destination }, target: {
    options: { "enable-remote-node-masquerade": false, "node-port-range": [1, 2], labels: "", ...options },
    optionPlace: (name: string) => (name === missing ? undefined : { file: "c.yaml", line: 3 }) },
}) as never;

describe("options that decide", () => {
  it("are of rows that packets show, and options that are known", () => {
    const shown = new Set(CATALOGUE.filter(({ matches }) => matches !== undefined).map(({ id }) => id));
    expect(Object.keys(DECIDING).filter((id) => !shown.has(id))).toEqual([]);
    const named = Object.values(DECIDING).flatMap((of) => ["10.0.0.5", "192.0.2.1"].flatMap((to) => [
      ...of(situation(to)), ...of(situation(to, "", { "enable-ip-masq-agent": true }))]));
    expect(named.filter((name) => !(OPTION_NAMES as readonly string[]).includes(name))).toEqual([]);
  });

  it.each([
    ["10.0.0.5", "", {}, ["enable-remote-node-masquerade false"]],
    ["10.0.0.5", "enable-remote-node-masquerade", {}, []],
    ["192.0.2.1", "", { "ipv4-native-routing-cidr": "10.0.0.0/8" }, ["ipv4-native-routing-cidr 10.0.0.0/8"]],
    ["192.0.2.1", "", { "enable-ip-masq-agent": true }, ["enable-ip-masq-agent true"]],
  ] as const)("masquerading, to %s without %j", (to, missing, options, wanted) => {
    expect(decidingOptions("NAT-MASQ-SET", situation(to, missing, options)).map(({ object, rule }) => `${object} ${rule}`)).toEqual(wanted);
  });

  it("have their value as a cilium-config says it, and its place", () => {
    const [, range] = decidingOptions("NAT-PORT-CLASH", situation("192.0.2.1"));
    expect(range).toEqual({ object: "node-port-range", rule: "1,2", where: { file: "c.yaml", line: 3 } });
    expect(decidingOptions("POL-LABEL-FILTER", situation("192.0.2.1"))[0].rule).toBe("not set");
    expect(decidingOptions("UNEXPLAINED", situation("192.0.2.1"))).toEqual([]);
  });
});
