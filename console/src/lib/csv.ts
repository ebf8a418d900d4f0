// Comma-separated values (RFC 4180) of texts that strangers wrote: what a spreadsheet would run as a formula gets a quote before it.

const NUMBER = /^-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?$/;
// What begins a formula, also in full width, and also behind blanks and characters that are not shown. A tab or a line break at the beginning
// is eaten by some programs, and then the next character begins.
const FORMULA = /^(?:[\s\p{C}]*[=+\-@\u{ff1d}\u{ff0b}\u{ff0d}\u{ff20}\u{2212}\u{fe62}\u{fe63}\u{fe66}\u{fe6b}]|[\t\r\n])/u;

/** A field. */
function field(value: unknown): string {
  const text = value === null || value === undefined ? "" : String(value);
  const safe = FORMULA.test(text) && !NUMBER.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** A table. */
export const csv = (rows: readonly (readonly unknown[])[]): string => rows.map((row) => row.map(field).join(",")).join("\r\n");
