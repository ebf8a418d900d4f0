// A list of 100,000 rows: how long it takes to come to them, and how smoothly they go by.

import { frames, open, test } from "./probe";
import { quantile, tell } from "./results";

const ROWS = Math.min(100_000, Number(process.env["SCALE_ROWS"] ?? 100_000));
const SCROLL_MS = 10_000;
/** Pixels a frame: as fast as one reads, as fast as a wheel is turned, and the scroll bar dragged over all of it. */
const PACES = [["reading", 12], ["the wheel turned fast", 120], ["the bar dragged", 3_000]] as const;

test("scrolling", async ({ context }) => {
  const page = await open(context, "/search", '[role=grid][aria-label="Events"] .t-row');
  const began = Date.now();
  const rows = await page.evaluate((want) => new Promise<number>((resolve) => {
    const [grid, body] = [document.querySelector("[role=grid]"), document.querySelector(".t-body")];
    const down = () => {
      const rows = Number(grid?.getAttribute("aria-rowcount")) - 1;
      if (rows >= want || !body) return resolve(rows);
      body.scrollTop = body.scrollHeight;
      requestAnimationFrame(down);
    };
    down();
  }), ROWS);
  const took = Date.now() - began;
  tell("scrolling", `a further page of 200 rows, of ${rows} rows`, [took / (rows / 200)]);
  const long = (await page.evaluate(() => window.scaleProbe.long.map(([, took]) => took)));
  tell("scrolling", "long tasks meanwhile, longest", [Math.max(0, ...long)], { notes: `${long.length} of them` });
  const heap = await page.evaluate(() => (performance as unknown as { memory?: { usedJSHeapSize: number } }).memory?.usedJSHeapSize ?? 0);
  tell("scrolling", `memory of the page's script with ${rows} rows`, [heap / 2 ** 20], { unit: "MiB" });
  const rest = await frames(page, 5_000);
  tell("scrolling", "frames at rest", rest.intervals, { notes: told(rest.intervals) });
  for (const [name, step] of PACES) {
    await page.evaluate(() => { const body = document.querySelector(".t-body"); if (body) body.scrollTop = 0; });
    const { intervals, long } = await frames(page, SCROLL_MS, step);
    tell("scrolling", `frames: ${name}, ${step} px a frame`, intervals, { notes: `${told(intervals)}; ${long.length} long tasks${long.length > 0 ? `, longest ${Math.round(Math.max(...long))} ms` : ""}` });
    tell("scrolling", `median interval, ${name} : at rest`, [quantile(intervals, 0.5) / quantile(rest.intervals, 0.5)], { unit: "ratio" });
  }
});

/** Frames that came later than the next but one should have. */
const told = (intervals: readonly number[]) => `${intervals.filter((each) => each > 25).length} of ${intervals.length} over 25 ms, ${intervals.filter((each) => each > 50).length} over 50 ms`;
