// Times of the record are RFC 3339 with microseconds, in UTC. The reader chooses the zone in which they are shown.

/** A range of time: relative to now (`24h`), or between two moments (RFC 3339, UTC; the end may be open). */
export type Range =
  | { readonly kind: "last"; readonly text: string; readonly ms: number }
  | { readonly kind: "between"; readonly since: string; readonly until: string | null };

const UNITS: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000 };

/** What the time picker offers. */
export const PRESETS = ["15m", "1h", "6h", "24h", "7d", "30d", "90d"] as const;

/** The range that leaves nothing out. */
export const ANY_TIME = "any";

/** The range of a view that has none in its address. */
export const DEFAULT_RANGE = "24h";

const MINUTE = 60_000;
export const DAY_MS = 86_400_000;

/** Before everything that is recorded. */
const BEGINNING = new Date(0).toISOString();

/** Whether a range leaves nothing out. */
export const isAnyTime = (range: Range): boolean => range.kind === "between" && range.since === BEGINNING && range.until === null;

/** Reads `24h`, `any`, `SINCE/UNTIL` or `SINCE/`. Nothing where it is none of these. */
export function parseRange(text: string): Range | null {
  if (text === ANY_TIME) return { kind: "between", since: BEGINNING, until: null };
  const last = /^([1-9]\d{0,3})([mhd])$/.exec(text);
  if (last) return { kind: "last", text, ms: Number(last[1]) * (UNITS[last[2] ?? ""] ?? 0) };
  const between = /^([^/]+)\/([^/]*)$/.exec(text);
  if (!between) return null;
  const since = instant(between[1] ?? "");
  const until = between[2] ? instant(between[2]) : null;
  if (since === null || (between[2] && until === null)) return null;
  if (until !== null && Date.parse(until) <= Date.parse(since)) return null;
  return { kind: "between", since, until };
}

/** RFC 3339 with a zone, as UTC with milliseconds; nothing where it is something else. */
export function instant(text: string): string | null {
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)$/.test(text)) return null;
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? null : new Date(ms).toISOString();
}

/**
 * The bounds of a range as the API takes them. A relative one is rounded down to the minute, so that a view asks the same question
 * (and gets the cached answer) while a minute lasts; its end is open.
 */
export function bounds(range: Range, now: number): { since: string; until?: string } {
  if (range.kind === "last") return { since: new Date(Math.floor((now - range.ms) / MINUTE) * MINUTE).toISOString() };
  return range.until === null ? { since: range.since } : { since: range.since, until: range.until };
}

/** The range that buckets cover, as an address has it: the first begins before what was asked for, and what is counted is what all of them hold. */
export function rangeOfBuckets(times: readonly string[], seconds: number, asked: { readonly since: string; readonly until: string }): string {
  const [first, last] = [times[0], times.at(-1)];
  if (first === undefined || last === undefined) return `${asked.since}/${asked.until}`;
  return `${new Date(Date.parse(first)).toISOString()}/${new Date(Date.parse(last) + seconds * 1000).toISOString()}`;
}

/** How long a range is, in milliseconds. */
export function lengthOf(range: Range, now: number): number {
  if (range.kind === "last") return range.ms;
  return (range.until === null ? now : Date.parse(range.until)) - Date.parse(range.since);
}

/** Where time is shown: UTC, the browser's zone, or one of the IANA database. */
export type Zone = "UTC" | "local" | (string & {});

const formats = new Map<string, Intl.DateTimeFormat>();

function format(zone: Zone): Intl.DateTimeFormat {
  let made = formats.get(zone);
  if (!made) {
    made = new Intl.DateTimeFormat("en-CA", {
      ...(zone === "local" ? {} : { timeZone: zone }),
      year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
    });
    formats.set(zone, made);
  }
  return made;
}

/** Whether the browser knows the zone. */
export function isZone(zone: string): boolean {
  if (zone === "local") return true;
  try {
    return Intl.DateTimeFormat("en", { timeZone: zone }).format(0) !== "";
  } catch {
    return false;
  }
}

