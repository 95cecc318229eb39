/**
 * Reading and printing rules: spellings, problems, iptables-restore's --noflush, and the real iptables where
 * it may run.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { sharedDir } from "../../../test/shared.js";
import { unmodelledPart } from "./rule.js";
import { parseRuleSet, RuleSet } from "./rule-set.js";

const shared = sharedDir();
const mayUseKernel =
  process.getuid?.() === 0 &&
  existsSync("/usr/sbin/iptables-legacy-restore") &&
  process.env.TWINPLANE_KERNEL !== "0";

/** What is written -> what iptables-save 1.8.9 prints, after `-A FORWARD` of table mangle. */
const spellings4: readonly (readonly [string, string])[] = [
  ["-s 10.1.2.3 -j ACCEPT", " -s 10.1.2.3/32 -j ACCEPT"],
  ["! -s 10.1.2.3/255.255.0.0 -d 0.0.0.0/0 -j ACCEPT", " ! -s 10.1.0.0/16 -j ACCEPT"],
  ["-m tcp -p tcp -d 172.30.0.41 --dport 80 -j DROP", " -d 172.30.0.41/32 -p tcp -m tcp --dport 80 -j DROP"],
  ["-p tcp ! --dport 80:90 --sport :1023 -j DROP", " -p tcp -m tcp --sport 0:1023 ! --dport 80:90 -j DROP"],
  ["-p tcp --syn -j RETURN", " -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j RETURN"],
  ["-p tcp ! --syn", " -p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN"],
  ["-p udp --dport domain", " -p udp -m udp --dport 53"],
  ["-p icmp --icmp-type echo-request", " -p icmp -m icmp --icmp-type 8"],
  ["-p icmp --icmp-type 3/4 -j DROP", " -p icmp -m icmp --icmp-type 3/4 -j DROP"],
  ["-i eth+ ! -o lo -j ACCEPT", " -i eth+ ! -o lo -j ACCEPT"],
  ["-m mark ! --mark 0x4000/0x4000 -j RETURN", " -m mark ! --mark 0x4000/0x4000 -j RETURN"],
  ["-m mark --mark 16", " -m mark --mark 0x10"],
  ["-j MARK --or-mark 0x4000", " -j MARK --set-xmark 0x4000/0x4000"],
  ["-j MARK --xor-mark 0x4000", " -j MARK --set-xmark 0x4000/0x0"],
  ["-j MARK --and-mark 0xff", " -j MARK --set-xmark 0x0/0xffffff00"],
  ["-j MARK --set-mark 0x1", " -j MARK --set-xmark 0x1/0xffffffff"],
  ["-j MARK --set-mark 0x10/0xf", " -j MARK --set-xmark 0x10/0x1f"],
  ["-j CONNMARK --save-mark --mask 0xff", " -j CONNMARK --save-mark --nfmask 0xff --ctmask 0xff"],
  [
    "-m conntrack --ctstate RELATED,ESTABLISHED,NEW,INVALID,DNAT -j ACCEPT",
    " -m conntrack --ctstate INVALID,NEW,RELATED,ESTABLISHED,DNAT -j ACCEPT",
  ],
  ["-m conntrack ! --ctstate DNAT", " -m conntrack ! --ctstate DNAT"],
  ["-m state --state NEW", " -m state --state NEW"],
  [
    "-m conntrack --ctorigdst 10.96.0.10 --ctorigdstport 80 --ctdir ORIGINAL",
    " -m conntrack --ctorigdst 10.96.0.10 --ctorigdstport 80 --ctdir ORIGINAL",
  ],
  ["-m comment --comment a/b:c -j ACCEPT", ' -m comment --comment "a/b:c" -j ACCEPT'],
  ['-m comment --comment "say \\"x\\" -j" -j ACCEPT', ' -m comment --comment "say \\"x\\" -j" -j ACCEPT'],
  [
    "-m statistic --mode random --probability 0.3333333333",
    " -m statistic --mode random --probability 0.33333333349",
  ],
  ["-m statistic --mode nth --every 3 --packet 1", " -m statistic --mode nth --every 3 --packet 1"],
  [
    "-m recent --name X --rcheck --seconds 10800 --reap",
    " -m recent --rcheck --seconds 10800 --reap --name X --mask 255.255.255.255 --rsource",
  ],
  ["-m recent --set --rdest", " -m recent --set --name DEFAULT --mask 255.255.255.255 --rdest"],
  [
    "-m addrtype --dst-type LOCAL ! --src-type UNICAST,LOCAL",
    " -m addrtype ! --src-type UNICAST,LOCAL --dst-type LOCAL",
  ],
  ["-p tcp -m multiport --dports 80,443,8000:8080", " -p tcp -m multiport --dports 80,443,8000:8080"],
];

