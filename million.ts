import { Ring } from "./test/policy-ring/ring.js";
const most = Number(process.argv[2]);
const first = Number(process.argv[3] ?? 20) * 1_000_000;
const ring = new Ring(most);
const began = Date.now();
const from = Number(process.argv[4] ?? 0); let said = 0;
for (let n = from; (process.argv[5] === undefined || n < Number(process.argv[5])) && ring.judged < most && ring.wrong.length < 8; n++) {
  ring.cluster(first + n);
  while (said < ring.wrong.length) process.stderr.write(`${ring.wrong[said++]}\n`);
  if (n % 50 === 49) process.stderr.write(`${n + 1} clusters ${ring.judged} probes ${((Date.now() - began) / 1000).toFixed(0)}s cpu ${(process.cpuUsage().user / 1e6).toFixed(0)}s wrong ${ring.wrong.length} rare ${ring.coverage.rare().length} missing ${ring.coverage.missingPairs().length}\n`);
}
console.log(ring.summary());
console.log("rare", ring.coverage.rare(), "missing pairs", ring.coverage.missingPairs().length, "strange", ring.strange, "wrong", ring.wrong);
