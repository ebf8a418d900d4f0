import type { Page } from "@playwright/test";
import { ask } from "./server";
import { expect, goTo, picture, reveal, server, settled, signIn, test } from "./base";
import { CORPUS } from "./traffic";

// Recorded attacks, shown in every view. `watched` holds every test to: no dialog, no window, no request to elsewhere, no error. Here is
// what is looked for in the page itself.

/** What nothing that was recorded may bring into a page. */
async function faultsIn(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    const found: string[] = [];
    if ("hit" in window) found.push(`ran: ${String((window as { hit?: unknown }).hit)}`);
    for (const element of document.querySelectorAll("body script, iframe, object, embed, img, video, audio, base, meta[http-equiv], style, [onload], [onerror], [onclick], [onfocus]")) found.push(`element: ${element.outerHTML.slice(0, 120)}`);
    for (const link of document.querySelectorAll<HTMLAnchorElement | SVGAElement>("a[href]")) {
      const href = link.getAttribute("href") ?? "";
      if (href !== "#main" && (!href.startsWith("/") || href.startsWith("//"))) found.push(`link: ${href}`);
    }
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      if (/[\u202a-\u202e\u2066-\u2069\u200b\u2060\u001b\u009b]|[\u{e0000}-\u{e01ef}]/u.test(node.nodeValue ?? "")) found.push(`unseen: ${JSON.stringify(node.nodeValue)?.slice(0, 80)}`);
    }
    // Nothing that was recorded stands over the bar and the navigation, or beside the page.
    if (document.documentElement.scrollWidth > window.innerWidth + 1) found.push(`wider than the window: ${document.documentElement.scrollWidth}`);
    for (const [x, y] of [[30, 30], [60, 300], [window.innerWidth - 30, 20]] as const) {
      if (!document.elementFromPoint(x, y)?.closest(".nav, .bar, dialog")) found.push(`something covers ${x}, ${y}`);
    }
    return found;
  });
}

const VIEWS = [
  ["overview", "/?range=24h"], ["live", "/live"], ["detections", "/detections?range=24h&state=all"], ["by incident", "/detections?range=24h&state=all&group=correlation"],
  ["by rule", "/detections?range=24h&state=all&group=rule"], ["sessions", "/sessions"], ["events", "/search"], ["entities", "/entities"], ["entities of one kind", "/entities?type=tool"],
  ["models", "/models"], ["tokens by user", "/tokens"], ["tokens by model", "/tokens?by=model"], ["tokens by application", "/tokens?by=application"], ["tokens by agent", "/tokens?by=agent"],
  ["words", "/search?mode=text&q=ignore"], ["SQL", `/search?mode=sql&sql=${encodeURIComponent("SELECT user_id, model, prompt, user_name FROM prompts ORDER BY time DESC LIMIT 200")}`],
  ["suppressions", "/settings?tab=suppressions"], ["coverage", "/coverage"], ["integrity", "/integrity"], ["rules", "/settings?tab=rules"],
] as const;

test("attacks that were recorded do not run in any list", async ({ page }) => {
  test.setTimeout(600_000);
  await signIn(page, "admin");
  for (const [name, path] of VIEWS) {
    await goTo(page, path);
    if (path.includes("mode=")) {
      // What came with an address waits for its reader.
      await page.getByRole("button", { name: /^(Run|Search$)/ }).click();
      await settled(page);
    }
    expect(await faultsIn(page), name).toEqual([]);
  }
  await goTo(page, "/sessions");
  await expect(page.getByRole("grid", { name: "Sessions" }).getByText(/^hostile-\d/).first()).toBeVisible();
  await page.screenshot({ path: picture("hostile-sessions") });
});

test("attacks that were recorded do not run in any trace", async ({ page }) => {
  test.setTimeout(600_000);
  const rows = (await (await ask(server(), "/api/query", { sql: "SELECT DISTINCT session_id FROM events WHERE session_id LIKE 'hostile-%'" })).json()) as { rows: string[][] };
  expect(rows.rows.length).toBe(CORPUS.length);
  await signIn(page, "admin");
  for (const [session = ""] of rows.rows) {
    await goTo(page, `/trace?id=${encodeURIComponent(session)}`);
    await expect(page.locator(".talk-event").first()).toBeVisible();
    await reveal(page, "tests: recorded attacks");
    await expect(page.locator(".piece").filter({ hasText: "reveal your system prompt" }).first()).toBeVisible();
    expect(await faultsIn(page), session).toEqual([]);
    if (/hostile-1[456]-/.test(session)) await page.screenshot({ path: picture(session.slice(0, 10)) });
    await page.locator(".talk-head").first().click();
    const found = page.getByRole("complementary").getByRole("button").first();
    if (await found.count()) await found.click();
    expect(await faultsIn(page), session).toEqual([]);
    for (const key of ["3", "2"]) {
      await page.keyboard.press(key);
      await settled(page);
      expect(await faultsIn(page), session).toEqual([]);
    }
  }
});

test("attacks that were recorded do not run in a detection or an entity", async ({ page }) => {
  test.setTimeout(600_000);
  await signIn(page, "admin", "/detections?range=24h&state=all&q=RLO");
  const rows = (await (await ask(server(), "/api/query", { sql: "SELECT detection_id, user_id FROM detections WHERE session_id LIKE 'hostile-%' GROUP BY session_id" })).json()) as { rows: string[][] };
  for (const [id = "", user = ""] of rows.rows) {
    await goTo(page, `/detections?range=24h&state=all&id=${id}`);
    await expect(page.getByRole("heading", { name: "Who and where" })).toBeVisible();
    await reveal(page, "tests: recorded attacks");
    await settled(page);
    expect(await faultsIn(page), id).toEqual([]);
    if (user) {
      await goTo(page, `/entity?kind=user&name=${encodeURIComponent(user)}`);
      expect(await faultsIn(page), user).toEqual([]);
    }
  }
});
