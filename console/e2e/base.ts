import { startSite, type Role, type Site } from "./site";
import { test as base, expect, type Page, type Request } from "@playwright/test";

const out = new URL("out/", import.meta.url).pathname;
/** The server that all tests share that need none of their own: see `global.ts`. */
const shared = (): Site => JSON.parse(process.env["E2E_SITE"] ?? "{}") as Site;
let current: Site = shared();
export const server = (): Site["server"] => current.server;

/** What a page must not do, whatever it shows. */
export interface Watch {
  readonly faults: string[];
}

/** Questions to the server that are under way, of each page; live updates never end and do not count. */
const asked = new WeakMap<Page, Set<Request>>();

/** Watches a page: dialogs, windows, requests to elsewhere, errors, what the content security policy refuses. */
function watch(page: Page, own: string): Watch {
  const faults: string[] = [];
  const open = new Set<Request>();
  asked.set(page, open);
  page.on("request", (request) => {
    if (!request.url().includes("/api/live")) open.add(request);
  });
  page.on("requestfinished", (request) => open.delete(request));
  page.on("requestfailed", (request) => open.delete(request));
  page.on("dialog", (dialog) => {
    faults.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on("popup", (popup) => faults.push(`window: ${popup.url()}`));
  page.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(`${own}/`) && !url.startsWith("blob:")) faults.push(`request: ${url}`);
  });
  page.on("pageerror", (error) => faults.push(`error: ${error.message}`));
  page.on("console", (message) => {
    // Who is not signed in yet is told so by the server.
    const isSignIn = /status of 401/.test(message.text());
    if (message.type() === "error" && !isSignIn) faults.push(`console: ${message.text()} ${message.location().url}`);
  });
  return { faults };
}

/** Signs in at the page, as a person does. */
export async function signIn(page: Page, role: Role, path = "/"): Promise<void> {
  await page.goto(path);
  await page.getByLabel("Key", { exact: true }).fill(current.keys[role]);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await expect(page.locator(".shell")).toBeVisible();
}

/** Waits until the view is there: its code, its data, and nothing asked for any more. */
export async function settled(page: Page): Promise<void> {
  await expect(page.locator('.shell .main[aria-busy="false"]')).toBeVisible();
  await expect.poll(async () => (asked.get(page)?.size ?? 0) + (await page.locator(".skeleton").count()), { intervals: [40] }).toBe(0);
  await page.evaluate(() => new Promise((drawn) => { requestAnimationFrame(() => requestAnimationFrame(drawn)); }));
}

/** Goes to an address within the page, as a link does: nothing is loaded anew. */
export async function goTo(page: Page, path: string, { isGone = false } = {}): Promise<void> {
  await page.evaluate((path) => history.pushState(null, "", path), path);
  if (!isGone) await settled(page);
}

/** Says why contents are read. */
export async function reveal(page: Page, reason: string): Promise<void> {
  await page.getByRole("button", { name: "Reveal" }).first().click();
  await page.getByLabel("Reason").fill(reason);
  await page.getByRole("dialog").getByRole("button", { name: "Reveal" }).click();
}

export const picture = (name: string) => `${out}${name}.png`;

export const test = base.extend<{ watched: Watch }, { site: Site }>({
  // oxlint-disable-next-line no-empty-pattern -- what Playwright asks for
  site: [async ({}, use) => use(shared()), { scope: "worker" }],
  baseURL: async ({ site }, use) => use(site.console),
  // Every page of every test is watched.
  watched: [async ({ page, site }, use) => {
    current = site;
    const watched = watch(page, new URL(site.console).origin);
    await use(watched);
    expect(watched.faults).toEqual([]);
  }, { auto: true }],
});

/** Tests on a server of their own, with this record and this configuration. */
export const onOwnServer = (events: (now: number) => Record<string, unknown>[], config?: string) => test.extend<object, { site: Site }>({
  // oxlint-disable-next-line no-empty-pattern -- what Playwright asks for
  site: [async ({}, use) => {
    const { site, stop } = await startSite(events(Date.now()), config);
    await use(site);
    await stop();
  }, { scope: "worker" }],
});

export { expect };
