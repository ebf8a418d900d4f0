// From the input of a filter to the frame in which its rows stand. Each time in a page that was opened for it: nothing is cached.

import type { Page } from "@playwright/test";
import { APPLICATIONS, MODELS, TOOLS, USERS } from "./company";
import { rowsOf } from "./fill";
import { answered, go, open, RUNS, scale, target, test } from "./probe";
import { tell } from "./results";

const GOAL = 300;

const pick = <T>(from: readonly T[], n: number): T => from[(n * 37) % from.length] as T;
const grid = (name: string) => `[role=grid][aria-label="${name}"] .t-row`;
const seldom = { timeout: 30_000 };

/** Types as one does; the last key is what counts. */
async function type(page: Page, label: string, text: string): Promise<void> {
  await page.getByLabel(label, { exact: true }).pressSequentially(text, { delay: 20, ...seldom });
}

/** Chooses a range of time from the menu. */
async function choose(page: Page, preset: string): Promise<void> {
  await page.getByRole("button", { name: /^Range of time/ }).click(seldom);
  await page.getByRole("button", { name: preset, exact: true }).click(seldom);
}

/** Goes to another address of the view, as a link or a kept search does. */
async function visit(page: Page, parameters: Readonly<Record<string, string>>): Promise<void> {
  await page.evaluate((parameters) => {
    const url = new URL(location.href);
    for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
    window.scaleProbe.input = performance.now();
    history.pushState({}, "", url);
  }, parameters);
}

async function add(page: Page, name: string, value: string): Promise<void> {
  await page.getByLabel("Filter by").selectOption(name);
  await page.getByLabel("Value of the filter").fill(value);
  await page.keyboard.press("Enter");
}

interface Case {
  readonly what: string;
  /** What the request has in it. */
  readonly asked: (n: number) => readonly string[];
  readonly act: (page: Page, n: number) => Promise<unknown>;
  readonly path?: string;
  readonly ready?: string;
}