const wrap = (table: string, lines: readonly string[]): string => `*${table}\n${lines.join("\n")}\nCOMMIT\n`;

function printed(rules: RuleSet): string[] {
  return rules
    .save(false)
    .split("\n")
    .filter((line) => line.startsWith("-A"));
}

describe("spellings", () => {
  test.each(spellings4)("%s", (written, wanted) => {
    const { rules, problems } = parseRuleSet(wrap("mangle", [`-A FORWARD ${written}`]), "x.rules", 4);
    expect(problems).toEqual([]);
    expect(printed(rules)).toEqual([`-A FORWARD${wanted}`]);
    const again = parseRuleSet(rules.save(), "x.rules", 4);
    expect(again.problems).toEqual([]);
    expect(again.rules.save()).toBe(rules.save());
  });

  test("old spelling of !, long names, counters", () => {
    const { rules, problems } = parseRuleSet(
      wrap("filter", [
        "[7:560] --append INPUT --source ! 10.0.0.0/8 --protocol tcp --dport ! 22 --jump DROP",
      ]),
      "x",
      4,
    );
    expect(problems).toEqual([]);
    expect(rules.save()).toContain("[7:560] -A INPUT ! -s 10.0.0.0/8 -p tcp -m tcp ! --dport 22 -j DROP\n");
  });

  test("a list of addresses becomes a rule for each", () => {
    const { rules } = parseRuleSet(
      wrap("filter", ["-A INPUT -s 10.0.0.1,10.0.0.2 -d 10.1.0.0/16 -j DROP"]),
      "x",
      4,
    );
    expect(printed(rules)).toEqual([
      "-A INPUT -s 10.0.0.1/32 -d 10.1.0.0/16 -j DROP",
      "-A INPUT -s 10.0.0.2/32 -d 10.1.0.0/16 -j DROP",
    ]);
  });

  test.skipIf(!mayUseKernel)("the real iptables prints the same (needs root and iptables-legacy)", () => {
    const text = wrap(
      "mangle",
      spellings4.map(([written]) => `-A FORWARD ${written}`),
    );
    const saved = throughKernel("iptables-legacy", text);
    expect(saved.filter((line) => line.startsWith("-A"))).toEqual(
      spellings4.map(([, wanted]) => `-A FORWARD${wanted}`),
    );
  });
});

