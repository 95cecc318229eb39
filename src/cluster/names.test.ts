import { describe, expect, it } from "vitest";
import { formatProblem } from "./problem.js";
import { readNames } from "./names.js";

const read = (text: string) => {
  const { names, problems } = readNames({ name: "fqdn.json", text });
  return { names: [...names.addresses].map(([name, found]) => `${name} ${found.map(({ text: one }) => one).join(" ")}`),
    lines: problems.map(formatProblem) };
};

describe("readNames", () => {
  it("reads an agent's list, the same name of several endpoints together", () => {
    const { names, lines } = read(JSON.stringify([
      { fqdn: "Api.Example.com.", ips: ["192.0.2.1"], ttl: 5 }, { fqdn: "api.example.com", ips: ["192.0.2.1", "2001:db8::1"] },
    ]));
    expect([names, lines]).toEqual([["api.example.com 192.0.2.1 2001:db8::1"], []]);
  });

  it("reads a mapping", () => {
    expect(read('{"a.b": ["192.0.2.1"], "c.d": []}').names).toEqual(["a.b 192.0.2.1", "c.d "]);
  });

  it.each([["no JSON", "a: b", /expected JSON/], ["a number", "7", /expected JSON/], 
    ["a row without addresses", '[{"fqdn": "a"}]', /without fqdn/],
    ["no list", '{"a": "192.0.2.1"}', /a: expected a list/], ["no address", '{"a": ["b", 7]}', /found "b", expected an IP/]])(
    "%s is a problem", (_, text, what) => {
      expect(read(text).lines[0]).toMatch(what);
    });
});
