import { test as base, expect, type Page, type Request } from "@playwright/test";

export type Role = "admin" | "analyst" | "auditor";

const out = new URL("out/", import.meta.url).pathname;
const keys = () => JSON.parse(process.env["E2E_KEYS"] ?? "{}") as Record<Role, string>;
export const server = () => ({ console: process.env["E2E_SERVER"] ?? "", key: keys().admin });

/** What a page must not do, whatever it shows. */
export interface Watch {
  readonly faults: string[];
}

/** Questions to the server that are under way, of each page; live updates never end and do not count. */
const asked = new WeakMap<Page, Set<Request>>();

/** Watches a page: dialogs, windows, requests to elsewhere, errors, what the content security policy refuses. */
export function watch(page: Page): Watch {
  const faults: string[] = [];
  const own = new URL(process.env["E2E_CONSOLE"] ?? "").origin;
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
    // Who is not signed in yet is told so by the server; and a server without OpenID Connect has not its routes.
    const isSignIn = /status of 401/.test(message.text()) || (/status of 404/.test(message.text()) && /\/api\/(people|session\/providers)$/.test(message.location().url));
    if (message.type() === "error" && !isSignIn) faults.push(`console: ${message.text()} ${message.location().url}`);
  });
  return { faults };
}

/** Signs in at the page, as a person does. */
export async function signIn(page: Page, role: Role, path = "/"): Promise<void> {
  await page.goto(path);
  await page.getByLabel("Key", { exact: true }).fill(keys()[role]);
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(page.locator(".shell")).toBeVisible();
}

/** Waits until the view is there: its code, its data, and nothing asked for any more. */
export async function settled(page: Page): Promise<void> {
  await expect(page.locator('.shell .main[aria-busy="false"]')).toBeVisible();
  await expect.poll(async () => (asked.get(page)?.size ?? 0) + (await page.locator(".skeleton").count()), { intervals: [40] }).toBe(0);
  await page.evaluate(() => new Promise((drawn) => { requestAnimationFrame(() => requestAnimationFrame(drawn)); }));
}

/** Goes to an address within the page, as a link does: nothing is loaded anew. */
export async function goTo(page: Page, path: string): Promise<void> {
  await page.evaluate((path) => history.pushState(null, "", path), path);
  await settled(page);
}

/** Says why contents are read. */
export async function reveal(page: Page, reason: string): Promise<void> {
  await page.getByRole("button", { name: "Reveal" }).first().click();
  await page.getByLabel("Reason").fill(reason);
  await page.getByRole("dialog").getByRole("button", { name: "Reveal" }).click();
}

export const picture = (name: string) => `${out}${name}.png`;

export const test = base.extend<{ watched: Watch }>({
  // oxlint-disable-next-line no-empty-pattern -- what Playwright asks for
  baseURL: async ({}, use) => use(process.env["E2E_CONSOLE"] ?? ""),
  // Every page of every test is watched.
  watched: [async ({ page }, use) => {
    const watched = watch(page);
    await use(watched);
    expect(watched.faults).toEqual([]);
  }, { auto: true }],
});

export { expect };