describe("problems", () => {
  test.each([
    ["-A INPUT -m frobnicate --x 1 -j DROP", "match frobnicate is not modelled", true],
    ["-A INPUT -j FROB --x 1", "target FROB --x 1 is not modelled", true],
    ["-A INPUT -s 10.0.0.300 -j DROP", "10.0.0.300 is not an IPv4 address or network", true],
    ["-A INPUT -s fd00::1 -j DROP", "fd00::1 is not an IPv4 address or network", true],
    ["-A INPUT -p tcp --dport 99999 -j DROP", "--dport 99999 is not a port", true],
    ["-A INPUT --dport 80 -j DROP", "belongs to no match or target", true],
    ["-A INPUT -m tcp --dport 80 -j DROP", "needs -p tcp", true],
    ["-A INPUT -m connlimit --connlimit-above 5 -j ACCEPT", "match connlimit is not modelled", true],
    ['-A INPUT -m comment --comment "open', "a double quote is not closed", true],
    ["-A INPUT -j DNAT --to-destination 10.0.0.1", "DNAT belongs into the nat table", true],
    ["-A NOWHERE -j DROP", "chain NOWHERE is not in table filter", false],
    ["hello", '"hello" names no chain', false],
    [":INPUT REJECT [0:0]", "cannot have the policy REJECT", false],
    ["-A INPUT -g NOWHERE", "chain NOWHERE cannot be jumped to", false],
  ])("%s", (line, what, undecided) => {
    const { rules, problems } = parseRuleSet(`*filter\n\n${line}\nCOMMIT\n`, "node.rules", 4);
    const found = problems.find((problem) => problem.what.includes(what));
    expect(problems.map((problem) => problem.what).join("; ")).toContain(what);
    expect(found?.where).toEqual({ file: "node.rules", line: 3 });
    const parsed = rules.tables.get("filter")?.chains.get("INPUT")?.rules ?? [];
    if (undecided) expect(parsed.map(unmodelledPart)).toEqual([expect.any(String)]);
  });

  test("a loop, a table without COMMIT, a line outside a table", () => {
    const { problems } = parseRuleSet("-A X\n*filter\n:A -\n:B -\n-A A -j B\n-A B -j A\n", "x", 4);
    expect(problems.map(({ what }) => what)).toEqual([
      '"-A X" stands outside a table; expected *table before it',
      "table filter ends without COMMIT",
      "chain A of table filter can jump back to itself",
    ]);
  });

  test("no text makes it throw, and what it prints reads back the same", () => {
    const words = fc.constantFrom(
      "-A",
      "INPUT",
      "*filter",
      "*nat",
      "COMMIT",
      ":X - [1:2]",
      "-m",
      "tcp",
      "-p",
      "--dport",
      "80",
      "!",
      "-j",
      "DROP",
      "DNAT",
      "--to-destination",
      "1.2.3.4:80",
      "-s",
      "10.0.0.0/8",
      '"',
      "a b",
      "--comment",
      "comment",
      "recent",
      "--set",
      "\n",
      "-X",
      "-I",
      "-D",
      "-F",
      "X",
      "statistic",
      "--mode",
      "nth",
      "--every",
      "2",
    );
    const text = fc.oneof(
      fc.string({ unit: "binary", maxLength: 80 }),
      fc.array(words, { maxLength: 40 }).map((list) => list.join(" ")),
    );
    fc.assert(
      fc.property(text, fc.constantFrom(4 as const, 6 as const), (input, family) => {
        const { rules } = parseRuleSet(input, "f", family);
        const saved = rules.save();
        const again = parseRuleSet(saved, "f", family);
        // An unmodelled match has no spelling of its own to read back; everything else does.
        const whole = [...rules.tables.values()].every((table) =>
          [...table.chains.values()].every((chain) =>
            chain.rules.every((rule) => unmodelledPart(rule) === null),
          ),
        );
        if (whole) expect(again.rules.save()).toBe(saved);
      }),
      { numRuns: 500, seed: Number(process.env.TWINPLANE_SEED ?? 7) },
    );
  });
});

