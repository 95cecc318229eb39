/**
 * Calico's selector expressions, as its own policies have them: `role == "db" && !has(debug) || tier in {"a", 'b'}`.
 *
 * Source: libcalico-go/lib/selector/{tokenizer,parser}.
 */
import type { EndpointLabels } from "./selector.js";

export type Expression = (labels: EndpointLabels) => boolean;

const TOKENS = new RegExp([
  /\s+/, /(?:"([^"]*)"|'([^']*)')/, /(has)\(\s*([\w./-]+)\s*\)/, /(all|global)\(\s*\)/, /(==|!=|&&|\|\||[!(){},])/,
  /(contains|starts\s+with|ends\s+with|not\s+in|in)(?=[\s"'{])/, /([\w./-]+)/,
].map((one) => one.source).join("|"), "y");

interface Token {
  readonly kind: "string" | "has" | "all" | "global" | "sign" | "label" | "end";
  readonly text: string;
}

/**
 * @param prefix stands before every label's name (`pcns.` of a namespaceSelector)
 * @returns null where the text is no selector; an empty one takes everything
 */
export function parseExpression(text: string, prefix = ""): Expression | null {
  const tokens = tokensOf(text);
  if (tokens === null) return null;
  if (tokens.length === 1) return () => true;
  const parser = new Parser(tokens, prefix);
  const expression = parser.or();
  return expression === null || !parser.atEnd() ? null : expression;
}

function tokensOf(text: string): Token[] | null {
  const tokens: Token[] = [];
  TOKENS.lastIndex = 0;
  while (TOKENS.lastIndex < text.length) {
    const found = TOKENS.exec(text);
    if (found === null) return null;
    const [, double, single, has, key, call, sign, word, label] = found;
    const string = double ?? single;
    if (string !== undefined) tokens.push({ kind: "string", text: string });
    else if (has !== undefined) tokens.push({ kind: "has", text: key });
    else if (call !== undefined) tokens.push({ kind: call as "all" | "global", text: call });
    else if (sign !== undefined) tokens.push({ kind: "sign", text: sign });
    // An operator's words stand behind a label only; elsewhere they are a label's name.
    else if (word !== undefined && tokens.at(-1)?.kind === "label") tokens.push({ kind: "sign", text: word.replace(/\s+/, " ") });
    else if (word !== undefined || label !== undefined) tokens.push({ kind: "label", text: word ?? label });
  }
  return [...tokens, { kind: "end", text: "" }];
}

class Parser {
  private at = 0;

  constructor(private readonly tokens: readonly Token[], private readonly prefix: string) {}

  atEnd(): boolean {
    return this.tokens[this.at].kind === "end";
  }

  or(): Expression | null {
    return this.joined("||", () => this.and(), (all) => (labels) => all.some((one) => one(labels)));
  }

  private and(): Expression | null {
    return this.joined("&&", () => this.operation(), (all) => (labels) => all.every((one) => one(labels)));
  }

  private joined(sign: string, operand: () => Expression | null, join: (all: readonly Expression[]) => Expression)
    : Expression | null {
    const all: Expression[] = [];
    do {
      const one = operand();
      if (one === null) return null;
      all.push(one);
    } while (this.take(sign));
    return all.length === 1 ? all[0] : join(all);
  }

  private operation(): Expression | null {
    let negated = false;
    while (this.take("!")) negated = !negated;
    const one = this.plain();
    return one === null || !negated ? one : (labels) => !one(labels);
  }

  private plain(): Expression | null {
    if (this.take("(")) {
      const inner = this.or();
      return inner !== null && this.take(")") ? inner : null;
    }
    const { kind, text } = this.next();
    if (kind === "has") return (labels) => labels.has(this.prefix + text);
    // Endpoints of pods stand in a namespace, so nothing that is global is among them.
    if (kind === "all" || kind === "global") return () => kind === "all";
    return kind === "label" ? this.comparison(this.prefix + text) : null;
  }

  private comparison(key: string): Expression | null {
    const { text: sign } = this.next();
    if (sign === "in" || sign === "not in") {
      const values = this.values();
      if (values === null) return null;
      return (labels) => (labels.has(key) && values.has(labels.get(key) ?? "")) === (sign === "in");
    }
    const { kind, text: value } = this.next();
    if (kind !== "string") return null;
    switch (sign) {
      case "==": return (labels) => labels.get(key) === value;
      case "!=": return (labels) => labels.get(key) !== value;
      case "contains": return (labels) => labels.get(key)?.includes(value) === true;
      case "starts with": return (labels) => labels.get(key)?.startsWith(value) === true;
      case "ends with": return (labels) => labels.get(key)?.endsWith(value) === true;
      default: return null;
    }
  }

  /** `{"a", "b"}`; a comma may stand behind the last. */
  private values(): ReadonlySet<string> | null {
    const values = new Set<string>();
    if (!this.take("{")) return null;
    while (this.tokens[this.at].kind === "string") {
      values.add(this.next().text);
      if (!this.take(",")) break;
    }
    return this.take("}") ? values : null;
  }

  private next(): Token {
    const token = this.tokens[this.at];
    if (token.kind !== "end") this.at++;
    return token;
  }

  private take(sign: string): boolean {
    const { kind, text } = this.tokens[this.at];
    if (kind !== "sign" || text !== sign) return false;
    this.at++;
    return true;
  }
}
