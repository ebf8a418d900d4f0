import type { Page } from "@playwright/test";
import { ask } from "./server";
import { expect, goTo, picture, reveal, server, settled, signIn, test } from "./base";
import { CORPUS, hostile } from "./traffic";

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
  // Each text asks to ignore all instructions, and stands in its user's name, too.
  expect(rows.rows.length).toBe(CORPUS.length);
  expect(new Set(rows.rows.map(([, user]) => user)).size).toBeGreaterThan(CORPUS.length / 2);
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

test("attacks do not run while they come in", async ({ page }) => {
  test.setTimeout(600_000);
  await signIn(page, "admin", "/live");
  await expect(page.getByText(/events\/s/)).toBeVisible();
  const grid = page.getByRole("grid", { name: "Live events" });
  const events = hostile(Date.now());
  for (const [at, [name]] of CORPUS.entries()) {
    await ask(server(), "/v1/events", events.slice(2 * at, 2 * at + 2));
    await expect(grid.getByText(`execute_tool ${name}`).first(), name).toBeVisible();
    expect(await faultsIn(page), name).toEqual([]);
  }
  // A row that is chosen stays, and shows the same.
  await grid.getByRole("row").nth(1).click();
  await settled(page);
  expect(await faultsIn(page)).toEqual([]);
});

test("attacks that somebody with a key has written do not run", async ({ page }) => {
  test.setTimeout(600_000);
  // What people write: names of keys and holds, reasons, owners, searches, notes, names of who looks at it.
  const found = (await (await ask(server(), "/api/query", { sql: "SELECT detection_id, rule FROM detections WHERE session_id LIKE 'hostile-%' ORDER BY detection_id LIMIT 1" })).json()) as { rows: string[][] };
  const [id = "", rule = ""] = found.rows[0] ?? [];
  expect(id).not.toBe("");
  const remove = async (path: string) => {
    const response = await fetch(server().console + path, { method: "DELETE", headers: { authorization: `Bearer ${server().key}` } });
    expect(response.ok, `${path}: ${response.status}`).toBe(true);
  };
  const keys: string[] = [];
  const expires = new Date(Date.now() + 3_600_000).toISOString();
  for (const [at, [, text]] of CORPUS.entries()) {
    const name = `w${at} ${text.slice(0, 100)}`;
    const reason = text.slice(0, 300);
    // A key's name is one line: what would break it is refused, and all else of the text is a name.
    const line = name.replaceAll(/\p{Cc}/gu, " ");
    if (line !== name) await expect(ask(server(), "/api/keys", { name, role: "sensor", lifetime_s: 3600 })).rejects.toThrow("name: 1 to 256 bytes in one line");
    keys.push(((await (await ask(server(), "/api/keys", { name: line, role: "sensor", lifetime_s: 3600 })).json()) as { id: string }).id);
    await ask(server(), "/api/suppressions", { rule, reason, owner: name, expires, entity: { kind: "user", name } });
    await ask(server(), "/api/searches", { name, view: "events", query: { user: name }, shared: true });
    await ask(server(), "/api/holds", { name, reason, scope: { user: name, session: null, application: null, from: null, to: null } });
    await ask(server(), "/api/detections/triage", { ids: [id], note: reason, assignee: name });
  }
  await signIn(page, "admin");
  for (const [path, isThere] of [
    ["/settings?tab=keys", page.getByRole("row").filter({ hasText: /w\d+ / })], ["/settings?tab=suppressions", page.getByRole("row").filter({ hasText: rule })],
    ["/settings?tab=retention", page.getByRole("row").filter({ hasText: /w\d+ / })], [`/detections?range=24h&state=all&id=${id}`, page.locator(".history > li")],
  ] as const) {
    await goTo(page, path);
    await expect.poll(() => isThere.count(), { message: path }).toBeGreaterThanOrEqual(CORPUS.length);
    expect(await faultsIn(page), path).toEqual([]);
  }
  // The dialogs that offer these names.
  const detail = page.getByRole("region", { name: "Detection", exact: true });
  await detail.getByRole("button", { name: "Suppress" }).click();
  await expect(page.getByRole("dialog")).toBeVisible();
  expect(await faultsIn(page), "suppress").toEqual([]);
  await page.keyboard.press("Escape");
  await page.locator("body").press("t");
  await expect(page.getByRole("dialog")).toBeVisible();
  expect(await faultsIn(page), "assign").toEqual([]);
  await page.keyboard.press("Escape");
  await goTo(page, "/settings?tab=keys");
  await page.getByRole("row").filter({ hasText: "w0 " }).getByRole("button", { name: "End it" }).click();
  expect(await faultsIn(page), "end a key").toEqual([]);
  await page.keyboard.press("Escape");
  await goTo(page, "/search");
  await page.getByRole("button", { name: "Kept searches" }).click();
  const kept = page.locator(".menu .menu-item").filter({ hasText: /w\d+ / });
  await expect.poll(() => kept.count()).toBeGreaterThanOrEqual(CORPUS.length);
  expect(await faultsIn(page), "searches").toEqual([]);
  await kept.filter({ hasText: "w0 " }).click();
  await settled(page);
  expect(await faultsIn(page), "a search that was kept").toEqual([]);

  for (const key of keys) await remove(`/api/keys/${key}`);
  const { rows } = (await (await ask(server(), "/api/suppressions")).json()) as { rows: { id: string; is_over: boolean }[] };
  for (const row of rows) if (!row.is_over) await remove(`/api/suppressions/${row.id}`);
  const searches = (await (await ask(server(), "/api/searches")).json()) as { rows: { id: string; is_own: boolean }[] };
  for (const row of searches.rows) if (row.is_own) await remove(`/api/searches/${row.id}`);
});
