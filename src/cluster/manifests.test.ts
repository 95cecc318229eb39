import fc from "fast-check";
import { dump } from "js-yaml";
import { describe, expect, test } from "vitest";
import { type ManifestObjects, mergeObjects, readManifests, withoutObjects } from "./manifests.js";
import { formatProblem } from "./problem.js";
import type { NamedText } from "./source-text.js";
import { buildCluster } from "./timeline.js";

const seed = Number(process.env.TWINPLANE_SEED ?? 20261122);

function read(text: string, name = "a.yaml") {
  const manifests = readManifests([{ name, text }]);
  return { ...manifests, lines: manifests.problems.map(formatProblem) };
}

/** The objects without their places, which differ between spellings of the same cluster. */
function plain(objects: ManifestObjects): unknown {
  return JSON.parse(JSON.stringify(objects, (key, value) => (key === "where" ? undefined : value)));
}

const POLICY = (spec: string) => `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: np, namespace: shop}
spec:
${spec.split("\n").map((line) => `  ${line}`).join("\n")}
`;

describe("places", () => {
  const text = `# a comment
apiVersion: v1
kind: List
items:
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: a}
  spec:
    ingress:
    - from:
      - podSelector: {}
    # another comment

    -
      ports:
      - port: 80
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: b}
  spec: {egress: [{},
    {ports: [{port: 1}]}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: c}
spec:
  ingress: [{}]
`;

  test("objects and rules have their lines, also in lists, flow style and later documents", () => {
    const { objects, lines } = read(text);
    expect(lines).toEqual([]);
    const [a, b, c] = objects.networkPolicies;
    expect([a.where.line, ...a.ingress.map((rule) => rule.where.line)]).toEqual([5, 10, 15]);
    expect([b.where.line, ...b.egress.map((rule) => rule.where.line)]).toEqual([17, 20, 21]);
    expect([c.where.line, ...c.ingress.map((rule) => rule.where.line)]).toEqual([23, 27]);
    expect(a.where.file).toBe("a.yaml");
  });

  test("CRLF and a byte order mark change nothing", () => {
    const { objects } = read(`\ufeff${text.replaceAll("\n", "\r\n")}`);
    expect(objects).toEqual(read(text).objects);
  });

  test("JSON: compact, indented, and several values in a row", () => {
    const { objects } = read(text);
    const raw = ["a", "b", "c"].map((name) => ({ apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy",
      metadata: { name }, spec: { ingress: [{ ports: [{ port: 80 }] }, {}] } }));
    expect(objects.networkPolicies.length).toBe(3);
    const indented = read(JSON.stringify({ kind: "List", apiVersion: "v1", items: raw }, null, 1),
      "b.json").objects;
    expect(indented.networkPolicies.map((policy) => policy.where.line)).toEqual([5, 24, 43]);
    expect(indented.networkPolicies[1].ingress.map((rule) => rule.where.line)).toEqual([32, 39]);
    const row = read(raw.map((one) => JSON.stringify(one)).join("\n"), "c.json").objects;
    expect(row.networkPolicies.map((policy) => policy.where.line)).toEqual([1, 2, 3]);
    expect(plain(row)).toEqual(plain(indented));
  });

  test("brackets, quotes and `items` inside JSON strings are text", () => {
    const texts = ['"', '\\', '\\"', '"]}', '{"items":[', "]"];
    const pods = texts.map((text, index) => ({ apiVersion: "v1", kind: "Pod",
      metadata: { name: `p${index}`, annotations: { a: text, items: text } } }));
    const { objects, lines } = read(JSON.stringify({ apiVersion: "v1", kind: "List", items: pods }));
    expect(lines).toEqual([]);
    expect(objects.pods.map((pod) => pod.annotations)).toEqual(pods.map((pod) => pod.metadata.annotations));
  });

  test("items of a typed list need no kind of their own; lists may hold lists", () => {
    const pod = { metadata: { name: "p" }, spec: {}, status: { podIP: "10.0.0.1" } };
    const typed = read(JSON.stringify({ kind: "PodList", apiVersion: "v1", items: [pod] })).objects;
    expect(typed.pods.map((one) => one.ips[0].text)).toEqual(["10.0.0.1"]);
    const inner = { kind: "List", apiVersion: "v1", items: [{ kind: "Pod", apiVersion: "v1", ...pod }] };
    const nested = read(JSON.stringify({ kind: "List", apiVersion: "v1", items: [inner] })).objects;
    expect(plain(nested)).toEqual(plain(typed));
    expect(plain(read(dump({ kind: "List", apiVersion: "v1", items: [inner] })).objects))
      .toEqual(plain(typed));
  });
});

