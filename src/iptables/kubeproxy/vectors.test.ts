/** kube-proxy's own expected rule texts (vectors/kube-proxy-rule-text.json), all eight cases. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { sharedDir } from "../../../test/shared.js";
import { clusterOf, deviceOf, nodeNamed, type Plain, prefix } from "../manifests.fixture.js";
import { KUBE_PROXY_DEFAULTS, masqueradeMark, type KubeProxyConfig } from "./config.js";
import { generateKubeProxy } from "./generate.js";
import { probability } from "./serviceRules.js";

const shared = sharedDir();

describe.skipIf(shared === null)("kube-proxy rule text vectors (needs TWINPLANE_SHARED)", () => {
  const cases: Plain[] = shared === null ? [] :
    JSON.parse(readFileSync(join(shared, "vectors/kube-proxy-rule-text.json"), "utf8")).cases;

  test("there are eight", () => expect(cases.length).toBe(8));

  for (const vector of cases) {
    test(vector.name, () => {
      if (vector.kind === "probability") {
        for (const [n, text] of Object.entries(vector.expect)) expect(probability(Number(n))).toBe(text);
        for (let n = 100_000; n > 1; n--) expect(probability(n - 1) > probability(n), `n = ${n}`).toBe(true);
        return;
      }
      const text = generated(vector);
      if (vector.kind === "chain-golden") {
        const rules = ordered(text)[vector.expectChain.table].get(vector.expectChain.chain)!;
        expect(rules.map((rule) => `${rule}\n`).join("")).toBe(vector.expectChain.rules);
      } else {
        expect(vector.kind).toBe("golden");
        expect(ordered(text)).toEqual(ordered(vector.expectRules));
      }
    });
  }
});

function generated(vector: Plain): string {
  const { config } = vector;
  const cluster = clusterOf(vector.manifests);
  const devices = config.interfaces.map((device: Plain, index: number) => (
    deviceOf(index + 1, device.name, device.name === "lo" ? "loopback" : "uplink", device.addresses)));
  const node = nodeNamed(config.nodeName, [config.nodeIP], config.nodeLabels, devices);
  const kubeProxy: KubeProxyConfig = {
    ...KUBE_PROXY_DEFAULTS,
    masqueradeAll: config.masqueradeAll, detectLocalMode: config.localDetector.mode,
    clusterCIDR: [prefix(config.localDetector.cidr)], localhostNodePorts: config.localhostNodePorts,
    nodePortAddresses: (config.nodePortAddresses ?? []).map(prefix), nfacctCounters: config.nfacctCounters,
    randomFully: config.masqueradeRandomFully, tcpBeLiberal: config.conntrackTCPLiberal,
    loadBalancerIPMode: config.featureGates.LoadBalancerIPMode,
    largeClusterEndpointsThreshold: config.largeClusterEndpointsThreshold,
  };
  const family = config.ipFamily === "IPv6" ? 6 : 4;
  const text = generateKubeProxy({ cluster, node, family, config: kubeProxy }).restoreText;
  // Upstream's tests print the mark without padding; it is the same value.
  return text.replaceAll(masqueradeMark(kubeProxy), config.masqueradeMark);
}

/** Per table the sorted chain lines, and each chain's rules in the order they stand. */
function ordered(text: string): Record<string, Map<string, string[]>> {
  const tables: Record<string, Map<string, string[]>> = {};
  let table = new Map<string, string[]>();
  for (const line of text.split("\n")) {
    if (line.startsWith("*")) tables[line.slice(1)] = table = new Map();
    else if (line.startsWith(":")) table.set(line, []);
    else if (line.startsWith("-A ")) {
      const chain = line.split(" ")[1];
      table.set(chain, [...(table.get(chain) ?? []), line]);
    } else if (line !== "" && line !== "COMMIT") table.set(line, []);
  }
  return tables;
}