test("filters", async ({ context }) => {
  const rules = scale().filled.by_rule.map(([rule]) => rule);
  const sessions = (await rowsOf(target(), "SELECT session_id FROM detections WHERE session_id IS NOT NULL ORDER BY time DESC LIMIT 30")).map(([id]) => String(id));
  const severity = (n: number) => pick(["critical", "high", "medium", "low"], n);
  const views: readonly { name: string; path: string; ready: string; cases: readonly Case[] }[] = [
    {
      name: "Detections", path: "/detections", ready: grid("Detections"), cases: [
        { what: "severity", asked: (n) => [`severity=${severity(n)}`], act: (page, n) => page.getByLabel("Severity").selectOption(severity(n)) },
        { what: "state: all", asked: () => ["/api/detections?"], act: (page) => page.getByRole("group", { name: "State" }).getByRole("button", { name: "All", exact: true }).click() },
        { what: "q, typed", asked: (n) => [`q=${pick(USERS, n).slice(0, 5)}&`], act: (page, n) => type(page, "Find in detections", pick(USERS, n).slice(0, 5)) },
        { what: "q that nothing has, typed", asked: () => ["q=zzzzz&"], act: (page) => type(page, "Find in detections", "zzzzz") },
        { what: "rule", asked: (n) => [`rule=${pick(rules, n)}`], act: (page, n) => visit(page, { rule: pick(rules, n) }) },
        { what: "user", asked: (n) => [`user=${pick(USERS, n)}`], act: (page, n) => visit(page, { user: pick(USERS, n) }) },
        { what: "range of time", asked: () => ["/api/detections?"], act: (page) => choose(page, "Last 6 hours") },
        { what: "grouped by incident", asked: () => ["/groups", "by=correlation"], act: (page) => page.getByRole("button", { name: "By incident" }).click() },
        { what: "grouped by rule", asked: () => ["/groups", "by=rule"], act: (page) => page.getByRole("button", { name: "By rule" }).click() },
        { what: "an incident opened from its group", path: "/detections?group=correlation", ready: grid("Groups of detections"), asked: () => ["correlation="], act: (page) => page.getByRole("grid").locator(".t-row").nth(2).click() },
      ],
    },
    {
      name: "Search", path: "/search", ready: grid("Events"), cases: [
        { what: "kind", asked: (n) => [`kind=${pick(["tool_call", "retrieval", "detection", "guardrail"], n)}`], act: (page, n) => page.getByLabel("Kind").selectOption(pick(["tool_call", "retrieval", "detection", "guardrail"], n)) },
        { what: "status", asked: () => ["status=error"], act: (page) => page.getByLabel("Status").selectOption("error") },
        { what: "score", asked: () => ["score=0.8"], act: (page) => page.getByLabel("Score").selectOption("0.8") },
        { what: "user", asked: (n) => [`user=${pick(USERS, n)}`], act: (page, n) => add(page, "user", pick(USERS, n)) },
        { what: "tool", asked: (n) => [`tool=${pick(TOOLS, n)}`], act: (page, n) => add(page, "tool", pick(TOOLS, n)) },
        { what: "model", asked: (n) => [`model=${pick(MODELS, n)}`], act: (page, n) => add(page, "model", pick(MODELS, n)) },
        { what: "session", asked: (n) => [`session=${pick(sessions, n)}`], act: (page, n) => add(page, "session", pick(sessions, n)) },
        { what: "tool and failed", path: "/search?status=error", asked: (n) => [`tool=${pick(TOOLS, n)}`], act: (page, n) => add(page, "tool", pick(TOOLS, n)) },
        { what: "range of time", asked: () => ["/api/events?"], act: (page) => choose(page, "Last 6 hours") },
        { what: "words that were said", path: "/search?mode=text", ready: ".search-bar button", asked: () => ["/api/search"], act: async (page) => { await type(page, "Words", "approval"); await page.keyboard.press("Enter"); } },
        { what: "two words that were said", path: "/search?mode=text", ready: ".search-bar button", asked: () => ["/api/search"], act: async (page) => { await type(page, "Words", "region orders"); await page.keyboard.press("Enter"); } },
      ],
    },
    {
      name: "Sessions", path: "/sessions", ready: grid("Sessions"), cases: [
        { what: "severity", asked: (n) => [`severity=${severity(n)}`], act: (page, n) => page.getByLabel("With a detection").selectOption(severity(n)) },
        { what: "q, typed", asked: (n) => [`q=${pick(sessions, n).slice(-5)}&`], act: (page, n) => type(page, "Part of the id", pick(sessions, n).slice(-5)) },
        { what: "user", asked: (n) => [`user=${pick(USERS, n)}`], act: (page, n) => visit(page, { user: pick(USERS, n) }) },
        { what: "application", asked: (n) => [`application=${pick(APPLICATIONS, n)}`], act: (page, n) => visit(page, { application: pick(APPLICATIONS, n) }) },
        { what: "range of time", asked: () => ["/api/sessions?"], act: (page) => choose(page, "Last 6 hours") },
      ],
    },
    {
      name: "Entities", path: "/entities", ready: grid("Entities"), cases: [
        { what: "kind", asked: () => ["type=user"], act: (page) => page.getByRole("button", { name: "Users", exact: true }).click() },
        { what: "q, typed", asked: (n) => [`q=${pick(USERS, n).slice(0, 5)}&`], act: (page, n) => type(page, "Part of the name", pick(USERS, n).slice(0, 5)) },
      ],
    },
  ];
  for (const view of views) {
    for (const each of view.cases) {
      const page = await open(context, each.path ?? view.path, each.ready ?? view.ready);
      const times: number[] = [];
      for (let n = 0; n < RUNS; n += 1) {
        if (n > 0) await go(page, each.path ?? view.path);
        times.push(await answered(page, each.asked(n), () => each.act(page, n)));
      }
      await page.close();
      tell("filter", `${view.name}: ${each.what}`, times, { goal: GOAL });
    }
  }
});
