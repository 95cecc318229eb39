/**
 * Journeys of the eBPF plane: outcomes that are alike share a number, and the texts are made once.
 *
 * Alike means equal in everything the module reports and in whether the source was translated. After a change
 * of the cluster nothing is shared with before, because the eligible backends may be others.
 */
import { OwnProgram } from "../contract/codes.js";
import type { Because, Journey } from "../dataplane.js";
import { End, OWN_PROGRAM } from "../dataplane.js";
import type { Frontend } from "./compile/service.js";
import type { MapImage } from "./image.js";
import { type Decided, NOTHING } from "./stack/memory.js";

/** What the module said of a frame, and where the frame came in. */
export interface OutcomeFacts {
  /** The module's hash of everything decided. */
  hash: number;
  end: End;
  reason: string;
  cookie: number;
  /** Of the decision before: the sender's egress, where `cookie` is the receiver's ingress. */
  before: number;
  service: number;
  backend: number;
  program: number;
  sourceIdentity: number;
  destinationIdentity: number;
  /** Index of the node where the frame entered. */
  node: number;
  /** The source address was replaced by a node's own. */
  masqueraded: boolean;
  /** What nodes' kernels decided on the way: a number of `Journeys.decided`. */
  decided: number;
  /** Policy map of the endpoint that denied by default; -1: no endpoint's. */
  denyingPolicy: number;
  denyingEgress: boolean;
}

/** What `twinplane build` put in the place of a step. */
const BY_OWN_PROGRAM: Because = { where: null, object: OWN_PROGRAM, rule: "policy" };

export class Journeys {
  private readonly journeys: Journey[] = [];
  private readonly facts: OutcomeFacts[] = [];
  private readonly numbers = new Map<number, number>();
  private readonly decisions: Decided[] = [NOTHING];
  private readonly decisionOf = new WeakMap<Decided, number>([[NOTHING, 0]]);
  private readonly decisionNumbers = new Map<string, number>();
  private image: MapImage;
  private frontends = new Map<number, readonly Frontend[]>();
  private backends = new Map<number, string>();

  constructor(image: MapImage) {
    this.image = image;
    this.use(image);
  }

  /** From now on journeys are read by this image. */
  use(image: MapImage): void {
    this.image = image;
    this.numbers.clear();
    this.frontends = new Map();
    for (const frontend of image.services.frontends) {
      this.frontends.set(frontend.revNatId, [...(this.frontends.get(frontend.revNatId) ?? []), frontend]);
    }
    this.backends = new Map(
      image.services.backends.map(({ id, address, port }) => [
        id,
        address.family === 6 ? `[${address.text}]:${port}` : `${address.text}:${port}`,
      ]),
    );
  }

  get(id: number): Journey {
    const journey = this.journeys[id];
    if (journey === undefined) throw new Error(`there is no journey ${id}`);
    return journey;
  }

  /** The number of what kernels decided; equal decisions have one number. */
  decided(decided: Decided): number {
    const known = this.decisionOf.get(decided);
    if (known !== undefined) return known;
    const key = JSON.stringify(decided);
    const number = this.decisionNumbers.get(key) ?? this.decisions.push(decided) - 1;
    this.decisionNumbers.set(key, number);
    this.decisionOf.set(decided, number);
    return number;
  }

  /** The number of the journey with these facts; `facts` is copied where it is new. */
  intern(facts: OutcomeFacts): number {
    let slot =
      Math.imul(facts.hash ^ (facts.node + 1) ^ (facts.decided << 16) ^ (facts.masqueraded ? 0x55555555 : 0), 0x9e3779b1) >>> 0;
    for (;;) {
      const known = this.numbers.get(slot);
      if (known === undefined) break;
      if (sameFacts(this.facts[known], facts)) return known;
      slot = (slot + 1) >>> 0;
    }
    const id = this.journeys.length;
    this.numbers.set(slot, id);
    this.facts.push({ ...facts });
    this.journeys.push({
      id,
      end: facts.end,
      reason: facts.reason,
      becauses: this.becauses(facts),
      passed: facts.before === facts.cookie ? [] : [...(this.image.cookies.get(facts.before) ?? [])],
      eligibleBackends: this.eligible(facts),
      ...this.chosen(facts),
      eligibleSourcePorts: this.decisions[facts.decided].ports ?? (facts.masqueraded ? this.sourcePorts() : null),
    });
    return id;
  }

  private becauses(facts: OutcomeFacts): Because[] {
    const found = facts.cookie === OwnProgram.values.COOKIE ? [BY_OWN_PROGRAM] : [...(this.image.cookies.get(facts.cookie) ?? [])];
    if (facts.cookie === 0 && facts.denyingPolicy >= 0) {
      const map = this.image.policies.endpoints.maps[facts.denyingPolicy];
      const cookie = facts.denyingEgress ? map?.denyEgress : map?.denyIngress;
      found.push(...(this.image.cookies.get(cookie ?? 0) ?? []));
    }
    const frontend = this.frontendOf(facts);
    if (frontend !== undefined) found.push(frontend.because);
    found.push(...this.decisions[facts.decided].becauses);
    return found;
  }

  private eligible(facts: OutcomeFacts): string[] | null {
    const frontend = this.frontendOf(facts);
    if (frontend === undefined) return null;
    return frontend.active.map((id) => this.backends.get(id)!).sort();
  }

  private chosen({ backend }: OutcomeFacts): Pick<Journey, "backend"> {
    const text = this.backends.get(backend);
    return text === undefined ? {} : { backend: text };
  }

  /** The frontend as the node where the frame entered has it. */
  private frontendOf({ service, node }: OutcomeFacts): Frontend | undefined {
    if (service === 0) return undefined;
    const frontends = this.frontends.get(service) ?? [];
    return (
      frontends.find((one) => one.node === this.image.nodes[node]) ??
      frontends.find((one) => one.node === null) ??
      frontends[0]
    );
  }

  private sourcePorts(): readonly [number, number] {
    const { options } = this.image;
    return [options["kube-proxy-replacement"] ? options["node-port-range"][1] + 1 : 32768, 65535];
  }
}

function sameFacts(a: OutcomeFacts, b: OutcomeFacts): boolean {
  return (
    a.hash === b.hash &&
    a.node === b.node &&
    a.masqueraded === b.masqueraded &&
    a.decided === b.decided &&
    a.end === b.end &&
    a.reason === b.reason &&
    a.cookie === b.cookie &&
    a.before === b.before &&
    a.service === b.service &&
    a.backend === b.backend &&
    a.program === b.program &&
    a.sourceIdentity === b.sourceIdentity &&
    a.destinationIdentity === b.destinationIdentity &&
    a.denyingPolicy === b.denyingPolicy &&
    a.denyingEgress === b.denyingEgress
  );
}