describe("--noflush", () => {
  const base =
    "*nat\n:KUBE-SVC-A - [0:0]\n:KUBE-SEP-A - [0:0]\n:OTHER - [0:0]\n-A PREROUTING -j OTHER\n" +
      "-A KUBE-SVC-A -j KUBE-SEP-A\n-A KUBE-SEP-A -p tcp -j DNAT --to-destination 10.0.0.1:80\n" +
      "-A OTHER -j KUBE-SVC-A\nCOMMIT\n";

  test("a chain line empties its chain, the rest stays; -X deletes", () => {
    const { rules } = parseRuleSet(base, "a", 4);
    expect(
      rules.load(
        "*nat\n:OTHER - [0:0]\n:KUBE-SVC-A - [0:0]\n:KUBE-SEP-A - [0:0]\n:NEW - [0:0]\n" +
          "-A OTHER -j NEW\n-X KUBE-SVC-A\n-X KUBE-SEP-A\nCOMMIT\n",
        { file: "b", noflush: true },
      ),
    ).toEqual([]);
    expect([...(rules.tables.get("nat")?.chains.keys() ?? [])]).toEqual([
      "PREROUTING",
      "INPUT",
      "OUTPUT",
      "POSTROUTING",
      "OTHER",
      "NEW",
    ]);
    expect(printed(rules)).toEqual(["-A PREROUTING -j OTHER", "-A OTHER -j NEW"]);
  });

  test("without it a named table is emptied, others stay", () => {
    const { rules } = parseRuleSet(`${base}*filter\n:FORWARD DROP [0:0]\nCOMMIT\n`, "a", 4);
    rules.load("*nat\nCOMMIT\n");
    expect(printed(rules)).toEqual([]);
    expect(rules.save()).toContain(":FORWARD DROP [0:0]");
  });

  test("a chain that is still jumped to is not deleted", () => {
    const { rules } = parseRuleSet(base, "a", 4);
    const problems = rules.load("*nat\n:KUBE-SVC-A - [0:0]\n-X KUBE-SVC-A\nCOMMIT\n", { noflush: true });
    expect(problems.map(({ what }) => what)).toEqual([expect.stringContaining("still jumped to")]);
  });
});

describe.skipIf(shared === null)("rules of the lab and of kube-proxy (needs TWINPLANE_SHARED)", () => {
  const files = ["native-nth", "vxlan-nth"].flatMap((run) =>
    ["node1", "node2"].flatMap((node) =>
      ([4, 6] as const).map((family) => ({
        name: `${run}/${node}.v${family}`,
        family,
        path: `${shared}/traces/lab/${run}/${node}.v${family}.rules`,
      })),
    ),
  );

  test.each(files)("$name", ({ path, family }) => {
    const text = readFileSync(path, "utf8");
    const { rules, problems } = parseRuleSet(text, path, family);
    expect(problems).toEqual([]);
    expect(printed(rules)).toHaveLength(text.split("\n").filter((line) => line.startsWith("-A")).length);
    expect(parseRuleSet(rules.save(), "again", family).rules.save()).toBe(rules.save());
    if (!mayUseKernel) return;
    const saved = throughKernel(family === 4 ? "iptables-legacy" : "ip6tables-legacy", text);
    const kernel = saved.filter((line) => line.startsWith("-A")).sort();
    expect(printed(rules).sort()).toEqual(kernel);
  });

  test("kube-proxy's own texts", () => {
    const { cases } = JSON.parse(readFileSync(`${shared}/vectors/kube-proxy-rule-text.json`, "utf8")) as {
      cases: { name: string; expectRules?: string }[];
    };
    const texts = cases.filter(({ expectRules }) => typeof expectRules === "string");
    expect(texts.length).toBeGreaterThan(1);
    for (const { expectRules } of texts) {
      const rules = new RuleSet(4);
      expect(rules.load(expectRules ?? "", { noflush: true })).toEqual([]);
      expect(printed(rules)).toHaveLength(
        (expectRules ?? "").split("\n").filter((line) => line.startsWith("-A")).length,
      );
    }
  });
});

/**
 * Loads a text into a fresh network namespace with the real iptables and returns the lines of iptables-save.
 */
function throughKernel(tool: string, text: string): string[] {
  const name = `tw-rules-${process.pid}`;
  execFileSync("ip", ["netns", "add", name]);
  try {
    execFileSync("ip", ["netns", "exec", name, `${tool}-restore`], { input: text });
    return execFileSync("ip", ["netns", "exec", name, `${tool}-save`])
      .toString()
      .split("\n");
  } finally {
    execFileSync("ip", ["netns", "del", name]);
  }
}
