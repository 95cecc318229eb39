/**
 * Random rules and packets for shortcuts.test.ts: every match that is modelled, and chains as long as those of large clusters.
 */
import fc from "fast-check";
import { CtInfo, Skb } from "../skb.js";
import { Connection, Status } from "./connection.js";

const bang = fc.constantFrom("", "", "", "! ");
const host = fc.constantFrom<number>(1, 2, 3, 257, 258);
const port = fc.constantFrom<number>(0, 53, 80, 81, 443, 65535);
const protocol = fc.constantFrom("tcp", "udp", "sctp");
export const devices = ["", "eth0", "cali1", "cali2", "cali12", "lo"];
const device = fc.constantFrom(...devices.slice(1), "cali+", "eth+");
const states = fc.constantFrom("NEW", "INVALID", "ESTABLISHED", "RELATED,ESTABLISHED", "INVALID,NEW", "UNTRACKED", "SNAT",
  "DNAT,NEW", "RELATED");

export function hostText(number: number, family: 4 | 6): string {
  return family === 4 ? `10.0.${number >> 8}.${number & 255}` : `fd00::${number.toString(16)}`;
}

function part(family: 4 | 6): fc.Arbitrary<string> {
  const net = fc.oneof(host.map((one) => hostText(one, family)),
    fc.constantFrom(...(family === 4 ? ["10.0.0.0/8", "10.0.1.0/24", "10.0.0.0/255.0.255.0", "10.0.0.2/31"]
      : ["fd00::/64", "fd00::100/120", "fd00::2/127"])));
  const text = (...parts: (string | number | fc.Arbitrary<string | number>)[]): fc.Arbitrary<string> =>
    fc.tuple(...parts.map((one) => (typeof one === "object" ? one : fc.constant(one)))).map((words) => words.join(""));
  return fc.oneof(
    text(bang, fc.constantFrom("-s ", "-d "), net), text(bang, fc.constantFrom("-i ", "-o "), device),
    text("-m mark ", bang, "--mark ", fc.constantFrom("0x1", "0x0/0x1", "0x4/0x6")),
    text("-m connmark ", bang, "--mark ", fc.constantFrom("0x1", "0x0/0x1")),
    text("-p tcp -m tcp ", bang, fc.constantFrom("--sport ", "--dport "), fc.constantFrom("80", "1:100", "53", "443:")),
    text("-p tcp -m tcp ", bang, fc.constantFrom("--syn", "--tcp-flags ACK ACK", "--tcp-flags ALL NONE")),
    text("-p udp -m multiport ", bang, fc.constantFrom("--dports ", "--sports ", "--ports "),
      fc.constantFrom("80,81", "1:60,443")),
    text(bang, "-p ", fc.constantFrom("tcp", "udp", "all", "47")),
    text(family === 4 ? "-p icmp -m icmp " : "-p ipv6-icmp -m icmp6 ", bang, family === 4 ? "--icmp-type " : "--icmpv6-type ",
      fc.constantFrom("echo-request", "3/1", "3")),
    text("-m conntrack ", bang, "--ctstate ", states), text("-m state ", bang, "--state ", fc.constantFrom("NEW", "ESTABLISHED")),
    text("-m conntrack ", bang, fc.constantFrom("--ctproto 6", "--ctstatus ASSURED,SEEN_REPLY", "--ctorigdstport 80")),
    text("-m conntrack --ctdir ", fc.constantFrom("ORIGINAL", "REPLY")),
    text("-m addrtype ", bang, fc.constantFrom("--src-type ", "--dst-type "), fc.constantFrom("LOCAL", "UNICAST")),
    text("-m statistic --mode nth --every ", fc.integer({ min: 1, max: 3 }), " --packet 0"),
    text("-m statistic --mode random ", bang, "--probability ", fc.constantFrom("0.5", "0.33")),
    text("-m recent ", bang, fc.constantFrom("--rcheck --seconds 1", "--set", "--update --hitcount 2", "--remove"), " --name ",
      fc.constantFrom("L", "M")),
    text("-m limit --limit 2/sec --limit-burst 2"), text('-m comment --comment "x y"'), text("-m nfacct --nfacct-name n"),
  );
}

