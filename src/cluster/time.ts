/** Times as texts have them: RFC 3339 with up to nine digits of a second, or seconds since the Unix epoch. */

/** ns since the Unix epoch; null where the text is no such time. */
export function timeNsOf(text: string): bigint | null {
  const seconds = /^(\d{1,11})(?:\.(\d{1,9}))?$/.exec(text);
  if (seconds !== null) return BigInt(seconds[1]) * 1_000_000_000n + nanoseconds(seconds[2]);
  const dated = /^(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)$/.exec(text);
  const ms = dated === null ? Number.NaN : Date.parse(`${dated[1].replace(" ", "T")}${dated[3]}`);
  return dated === null || Number.isNaN(ms) ? null : BigInt(ms) * 1_000_000n + nanoseconds(dated[2]);
}

function nanoseconds(fraction = ""): bigint {
  return BigInt(fraction.padEnd(9, "0"));
}
