/**
 * The IP sets that rules of a node and a family ask: endpoints of a selector, addresses and ports of a named port,
 * pools. A set is made when the first rule names it.
 *
 * Source: felix/calc/rule_scanner.go (IPSetData), felix/ipsets/{ipset_defs,ipsets}.go, felix/dataplane/linux/masq_mgr.go.
 */
import type { Family } from "../../cluster/address.js";
import { byteOrder } from "../kubeproxy/servicePorts.js";
import { type CalicoPool, MAX_SET_SIZE, setPrefix } from "./config.js";
import { addressesOf, type EndpointIndex } from "./endpoints.js";
import { setName, uniqueId } from "./names.js";
import { EVERY_ENDPOINT, type Selector } from "./selector.js";

export interface IpSet {
  readonly type: "hash:net" | "hash:ip,port";
  /** Lines that add them, in byte order of the members. */
  readonly members: readonly string[];
}

export class IpSetBuilder {
  private readonly sets = new Map<string, IpSet>();

  /** @param known sets that were made before, for whichever node */
  constructor(private readonly family: Family, private readonly endpoints: EndpointIndex,
    private readonly known: Map<string, IpSet>) {}

  /** Takes over another's sets. */
  include({ sets }: IpSetBuilder): void {
    for (const [name, set] of sets) this.sets.set(name, set);
  }

  /** The set of the addresses of the endpoints that the selector takes. */
  selected(selector: Selector): string {
    return this.set(uniqueId("s", selector.text), "hash:net", () => this.endpoints.selected(selector)
      .flatMap((endpoint) => addressesOf(endpoint, this.family)));
  }

  /** The set of address and number of that port, of the endpoints that have it; `selector` null: of all. */
  namedPort(selector: Selector | null, protocol: string, port: string): string {
    const among = selector ?? EVERY_ENDPOINT;
    const id = uniqueId("n", `${uniqueId("s", among.text)},${protocol},${port}`);
    return this.set(id, "hash:ip,port", () => this.endpoints.selected(among).flatMap((one) => {
      const ports = one.pod.ports.filter((has) => has.name === port && has.protocol.toLowerCase() === protocol);
      return ports.flatMap((has) => addressesOf(one, this.family).map((ip) => `${ip},${protocol}:${has.containerPort}`));
    }));
  }

  /** `all-ipam-pools`, `masq-ipam-pools`. */
  pools(name: string, pools: readonly CalicoPool[]): string {
    return this.set(name, "hash:net", () => pools.filter(({ cidr }) => cidr.address.family === this.family)
      .map(({ cidr }) => cidr.text));
  }

  /** Lines for `ipset restore`, sets by name, members in byte order. */
  lines(): string[] {
    const family = this.family === 4 ? "inet" : "inet6";
    return [...this.sets].sort(([a], [b]) => byteOrder(a, b)).flatMap(([name, { type, members }]) => [
      `create ${name} ${type} family ${family} maxelem ${MAX_SET_SIZE}`, ...members,
    ]);
  }

  private set(id: string, type: IpSet["type"], members: () => readonly string[]): string {
    const name = setName(setPrefix(this.family), id);
    let set = this.known.get(name);
    if (set === undefined) {
      set = { type, members: [...new Set(members())].sort(byteOrder).map((member) => `add ${name} ${member}`) };
      this.known.set(name, set);
    }
    this.sets.set(name, set);
    return name;
  }
}