/** A line of a long chain: what shortcuts find rules by, and what is near it but must be met in order. */
function dispatch(family: 4 | 6): fc.Arbitrary<string> {
  const one = host.map((number) => hostText(number, family));
  const match = fc.oneof(
    { weight: 6, arbitrary: fc.tuple(protocol, one, port).map(([of, to, at]) => `-m ${of} -p ${of} -d ${to} --dport ${at}`) },
    { weight: 4, arbitrary: fc.tuple(protocol, port).map(([of, at]) => `-m ${of} -p ${of} --dport ${at}`) },
    { weight: 3, arbitrary: fc.tuple(fc.constantFrom("-i", "-o"), device).map(([way, name]) => `${way} ${name}`) },
    { weight: 3, arbitrary: fc.tuple(fc.constantFrom("-s", "-d"), one).map(([way, of]) => `${way} ${of}`) },
    fc.tuple(fc.constantFrom("-s", "-d"), one).map(([way, of]) => `! ${way} ${of} -p udp`),
    fc.tuple(protocol, one, port).map(([of, to, at]) => `-p ${of} -m ${of} -d ${to} ! --dport ${at}`),
    fc.tuple(protocol, one, port).map(([of, to, at]) => `! -d ${to} -p ${of} -m ${of} --dport ${at}`),
    fc.tuple(one, port).map(([to, at]) => `-p tcp -m tcp -d ${to} --dport ${at}:${Math.min(65535, at + 1)}`),
    fc.tuple(one, protocol).map(([to, of]) => `-d ${to} ! -p ${of}`),
    // Refused by iptables, undecided here: what it rules out goes on.
    fc.tuple(one, protocol, port).map(([to, of, at]) => `-d ${to} ! -p ${of} -m ${of} --dport ${at}`),
    fc.tuple(fc.constantFrom("-i", "-o"), device).map(([way, name]) => `! ${way} ${name}`),
  );
  const guard = fc.oneof({ weight: 3, arbitrary: fc.constant("") }, states.map((list) => `-m conntrack --ctstate ${list}`),
    fc.constantFrom("-m mark --mark 0x4/0x4", "-m statistic --mode nth --every 2 --packet 0", "-m recent --set --name L"));
  return fc.tuple(guard, match, fc.boolean()).map(([before, text, first]) => (first ? `${before} ${text}` : `${text} ${before}`));
}

const CHAINS = ["FORWARD", "A", "B", "C", "D"];
const verdict = fc.constantFrom("-j ACCEPT", "-j DROP", "-j RETURN");
const target = fc.oneof(
  { weight: 1, arbitrary: verdict },
  { weight: 3, arbitrary: fc.constantFrom("-j A", "-j B", "-j C", "-g B", "-g D", "-j D") },
  { weight: 4, arbitrary: fc.constantFrom("-j MARK --or-mark 0x1", "-j MARK --xor-mark 0x4", "-j MARK --set-mark 0x2",
    "-j CONNMARK --save-mark",
    "-j CONNMARK --set-xmark 0x1/0x1", "-j LOG", "") },
);

