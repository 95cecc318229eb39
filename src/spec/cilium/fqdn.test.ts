/** Patterns of toFQDNs: names that Cilium's own tests say they mean and do not (pkg/fqdn/matchpattern, 1.18 and 1.20). */
import { describe, expect, it } from "vitest";
import { isNamed } from "./fqdn.js";

const means = (matchPattern: string, name: string, version = 20): boolean => isNamed({ matchName: null, matchPattern }, name, version);

describe("matchPattern", () => {
  it.each<[string, readonly string[], readonly string[]]>([
    ["cilium.io.", ["cilium.io."], ["anysub.cilium.io.", "anysub.ci.io."]],
    ["*.cilium.io.", ["anysub.cilium.io."], ["cilium.io.", "anysub.ci.io.", "a.b.cilium.io."]],
    ["*cilium.io", ["cilium.io.", "xcilium.io."], ["a.cilium.io."]],
    ["*.ci*.io.", ["anysub.cilium.io.", "anysub.ci.io.", "anysub.ciliumandmore.io."], ["cilium.io."]],
    ["*.ci**.io.", ["anysub.cilium.io.", "anysub.ciliumandmore.io."], ["cilium.io."]],
    ["*", ["io.", "cilium.io.", "_foobar._tcp.cilium.io."], []],
    ["**", ["io.", "cilium.io.", "service.namespace.svc.cluster.local."], []],
    ["*.*.cilium.io.", ["_foobar._tcp.cilium.io."], ["cilium.io."]],
    ["**.cilium.io.", ["test.cilium.io.", "test.app.cilium.io."], ["cilium.io.", "anysub.ci.io."]],
    ["***.cilium.io.", ["test.cilium.io.", "test.app.new.cilium.io."], ["cilium.io."]],
    ["**.*.cilium.io.", ["_foo._bar._tcp.cilium.io."], ["cilium.io.", "foo.cilium.io."]],
    ["**.ci*.io.", ["foo.bar.cilium.io.", "anysub.ci.io."], ["cilium.io.", "test.calium.io."]],
  ])("%s", (pattern, accepted, rejected) => {
    expect([...accepted, ...rejected].filter((name) => means(pattern, name))).toEqual(accepted);
  });

  it("has no case, and a final dot or none", () => {
    expect([means("*.Cilium.io", "API.cilium.IO"), means("cilium.io", "cilium.io.")]).toEqual([true, true]);
  });

  it("up to 1.18 several stars are one, and only * alone is every name", () => {
    expect([means("**.cilium.io", "a.b.cilium.io", 18), means("**.cilium.io", "a.cilium.io", 18), means("**", "cilium.io", 18),
      means("**", "io", 18), means("*", "cilium.io", 18), means("*.", "cilium.io", 18)]).toEqual([false, true, false, true, true, false]);
  });
});

describe("matchName", () => {
  it("is the name, and nothing in it means more", () => {
    const named = (name: string): boolean => isNamed({ matchName: "api.Example.com", matchPattern: null }, name, 20);
    expect([named("API.example.com."), named("x.api.example.com"), named("apixexample.com")]).toEqual([true, false, false]);
  });
});
