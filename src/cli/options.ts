/** Options that several commands share, and what they mean. */
import { type Command, Option } from "commander";
import { parsePrefix, type Prefix } from "../cluster/address.js";
import type { Cluster } from "../cluster/cluster.js";
import { type DNSNames, readNames } from "../cluster/names.js";
import { type GivenNetwork, kubeProxyRefusal, parseProfile, type Profile, PROFILES_HELP } from "../planes.js";
import { readText } from "./files.js";
import { UsageError } from "./usage.js";

export interface InputOptions {
  readonly file?: readonly string[];
  readonly read?: readonly string[];
  readonly rules?: readonly string[];
  readonly strict?: boolean;
}

/** What one dataplane is built from, beside the cluster. */
export interface TargetOptions {
  readonly target: string;
  readonly clusterCidr?: readonly string[];
  readonly nonMasqueradeCidr?: readonly string[];
  readonly masquerade?: "cni" | "ip-masq-agent" | "none";
  readonly fqdnCache?: string;
}

export interface PlaneOptions extends TargetOptions {
  readonly current: string;
  readonly seed: string;
  readonly program?: string;
}

export function addInputOptions(command: Command, captures: boolean): Command {
  command.option("-f, --file <path...>", "manifests, node facts (ip -j), conntrack entries, nodes' rules (iptables-save): files or folders,"
    + " - for stdin");
  if (captures) {
    command.option("-r, --read <capture...>", "captures, Retina archives or folders of them; [node[:device]=]path names where"
      + " one was taken");
    command.option("--rules <dump...>", "a node's own rules or sets (iptables-save, ip6tables-save, ipset save), used on the"
      + " current side instead of generated ones; [node=]path");
  }
  return command.option("--strict", "any error in the inputs ends with exit code 2; without it the rest is used");
}

export function addPlaneOptions(command: Command): Command {
  command.option("--current <profile>", "the dataplane the cluster has now", "kube-proxy");
  return addTargetOptions(command)
    .option("--seed <number>", "seed of every random choice", "1")
    .option("--program <file>", "a program of your own in the target: a module of `twinplane build`, or its source")
    .addHelpText("after", `\n${PROFILES_HELP}`);
}

export function addTargetOptions(command: Command): Command {
  return addNetworkOptions(command.option("--target <profile>", "the dataplane it is to have", "cilium@1.20"));
}

export function addNetworkOptions(command: Command): Command {
  return command
    .option("--cluster-cidr <cidr...>", "pod address ranges (default: kube-proxy's clusterCIDR, else from the nodes' podCIDRs)")
    .option("--non-masquerade-cidr <cidr...>", "destinations that see a pod's own address "
      + "(default: ip-masq-agent's list, else the nodes' networks)")
    .addOption(new Option("--masquerade <agent>", "who masquerades pods now (default: ip-masq-agent if the objects have it, else cni)")
      .choices(["cni", "ip-masq-agent", "none"]))
    .option("--fqdn-cache <file>", "addresses of DNS names, for toFQDNs (JSON: cilium-dbg fqdn cache list -o json, or names with lists)");
}

export function profileOf(text: string): Profile {
  const profile = parseProfile(text);
  if (typeof profile === "string") throw new UsageError(profile);
  return profile;
}

/** A profile that has maps. */
export function ciliumProfileOf(text: string): Profile {
  const profile = profileOf(text);
  if (profile.engine !== "cilium") throw new UsageError(`${text} has no maps; expected --target cilium@1.20`);
  return profile;
}

/** Ends the command where a side is kube-proxy and the cluster's runs in a mode that is not modelled. */
export function refuseUnmodelled(cluster: Cluster, profiles: readonly Profile[]): void {
  const refusal = profiles.some((profile) => profile.engine !== "cilium") ? kubeProxyRefusal(cluster) : null;
  if (refusal !== null) throw new UsageError(refusal);
}

/** The network the user states; what is not stated is left out. */
export function networkOf(options: TargetOptions): GivenNetwork {
  return {
    ...(options.masquerade === undefined ? {} : { masqueradeAgent: options.masquerade }),
    ...(options.clusterCidr === undefined ? {} : { clusterCidrs: prefixesOf(options.clusterCidr, "--cluster-cidr") }),
    ...(options.nonMasqueradeCidr === undefined ? {}
      : { nonMasqueradeCidrs: prefixesOf(options.nonMasqueradeCidr, "--non-masquerade-cidr") }),
    ...(options.fqdnCache === undefined ? {} : { names: namesOf(options.fqdnCache) }),
  };
}

function namesOf(file: string): DNSNames {
  const read = readText(file);
  if (!("text" in read)) throw new UsageError(`--fqdn-cache ${file}: ${read.what}`);
  const { names, problems } = readNames({ name: file, text: read.text });
  if (problems.length > 0) throw new UsageError(`--fqdn-cache ${file}: ${problems[0].what}`);
  return names;
}

function prefixesOf(texts: readonly string[], option: string): Prefix[] {
  return texts.flatMap((text) => text.split(",")).map((text) => {
    const prefix = parsePrefix(text.trim());
    if (prefix === null) throw new UsageError(`${option} takes CIDRs such as 10.244.0.0/16, not '${text}'`);
    return prefix;
  });
}

export function numberOf(text: string, what: string, from: number, to: number): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value) || value < from || value > to) {
    throw new UsageError(`${what} is a number from ${from} to ${to}, not '${text}'`);
  }
  return value;
}

/** A whole number of at least `from`. */
export function wholeNumberOf(text: string, what: string, from: number): number {
  const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= from)) throw new UsageError(`${what} is a whole number from ${from}, not '${text}'`);
  return value;
}
