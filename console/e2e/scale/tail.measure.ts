// The live tail while events come at a steady pace: frames, long tasks, delay, and whether what is not shown is told.

import { send } from "./fill";
import { frames, open, target, test, expect } from "./probe";
import { quantile, tell } from "./results";

const SECONDS = Number(process.env["SCALE_SECONDS"] ?? 60);
const PER_SECOND = Number(process.env["SCALE_RATE"] ?? 1_000);
const REST_MS = 20_000;
/** Events go in as often. */
const EVERY_MS = 100;

interface Seen {
  /** Events that came, by their numbers; those that came once more; those that the stream said it passed over. */
  rows: Set<number>;
  again: number;
  dropped: number;
  /** Shown: when, and the number in the name of the newest. */
  shown: [number, number][];
}

declare global {
  interface Window {
    scaleSeen: Seen;
  }
}

/** Counts what the page's own stream brings, and looks at what it shows. */
function counting(): void {
  const seen: Seen = { rows: new Set(), again: 0, dropped: 0, shown: [] };
  window.scaleSeen = seen;
  const Source = window.EventSource;
  window.EventSource = class extends Source {
    constructor(url: string | URL, init?: EventSourceInit) {
      super(url, init);
      this.addEventListener("rows", (event) => {
        for (const [, number] of String(event.data).matchAll(/"name":"tail (\d+)"/g)) {
          if (seen.rows.has(Number(number))) seen.again += 1;
          else seen.rows.add(Number(number));
        }
      });
      this.addEventListener("dropped", (event) => { seen.dropped += (JSON.parse(event.data) as { count: number }).count; });
    }
  };
  let newest = -1;
  const look = () => {
    const first = document.querySelector('[role=grid] .t-row [role=gridcell]:nth-child(3)')?.textContent ?? "";
    const number = Number(/tail (\d+)/.exec(first)?.[1] ?? -1);
    if (number > newest) {
      newest = number;
      seen.shown.push([Date.now(), number]);
    }
    requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
}

test("live tail", async ({ context }) => {
  await context.addInitScript(counting);
  const page = await open(context, "/live", "main [role=status]:has(.dot.good)");
  await page.waitForTimeout(1_000);
  const rest = await frames(page, REST_MS);
  tell("live tail", "frames with nothing coming in", rest.intervals, { notes: told(rest.intervals) });

  const each = Math.round((PER_SECOND * EVERY_MS) / 1000);
  const total = PER_SECOND * SECONDS;
  const sentAt: number[] = [];
  const under: Promise<void>[] = [];
  const began = performance.now();
  const sending = (async () => {
    for (let from = 0; from < total; from += each) {
      const due = began + (from / each) * EVERY_MS;
      const wait = due - performance.now();
      if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
      const now = Date.now();
      const events = Array.from({ length: each }, (_, at) => {
        sentAt.push(now);
        return { kind: "tool_call", name: `tail ${from + at}`, "session.id": `tail-${(from + at) % 500}`, "user.id": `tail.user-${(from + at) % 300}`, application: "orders-desk", agent: "orders-agent", time: new Date(now).toISOString(), duration_ms: 12, status: "ok", tool: { name: "search_orders", call_id: `tail-${from + at}`, arguments: { query: `item ${from + at}` }, result: "found" } };
      });
      under.push(send(target(), events));
    }
    await Promise.all(under);
  })();
  const [{ intervals, long }] = await Promise.all([frames(page, SECONDS * 1000), sending]);
  const sendingMs = performance.now() - began;
  await page.waitForFunction((total) => window.scaleSeen.shown.at(-1)?.[1] === total - 1 || window.scaleSeen.rows.size + window.scaleSeen.dropped >= total, total, { timeout: 120_000 });
  await page.waitForTimeout(1_000);

  const pace = Math.round(total / (sendingMs / 1000));
  tell("live tail", `frames at ${pace} events/s`, intervals, { notes: told(intervals) });
  tell("live tail", "median interval : with nothing coming in", [quantile(intervals, 0.5) / quantile(rest.intervals, 0.5)], { unit: "ratio" });
  tell("live tail", "interval that 99 of 100 keep : with nothing coming in", [quantile(intervals, 0.99) / quantile(rest.intervals, 0.99)], { unit: "ratio" });
  tell("live tail", "share of frames over 25 ms", [intervals.filter((each) => each > 25).length / intervals.length], { unit: "share", notes: `${(rest.intervals.filter((each) => each > 25).length / rest.intervals.length).toFixed(3)} with nothing coming in` });
  tell("live tail", "long tasks", [long.length], { unit: "count", notes: long.length > 0 ? `longest ${Math.round(Math.max(...long))} ms, ${Math.round(long.reduce((sum, each) => sum + each, 0))} ms in all; ${rest.long.length} with nothing coming in` : "" });
  const seen = await page.evaluate(() => ({ ...window.scaleSeen, rows: window.scaleSeen.rows.size }));
  let next = 0;
  const delays = sentAt.map((sent, number) => {
    while (next < seen.shown.length - 1 && (seen.shown[next]?.[1] ?? 0) < number) next += 1;
    return (seen.shown[next]?.[0] ?? Number.NaN) - sent;
  });
  tell("live tail", "from sending to shown", delays);
  tell("live tail", "events that came", [seen.rows], { unit: "count", notes: `of ${total}` });
  tell("live tail", "events that came twice", [seen.again], { unit: "count" });
  tell("live tail", "events that the stream said it passed over", [seen.dropped], { unit: "count" });
  // Every one came, or was told not to have.
  expect(seen.rows + seen.dropped).toBeGreaterThanOrEqual(total);
  expect(seen.again).toBe(0);
  if (seen.dropped > 0) await expect(page.getByText(/passed over/)).toBeVisible();
});

const told = (intervals: readonly number[]) => `${intervals.filter((each) => each > 25).length} of ${intervals.length} over 25 ms, ${intervals.filter((each) => each > 50).length} over 50 ms`;
