/** `twinplane completion`: the scripts as the shells themselves read them. */
import { spawnSync } from "node:child_process";
import { beforeAll, describe, expect, it } from "vitest";
import { runCli } from "./cli.js";

const scripts: Record<string, string> = {};
beforeAll(async () => {
  for (const shell of ["bash", "zsh", "fish"]) scripts[shell] = (await runCli(["completion", shell])).stdout;
});

function ask(shell: string, script: string): string[] {
  const ran = spawnSync(shell, ["-c", script], { encoding: "utf8" });
  expect(ran.stderr).toBe("");
  return ran.stdout.trim().split(/\s+/);
}

function missing(shell: string): boolean {
  const absent = spawnSync(shell, ["--version"]).error !== undefined;
  if (absent && process.env.TWINPLANE_REQUIRE_KERNEL === "1") throw new Error(`${shell} is not installed`);
  return absent;
}

describe.skipIf(missing("bash"))("bash (needs bash)", () => {
  const complete = (...words: string[]): string[] => ask("bash", `${scripts["bash"]}
    COMP_WORDS=(${words.map((word) => `'${word}'`).join(" ")}); COMP_CWORD=${words.length - 1}; _twinplane; echo "\${COMPREPLY[@]}"`);

  it("commands, options of a command, values of an option", () => {
    expect(complete("twinplane", "")).toEqual(expect.arrayContaining(["compare", "check", "trace", "test", "completion", "--help"]));
    expect(complete("twinplane", "comp")).toEqual(["compare", "completion"]);
    expect(complete("twinplane", "compare", "--targ")).toEqual(["--target"]);
    expect(complete("twinplane", "compare", "--fail-on", "")).toEqual(expect.arrayContaining(["any", "unexplained", "none"]));
    expect(complete("twinplane", "completion", "")).toEqual(expect.arrayContaining(["bash", "zsh", "fish"]));
  });
});

describe.skipIf(missing("fish"))("fish (needs fish)", () => {
  it("commands, options and values", () => {
    const asked = ask("fish", `${scripts["fish"]}\ncomplete -C 'twinplane compl'; complete -C 'twinplane compare --fail-on '`);
    expect(asked).toEqual(expect.arrayContaining(["completion", "any", "unexplained", "none"]));
  });
});

describe.skipIf(missing("zsh"))("zsh (needs zsh)", () => {
  it("is read without an error and knows every command", () => {
    // Outside of completion there is no _describe: one that prints what it is given stands in.
    const asked = ask("zsh", `_describe() { print -l $commands }; CURRENT=2; words=(twinplane ''); ${scripts["zsh"]}`);
    expect(asked.join(" ")).toContain("compare:replay captures");
  });
});
