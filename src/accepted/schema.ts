/**
 * What a file of accepted differences may hold, as a JSON Schema: the one statement of its fields. Published with the
 * package (schema/accepted.schema.json), and what `read.ts` reads files by.
 */
import type { Schema } from "../scenario/schema.js";

const text = (description: string): Schema => ({ type: "string", description });
const glob = (what: string): Schema => text(`${what}; * stands for any text`);

const entry: Schema = {
  type: "object",
  description: "one known difference, where it is accepted, by whom and until when",
  properties: {
    id: { ...text("of a difference or limit, as the report names it; no wildcards"), pattern: "^[A-Z0-9-]+$" },
    source: glob("who sends, as the report names it: default/web-1, node1, 203.0.113.9"),
    destination: glob("who is addressed, as the report names it: default/web-1, service default/web, 203.0.113.9"),
    namespace: glob("namespace of a pod or service at either end"),
    pod: glob("namespace/name of a pod at either end"),
    service: glob("namespace/name of the service that is addressed"),
    protocol: { ...text("as the report names it"), pattern: "^[A-Za-z0-9 ]+$" },
    port: { anyOf: [{ type: "integer", description: "destination port", minimum: 0, maximum: 65535 },
      { type: "string", description: "a range of destination ports: 8000-8100", pattern: "^\\d{1,5}-\\d{1,5}$" }] },
    subject: glob("of a limit: what it is counted of; of a row of check: its name"),
    owner: text("who answers for it"),
    reason: text("why it is accepted"),
    expires: { type: "string", description: "last day on which it is accepted: 2027-03-31", pattern: "^\\d{4}-\\d{2}-\\d{2}$" },
  },
  required: ["id", "owner", "reason", "expires"],
  additionalProperties: false,
};

export const ACCEPTED_SCHEMA: Schema = {
  $schema: "https://json-schema.org/draft/2020-12/schema",
  title: "twinplane accepted differences",
  type: "object",
  description: "Differences that are known and accepted: they are reported, and do not fail",
  properties: { accepted: { type: "array", description: "entries; the first that fits a difference accepts it", items: entry } },
  required: ["accepted"],
  additionalProperties: false,
};
