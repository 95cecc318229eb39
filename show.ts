import { draw } from "./test/policy-ring/ring.js";
const { base, drawn } = draw(Number(process.argv[2]));
const where = process.argv[3];
for (const item of base.items as any[]) if (JSON.stringify(item).includes(where)) console.log(JSON.stringify(item));
for (const p of drawn) console.log(JSON.stringify(p));
