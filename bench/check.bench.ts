import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { type Figure, type Question, single } from "./bench.js";

const CHILD = fileURLToPath(new URL("check-child.ts", import.meta.url));
const PODS = 20_000;
const POLICIES = 1_000;
const CURRENT = ["kube-proxy", "kube-proxy+npm", "kube-proxy+calico"];
/** What the policies are of: ingress alone, each second one of egress, or both in one. */
const KINDS = ["ingress", "halves", "both"];

interface Measured {
  readonly made: number;
  readonly all: number;
  readonly packets: number;
  /** Classes put together out of what both ends' policies do. */
  readonly composed: number;
  readonly podClasses: number;
  readonly undecided: number;
  readonly changes: number;
  readonly peak: number;
}

export const question: Question = {
  question: `What does it take to compare both planes over every class of pairs of ${PODS} pods with ${POLICIES} policies?`
    + " (Limit: 60,000 ms.)",
  async run(): Promise<Figure[]> {
    return CURRENT.flatMap((current) => KINDS.flatMap((kinds) => figures(current, kinds)));
  },
};

function figures(current: string, kinds: string): Figure[] {
  const args = ["--import", "tsx", CHILD, current, kinds, String(PODS), String(POLICIES)];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8", maxBuffer: 1 << 26 });
  if (status !== 0) throw new Error(`the measured run ended with ${status}: ${stderr.slice(0, 2000)}`);
  const { made, all, packets, composed, podClasses, undecided, changes, peak } = JSON.parse(stdout) as Measured;
  const name = `${current}, ${kinds}`;
  return [
    single(`${name}: all of it`, all, "ms", `CPU; ${podClasses} classes of pods, ${changes} changes found`),
    single(`${name}: of that, finding the classes`, made, "ms", ""),
    single(`${name}: packets through both planes`, packets, "packets", `${composed} more classes put together, ${undecided} undecided`),
    single(`${name}: peak resident memory`, peak, "MB", "reading the cluster included"),
  ];
}