/** A filter table: chains jump onwards only; one chain is long. */
export function filterText(family: 4 | 6): fc.Arbitrary<string> {
  const line = (chain: fc.Arbitrary<string>, match: fc.Arbitrary<string>): fc.Arbitrary<string> =>
    fc.tuple(chain, match, target).map(([from, text, jump]) => {
      const to = /^-[jg] ([A-D])$/.exec(jump)?.[1];
      return `-A ${from} ${text} ${to !== undefined && CHAINS.indexOf(to) <= CHAINS.indexOf(from) ? "" : jump}`;
    });
  const any = line(fc.constantFrom(...CHAINS), fc.uniqueArray(part(family), { maxLength: 3,
    selector: (text) => /-[sdiop]\b|-m \S+/.exec(text)?.[0] ?? text }).map((parts) => parts.join(" ")));
  const long = fc.constantFrom("FORWARD", "A", "B", "D").chain((chain) =>
    fc.array(line(fc.constant(chain), dispatch(family)), { minLength: 20, maxLength: 60 }));
  return fc.tuple(fc.constantFrom("ACCEPT", "DROP"), long, fc.array(any, { maxLength: 16 }),
    fc.array(line(fc.constant("FORWARD"), fc.constant("")), { maxLength: 3 }), fc.nat())
    .map(([policy, first, others, plainJumps, seed]) => {
      const lines = [...first];
      for (const [index, one] of [...others, ...plainJumps].entries()) lines.splice((seed * (index + 7)) % (lines.length + 1),
        0, one);
      return `*filter\n:FORWARD ${policy} [0:0]\n:A - [0:0]\n:B - [0:0]\n:C - [0:0]\n:D - [0:0]\n${lines.join("\n")}\nCOMMIT\n`;
    });
}

/** IP sets of which some say whom a row concerns by their addresses alone, and others do not. */
export function setLines(family: 4 | 6): fc.Arbitrary<string> {
  const of = family === 4 ? "inet" : "inet6";
  const set = (name: string, options: string, entries: fc.Arbitrary<string[]>): fc.Arbitrary<string> => entries.map((list) =>
    [`create ${name} ${options}`, ...new Set(list)].map((line, index) => (index === 0 ? line : `add ${name} ${line}`)).join("\n"));
  const hosts = fc.array(host.map((one) => hostText(one, family)), { maxLength: 4 });
  const net = family === 4 ? "10.0.1.0/24" : "fd00::100/120";
  const other = family === 4 ? "inet6" : "inet";
  const nomatch = `${hostText(257, family)} nomatch`;
  const timeout = fc.constantFrom("", "", "", " timeout 1");
  return timeout.chain((time) => fc.tuple(
    set("ip", `hash:ip family ${of}`, hosts), set("net", `hash:net family ${of}`, hosts), set("none", `hash:net family ${of}`,
      fc.constant([])),
    set("wide", `hash:net family ${of}`, hosts.map((list) => [...list, net])),
    set("holes", `hash:net family ${of}`, hosts.map((list) => [...list.filter((one) => !nomatch.startsWith(`${one} `)), net, nomatch])),
    set("masked", `hash:ip family ${of} netmask ${family === 4 ? 24 : 120}`, fc.constant([hostText(257, family)])),
    set("counted", `hash:ip family ${of} counters`, hosts), set("timed", `hash:ip family ${of}${time}`, hosts),
    set("ports", `hash:ip,port family ${of}`, fc.array(fc.tuple(host, port).map(([at, number]) =>
      `${hostText(at, family)},tcp:${number}`), { maxLength: 4 })),
    set("other", `hash:ip family ${other}`, fc.constant([])),
    fc.constant("create list list:set size 8\nadd list ip\nadd list wide"),
  )).map((lines) => `${lines.join("\n")}\n`);
}

