/**
 * kube-proxy's configuration as the cluster's objects say it.
 *
 *   KubeProxyConfiguration    a document of its own
 *   ConfigMap kube-proxy      kube-system; file `config.conf`, as kubeadm writes it
 *   DaemonSet kube-proxy      kube-system; the flags of its container, as AKS has them
 *
 * A kube-proxy that is given a file (`--config`) ignores its flags, so where the DaemonSet names a file the flags do not
 * count, and where it names none no file does. Without the DaemonSet the file counts; a document of its own comes
 * before the ConfigMap. What is unknown or of another type is a Problem with its line, and the rest is used.
 */
import type { Cluster, OtherObject } from "../../cluster/cluster.js";
import { innerDocument, textAt, whereOf } from "../../cluster/lines.js";
import { formatProblem, type Problem, type Where } from "../../cluster/problem.js";
import { KUBE_PROXY_DEFAULTS, type KubeProxyConfig } from "./config.js";
import { type Flag, flagsOf } from "../flags.js";
import { type Setting, SETTINGS, type Settings } from "./settings.js";

export interface KubeProxyConfiguration {
  readonly config: KubeProxyConfig;
  /** What it was read from, `ConfigMap kube-system/kube-proxy`; null: nothing says it, and these are the defaults. */
  readonly source: string | null;
  /** The mode, where it is one that is not modelled, and where it is set. */
  readonly unmodelled: { readonly mode: string; readonly where: Where | null } | null;
  /** The same as a sentence with its place. */
  readonly refusal: string | null;
  readonly problems: readonly Problem[];
}

export function readKubeProxyConfiguration(cluster: Cluster): KubeProxyConfiguration {
  const reading = new Reading();
  const source = reading.objects(cluster.others);
  const { mode, ...config } = reading.settings;
  // On Linux no mode at all is iptables.
  const unmodelled = mode === "" || mode === "iptables" ? null : { mode, where: reading.modeWhere };
  return { config, source, unmodelled, refusal: unmodelled === null ? null : refusalOf(unmodelled), problems: reading.problems };
}

/** Fields that a file may have and that change no rule; a name ending in `.` stands for all below it. */
const OTHER_FIELDS = ["kind", "apiVersion", "metadata.", "clientConnection.", "logging.", "hostnameOverride", "healthzBindAddress",
  "metricsBindAddress", "bindAddressHardFail", "enableProfiling", "showHiddenMetricsForVersion", "configSyncPeriod", "oomScoreAdj",
  "portRange", "udpIdleTimeout", "ipvs.", "nftables.", "winkernel.", "windowsRunAsService", "iptables.syncPeriod",
  "iptables.minSyncPeriod"];

/** Flags that change no rule. */
const OTHER_FLAGS = new Set([
  "config", "write-config-to", "cleanup", "kubeconfig", "master", "kube-api-content-type", "kube-api-burst", "kube-api-qps",
  "hostname-override", "healthz-bind-address", "metrics-bind-address", "bind-address-hard-fail", "profiling",
  "show-hidden-metrics-for-version", "init-only", "iptables-sync-period", "iptables-min-sync-period", "ipvs-sync-period",
  "ipvs-min-sync-period", "ipvs-scheduler", "ipvs-exclude-cidrs", "ipvs-strict-arp", "ipvs-tcp-timeout",
  "ipvs-tcpfin-timeout", "ipvs-udp-timeout", "oom-score-adj", "config-sync-period", "healthz-port", "metrics-port",
  "proxy-port-range", "v", "vmodule", "logging-format", "log-flush-frequency", "logtostderr", "alsologtostderr", "log-file",
  "log-dir", "stderrthreshold", "version",
]);

class Reading {
  readonly settings: Settings = { ...KUBE_PROXY_DEFAULTS, mode: "" };
  readonly problems: Problem[] = [];
  modeWhere: Where | null = null;

  /** @returns what was read */
  objects(others: readonly OtherObject[]): string | null {
    const daemonSet = named(others, "DaemonSet");
    const flags = daemonSet === null ? [] : flagsOf(daemonSet);
    if (daemonSet !== null && flags.length > 0 && !flags.some((flag) => flag.name === "config")) {
      for (const flag of flags) this.flag(flag);
      return "DaemonSet kube-system/kube-proxy";
    }
    const own = others.find((object) => object.kind === "KubeProxyConfiguration");
    if (own !== undefined) {
      return this.file(own.object, (path) => whereOf(own, path)) ? "KubeProxyConfiguration" : null;
    }
    const configMap = named(others, "ConfigMap");
    if (configMap === null || textAt(configMap, ["data", "config.conf"]) === null) return this.noFile(flags);
    const inner = innerDocument(configMap, ["data", "config.conf"], this.problems);
    return inner !== null && this.file(inner.value, inner.whereOf) ? "ConfigMap kube-system/kube-proxy" : null;
  }

