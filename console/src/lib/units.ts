// Figures as people read them.

const whole = new Intl.NumberFormat("en-US");
const compact = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });

/** `12,345`. */
export const count = (value: number): string => whole.format(value);

/** `12.3K`: where there is little room; the whole figure goes into the title. */
export const short = (value: number): string => compact.format(value);

const even = new Intl.NumberFormat("en-US", { notation: "compact", minimumFractionDigits: 1, maximumFractionDigits: 1 });

/** The same for columns of figures: `12.0K` under `12.3K`, so that they can be compared by their length. */
export const column = (value: number): string => (Math.abs(value) < 1000 ? whole.format(value) : even.format(value));

/** `1 event`, `2 events`. */
export const counted = (value: number, one: string, many = `${one}s`): string => `${count(value)} ${value === 1 ? one : many}`;

/** Whether the sources of calls told tokens, by what was read and written together: hardly a call does neither, so that none of some calls were not told.
    Where one of both was told, the other one is 0: embeddings write none. */
export const isTokensTold = (tokens: number, calls: number): boolean => tokens > 0 || calls === 0;
/** Why there is a dash and no figure. */
export const TOKENS_UNTOLD = "No tokens are told, or none were used";

/** What one call tells of its tokens: nothing where it does not tell, which is not 0. */
export function tokensTold(of: { readonly input_tokens?: number | null | undefined; readonly output_tokens?: number | null | undefined }): number | null {
  const told = [of.input_tokens, of.output_tokens].filter((each) => each !== null && each !== undefined);
  return told.length === 0 ? null : told.reduce((sum, each) => sum + each, 0);
}

/** `12 %`, `0.4 %`; nothing of nothing is no share. */
export function share(part: number, of: number): string {
  if (of === 0) return "–";
  const percent = (part / of) * 100;
  return `${percent > 0 && percent < 10 ? percent.toFixed(1) : Math.round(percent)} %`;
}

/** `1.4 MiB`. */
export function bytes(value: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  let left = value;
  while (left >= 1024 && unit < units.length - 1) {
    left /= 1024;
    unit += 1;
  }
  return `${unit === 0 || left >= 100 ? Math.round(left) : left.toFixed(1)} ${units[unit]}`;
}

/** A score from 0 to 1 with two digits; `–` for what nobody inspected, which is not 0. */
export const score = (value: number | null | undefined): string => (value == null ? "–" : value.toFixed(2));

/** What stood in a field, as people read it: each of many values once, figures without the tail of binary fractions. */
export function stood(seen: string): string {
  if (/^-?\d+\.\d{7,}$/.test(seen)) return String(Number(Number(seen).toPrecision(6)));
  if (!seen.startsWith("[")) return seen;
  try {
    const values: unknown = JSON.parse(seen);
    if (Array.isArray(values) && values.every((value) => typeof value === "string" || typeof value === "number")) return [...new Set(values.map(String))].join(", ");
  } catch {
    // No list, or only the beginning of one.
  }
  return seen;
}