describe("what cannot be read is a Problem with its line, and the rest is used", () => {
  const good = "apiVersion: v1\nkind: Pod\nmetadata: {name: good}\n";

  test.each<[string, string, number, RegExp]>([
    ["a tab as indentation", "a:\n\tb: 1\n", 2, /tab.*expected YAML/],
    ["an unclosed bracket", "kind: Pod\nmetadata: {name: x\n", 3, /expected YAML/],
    ["a list at the top", "- 1\n", 1, /expected a mapping/],
    ["no kind", "metadata: {name: x}\n", 1, /found no kind/],
    ["no name", "apiVersion: v1\nkind: Pod\nmetadata: {namespace: a}\n", 3, /found no name/],
    ["an unquoted label value",
      "apiVersion: v1\nkind: Pod\nmetadata:\n  name: x\n  labels:\n    on: 1\n    v: yes\n", 6,
      /metadata\.labels\.true: found 1, expected text/],
    ["a removed version", "apiVersion: extensions/v1beta1\nkind: NetworkPolicy\nmetadata: {name: x}\n", 1,
      /no longer served, expected networking\.k8s\.io\/v1/],
    ["an alias of itself", "kind: Pod\nmetadata: &a\n  name: x\n  more: *a\n", 1, /aliases/],
  ])("%s", (_, bad, line, what) => {
    for (const [text, offset] of [[`${good}---\n${bad}`, 4], [`${bad}---\n${good}`, 0]] as const) {
      const { objects, problems } = read(text);
      expect(objects.pods.map((pod) => pod.name)).toEqual(["good"]);
      expect(problems.length).toBeGreaterThan(0);
      expect(problems[0])
        .toMatchObject({ severity: "error", where: { file: "a.yaml", line: line + offset } });
      expect(problems[0].what).toMatch(what);
    }
  });

  test("an alias bomb is refused at once", () => {
    const levels = Array.from({ length: 12 }, (_, level) => (level === 0 ? "a0: &a0 [x]"
      : `a${level}: &a${level} [${Array(9).fill(`*a${level - 1}`).join(", ")}]`));
    const { objects, lines } = read(`${levels.join("\n")}\n---\n${good}`);
    expect(lines).toEqual([expect.stringMatching(/^a\.yaml:1: error: the aliases of this document/)]);
    expect(objects.pods.length).toBe(1);
  });

  test("a repeated key is a warning, and the last one counts, as the API server reads it", () => {
    const { objects, lines } = read("apiVersion: v1\nkind: Pod\nmetadata:\n  name: x\n  name: z\n");
    expect(lines).toEqual([expect.stringMatching(/^a\.yaml:5: warning: a key stands twice/)]);
    expect(objects.pods.map((pod) => pod.name)).toEqual(["z"]);
  });

  test("in a JSON list a damaged item costs that item, and a cut text its last", () => {
    const item = (name: string) => `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"${name}"}}`;
    const list = `{"kind":"List","apiVersion":"v1","items":[\n${item("a")},\n{"kind":,},\n${item("c")}\n]}\n`;
    const damaged = read(list, "d.json");
    expect(damaged.objects.pods.map((pod) => pod.name)).toEqual(["a", "c"]);
    expect(damaged.lines).toEqual([expect.stringMatching(/^d\.json:3: error: .*expected JSON/)]);
    const cut = read(list.slice(0, -12).replace('{"kind":,}', item("b")), "e.json");
    expect(cut.objects.pods.map((pod) => pod.name)).toEqual(["a", "b"]);
    expect(cut.lines).toEqual([expect.stringMatching(/^e\.json:4: error: the text ends inside the value/)]);
  });

  test("no text makes it throw", () => {
    const piece = fc.constantFrom("a: ", "- ", "{", "}", "[", "]", "\n", "  ", "\t", "---\n", "...\n",
      "%YAML 1.1\n",
      "&a ", "*a", "<<: ", "!!binary x", "!!set ", "? ", "\"", "'", "|\n", ">\n", "kind: Pod\n", "items: ",
        "#", "\u0000",
      "apiVersion: v1\n", "metadata: ", "spec: ", "{\"items\":[", ",", "1", "\\", "\ud800");
    fc.assert(fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
      const text = pieces.join("");
      readManifests([{ name: "x", text }]);
      readManifests([{ name: "x", text: `{${text}` }]);
    }), { seed, numRuns: 3000 });
  });
});

