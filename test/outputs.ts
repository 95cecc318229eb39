/** One comparison of a bundled recording on the command line, with its outputs in files. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runCli } from "./cli.js";

export const LAB = join(import.meta.dirname, "..", "traces", "lab");
const NETWORK = ["--follow-capture", "--cluster-cidr", "10.244.0.0/16", "fd00:10:244::/48", "--non-masquerade-cidr", "192.168.50.0/24",
  "fd00:50::/64"];

/** Closes web's pods but for the client's; so the target drops what others send. */
export const POLICY = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web-from-client, namespace: default}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Ingress]
  ingress: [{from: [{podSelector: {matchLabels: {app: client-of-web}}}]}]
`;

export interface Outputs {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
  /** By format. */
  readonly bytes: ReadonlyMap<string, Buffer>;
  text(format: string): string;
  lines(format: string): string[];
}

export interface OutputsWanted {
  readonly stories: readonly string[];
  readonly formats: readonly string[];
  readonly args?: readonly string[];
  /** Further manifests. */
  readonly manifests?: string;
  /** The name of their file. */
  readonly called?: string;
  /** Inputs in the other order. */
  readonly turned?: boolean;
}

/** Runs `compare` on stories of the lab as one set of captures. */
export async function outputsOf({ stories, formats, args = [], manifests = POLICY, called = "more.yaml", turned = false }: OutputsWanted): Promise<Outputs> {
  const folder = mkdtempSync(join(tmpdir(), "twinplane-outputs-"));
  try {
    const more = join(folder, called);
    writeFileSync(more, manifests);
    const files = [...["cluster.yaml", "node1.net.json", "node2.net.json"].map((name) => join(LAB, name)), more,
      ...stories.map((story) => join(LAB, story))];
    const captures = stories.flatMap((story) => ["node1", "node2"].map((node) => join(LAB, story, `${node}.any.pcap`)));
    const order = <T>(list: readonly T[]): readonly T[] => (turned ? [...list].reverse() : list);
    const outputs = formats.flatMap((format) => ["-o", `${format}=${join(folder, `out.${format}`)}`]);
    const ran = await runCli(["compare", ...NETWORK, ...order(files).flatMap((file) => ["-f", file]),
      ...order(captures).flatMap((file) => ["-r", file]), ...outputs, ...args]);
    const bytes = new Map(formats.map((format) => {
      const path = join(folder, `out.${format}`);
      return [format, Buffer.from(ran.exitCode === 2 ? "" : readFileSync(path))] as const;
    }));
    const text = (format: string): string => {
      const found = bytes.get(format);
      if (found === undefined) throw new Error(`${format} was not asked for`);
      return found.toString("utf8").replaceAll(folder, "FOLDER").replaceAll(folder.toLowerCase(), "FOLDER");
    };
    return { ...ran, bytes, text, lines: (format) => text(format).split("\n").filter((line) => line !== "") };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
