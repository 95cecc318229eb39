/**
 * What stands for the names that programs give to chains and sets of rules. kube-proxy's are hashes of a service's name, which
 * anybody who guesses the name can check: they become the hashes of what stands for it, as kube-proxy would write them, so
 * that rules still agree with the objects. Of names that other programs make, the program's own beginning stays.
 */
import type { Protocol } from "../cluster/cluster.js";
import { endpointChain, serviceChains } from "../iptables/kubeproxy/chains.js";
import type { Mapping } from "./mapping.js";

/** Names without anything of a cluster in them. */
const FIXED = new RegExp("^(PREROUTING|INPUT|FORWARD|OUTPUT|POSTROUTING"
  + "|KUBE-(SERVICES|EXTERNAL-SERVICES|NODEPORTS|FORWARD|PROXY-FIREWALL|POSTROUTING|MARK-MASQ|MARK-DROP|PROXY-CANARY|KUBELET-CANARY"
  + "|IPTABLES-HINT|FIREWALL)|AZURE-NPM(-(INGRESS|EGRESS|ACCEPT|INGRESS-ALLOW-MARK|INGRESS-DROPS|EGRESS-DROPS))?"
  + "|cali-(FORWARD|INPUT|OUTPUT|POSTROUTING|PREROUTING|cidr-block|fip-dnat|fip-snat|from-hep-forward|from-host-endpoint|from-wl-dispatch"
  + "|nat-outgoing|rpf-skip|to-hep-forward|to-host-endpoint|to-wl-dispatch|wl-to-host)"
  + "|CNI-(HOSTPORT-(SETMARK|MASQ|DNAT|SNAT)|FORWARD|ADMIN|MASQ)|IP-MASQ(-AGENT)?|KIND-MASQ-AGENT"
  + "|DOCKER(-USER|-FORWARD|-BRIDGE|-CT|-INTERNAL|-ISOLATION-STAGE-[12])?|FLANNEL-(FWD|POSTRTG)"
  + "|CILIUM_(INPUT|FORWARD|OUTPUT|OUTPUT_raw|PRE_raw|PRE_mangle|POST_mangle|PRE_nat|POST_nat|OUTPUT_nat))$");
/** Beginnings of made names, with how many characters the program's own names have behind it. */
const MADE = new RegExp("^(KUBE-(?:SVC|SVL|XLB|EXT|FW|SEP)-|KUBE-(?:NWPLCY|POD-FW)-|AZURE-NPM-(?:INGRESS|EGRESS)-"
  + "|cali-(?:tw|fw|th|fh|thfw|fhfw|pi|po|pri|pro|gi|go)-|CNI-(?:DN-|SN-)?)(.+)$");
const FIXED_SET = /^cali[46]0(this-host|all-hosts|all-ipam-pools|masq-ipam-pools|all-vxlan-net|all-tunnel-net|all-hosts-net)$/;
const MADE_SET = /^(cali[46]0(?:[sn]:)?|azure-npm-|KUBE-(?:SRC|DST)-)(.+)$/;
const LETTERS = "abcdefghijklmnopqrstuvwxyz234567";
const CHAIN_LENGTH = 28;
const SET_LENGTH = 31;

export class ChainNames {
  /** kube-proxy's chains whose service and endpoint are known. */
  private readonly known = new Map<string, string>();

  constructor(private readonly mapping: Mapping) {}

  /** Of chains that exist, those of the service port that a rule's comment names. @param endpoint `ip:port` */
  learn(portName: string, protocol: Protocol, endpoints: Iterable<string>, exists: ReadonlySet<string>): void {
    const own = serviceChains(portName, protocol);
    if (!Object.values(own).some((chain) => exists.has(chain)) && ![...endpoints].some((one) =>
      exists.has(endpointChain(portName, protocol, one)))) return;
    const name = this.portName(portName);
    const mapped = serviceChains(name, protocol);
    for (const kind of ["svc", "svl", "fw", "ext"] as const) this.known.set(own[kind], mapped[kind]);
    this.known.set(own.svc.replace("SVC", "XLB"), mapped.svc.replace("SVC", "XLB"));
    for (const endpoint of endpoints) {
      const text = this.endpoint(endpoint);
      if (text !== null) this.known.set(endpointChain(portName, protocol, endpoint), endpointChain(name, protocol, text));
    }
  }

  chain(name: string): string {
    if (FIXED.test(name)) return name;
    const known = this.known.get(name);
    if (known !== undefined) return known;
    const made = MADE.exec(name);
    if (made === null) return `x${this.word("chain", name, 16)}`;
    return made[1] + this.alike(name, made[2], CHAIN_LENGTH - made[1].length);
  }

  set(name: string): string {
    if (FIXED_SET.test(name)) return name;
    const made = MADE_SET.exec(name);
    if (made === null) return `x${this.word("set", name, 16)}`;
    return made[1] + this.alike(name, made[2], SET_LENGTH - made[1].length);
  }

  /** `namespace/name` or `namespace/name:port`. */
  portName(text: string): string {
    const [, namespace, name, port] = /^([^/]*)\/([^:]*)(?::(.*))?$/.exec(text) ?? [];
    const { mapping } = this;
    return `${mapping.name(namespace)}/${mapping.name(name)}${port === undefined ? "" : `:${mapping.name(port)}`}`;
  }

  /** `ip:port`, `[ip]:port`; null where the text is neither. */
  endpoint(text: string): string | null {
    const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d+)$/.exec(text);
    const mapped = match === null ? null : this.mapping.addressText(match[1] ?? match[2]);
    return match === null || mapped === null ? null : `${match[1] === undefined ? mapped : `[${mapped}]`}:${match[3]}`;
  }

  /** Digits where the name had digits (a hash of 32 bits says which Azure NPM it was), else letters and digits. */
  private alike(name: string, rest: string, most: number): string {
    if (/^\d{1,10}$/.test(rest)) return String(Buffer.from(this.mapping.digest("number", name)).readUInt32BE(0));
    const upper = /^[A-Z2-7]+$/.test(rest);
    const word = this.word("chain", name, Math.min(rest.length < 8 ? 16 : rest.length, most));
    return upper ? word.toUpperCase() : word;
  }

  word(what: string, text: string, length: number): string {
    return Array.from(this.mapping.digest(what, text).subarray(0, length), (byte) => LETTERS[byte & 31]).join("");
  }

}
