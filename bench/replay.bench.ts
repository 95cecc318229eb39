import { runSession } from "../src/session.js";
import { type Figure, msOf, nsPerOperation, perSecond, type Question } from "./bench.js";
import { capturesOf, check, labSession } from "./session.js";
import { sizeOf, type TrafficOptions } from "./traffic.js";

const RATE = 20_000;
const CASES: readonly { readonly name: string; readonly traffic: TrafficOptions }[] = [
  { name: "established, ClusterIP", traffic: { stories: ["clusterip-tcp"], copies: 16, laps: 200, rate: RATE } },
  { name: "established, ClusterIP, NodePort, load balancer",
    traffic: { stories: ["clusterip-tcp", "nodeport-cluster", "loadbalancer"], copies: 8, laps: 60, rate: RATE } },
  { name: "short connections, ClusterIP", traffic: { stories: ["clusterip-tcp"], copies: 256, laps: 1, rate: RATE } },
];

export const question: Question = {
  question: "How fast is a whole replay: capture bytes, views, both planes, comparison?",
  async run(): Promise<Figure[]> {
    const figures: Figure[] = [await msOf("building both planes for the lab's cluster, no packet",
      async () => (await runSession(labSession([[], []]))).report.packets.records)];
    for (const { name, traffic } of CASES) {
      const captures = capturesOf(traffic);
      const { packets, records } = sizeOf(traffic);
      const replay = async (): Promise<number> => {
        const session = await runSession(labSession(captures));
        check(session, packets);
        return session.report.packets.matched;
      };
      const note = `${packets} packets in ${records} records, building the planes included`;
      const figure = await nsPerOperation(`${name}, per packet`, packets, replay, note);
      figures.push(figure, perSecond(figure, `${name}, replayed packets`, "packets/s"),
        perSecond(figure, `${name}, captured records`, "records/s", records / packets));
    }
    return figures;
  },
};