  private noFile(flags: readonly Flag[]): null {
    const config = flags.find((flag) => flag.name === "config");
    if (config !== undefined) {
      this.problem("warning", config.where, `kube-proxy reads its configuration from ${config.value ?? "a file"}, which is not `
        + "among the objects; expected a KubeProxyConfiguration or ConfigMap kube-system/kube-proxy; kube-proxy's defaults are used");
    }
    return null;
  }

  /** @returns whether it is a file that kube-proxy takes */
  private file(value: unknown, place: (path: readonly (string | number)[]) => Where): boolean {
    if (value === null || typeof value !== "object" || Array.isArray(value)) {
      this.problem("error", place([]), "found no mapping, expected a KubeProxyConfiguration; it is not used");
      return false;
    }
    const { apiVersion } = value as { apiVersion?: unknown };
    if (apiVersion !== "kubeproxy.config.k8s.io/v1alpha1") {
      this.problem("error", place(["apiVersion"]), `found apiVersion ${String(apiVersion)}, expected `
        + "kubeproxy.config.k8s.io/v1alpha1; the KubeProxyConfiguration is not used");
      return false;
    }
    this.fields(value as Record<string, unknown>, [], place);
    return true;
  }

  private fields(holder: Record<string, unknown>, path: readonly string[], place: (path: readonly string[]) => Where): void {
    for (const [name, value] of Object.entries(holder)) {
      const inner = [...path, name];
      const text = inner.join(".");
      const setting = SETTINGS.find((one) => one.path === text);
      // null is as if the field were not there.
      if (value === null || OTHER_FIELDS.includes(text) || OTHER_FIELDS.includes(`${text}.`)) continue;
      if (setting !== undefined) this.set(setting, value, text, place(inner));
      else if (!SETTINGS.some((one) => one.path.startsWith(`${text}.`))) {
        this.problem("warning", place(inner), `KubeProxyConfiguration: ${text}: unknown field, which kube-proxy ignores`);
      } else if (typeof value === "object" && !Array.isArray(value)) this.fields(value as Record<string, unknown>, inner, place);
      else {
        this.problem("error", place(inner), `KubeProxyConfiguration: ${text}: found ${shown(value)}, expected a mapping; `
          + "it is not used");
      }
    }
  }

  private flag({ name, value, where }: Flag): void {
    const setting = SETTINGS.find((one) => one.flag === name && name !== "");
    if (setting !== undefined) {
      this.set(setting, value ?? (setting.boolean === true ? true : undefined), `--${name}`, where);
    } else if (!OTHER_FLAGS.has(name)) this.problem("warning", where, `kube-proxy: --${name}: unknown flag; it is not used`);
  }

  private set(setting: Setting, value: unknown, name: string, where: Where): void {
    const expected = setting.set(this.settings, value);
    if (setting.path === "mode") this.modeWhere = where;
    if (expected !== null) {
      this.problem("error", where, `kube-proxy: ${name}: found ${shown(value)}, expected ${expected}; it is not used`);
    }
  }

  private problem(severity: Problem["severity"], where: Where, what: string): void {
    this.problems.push({ where, severity, what });
  }
}

function named(others: readonly OtherObject[], kind: string): OtherObject | null {
  return others.find((object) => object.kind === kind && object.namespace === "kube-system"
    && object.name === "kube-proxy") ?? null;
}

function refusalOf({ mode, where }: NonNullable<KubeProxyConfiguration["unmodelled"]>): string {
  const known = ["ipvs", "nftables", "kernelspace", "userspace"].includes(mode);
  const named = known ? `${mode} mode` : `mode "${mode}", which it does not know`;
  return formatProblem({ where, severity: "error", what: `kube-proxy runs in ${named}; only iptables mode is modelled. To see `
    + "what iptables mode would do with this traffic, set the mode to iptables in the input" });
}

function shown(value: unknown): string {
  if (value === undefined) return "no value";
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