/** A filter table with a long chain of rows that ask sets; `changing`: some add to sets or take from them. */
export function setRules(changing: boolean): fc.Arbitrary<string> {
  const plainSets = ["ip", "ip", "net", "net", "none"];
  const ask = (among: readonly string[]): fc.Arbitrary<string> => fc.tuple(bang, fc.constantFrom(...among), fc.constantFrom("src",
    "dst", "dst,dst", "src,dst")).map(([not, name, way]) => `-m set ${not}--match-set ${name} ${way}`);
  const rare = ask([...plainSets, "wide", "holes", "masked", "counted", "timed", "ports", "list", "missing", "other"]);
  const also = fc.oneof({ weight: 5, arbitrary: fc.constant("") }, rare, fc.constantFrom("-m recent --set --name L",
    "-m statistic --mode nth --every 2 --packet 0", "-m set --match-set holes dst --return-nomatch", "-p tcp -m tcp --dport 80",
    "-m mark --mark 0x4/0x4", "-m connmark --mark 0x1"));
  const match = fc.oneof({ weight: 5, arbitrary: ask(plainSets) }, { weight: 1, arbitrary: rare });
  const change = fc.constantFrom("-j SET --add-set ip src", "-j SET --add-set net dst", "-j SET --del-set ip dst");
  const act = fc.oneof({ weight: 2, arbitrary: fc.constantFrom("-j A", "-j RETURN", "-g A") },
    { weight: 6, arbitrary: fc.constantFrom("-j MARK --or-mark 0x1", "-j MARK --xor-mark 0x4", "") },
    { weight: changing ? 2 : 0, arbitrary: change });
  const row = fc.tuple(match, also, fc.integer({ min: 0, max: 4 }), act).map(([first, second, turned, jump]) =>
    `-A FORWARD ${turned === 0 ? `${second} ${first}` : `${first} ${second}`} ${jump}`);
  return fc.array(row, { minLength: 20, maxLength: 50 }).map((rows) =>
    ["*filter", ":FORWARD DROP [0:0]", ":A - [0:0]", ...rows, "-A A -j MARK --xor-mark 0x2", "COMMIT", ""].join("\n"));
}

export const packetSpec = fc.record({
  source: host, destination: host, protocol: fc.constantFrom(6, 6, 17, 132, 1, 58, 47), sourcePort: port, destinationPort: port,
  inDevice: fc.nat({ max: 5 }), outDevice: fc.nat({ max: 5 }), mark: fc.constantFrom(0, 1, 2, 4),
    flags: fc.constantFrom(2, 16, 18, 0),
  cut: fc.constantFrom(false, false, false, false, true), later: fc.constantFrom(false, false, false, false, true),
  ctinfo: fc.constantFrom(...Object.values(CtInfo)), connmark: fc.constantFrom(0, 1, 3),
  status: fc.subarray([Status.SourceNat, Status.DestinationNat, Status.SeenReply, Status.Assured]).map((bits) =>
    bits.reduce((a, b) => a | b, 0)),
});
export type PacketSpec = typeof packetSpec extends fc.Arbitrary<infer T> ? T : never;

/** A packet as it comes to FORWARD, its connection made up. */
export function build(spec: PacketSpec, family: 4 | 6, timeNs: number): Skb {
  const skb = new Skb();
  const header = family === 4 ? 20 : 40;
  skb.bytes = new Uint8Array(header + 24);
  skb.bytes[0] = family << 4 | 5;
  skb.bytes[family === 4 ? 8 : 7] = 64;
  putHost(skb.bytes, family === 4 ? 12 : 8, spec.source, family);
  putHost(skb.bytes, family === 4 ? 16 : 24, spec.destination, family);
  skb.bytes.set([spec.sourcePort >> 8, spec.sourcePort & 255, spec.destinationPort >> 8, spec.destinationPort & 255], header);
  skb.bytes[header + 13] = spec.flags;
  Object.assign(skb, { family, length: skb.bytes.length - (spec.cut ? 21 : 0), headerLength: header, protocol: spec.protocol,
    timeNs,
    fragmentOffset: spec.later ? 8 : 0, inDevice: spec.inDevice, outDevice: spec.outDevice, mark: spec.mark,
      ctinfo: spec.ctinfo });
  if (spec.ctinfo < CtInfo.Untracked) {
    const ct = Object.assign(new Connection(1), { status: spec.status, mark: spec.connmark });
    ct.original.protocol = spec.protocol;
    ct.original.destination = spec.destinationPort;
    skb.ct = ct;
  }
  return skb;
}

function putHost(bytes: Uint8Array, at: number, number: number, family: 4 | 6): void {
  bytes.set(family === 4 ? [10, 0] : [0xfd, 0], at);
  bytes.set([number >> 8, number & 255], at + (family === 4 ? 2 : 14));
}