/** What a zone is called: the browser's own by its name. */
export function zoneName(zone: Zone): string {
  return zone === "local" ? (localName ??= Intl.DateTimeFormat().resolvedOptions().timeZone) : zone;
}

/** Known as long as the formatter of it: to ask for it makes another one. */
let localName: string | undefined;

interface Parts {
  readonly date: string;
  readonly clock: string;
}

const MINUTES_MAX = 2_000;
/** Before this, zones had offsets with seconds in them. */
const WHOLE_OFFSETS = Date.UTC(1973, 0);
/** Minutes that were written before, by their zone. A formatter of times is slow, and lists show hundreds of times of the same minutes. */
const written = new Map<Zone, Map<number, { readonly date: string; readonly start: string }>>();

function parts(ms: number, zone: Zone): Parts {
  if (ms < WHOLE_OFFSETS) return formatted(ms, zone);
  let minutes = written.get(zone);
  if (!minutes) written.set(zone, (minutes = new Map()));
  const minute = Math.floor(ms / MINUTE);
  let of = minutes.get(minute);
  if (!of) {
    const { date, clock } = formatted(minute * MINUTE, zone);
    of = { date, start: clock.slice(0, 6) };
    if (minutes.size >= MINUTES_MAX) minutes.clear();
    minutes.set(minute, of);
  }
  const second = Math.floor((ms % MINUTE) / 1000);
  return { date: of.date, clock: `${of.start}${second < 10 ? "0" : ""}${second}` };
}

function formatted(ms: number, zone: Zone): Parts {
  const found: Record<string, string> = {};
  for (const part of format(zone).formatToParts(ms)) found[part.type] = part.value;
  return {
    date: `${found["year"]}-${found["month"]}-${found["day"]}`,
    clock: `${found["hour"]}:${found["minute"]}:${found["second"]}`,
  };
}

/** Fractions of the second as the record has them: microseconds, which `Date` would lose. */
const fraction = (time: string, digits: number) => (/\.(\d+)/.exec(time)?.[1] ?? "").padEnd(digits, "0").slice(0, digits);

/** `2026-11-22 15:52:08.842` in the zone; `digits` of the second's fraction. What is no time is given back as it is. */
export function timestamp(time: string, zone: Zone, digits = 3): string {
  const ms = Date.parse(time);
  if (Number.isNaN(ms)) return time;
  const { date, clock } = parts(ms, zone);
  return digits > 0 ? `${date} ${clock}.${fraction(time, digits)}` : `${date} ${clock}`;
}

/** The clock alone where the day is today's, day and clock otherwise; `isDated`: always the day and the clock. */
export function shortTime(time: string, zone: Zone, now: number, isDated = false): string {
  const ms = Date.parse(time);
  if (Number.isNaN(ms)) return time;
  const { date, clock } = parts(ms, zone);
  if (!isDated && parts(now, zone).date === date) return clock;
  return `${date.slice(5)} ${clock.slice(0, 5)}`;
}

/** The day in the zone. */
export function day(time: string, zone: Zone): string {
  const ms = Date.parse(time);
  return Number.isNaN(ms) ? time : parts(ms, zone).date;
}

/** `4 min ago`; `now` where it is that, or still to come by the source's clock. */
export function ago(time: string, now: number): string {
  const ms = now - Date.parse(time);
  if (Number.isNaN(ms)) return time;
  return ms < 5_000 ? "now" : `${span(ms)} ago`;
}

/** A length of time in its largest unit: `4 min`. */
export function span(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.round(minutes / 60);
  if (hours < 48) return `${hours} h`;
  return `${Math.round(hours / 24)} d`;
}

/** A duration as it was measured, in milliseconds: `840 µs`, `12 ms`, `3.4 s`, `2 min 5 s`. */
export function duration(ms: number): string {
  if (ms === 0) return "0 ms";
  if (ms < 0.9995) return `${ms < 0.01 ? (ms * 1000).toPrecision(2).replace(/\.0$/, "") : Math.round(ms * 1000)} µs`;
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;
  const seconds = Math.round(ms / 1000);
  return seconds < 3600 ? `${Math.floor(seconds / 60)} min ${seconds % 60} s` : `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}
