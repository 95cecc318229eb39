/** Makes a case on which kernel and model disagree small: fewer flows, then fewer objects, as long as they still do. */
import type { Plain } from "../../src/iptables/manifests.fixture.js";
import type { Case } from "./case.js";

/** @param disagrees runs the case anew, on the kernel and in the model */
export async function shrink(one: Case, disagrees: (smaller: Case) => Promise<boolean>): Promise<Case> {
  let best = one;
  const attempt = async (smaller: Case): Promise<boolean> => {
    if (!(await disagrees(smaller))) return false;
    best = smaller;
    return true;
  };
  await parts(() => best.flows, (flows) => attempt({ ...best, flows }));
  await attempt({ ...best, npm: false, objects: best.objects.filter(isService), later: best.later.filter(isService) });
  await parts(() => othersOf(best), (names) => attempt(withOthers(best, new Set(names))));
  await parts(() => servicesOf(best), (names) => attempt(withServices(best, new Set(names))));
  await parts(() => endpointsOf(best), (kept) => attempt(withEndpoints(best, new Set(kept))));
  // Without a change, where that is not what matters.
  await attempt({ ...best, later: best.objects, reload: "full" });
  return best;
}

/** Drops halves, quarters, … single parts, as long as the rest still does it (delta debugging). */
async function parts<T>(list: () => readonly T[], attempt: (kept: readonly T[]) => Promise<boolean>): Promise<void> {
  for (let size = Math.ceil(list().length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let from = 0; from < list().length;) {
      const now = list();
      const kept = [...now.slice(0, from), ...now.slice(from + size)];
      if (kept.length === now.length || !(await attempt(kept))) from += size;
    }
  }
}

function isService(object: Plain): boolean {
  return object.kind === "Service" || object.kind === "EndpointSlice";
}

/** Policies, pods and namespaces as `kind namespace name`. */
function othersOf({ objects }: Case): string[] {
  return objects.filter((one) => !isService(one)).map(nameOf);
}

function withOthers(one: Case, names: ReadonlySet<string>): Case {
  const keep = (list: Case["objects"]): Case["objects"] => list.filter((object) => isService(object) || names.has(nameOf(object)));
  return { ...one, objects: keep(one.objects), later: keep(one.later) };
}

function nameOf({ kind, metadata }: Plain): string {
  return `${kind} ${metadata.namespace ?? ""} ${metadata.name}`;
}

function servicesOf({ objects }: Case): string[] {
  return objects.filter((one) => one.kind === "Service").map((one) => one.metadata.name as string);
}

function withServices(one: Case, names: ReadonlySet<string>): Case {
  const keep = (list: Case["objects"]): Case["objects"] => list.filter((object) => !isService(object)
    || names.has((object.kind === "Service" ? object.metadata.name : object.metadata.labels["kubernetes.io/service-name"]) as string));
  return { ...one, objects: keep(one.objects), later: keep(one.later) };
}

/** Endpoints of all slices as `slice index`. */
function endpointsOf({ objects }: Case): string[] {
  return objects.filter((one) => one.kind === "EndpointSlice").flatMap((slice) => (
    (slice.endpoints as { addresses: string[] }[]).map(({ addresses }) => `${slice.metadata.name} ${addresses[0]}`)));
}

function withEndpoints(one: Case, kept: ReadonlySet<string>): Case {
  const keep = (list: Case["objects"]): Case["objects"] => list.map((object) => (object.kind !== "EndpointSlice" ? object : { ...object,
    endpoints: (object.endpoints as { addresses: string[] }[]).filter(({ addresses }) => kept.has(`${object.metadata.name} ${addresses[0]}`)) }));
  return { ...one, objects: keep(one.objects), later: keep(one.later) };
}
