/** Rules of the house that a compiler does not know: who may import whom, where effects live, how long a file is. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");

interface Source {
  readonly path: string;
  readonly text: string;
  /** Repository paths of what it imports; packages as they are written. */
  readonly imports: readonly string[];
  readonly isTest: boolean;
}

function filesUnder(folder: string): string[] {
  return readdirSync(join(root, folder)).flatMap((name) => {
    const path = join(folder, name);
    return statSync(join(root, path)).isDirectory() ? filesUnder(path) : [path];
  });
}

function sourcesUnder(folder: string): Source[] {
  return filesUnder(folder).filter((path) => path.endsWith(".ts")).map((path) => {
    const text = readFileSync(join(root, path), "utf8");
    const imports = [...text.matchAll(/^\s*(?:import|export)\b[^"';]*?from\s+"([^"]+)"|^\s*import\s+"([^"]+)"/gm)].map((match) => {
      const target = match[1] ?? match[2];
      return target.startsWith(".") ? relative(root, resolve(root, dirname(path), target)).replace(/\.js$/, ".ts") : target;
    });
    return { path, text, imports, isTest: /\.(test|fixture|bench)\.ts$/.test(path) };
  });
}

const src = sourcesUnder("src");
const product = src.filter((source) => !source.isTest);
const assembly = sourcesUnder("assembly");

/** Rules as data: files under `from` import nothing under `never`. */
function breaches(sources: readonly Source[], from: string, never: readonly string[], but: readonly string[] = []): string[] {
  return sources.filter((source) => source.path.startsWith(from)).flatMap((source) => source.imports
    .filter((target) => never.some((one) => target.startsWith(one)) && !but.some((one) => target.startsWith(one)))
    .map((target) => `${source.path} imports ${target}`));
}

describe("the planes share input and no opinion", () => {
  const rooms: readonly [string, readonly string[]][] = [
    ["src/ebpf/", ["src/iptables/", "src/spec/"]],
    ["src/contract/", ["src/iptables/", "src/spec/", "src/linux/"]],
    ["src/iptables/", ["src/ebpf/", "src/contract/", "assembly/", "src/spec/"]],
    ["src/spec/", ["src/ebpf/", "src/contract/", "src/iptables/", "src/linux/", "assembly/"]],
    ["src/linux/", ["src/ebpf/", "src/contract/", "src/iptables/", "src/spec/", "assembly/"]],
    ["src/cluster/", ["src/ebpf/", "src/iptables/", "src/linux/", "src/spec/", "src/replay/", "src/compare/", "src/contract/"]],
    ["src/fabric/", ["src/ebpf/", "src/iptables/", "src/linux/", "src/spec/"]],
    ["src/compare/", ["src/ebpf/", "src/iptables/", "src/linux/", "src/spec/", "src/contract/"]],
    ["src/replay/", ["src/ebpf/", "src/iptables/", "src/linux/", "src/spec/", "src/contract/", "src/compare/"]],
    ["src/review/", ["src/ebpf/", "src/iptables/", "src/linux/", "src/spec/", "src/contract/"]],
    ["src/report/", ["src/ebpf/", "src/iptables/", "src/linux/", "src/spec/", "src/contract/"]],
    ["src/check/", ["src/ebpf/", "src/iptables/", "src/linux/", "src/spec/", "src/contract/", "src/cli/"]],
    ["src/accepted/", ["src/ebpf/", "src/iptables/", "src/linux/", "src/spec/", "src/contract/", "src/replay/"]],
    ["src/scenario/", ["src/ebpf/", "src/iptables/", "src/linux/", "src/spec/", "src/contract/"]],
    ["src/wire/", ["src/ebpf/", "src/iptables/", "src/linux/", "src/spec/", "src/replay/"]],
    ["src/capture/", ["src/ebpf/", "src/iptables/", "src/linux/", "src/spec/", "src/replay/"]],
  ];
  it.each(rooms)("%s", (from, never) => {
    expect(product.some((source) => source.path.startsWith(from))).toBe(true);
    expect(breaches(product, from, never)).toEqual([]);
  });

  it("a forbidden import is seen", () => {
    const seeded = { path: "src/ebpf/x.ts", text: "", imports: ["src/iptables/plane.ts"], isTest: false };
    expect(breaches([seeded], "src/ebpf/", ["src/iptables/"])).toHaveLength(1);
  });

  it("assembly imports only itself", () => {
    expect(breaches(assembly, "assembly/", ["src/"])).toEqual([]);
  });
});

describe("effects live at the edge", () => {
  const inner = product.filter((source) => !/^src\/(cli|web)\//.test(source.path));

  it("files, network and processes are touched in src/cli alone", () => {
    const effects = ["node:fs", "node:net", "node:http", "node:https", "node:child_process", "node:os", "node:dgram", "node:process"];
    expect(breaches(inner, "src/", effects)).toEqual([]);
  });

  it("no clock, no chance, no console", () => {
    const banned = /\bDate\.now\(|\bnew Date\(\)|\bperformance\.now\(|\bMath\.random\(|\bconsole\.|\bprocess\.(env|argv|exit|stdout|stderr)/;
    const lines = inner.flatMap((source) => source.text.split("\n").flatMap((line, index) =>
      (banned.test(line.replace(/\/\/.*|^\s*\*.*/, "")) ? [`${source.path}:${index + 1} ${line.trim()}`] : [])));
    expect(lines).toEqual([]);
  });

  it("the loader is used in one file", () => {
    expect(product.filter((source) => source.imports.includes("@assemblyscript/loader")).map((source) => source.path))
      .toEqual(["src/ebpf/machine.ts"]);
  });
});

describe("files can be read", () => {
  const read = [...src, ...assembly].filter((source) => !source.path.endsWith(".gen.ts"));

  it("at most 500 lines, tests 700", () => {
    const long = read.map((source) => [source.path, source.text.split("\n").length, source.isTest ? 700 : 500] as const)
      .filter(([, lines, limit]) => lines > limit);
    expect(long).toEqual([]);
  });

  it("the main programs, which read like the packet's way, fit two screens", () => {
    const main = ["from_pod", "to_pod", "from_netdev", "to_netdev", "from_host", "to_host", "from_overlay", "to_overlay", "walk"];
    const programs = assembly.filter((source) => main.some((name) => source.path.endsWith(`programs/${name}.ts`)));
    expect(programs.map(({ path }) => path)).toHaveLength(main.length);
    expect(programs.filter((source) => source.text.split("\n").length > 140).map(({ path }) => path)).toEqual([]);
  });

  it("at most 140 columns", () => {
    const wide = read.flatMap((source) => source.text.split("\n").flatMap((line, index) =>
      (line.length > 140 ? [`${source.path}:${index + 1} ${line.length}`] : [])));
    expect(wide).toEqual([]);
  });

  it("each file says first what it is", () => {
    const silent = [...product, ...assembly].filter((source) => !source.path.endsWith("version.ts")
      && !/^(\/\*\*|\/\/|\/\* )/.test(source.text.trimStart())).map((source) => source.path);
    expect(silent).toEqual([]);
  });

  it("nothing is left for later, and no machine's path is named", () => {
    const words = /\b(TODO|FIXME|XXX|HACK)\b|keep in sync|not implemented|for now\b|\/work\/|\/root\/|\/tmp\//i;
    const self = "test/house.test.ts";
    const found = [...read, ...sourcesUnder("test"), ...sourcesUnder("bench")].filter((source) => source.path !== self)
      .flatMap((source) => source.text.split("\n").flatMap((line, index) => (words.test(line) ? [`${source.path}:${index + 1} ${line.trim()}`] : [])));
    expect(found).toEqual([]);
  });

  it("no test is left out or alone", () => {
    const found = [...src, ...sourcesUnder("test")].filter((source) => source.path !== "test/house.test.ts")
      .filter((source) => /\b(it|test|describe)\.(only|todo|fails)\(/.test(source.text)).map((source) => source.path);
    expect(found).toEqual([]);
  });
});

describe("documents", () => {
  it("ARCHITECTURE.md has at most 150 lines and names folders that exist", () => {
    const text = readFileSync(join(root, "ARCHITECTURE.md"), "utf8");
    expect(text.split("\n").length).toBeLessThanOrEqual(150);
    const named = [...text.matchAll(/`((?:src|assembly|bench|lab|traces|test|scripts)\/[\w./-]*)`/g)].map((match) => match[1]);
    expect(named.length).toBeGreaterThan(10);
    expect(named.filter((path) => !exists(path))).toEqual([]);
  });
});

function exists(path: string): boolean {
  try {
    statSync(join(root, path));
    return true;
  } catch {
    return false;
  }
}
