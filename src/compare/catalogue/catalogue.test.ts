/** The catalogue's own rules: one row an id, a page that says something, and a way to tell for each kind of row. */
import { describe, expect, it } from "vitest";
import { CATALOGUE, differenceOf } from "./index.js";

describe("the catalogue", () => {
  it("has one row an id", () => {
    const ids = CATALOGUE.map(({ id }) => id);
    expect(ids).toEqual([...new Set(ids)]);
    expect(ids.filter((id) => !/^(POL|SVC|NAT|PROTO|CT|NODE|CAP|HAZ)-[A-Z0-9-]+$|^DUAL-STACK$/.test(id))).toEqual([]);
    for (const row of CATALOGUE) expect(differenceOf(row.id)).toBe(row);
  });

  it.each(CATALOGUE)("$id says what each side does, what to do, and how that is known", ({ title, page }) => {
    for (const text of [title, page.kubeProxy, page.cilium, page.advice]) {
      expect(text.trim()).toBe(text);
      expect(text.length).toBeGreaterThan(10);
    }
    expect(page.sources.length).toBeGreaterThan(0);
    expect(page.bitten.filter((one) => !/^[\w.-]+(\/[\w.-]+)?#\d+$/.test(one))).toEqual([]);
    expect(new Set(page.bitten).size).toBe(page.bitten.length);
  });

  it.each(CATALOGUE)("$id can be told as its page says", ({ page, matches, appliesTo }) => {
    if (page.shownBy === "packets") expect(matches).toBeDefined();
    if (page.shownBy === "hazard") expect(matches).toBeUndefined();
    if (page.shownBy === "hazard") expect(appliesTo).toBeDefined();
    if (page.shownBy === "state or option") expect(matches ?? appliesTo).toBeDefined();
    if (page.shownBy === "no difference") expect(matches ?? appliesTo).toBeUndefined();
    if (page.shownBy === "capacity") expect(matches ?? appliesTo).toBeUndefined();
  });
});
