import { ask, type Server } from "../server";
import { day, type Event } from "./company";

/** Events that are sent at once, and clients that send at the same time. */
const AT_ONCE = 500;
const CLIENTS = 6;
/** How often a call that the server has no room for is sent again. */
const TRIES = 400;

export interface Filled {
  /** Where the day begins and ends (RFC 3339). */
  readonly since: string;
  readonly until: string;
  readonly events: number;
  readonly detections: number;
  readonly by_severity: Readonly<Record<string, number>>;
  readonly by_rule: readonly (readonly [string, number])[];
  readonly sessions: number;
  readonly acknowledged_s: number;
}

type Target = Pick<Server, "console" | "key">;

/** Sends events; waits as long as the server says when it has no room. */
export async function send(server: Target, events: readonly Event[]): Promise<void> {
  const body = JSON.stringify(events);
  for (let at = 0; at < TRIES; at += 1) {
    const response = await fetch(`${server.console}/v1/events`, { method: "POST", headers: { authorization: `Bearer ${server.key}`, "content-type": "application/json" }, body });
    const text = await response.text();
    if (response.ok) return;
    if (response.status !== 429 && response.status !== 503) throw new Error(`/v1/events: ${response.status} ${text}`);
    const seconds = Number(response.headers.get("retry-after"));
    await new Promise((resolve) => setTimeout(resolve, Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : 500));
  }
  throw new Error("the server had no room for events for minutes");
}

interface Progress {
  readonly recorded: number;
  readonly sealed: number;
  readonly indexed: number;
  readonly detected: number;
}

const progressOf = async (server: Target) => ((await (await ask(server, "/api/status")).json()) as { progress: Progress }).progress;

/** Waits until everything that was recorded is sealed, in the store and examined. */
export async function caughtUp(server: Target, log: (text: string) => void = () => undefined): Promise<void> {
  let told = 0;
  for (;;) {
    const { recorded, sealed, indexed, detected } = await progressOf(server);
    if (Math.min(sealed, indexed, detected) >= recorded) return;
    if (Date.now() - told > 15_000) {
      told = Date.now();
      log(`recorded ${recorded}, sealed ${sealed}, indexed ${indexed}, examined ${detected}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

/** The answer of one SELECT. */
export async function rowsOf(server: Target, sql: string): Promise<readonly (readonly unknown[])[]> {
  return ((await (await ask(server, "/api/query", { sql })).json()) as { rows: unknown[][] }).rows;
}

/** What was sent: a record of which that is known only has to be waited for. */
export interface Sent {
  /** The end of the day (RFC 3339). */
  readonly until: string;
  readonly acknowledged_s: number;
}

/** Records the day of the company. */
export async function sendDay(server: Target, total: number, log: (text: string) => void): Promise<Sent> {
  const now = Date.now();
  const batches = day(now, total, AT_ONCE);
  const began = performance.now();
  let sent = 0;
  let told = began;
  const client = async () => {
    // One generator for all of them: each takes what comes next.
    for (let next = batches.next(); !next.done; next = batches.next()) {
      await send(server, next.value);
      sent += next.value.length;
      if (performance.now() - told > 15_000) {
        told = performance.now();
        log(`${sent} of ${total} events are acknowledged, ${Math.round((sent / (told - began)) * 1000)} a second`);
      }
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, client));
  return { until: new Date(now).toISOString(), acknowledged_s: Math.round((performance.now() - began) / 100) / 10 };
}

/** Waits until all of it can be asked for, and counts it. */
export async function settleDay(server: Target, { until, acknowledged_s }: Sent, log: (text: string) => void): Promise<Filled> {
  await caughtUp(server, log);
  const [[events], bySeverity, byRule, [sessions]] = [
    await rowsOf(server, "SELECT count(*) FROM events"),
    await rowsOf(server, "SELECT severity, count(*) FROM detections GROUP BY severity ORDER BY 2 DESC"),
    await rowsOf(server, "SELECT rule, count(*) FROM detections GROUP BY rule ORDER BY 2 DESC"),
    await rowsOf(server, "SELECT count(*) FROM user_sessions"),
  ];
  return {
    // An hour before its first event.
    since: new Date(Date.parse(until) - 25 * 3_600_000).toISOString(),
    until,
    events: Number(events?.[0]),
    detections: bySeverity.reduce((sum, row) => sum + Number(row[1]), 0),
    by_severity: Object.fromEntries(bySeverity.map(([severity, count]) => [String(severity), Number(count)])),
    by_rule: byRule.map(([rule, count]) => [String(rule), Number(count)] as const),
    sessions: Number(sessions?.[0]),
    acknowledged_s,
  };
}
