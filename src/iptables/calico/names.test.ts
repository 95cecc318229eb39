/**
 * Names that real nodes had: chains, sets, devices and rule hashes as published listings of Calico nodes show them,
 * for the objects that those listings show beside them.
 */
import { describe, expect, test } from "vitest";
import type { Cluster } from "../../cluster/cluster.js";
import { CALICO_DEFAULTS } from "./config.js";
import { generateCalico } from "./generate.js";
import { chainName, ruleHashes, vethName } from "./names.js";
import { clusterOf, node } from "./random.fixture.js";

/** By chain, the hashes in the order of its rules. */
const SEEN: Readonly<Record<string, readonly string[]>> = {
  "filter INPUT": ["Cz_u1IQiXIMmKD4c"],
  "filter FORWARD": ["wUHhoiAYhphO9Mso", "S93hcgKJrXEqnTfs", "mp77cMpurHhyjLrM"],
  "filter OUTPUT": ["tVnHkvAo15HuiPy0"],
  "nat POSTROUTING": ["O3lYWMrLQYEMJtB5"],
  "filter cali-wl-to-host": ["Ee9Sbo10IpVujdIY", "nSZbcOoG1xPONxb8"],
  "filter cali-from-wl-dispatch": ["zTj6P0TIgYvgz-md"],
  "filter cali-to-wl-dispatch": ["7KNphB1nNHw80nIO"],
  "nat cali-PREROUTING": ["r6XmIziWUJsdOK6Z"],
  "nat cali-OUTPUT": ["GBTAv2p5CwevEyJm"],
  "nat cali-POSTROUTING": ["Z-c7XtVd2Bq7s_hA", "nYKhEzDlr11Jccal"],
  "nat cali-nat-outgoing": ["flqWnvo8yq4ULQLa"],
};

describe("rule hashes", () => {
  test("of chains whose rules are the same in every version", () => {
    const cluster = clusterOf([node("n1", 1), POOL]);
    const { jumps, rules } = generateCalico(cluster, cluster.nodes[0], 4, CALICO_DEFAULTS);
    const hashes = (chain: string): string[] => [...jumps, ...rules].filter((one) => `${one.table} ${one.chain}` === chain)
      .map((one) => /--comment "cali:([^"]+)"/.exec(one.text)![1]);
    // At the end of POSTROUTING the same jump is hashed under another name.
    const { "nat POSTROUTING": atHead, ...others } = SEEN;
    expect(Object.fromEntries(Object.keys(others).map((chain) => [chain, hashes(chain)]))).toEqual(others);
    expect(ruleHashes("POSTROUTING", ["--jump cali-POSTROUTING"])).toEqual(atHead);
  });

  test("of a chain of a version with other mark bits", () => {
    expect(ruleHashes("cali-FORWARD", ["--jump MARK --set-mark 0/0xe0000",
      "-m mark --mark 0/0x10000 --jump cali-from-hep-forward",
      "--in-interface cali+ --jump cali-from-wl-dispatch", "--out-interface cali+ --jump cali-to-wl-dispatch",
      "--jump cali-to-hep-forward", "--jump cali-cidr-block"])).toEqual(["vjrMJCRpqwy5oRoX", "A_sPAO0mcxbT9mOV",
      "8ZoYfO5HKXWbB3pk", "jdEuaPBe14V2hutn", "12bc6HljsMKsmfr-", "NOSxoaGx8OIstr1z"]);
  });
});

describe("policies", () => {
  test("chain, set and match of a policy", () => {
    const cluster = onePolicy();
    const { rules, sets } = generateCalico(cluster, cluster.nodes[0], 4, CALICO_DEFAULTS);
    // Before v3.29 the tier was no part of the name; the listing is of such a version.
    expect(chainName("cali-pi-", "default/knp.default.haejun-policy")).toBe("cali-pi-_Eb-vckmN-lr2eREXQcs");
    const chain = rules.filter((one) => one.chain === chainName("cali-pi-", "default/default/knp.default.haejun-policy"));
    expect(chain.map((one) => one.text.replace(/-m comment --comment "cali:[^"]*" /, ""))).toEqual([
      '-m comment --comment "Policy default/knp.default.haejun-policy ingress" -p tcp -m set --match-set '
      + "cali40s:dSXImMSA1iXOPxYRYLVorAP src -m multiport --destination-ports 80 --jump MARK --set-mark 0x10000/0x10000"]);
    expect(sets).toContain("add cali40s:dSXImMSA1iXOPxYRYLVorAP 192.168.0.70");
  });

  test("names that fit are kept, longer ones are hashed", () => {
    expect(chainName("cali-pri-", "kns.kube-system")).toBe("cali-pri-kns.kube-system");
    expect(chainName("cali-pri-", "ksa.default.default")).toBe("cali-pri-ksa.default.default");
    expect(chainName("cali-pri-", "ksa.default.defaults")).toMatch(/^cali-pri-_[\w-]{18}$/);
    expect(chainName("cali-pri-", "_sa.default.default")).toMatch(/^cali-pri-_[\w-]{18}$/);
  });
});

describe("devices", () => {
  test("of a pod without facts", () => {
    // alpha/nginx-dbddb74b8-z9dpn stood behind this device on its node.
    expect(vethName("cali", "alpha", "nginx-dbddb74b8-z9dpn")).toBe("cali92d634f8f03");
  });
});

const POOL = { apiVersion: "crd.projectcalico.org/v1", kind: "IPPool", metadata: { name: "default-ipv4-ippool" },
  spec: { cidr: "192.168.0.0/16", natOutgoing: true, ipipMode: "Never", vxlanMode: "Never" } };

function onePolicy(): Cluster {
  const pod = (name: string, labels: object, ip: string): object => ({ apiVersion: "v1", kind: "Pod",
    metadata: { namespace: "default", name, labels }, spec: { nodeName: "n1", containers: [] },
    status: { phase: "Running", podIPs: [{ ip }] } });
  return clusterOf([
    node("n1", 1), pod("haejun-nginx", { user: "haejun", app: "nginx" }, "192.168.0.69"),
    pod("haejun-allower", { user: "haejun", role: "allower" }, "192.168.0.70"),
    { apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata: { namespace: "default", name: "haejun-policy" },
      spec: { podSelector: { matchLabels: { user: "haejun", app: "nginx" } }, policyTypes: ["Ingress"], ingress: [{
        from: [{ podSelector: { matchLabels: { user: "haejun", role: "allower" } } }],
        ports: [{ protocol: "TCP", port: 80 }] }] } },
  ]);
}
