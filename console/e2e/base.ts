import { test as base, expect, type Page } from "@playwright/test";

export type Role = "admin" | "analyst" | "auditor";

const out = new URL("out/", import.meta.url).pathname;
const keys = () => JSON.parse(process.env["E2E_KEYS"] ?? "{}") as Record<Role, string>;
export const server = () => ({ console: process.env["E2E_SERVER"] ?? "", key: keys().admin });

/** What a page must not do, whatever it shows. */
export interface Watch {
  readonly faults: string[];
}

/** Watches a page: dialogs, windows, requests to elsewhere, errors, what the content security policy refuses. */
export function watch(page: Page): Watch {
  const faults: string[] = [];
  const own = new URL(process.env["E2E_CONSOLE"] ?? "").origin;
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
    if (message.type() === "error" && !isSignIn) faults.push(`console: ${message.text()}`);
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
