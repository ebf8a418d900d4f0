// What is looked at from within the page, and how the page is opened.

import { test as base, expect, type Browser, type BrowserContext, type Page } from "@playwright/test";
import type { Filled } from "./fill";

export interface Scale {
  readonly console: string;
  readonly server: string;
  readonly key: string;
  readonly pid: number;
  readonly filled: Filled;
}

export const scale = (): Scale => JSON.parse(process.env["SCALE"] ?? "{}") as Scale;
export const target = () => ({ console: scale().server, key: scale().key });

/** The whole of the record, whenever it was made. */
export const range = () => `${scale().filled.since}/`;

/** Times each thing is measured. */
export const RUNS = Number(process.env["SCALE_RUNS"] ?? 7);

interface Probe {
  fcp: number | null;
  content: number | null;
  /** Long tasks: when they began, and how long they took. */
  long: [number, number][];
  /** Requests to the API that were begun, and those that are under way. */
  asked: string[];
  pending: number;
  /** The last time that somebody typed, chose or pressed something. */
  input: number;
}

declare global {
  interface Window {
    scaleProbe: Probe;
  }
}

/** Runs in the page before anything of it: notes paints, long tasks, requests and input, and when something is in sight. */
function watching(selector: string): void {
  const probe: Probe = { fcp: null, content: null, long: [], asked: [], pending: 0, input: 0 };
  window.scaleProbe = probe;
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (entry.name === "first-contentful-paint") probe.fcp = entry.startTime;
  }).observe({ type: "paint", buffered: true });
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) probe.long.push([entry.startTime, entry.duration]);
  }).observe({ type: "longtask", buffered: true });
  for (const name of ["input", "change", "click", "keydown"]) addEventListener(name, (event) => { probe.input = event.timeStamp; }, { capture: true });
  const asking = window.fetch;
  window.fetch = async (...given) => {
    const url = given[0] instanceof Request ? given[0].url : String(given[0]);
    probe.asked.push(url);
    probe.pending += 1;
    try {
      return await asking(...given);
    } finally {
      probe.pending -= 1;
    }
  };
  const look = () => {
    const found = selector === "" ? null : document.querySelector(selector);
    if (!found || found.getClientRects().length === 0 || found.textContent === "") {
      requestAnimationFrame(look);
      return;
    }
    // A message is taken when the frame that is being made stands.
    const painted = new MessageChannel();
    painted.port1.addEventListener("message", () => { probe.content = performance.now(); });
    painted.port1.start();
    painted.port2.postMessage(null);
  };
  requestAnimationFrame(look);
}

/** A browser of somebody who is signed in, with nothing in its cache. */
export async function signedIn(browser: Browser): Promise<BrowserContext> {
  const { console, key } = scale();
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, timezoneId: "Europe/Lisbon" });
  const answer = await context.request.post(`${console}/api/session`, { data: { key }, headers: { origin: console } });
  expect(answer.ok(), await answer.text()).toBe(true);
  return context;
}

/** Opens a page of the console; `selector` is what is to be seen there. */
export async function open(context: BrowserContext, path: string, selector: string): Promise<Page> {
  const page = await context.newPage();
  await page.addInitScript(watching, selector);
  await go(page, path);
  return page;
}

/** Opens an address in a page of [`open`]. */
export async function go(page: Page, path: string): Promise<void> {
  const url = new URL(path, scale().console);
  if (!url.searchParams.has("range")) url.searchParams.set("range", range());
  await page.goto(url.href, { waitUntil: "commit" });
  await page.waitForFunction(() => window.scaleProbe.content !== null && window.scaleProbe.fcp !== null, undefined, { timeout: 120_000, polling: 20 });
}

export const probeOf = (page: Page) => page.evaluate(() => window.scaleProbe);

/**
 * Milliseconds from the last input of `act` until the frame stands in which the view shows what was asked for: a request that has each of
 * `asked` in it was begun after the input, none is under way, and no list is busy or being loaded.
 */
export async function answered(page: Page, asked: readonly string[], act: () => Promise<unknown>): Promise<number> {
  await page.evaluate(() => { window.scaleProbe.asked.length = 0; window.scaleProbe.input = 0; });
  await act();
  const handle = await page.waitForFunction((asked) => {
    const probe = window.scaleProbe;
    const has = probe.asked.some((url) => asked.every((part) => url.includes(part)));
    if (!has || document.querySelector('main [aria-busy="true"], main .skeleton')) return false;
    return performance.now();
  }, asked, { polling: "raf", timeout: 60_000 });
  const stood = Number(await handle.jsonValue());
  const input = await page.evaluate(() => window.scaleProbe.input);
  return stood - input;
}

/** Intervals between frames, in milliseconds, of `ms` milliseconds in the page; what took long in them. */
export async function frames(page: Page, ms: number, step = 0): Promise<{ intervals: number[]; long: number[] }> {
  return page.evaluate(({ ms, step }) => new Promise<{ intervals: number[]; long: number[] }>((resolve) => {
    const grid = document.querySelector(".t-body");
    const intervals: number[] = [];
    const began = performance.now();
    let before: number | null = null;
    const frame = (now: number) => {
      if (before !== null) intervals.push(now - before);
      before = now;
      if (grid && step !== 0) grid.scrollTop += step;
      if (now - began < ms) requestAnimationFrame(frame);
      else setTimeout(() => resolve({ intervals, long: window.scaleProbe.long.filter(([at]) => at >= began).map(([, took]) => took) }), 200);
    };
    requestAnimationFrame(frame);
  }), { ms, step });
}

export const test = base.extend<{ context: BrowserContext }>({
  context: async ({ browser }, use) => {
    const context = await signedIn(browser);
    await use(context);
    await context.close();
  },
});

export { expect };
