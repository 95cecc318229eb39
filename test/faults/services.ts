/** Faults in what the agent programs for services, and the test that must see each. */
import type { Fault } from "./fault.js";

const folder = "src/ebpf/compile/";
const SERVICE = `${folder}service.test.ts`;
const PLANE = "src/ebpf/services.test.ts";
const MAGLEV = "src/ebpf/maglev.test.ts";
const COUNTED = "src/ebpf/counted-rows.test.ts";

export const SERVICE_FAULTS: readonly Fault[] = [
  {
    id: "maglev-step-of-all-places", file: `${folder}maglev.ts`, seenBy: MAGLEV,
    find: "Number(second % BigInt(size - 1)) + 1", replace: "Number(second % BigInt(size))",
    why: "a walk over the places may step by 0",
  },
  {
    id: "maglev-tail-not-hashed", file: `${folder}maglev.ts`, seenBy: MAGLEV,
    find: "for (let index = Math.min(bytes.length, from + 8) - 1;", replace: "for (let index = Math.min(bytes.length, from + 7) - 1;",
    why: "the last byte of a name's block does not count",
  },
  {
    id: "maglev-weights-ignored", file: `${folder}maglev.ts`, seenBy: MAGLEV,
    find: "const weighted = Math.floor(sum / count) > 1;", replace: "const weighted = false;",
    why: "heavy backends have no more places than light ones",
  },
  {
    id: "maglev-names-of-1.16", file: `${folder}maglev.ts`, seenBy: PLANE,
    find: "version === \"1.16\" ?", replace: "true ?", why: "every version hashes plain addresses",
  },
  {
    id: "serving-ignored", file: `${folder}backends.ts`, seenBy: SERVICE,
    find: "return serving || servingAbsent === true ? \"terminating\" : \"not-serving\";", replace: "return \"terminating\";",
    why: "a backend on its way out takes new connections though it does not serve",
  },
  {
    id: "not-ready-is-no-backend", file: `${folder}backends.ts`, seenBy: SERVICE,
    find: "if (!terminating) return \"maintenance\";", replace: "if (!terminating) return null;",
    why: "a backend that is not ready loses its connections",
  },
  {
    id: "terminating-first", file: `${folder}service.ts`, seenBy: SERVICE,
    find: "const used = active.length > 0 ? active : inState(\"terminating\");", replace: "const used = [...active, ...inState(\"terminating\")];",
    why: "terminating backends get new connections beside active ones",
  },
  {
    id: "external-ip-has-two-scopes", file: `${folder}service.ts`, seenBy: SERVICE,
    find: "if (twoScopes && plan.type !== \"ExternalIPs\")", replace: "if (twoScopes)",
    why: "an external IP has an internal scope that the agent does not make",
  },
  {
    id: "ranges-of-load-balancers-only", file: `${folder}service.ts`, seenBy: SERVICE,
    find: "case 18: return true;", replace: "case 18: return type === \"LoadBalancer\";",
    why: "1.18 checks source ranges at the load balancer's frontends alone",
  },
  {
    id: "deny-allows", file: `${folder}service-annotations.ts`, seenBy: PLANE,
    find: "lower(service, \"src-ranges-policy\") === \"deny\"", replace: "lower(service, \"src-ranges-policy\") === \"refuse\"",
    why: "a list of whom to refuse is one of whom to allow",
  },
  {
    id: "dsr-of-every-protocol", file: `${folder}service-annotations.ts`, seenBy: PLANE,
    find: "return own === \"dsr\" || own === \"snat\" ? own === \"dsr\" : standard;", replace: "return standard;",
    why: "a service's own forwarding mode is not read",
  },
  {
    id: "hybrid-is-dsr", file: "src/ebpf/config-record.ts", seenBy: PLANE,
    find: "options[\"bpf-lb-mode\"] === \"hybrid\" ? \"HYBRID\" : \"DSR\"", replace: "\"DSR\"",
    why: "hybrid mode sends UDP's replies past the load balancer too",
  },
  {
    id: "wildcards-before-1.19", file: `${folder}frontends.ts`, seenBy: SERVICE,
    find: "if (release(options) < 19 || ", replace: "if (", why: "older versions drop what comes to an unknown port of a service's address",
  },
  {
    id: "hints-against-the-zone", file: `${folder}service-topology.ts`, seenBy: SERVICE,
    find: "return candidates.filter(({ hintZones }) => hintZones.includes(zone));",
    replace: "return candidates.filter(({ hintZones }) => !hintZones.includes(zone));",
    why: "a node uses the backends of the other zones",
  },
  {
    id: "redirects-forgotten", file: `${folder}service-redirects.ts`, seenBy: PLANE,
    find: "if (object.kind === \"CiliumLocalRedirectPolicy\")", replace: "if (object.kind === \"LocalRedirectPolicy\")",
    why: "a frontend that a local redirect policy took is evaluated as the service's",
  },
  {
    id: "counted-rows-mixed", file: `${folder}service.ts`, seenBy: COUNTED,
    find: "const whole = counted ? withoutMixed(drafts, nodes, options, backendsOf.locals) : drafts;", replace: "const whole = drafts;",
    why: "limits count a frontend that another service has on some nodes",
  },
  {
    id: "counted-rows-of-fewer-nodes", file: "src/ebpf/limits.ts", seenBy: COUNTED,
    find: "part === \"each\" ? image.nodes.length : 0", replace: "part === \"each\" ? 1 : 0",
    why: "the services with the most slots are told without the rows of nodes that have no backend",
  },
];
