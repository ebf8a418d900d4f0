// JSON whose integers keep every digit: those beyond 2^53, as times in nanoseconds are, become `bigint`.
// A reviver that sees the source of a value would do, but not every browser that the console runs in has it.

const NUMBER = /-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
/** Names an integer that was too large. No text of the record is the name of a field in what is read this way. */
const MARK = "\u0000integer";

/** Where the string that begins at a quote ends: behind its closing quote. */
function endOfString(text: string, start: number): number {
  for (let at = start + 1; ; at += 1) {
    const quote = text.indexOf('"', at);
    if (quote < 0) return text.length;
    let slashes = 0;
    while (text[quote - 1 - slashes] === "\\") slashes += 1;
    if (slashes % 2 === 0) return quote + 1;
    at = quote;
  }
}

const marked = (literal: string): string =>
  /[.eE]/.test(literal) || Number.isSafeInteger(Number(literal)) ? literal : `{${JSON.stringify(MARK)}:"${literal}"}`;

/** Reads JSON; integers that a number would round are `bigint`. */
export function parseExact(text: string): unknown {
  const parts: string[] = [];
  for (let at = 0; at < text.length;) {
    const quote = text.indexOf('"', at);
    const outside = quote < 0 ? text.length : quote;
    parts.push(text.slice(at, outside).replace(NUMBER, marked));
    at = quote < 0 ? text.length : endOfString(text, quote);
    parts.push(text.slice(outside, at));
  }
  return JSON.parse(parts.join(""), (_, value: unknown) => {
    const integer = value !== null && typeof value === "object" ? (value as Record<string, unknown>)[MARK] : undefined;
    return typeof integer === "string" ? BigInt(integer) : value;
  });
}
