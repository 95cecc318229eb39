/** Names, held against ones that NPM's own tests and a node's dump of 2022 show. */
import { expect, test } from "vitest";
import { hashedSetName, ipBlockSet, namingOf, nestedLabelSet, policyChain } from "./names.js";

test("names since July 2026", () => {
  expect(hashedSetName("sha256", "ns-test")).toBe("azure-npm-343gyx4g1wf87lwlewvk");
  expect(hashedSetName("sha256", "podlabel-x:YMaaIZ")).toBe("azure-npm-61b0uqiiz2delucbmvi2");
  expect(policyChain("sha256", "INGRESS", "x/test1")).toBe("AZURE-NPM-INGRESS-jo5gdwc4t2");
  expect(policyChain("sha256", "EGRESS", "msobb-server/trusted-namespace-only")).toBe("AZURE-NPM-EGRESS-7d7a0cfguo");
  expect(nestedLabelSet("sha256", "y/base", "pod", ["a", "b"]).text).toBe("nestedlabel-y/base:pod:a:b");
  expect(ipBlockSet("sha256", "default", "test", "IN", 0, 0).text).toBe("cidr-test:in-ns:default-0-0IN");
});

test("names before", () => {
  expect(policyChain("fnv32", "EGRESS", "y/base")).toBe("AZURE-NPM-EGRESS-2697641196");
  expect(policyChain("fnv32", "INGRESS", "kube-system/default-deny-ingress")).toBe("AZURE-NPM-INGRESS-3750705395");
  expect(hashedSetName("fnv32", "podlabel-pod:a")).toBe("azure-npm-3922407721");
  expect(hashedSetName("fnv32", "ns-kube-system")).toBe("azure-npm-2064349730");
  expect(hashedSetName("fnv32", "nslabel-ns:y")).toBe("azure-npm-2146053937");
  expect(nestedLabelSet("fnv32", "y/base", "pod", ["a", "b"]).text).toBe("nestedlabel-y/base-pod:a:b");
  expect(ipBlockSet("fnv32", "default", "test", "OUT", 1, 2).text).toBe("cidr-test-in-ns-default-1-2OUT");
});

test("a node's text says which of the two it has", () => {
  expect(namingOf("-A X -m set --match-set azure-npm-3922407721 src")).toBe("fnv32");
  expect(namingOf("create azure-npm-61b0uqiiz2delucbmvi2 hash:net")).toBe("sha256");
  expect(namingOf(":AZURE-NPM-EGRESS-2697641196 - [0:0]")).toBe("fnv32");
  expect(namingOf(":AZURE-NPM-INGRESS-jo5gdwc4t2 - [0:0]")).toBe("sha256");
  expect(namingOf(":AZURE-NPM-INGRESS - [0:0]\n:AZURE-NPM-ACCEPT - [0:0]")).toBeNull();
});