describe("objects", () => {
  test("the last of two with the same name counts, with a warning that names both places", () => {
    const pod = (ip: string) => `apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nstatus: {podIP: ${ip}}\n`;
    const { objects, lines } = read(`${pod("10.0.0.1")}---\n${pod("10.0.0.2")}`);
    expect(objects.pods.map((one) => one.ips[0].text)).toEqual(["10.0.0.2"]);
    expect(lines).toEqual([
      expect.stringMatching(/^a\.yaml:6: warning: Pod default\/x was read from a\.yaml:1 too/),
    ]);
  });

  test("a YAML list that was cut off is used but for its last item, and is incomplete", () => {
    const items = ["a", "b", "c"].map((name) => ({ apiVersion: "v1", kind: "Namespace", metadata: { name } }));
    const whole = dump({ apiVersion: "v1", items, kind: "List", metadata: { resourceVersion: "" } });
    expect(read(whole).objects.namespaces.map(({ name }) => name)).toEqual(["a", "b", "c"]);
    const { objects, problems } = read(whole.slice(0, whole.indexOf("\nkind: List") + 1));
    expect(objects.namespaces.map(({ name }) => name)).toEqual(["a", "b"]);
    expect(problems).toEqual([expect.objectContaining({ severity: "error", incomplete: true,
      what: expect.stringContaining("the text ends before `kind: List`") })]);
    // Of another document than the last it is no cut.
    expect(read(`items: [{kind: Namespace}]\n---\n${whole}`).lines).toEqual([expect.stringContaining("found no kind")]);
  });

  describe("of one object in two files", () => {
    const pod = (file: string, ip: string, version: string): NamedText => ({ name: file, text: JSON.stringify({ apiVersion: "v1",
      kind: "Pod", metadata: { name: "x", ...(version === "" ? {} : { resourceVersion: version }) }, status: { podIP: ip } }) });
    test.each<[string, NamedText[], string, string, string]>([
      ["the higher resourceVersion counts", [pod("a", "10.0.0.1", "1000"), pod("b", "10.0.0.2", "999"), pod("c", "10.0.0.3", "99")],
        "10.0.0.1", "warning", "Pod default/x was read from b:1, c:1 too; expected each object once; this one has the highest"],
      ["what somebody wrote counts before what a cluster said", [pod("a", "10.0.0.1", ""), pod("b", "10.0.0.2", "999")], "10.0.0.1",
        "warning", "this one has no resourceVersion, as what is written by hand, and is used"],
      ["the file named last counts where nothing else says it", [pod("a", "10.0.0.1", ""), pod("b", "10.0.0.2", "")], "10.0.0.2", "error",
        "nothing says which is the newest; this one is used"],
      ["that they say the same is no error", [pod("a", "10.0.0.1", ""), pod("b", "10.0.0.1", "7")], "10.0.0.1", "warning",
        "they say the same"],
    ])("%s, in whatever order they are read", (_name, sources, ip, severity, said) => {
      const results = [sources, [...sources].reverse(), [...sources.slice(1), sources[0]]].map((some) => readManifests(some));
      for (const { objects, problems } of results) {
        expect(objects.pods.map((one) => one.ips[0].text)).toEqual([ip]);
        expect(problems).toEqual([expect.objectContaining({ severity, what: expect.stringContaining(said) })]);
        expect([objects, problems]).toEqual([results[0].objects, results[0].problems]);
      }
    });
  });

  test("kinds of the same name in other groups are other objects", () => {
    const { objects, lines } = read(
      "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: a, namespace: ns}\n"
      + "---\napiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: ns}\nspec: {clusterIP: None}\n");
    expect(lines).toEqual([]);
    expect(objects.others.map((one) => one.apiVersion)).toEqual(["serving.knative.dev/v1"]);
    expect(objects.services.length).toBe(1);
  });

  test("nothing of Secrets, environments and copied objects is kept", () => {
    const secret = "hunter2";
    const { objects } = read(`
apiVersion: v1
kind: Secret
metadata: {name: s, namespace: ns}
data: {a: ${secret}}
stringData: {b: ${secret}}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: d
  namespace: ns
  annotations: {kubectl.kubernetes.io/last-applied-configuration: ${secret}}
spec: {template: {spec: {containers: [{name: c, env: [{name: X, value: ${secret}}], envFrom: [${secret}]}]}}}
---
apiVersion: v1
kind: Pod
metadata: {name: p, annotations: {kubectl.kubernetes.io/last-applied-configuration: ${secret}}}
spec: {containers: [{name: c, env: [{name: X, value: ${secret}}]}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: cilium-config, namespace: ns}
data: {enable-policy: default}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: zz-app, namespace: ns}
data: {settings.ini: "password = ${secret}", same: a, other: a}
binaryData: {blob: ${secret}}
`);
    expect(objects.others.map((one) => one.name)).toEqual(["cilium-config", "d", "s", "zz-app"]);
    // An application's files are known by their digests, by which a change shows.
    const { data } = objects.others[3].object as { data: Record<string, string> };
    expect(Object.keys(data)).toEqual(["settings.ini", "same", "other"]);
    expect(data.same).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect([data.same === data.other, data.same === data["settings.ini"]]).toEqual([true, false]);
    expect(objects.others[0].object).toMatchObject({ data: { "enable-policy": "default" } });
    expect(JSON.stringify(objects)).not.toContain(secret);
  });

  test("defaults of the API server", () => {
    const { objects, lines } = read(`
apiVersion: v1
kind: Service
metadata: {name: s}
spec:
  clusterIPs: [10.0.0.1, "fd00::1"]
  ports: [{port: 80}, {name: dns, port: 81, targetPort: web, protocol: UDP}]
status: {loadBalancer: {ingress: [{ip: 198.51.100.1}, {hostname: x}, {ip: 198.51.100.2, ipMode: Proxy}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: e, labels: {kubernetes.io/service-name: s}}
addressType: IPv4
ports: [{port: 8080}]
endpoints:
- {addresses: [10.1.0.1]}
- {addresses: [10.1.0.2], conditions: {ready: false}}
- {addresses: [10.1.0.3], conditions: {ready: false, serving: true}}
---
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  initContainers:
  - {ports: [{containerPort: 1}]}
  - {restartPolicy: Always, ports: [{containerPort: 2, name: side}]}
`);
    expect(lines).toEqual([]);
    const [service] = objects.services;
    expect(service).toMatchObject({ type: "ClusterIP", headless: false, ipFamilies: ["IPv4", "IPv6"],
      externalTrafficPolicy: "Cluster", internalTrafficPolicy: "Cluster", sessionAffinity: "None",
      sessionAffinityTimeoutSeconds: 10800, publishNotReadyAddresses: false, selector: null });
    expect(service.ports).toEqual([
      { name: "", protocol: "TCP", port: 80, targetPort: 80, nodePort: 0 },
      { name: "dns", protocol: "UDP", port: 81, targetPort: "web", nodePort: 0 },
    ]);
    expect(service.loadBalancerIngress.map((one) => `${one.ip.text} ${one.ipMode}`))
      .toEqual(["198.51.100.1 VIP", "198.51.100.2 Proxy"]);
    const [slice] = objects.endpointSlices;
    expect(slice).toMatchObject({ serviceName: "s", ports: [{ name: "", protocol: "TCP", port: 8080 }] });
    expect(slice.endpoints.map((one) => [one.ready, one.serving, one.terminating]))
      .toEqual([[true, true, false], [false, false, false], [false, true, false]]);
    expect(objects.pods[0])
      .toMatchObject({ namespace: "default", phase: "Running", serviceAccountName: "default",
      ports: [{ name: "side", containerPort: 2, protocol: "TCP", hostPort: 0 }] });
  });

  test("addresses are read as kube-proxy reads them", () => {
    const { objects, lines } = read(`apiVersion: v1
kind: Service
metadata: {name: s}
spec:
  clusterIP: 172.30.0.041
  externalIPs:
  - 1.2.3
  - 198.51.100.7
  loadBalancerSourceRanges: [203.0.113.000/025, " 10.0.0.1/8"]
`);
    const [service] = objects.services;
    expect(service.clusterIPs.map((one) => one.text)).toEqual(["172.30.0.41"]);
    expect(service.externalIPs.map((one) => one.text)).toEqual(["198.51.100.7"]);
    expect(service.loadBalancerSourceRanges.map((one) => one.text)).toEqual(["203.0.113.0/25", "10.0.0.0/8"]);
    expect(lines).toEqual([
      expect.stringMatching(/^a\.yaml:5: warning: .*clusterIP: found "172\.30\.0\.041" with leading zeros/),
      expect.stringMatching(/^a\.yaml:7: error: .*externalIPs\[0\]: found "1\.2\.3", expected an IP addr/),
      expect.stringMatching(/^a\.yaml:9: warning: .*203\.0\.113\.000/),
    ]);
  });
});

