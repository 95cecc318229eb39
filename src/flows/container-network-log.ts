/**
 * A row of Azure's container network logs as Log Analytics gives it (tables ContainerNetworkLogs, formerly
 * RetinaNetworkFlowLogs) -> the JSON of the Hubble flow it was made of. Values of dynamic columns are JSON, in a CSV
 * export as text. Rows stand for all flows of some thirty seconds; their addresses and client ports may be missing.
 *
 * Source: the tables' reference, https://learn.microsoft.com/azure/azure-monitor/reference/tables/retinanetworkflowlogs
 */
export type Row = Readonly<Record<string, unknown>>;

/** Whether these are columns of such a table. */
export function isContainerNetworkLog(columns: readonly string[]): boolean {
  return columns.includes("Layer4") && columns.includes("Verdict")
    && (columns.includes("SourcePodName") || columns.includes("SourceNamespace") || columns.includes("IP"));
}

/** What `readHubble` reads. */
export function flowOfRow(row: Row): unknown {
  const reply = row["Reply"];
  const service = dynamic(row["Services"] ?? row["Service"]);
  return { flow: {
    verdict: row["Verdict"], drop_reason_desc: row["DropReason"] ?? "", Type: row["FlowType"], node_name: row["NodeName"],
    IP: dynamic(row["IP"]), l4: dynamic(row["Layer4"]), trace_observation_point: row["TraceObservationPoint"],
    source: party(row, "Source"), destination: party(row, "Destination"),
    destination_service: (service as Row | null)?.["destination_service"] ?? (service as Row | null)?.["destination"],
    ...(reply === true || reply === false ? { is_reply: reply }
      : /^(true|false)$/i.test(String(reply ?? "")) ? { is_reply: String(reply).toLowerCase() === "true" } : {}),
    // TimeGenerated is when the row was written, not when the packet was seen.
    aggregate: { unknown_direction_flow_count: 1 },
  } };
}

function party(row: Row, end: "Source" | "Destination"): unknown {
  const workloads = dynamic(row[`${end}Workload`] ?? row[`${end}Workloads`]);
  return { namespace: row[`${end}Namespace`], pod_name: row[`${end}PodName`], workloads: Array.isArray(workloads) ? workloads : [workloads],
    labels: dynamic(row[`${end}Labels`]) };
}

function dynamic(value: unknown): unknown {
  if (typeof value !== "string" || value.trim() === "") return value === "" ? null : value;
  try {
    return JSON.parse(value);
  } catch {
    return null;
  }
}
