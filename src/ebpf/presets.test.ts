/** Profiles by name, what each stands for, and options that a version does not have. */
import { describe, expect, it } from "vitest";
import { readManifests } from "../cluster/manifests.js";
import { buildTimeline } from "../cluster/timeline.js";
import { HISTORY } from "./option-history.js";
import { DEFAULTS, type OptionName } from "./option-values.js";
import { CILIUM_VERSIONS, ciliumOptions } from "./options.js";
import { AKS_RELEASES, readPreset } from "./presets.js";

function clusterWith(data: Readonly<Record<string, string>>) {
  const text = JSON.stringify({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "cilium-config", namespace: "kube-system" }, data });
  return buildTimeline({ initial: readManifests([{ name: "config.json", text }]).objects }).initial;
}

describe("names", () => {
  it.each([
    ["cilium@1.16", "1.16", null], ["cilium@v1.18.6", "1.18", "1.18.6"], ["cilium@1.20", "1.20", null],
    ["aks@1.31", "1.16", "1.16.16"], ["aks@1.32", "1.17", "1.17.9"], ["aks@1.33", "1.17", "1.17.9"], ["aks@1.35", "1.18", "1.18.6"],
    ["aks:azure-cni-overlay+cilium@1.33", "1.17", "1.17.9"], ["aks@1.34+host-routing", "1.18", "1.18.6"],
  ])("%s is Cilium %s", (text, version, release) => {
    expect(readPreset(text)).toMatchObject({ version, release });
  });

  it.each([
    ["cilium@1.15", "expected cilium@1.16"], ["cilium", "expected cilium@1.16"], ["aks@1.30", "AKS ships Cilium 1.14.20"],
    ["aks@1.36", "is not known"], ["aks", "expected aks@1.31"], ["aks:flannel@1.33", "expected aks@1.31"],
    ["aks@1.32+host-routing", "from Kubernetes 1.33 on"],
  ])("%s is none: %s", (text, said) => {
    expect(readPreset(text)).toContain(said);
  });

  it("every Kubernetes minor of AKS either has a profile or says which Cilium it ships", () => {
    for (const minor of Object.keys(AKS_RELEASES)) {
      const preset = readPreset(`aks@${minor}`);
      if (typeof preset === "string") expect(preset).toContain(AKS_RELEASES[minor]);
      else expect(AKS_RELEASES[minor].startsWith(preset.version)).toBe(true);
    }
  });
});

describe("where a value comes from", () => {
  it("the agent's default, the preset, the network's assumption, the cluster, the user: the later wins", () => {
    const name = "enable-endpoint-routes";
    const value = (profile: string, config: string | null, given: unknown, assumed: unknown = undefined) => {
      const cluster = config === null ? null : clusterWith({ [name]: config });
      const { options } = ciliumOptions(profile, cluster, { [name]: given }, { [name]: assumed });
      return [options[name], options.grades[name]];
    };
    expect(value("cilium@1.18", null, undefined)).toEqual([false, "documented"]);
    expect(value("aks@1.34", null, undefined)).toEqual([true, "assumed"]);
    expect(value("aks@1.34", null, undefined, false)).toEqual([false, "assumed"]);
    expect(value("aks@1.34", "true", undefined, false)).toEqual([true, "read"]);
    expect(value("aks@1.34", "true", false)).toEqual([false, "read"]);
  });

  it("a patch release that nothing was recorded of is said", () => {
    expect(ciliumOptions("aks@1.34", null).problems.some((one) => one.what.includes("1.18.6"))).toBe(true);
    expect(ciliumOptions("aks@1.33", null).problems.some((one) => one.what.includes("1.17.9"))).toBe(false);
  });

  it("AKS leaves masquerading to an agent beside Cilium, but for eBPF host routing", () => {
    expect(ciliumOptions("aks@1.34", null).options.masqueradeAgent).toBe(true);
    expect(ciliumOptions("aks@1.34+host-routing", null).options.masqueradeAgent).toBe(false);
  });

  it("kube-proxy-replacement switches socket load balancing on whatever the cluster's own value says", () => {
    const { options, problems } = ciliumOptions("cilium@1.18", clusterWith({ "bpf-lb-sock": "false", "kube-proxy-replacement": "true" }));
    expect(options["bpf-lb-sock"]).toBe(true);
    expect(problems.map((one) => one.what)).toContainEqual(expect.stringMatching(/^option bpf-lb-sock=false: kube-proxy-replacement=true/));
    const without = ciliumOptions("cilium@1.18", clusterWith({ "bpf-lb-sock": "false", "kube-proxy-replacement": "false" })).options;
    expect(without["bpf-lb-sock"]).toBe(false);
  });
});

it("options that are not evaluated are said where a cilium-config gives them another value than the usual one", () => {
  const said = (data: Readonly<Record<string, string>>) => ciliumOptions("cilium@1.20", clusterWith(data)).problems.map((one) => one.what);
  expect(said({ "enable-wireguard": "true", "cni-chaining-mode": "none" }))
    .toEqual([expect.stringMatching(/^option enable-wireguard=true: undecided: /)]);
  expect(said({ "enable-health-check-loadbalancer-ip": "false" })).toEqual([]);
  expect(said({ "enable-health-check-loadbalancer-ip": "true" }))
    .toEqual([expect.stringMatching(/^option enable-health-check-loadbalancer-ip=true: undecided: /)]);
  expect(said({ "iptables-random-fully": "true", "prepend-iptables-chains": "false" })).toEqual([]);
  expect(said({ "bpf-lb-proto-diff": "false" })).toEqual([expect.stringMatching(/^option bpf-lb-proto-diff=false: /)]);
});

it("options that the agent refuses together are errors", () => {
  const { problems } = ciliumOptions("cilium@1.20", clusterWith({ "egress-masquerade-interfaces": "eth0" }));
  expect(problems).toEqual([{ where: expect.anything(), severity: "error",
    what: "option egress-masquerade-interfaces=eth0: the agent does not start; it needs enable-bpf-masquerade=false" }]);
});

describe("options by version", () => {
  it.each(Object.entries(HISTORY))("%s: a version without it behaves by one value, and says so where another was read", (name, history) => {
    for (const version of CILIUM_VERSIONS) {
      const has = (history.since === undefined || version >= history.since) && (history.until === undefined || version <= history.until);
      const other = typeof history.otherwise === "boolean" ? String(!history.otherwise) : "icmp";
      const { options, problems } = ciliumOptions(`cilium@${version}`, clusterWith({ [name]: other, "kube-proxy-replacement": "false" }));
      const said = problems.some((one) => one.what.startsWith(`option ${name}=`) && one.what.includes("has no such option"));
      const early = history.since !== undefined && version < history.since;
      const fixed = String(early ? history.before ?? history.otherwise : history.otherwise);
      expect([version, String(options[name as OptionName]), said]).toEqual([version, has ? other : fixed, !has && other !== fixed]);
    }
  });

  it("names options of the table", () => {
    expect(Object.keys(HISTORY).filter((name) => !(name in DEFAULTS))).toEqual([]);
  });
});