describe("NetworkPolicy", () => {
  test.each<[string, string, number, RegExp]>([
    ["an empty peer", "ingress:\n- from:\n  - {}", 7, /ingress\[0\]\.from\[0\]: found an empty peer/],
    ["ipBlock beside a selector", "egress:\n- to:\n  - ipBlock: {cidr: 10.0.0.0/8}\n    podSelector: {}", 7,
      /ipBlock beside a selector/],
    ["a cidr that is none", "ingress:\n- from:\n  - ipBlock:\n      cidr: 10.0.0.0/33", 8, /expected a CIDR/],
    ["an address as cidr", "ingress:\n- from:\n  - ipBlock: {cidr: 10.0.0.1}", 7, /expected a CIDR/],
    ["except outside",
      "ingress:\n- from:\n  - ipBlock:\n      cidr: 10.0.0.0/8\n      except:\n      - 10.1.0.0/16\n"
        + "      - 11.0.0.0/8",
      11, /except\[1\]: found 11\.0\.0\.0\/8, expected a CIDR inside 10\.0\.0\.0\/8/],
    ["except equal", "ingress:\n- from:\n  - ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/8]}", 7,
      /smaller than it/],
    ["port 0", "ingress:\n- ports:\n  - port: 0", 7, /expected a port from 1 to 65535/],
    ["port 65536", "ingress:\n- ports:\n  - port: 65536", 7, /expected a port/],
    ["a number in quotes", "ingress:\n- ports:\n  - port: '80'", 7,
      /expected a number from 1 to 65535 without quotes/],
    ["a name too long", "ingress:\n- ports:\n  - port: abcdefghijklmnop", 7, /container port's name/],
    ["endPort below port", "ingress:\n- ports:\n  - port: 80\n    endPort: 79", 8,
      /expected at least the port, 80/],
    ["endPort of a name", "ingress:\n- ports:\n  - {port: http, endPort: 90}", 7,
      /endPort with the named port "http"/],
    ["endPort alone", "ingress:\n- ports:\n  - {endPort: 90}", 7, /endPort without port/],
    ["another protocol", "ingress:\n- ports:\n  - {protocol: ICMP}", 7, /expected TCP or UDP or SCTP/],
    ["another operator", "podSelector:\n  matchExpressions:\n  - {key: a, operator: Equals, values: [b]}", 7,
      /expected In, NotIn, Exists, DoesNotExist/],
    ["In without values", "podSelector:\n  matchExpressions:\n  - {key: a, operator: In}", 7,
      /at least one with In/],
    ["Exists with values", "podSelector:\n  matchExpressions:\n  - {key: a, operator: Exists, values: [b]}",
      7,
      /expected none with Exists/],
    ["a label value with a space", "podSelector:\n  matchLabels:\n    a: b c", 7, /label value "b c"/],
    ["a policy type that is none", "policyTypes:\n- Ingres", 6, /expected Ingress or Egress/],
    ["a mapping for a list", "ingress:\n  from: []", 5, /found a mapping, expected a list/],
  ])("%s is refused with its line, and the policy is not used", (_, spec, line, what) => {
    const { objects, lines } = read(POLICY(spec));
    expect(objects.networkPolicies).toEqual([]);
    expect(lines)
      .toEqual([expect.stringMatching(new RegExp(`^a\\.yaml:${line}: error: NetworkPolicy shop/np: `))]);
    expect(lines[0]).toMatch(what);
    expect(lines[0]).toMatch(/not used$/);
  });

  test("an unknown field is ignored, with a warning: the API server prunes it", () => {
    const { objects, lines } = read(POLICY("podSelector: {app: web}\ningres: []"));
    expect(objects.networkPolicies[0].podSelector).toEqual({ matchLabels: {}, matchExpressions: [] });
    expect(lines.map((line) => line.slice(0, 19))).toEqual(["a.yaml:6: warning: ", "a.yaml:5: warning: "]);
  });

  test.each<[string, string, string[]]>([
    ["absent, no egress rule", "ingress: []", ["Ingress"]],
    ["absent, an egress rule", "egress: [{}]", ["Ingress", "Egress"]],
    ["absent, an empty egress", "egress: []", ["Ingress"]],
    ["given", "policyTypes: [Egress]\ningress: [{}]", ["Egress"]],
  ])("policyTypes %s", (_, spec, types) => {
    expect(read(POLICY(spec)).objects.networkPolicies[0].policyTypes).toEqual(types);
  });

  test("empty and missing peers and ports mean any", () => {
    const [policy] = read(POLICY("ingress:\n- {}\n- {from: [], ports: []}\n- {from: null}\n- {ports: [{}]}"))
      .objects.networkPolicies;
    expect(policy.ingress.map((rule) => [rule.peers, rule.ports])).toEqual([
      [null, null], [null, null], [null, null], [null, [{ protocol: "TCP", port: null, endPort: null }]],
    ]);
  });
});

describe("YAML scalars are Go's", () => {
  test.each<[string, unknown]>([
    ["yes", true], ["y", true], ["On", true], ["n", false], ["off", false], ["2001-01-01", "2001-01-01"],
    ["0755", 493], ["08", 8], ["0x1F", 31], ["0o17", 15], ["0b101", 5], ["1_000", 1000], ["12:30", "12:30"],
    ["190:20:30", "190:20:30"], ["1e3", 1000], ["-5", -5], [".5", 0.5], ["~", null], ["1.2.3", "1.2.3"],
      ["+7", 7],
    ["00", 0], ["0o8", "0o8"], ["_", "_"],
  ])("%s", (text, value) => {
    const { objects } = read(`apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\nvalue: ${text}\n`);
    expect(objects.others[0].object.value).toEqual(value);
  });
});

describe(`the same cluster, however it is written (seed ${seed})`, () => {
  const name = fc.constantFrom("a", "b", "c-1");
  const text = fc.oneof(fc.string({ unit: "grapheme", maxLength: 8 }),
    fc.constantFrom("yes", "n", "2001-01-01", "0755", "12:30", "~", "null", "1e3", "---", "# x", "a: b",
      "*a", "<<"));
  const labels = fc.dictionary(fc.constantFrom("app", "on", "8080"), fc.constantFrom("web", "true", "1", ""));
  const metadata = fc.record({ name, namespace: name, labels,
    annotations: fc.dictionary(fc.constantFrom("p", "q"), text) });
  const ports = fc.array(fc.record({ port: fc.oneof(fc.integer({ min: 1, max: 65535 }),
    fc.constant("http")) }),
    { minLength: 1, maxLength: 2 });
  const peers = fc.array(fc.oneof(fc.record({ podSelector: fc.record({ matchLabels: labels }) }),
    fc.record({ ipBlock: fc.record({ cidr: fc.constantFrom("10.0.0.0/8", "fd00::/8") }) })),
      { maxLength: 3 });
  const object = fc.oneof(
    metadata.map((meta) =>
      ({ apiVersion: "v1", kind: "Namespace", metadata: { ...meta, namespace: undefined } })),
    fc.record({ apiVersion: fc.constant("v1"), kind: fc.constant("Pod"), metadata,
      spec: fc.record({ nodeName: name }),
      status: fc.record({ podIP: fc.constantFrom("10.0.0.1", "fd00::1", "") }) }),
    fc.record({ apiVersion: fc.constant("networking.k8s.io/v1"), kind: fc.constant("NetworkPolicy"), metadata,
      spec: fc.record({ ingress: fc.array(fc.record({ from: peers, ports }), { maxLength: 3 }) }) }),
    fc.record({ apiVersion: fc.constant("v1"), kind: fc.constant("ConfigMap"), metadata,
      data: fc.dictionary(fc.constantFrom("8080", "x", "items"), text) }),
  );
  const key = (one: { kind: string; metadata: { name: string; namespace?: string } }): string =>
    [one.kind, one.metadata.namespace, one.metadata.name].join("/");
  const objects = fc.uniqueArray(object, { maxLength: 12, selector: key });
  const order = fc.array(fc.nat(), { minLength: 12, maxLength: 12 });

  function shuffled<T>(list: readonly T[], weights: readonly number[]): T[] {
    return list.map((item, index) => ({ item, weight: weights[index] })).sort((a, b) => a.weight - b.weight)
      .map(({ item }) => item);
  }

  test("shuffled, split into files, as YAML, as JSON, as lists", () => {
    fc.assert(fc.property(objects, order, fc.nat(11), (list, weights, cut) => {
      const reference = readManifests(list
        .map((one, index) => ({ name: `${index}`, text: JSON.stringify(one) })));
      expect(reference.problems).toEqual([]);
      const mixed = shuffled(JSON.parse(JSON.stringify(list)) as typeof list, weights);
      const yaml = (items: unknown[]): string => items.map((one) => `---\n${dump(one)}`).join("");
      const asList = (items: unknown[]): unknown => ({ apiVersion: "v1", kind: "List", items });
      const spellings = [
        [yaml(mixed)],
        [yaml(mixed.slice(0, cut)), yaml(mixed.slice(cut))],
        [JSON.stringify(asList(mixed))],
        [JSON.stringify(asList(mixed.slice(cut)), null, 2),
          dump(asList(mixed.slice(0, cut)), { flowLevel: 3 })],
        [dump(asList(mixed))],
      ];
      for (const texts of spellings) {
        const read = readManifests(texts.map((one, index) => ({ name: `${index}`, text: one })));
        expect(read.problems).toEqual([]);
        expect(plain(read.objects)).toEqual(plain(reference.objects));
        const cluster = buildCluster(read.objects);
        expect([...cluster.namespaces.keys()])
          .toEqual([...buildCluster(reference.objects).namespaces.keys()]);
      }
    }), { seed, numRuns: 150 });
  });

  test("merging and removing objects is the same as reading the result", () => {
    fc.assert(fc.property(objects, fc.nat(11), (list, cut) => {
      const read = (items: unknown[]): ManifestObjects =>
        readManifests([{ name: "x", text: JSON.stringify({ kind: "List", items }) }]).objects;
      const all = read(list);
      expect(plain(mergeObjects(read(list.slice(cut)), read(list.slice(0, cut))))).toEqual(plain(all));
      const gone = new Set(list.slice(cut).map(key));
      const left = withoutObjects(all,
        (one) => gone.has([one.kind, one.namespace || undefined, one.name].join("/")));
      expect(plain(left)).toEqual(plain(read(list.slice(0, cut))));
    }), { seed, numRuns: 100 });
  });
});
