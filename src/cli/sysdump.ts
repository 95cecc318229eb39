/**
 * What is of use in the output of `cilium sysdump`, a zip or the folder it unpacks to: the objects of Kubernetes and of
 * Cilium (one YAML file a kind; cilium-config among them says the options), and the flows that Hubble had. Left alone:
 * logs, the agents' own dumps, Helm's values, which are no objects.
 *
 * Source: cilium-cli/sysdump/constants.go, names of the files.
 */
import { basename } from "node:path";

const OBJECTS = /\.ya?ml$/i;
const NO_OBJECTS = /-helm-(values|metadata)-|^(k8s-events|k8s-metrics|k8s-leases)-|-secret-/;
const FLOWS = /^hubble-flows-.*\.json$/;
const IS_SYSDUMP = /^(k8s-pods|cilium-configmap|ciliumnodes)-.*\.ya?ml$/;

/** Whether these are files of a sysdump. */
export function isSysdump(files: readonly string[]): boolean {
  return files.filter((file) => IS_SYSDUMP.test(basename(file))).length > 1;
}

export function isSysdumpObject(file: string): boolean {
  return OBJECTS.test(file) && !NO_OBJECTS.test(basename(file));
}

export function isSysdumpFlows(file: string): boolean {
  return FLOWS.test(basename(file));
}
