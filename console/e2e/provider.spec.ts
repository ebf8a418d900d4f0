import type { Page } from "@playwright/test";
import { expect, goTo, picture, server, test as base } from "./base";
import { startSignOn, type SignOn } from "./provider";
import { ask } from "./server";
import type { Site } from "./site";

// Signing in with the company's account from beginning to end: the console, the provider's own pages, and back.
const test = base.extend<object, { signOn: SignOn; site: Site }>({
  // oxlint-disable-next-line no-empty-pattern -- what Playwright asks for
  signOn: [async ({}, use) => {
    const signOn = await startSignOn();
    await use(signOn);
    await signOn.stop();
  }, { scope: "worker" }],
  site: [({ signOn }, use) => use(signOn.site), { scope: "worker" }],
});

// The provider's pages ask for a font from elsewhere, and do without.
test.beforeEach(({ page }) => page.route("https://**", (route) => route.abort()));

const button = (page: Page) => page.getByRole("link", { name: "Sign in with Example SSO" });

/** At the provider: says who one is, and that the console may know it. */
async function atProvider(page: Page, { issuer }: SignOn, login: string): Promise<void> {
  await expect(page).toHaveURL((url) => url.href.startsWith(issuer));
  await page.locator("input[name=login]").fill(login);
  await page.locator("input[name=password]").fill("x");
  await page.locator("button[type=submit]").click();
  // Then it asks whether the console may know.
  await page.locator("form:not(:has(input[name=login])) button[type=submit]").click();
}

test("somebody signs in with the company's account, acts in the role of their group, and signs out", async ({ page, signOn, watched }) => {
  await page.goto("/detections?state=all");
  await button(page).click();
  await atProvider(page, signOn, "ann");
  // Back where one wanted to go, in the role that the group gives.
  await expect(page.getByRole("heading", { name: "Detections", exact: true })).toBeVisible();
  await expect(page).toHaveURL(/\/detections\?state=all/);
  await page.getByRole("button", { name: "Your account" }).click();
  await expect(page.locator(".menu:popover-open")).toContainText("Ann Lee");
  await expect(page.locator(".menu:popover-open")).toContainText("analyst");
  await page.screenshot({ path: picture("signed-on") });
  // Escape is the menu's, though it is a key of the view below, too.
  await page.keyboard.press("Escape");
  await expect(page.locator(".menu:popover-open")).toHaveCount(0);
  await goTo(page, "/settings?tab=keys");
  await expect(page.getByRole("heading", { name: "Keys and roles: only with the role admin" })).toBeVisible();
  const people = (await (await ask(server(), "/api/people")).json()) as { rows: { name: string; role: string; sessions: number }[] };
  expect(people.rows.map(({ name, role, sessions }) => [name, role, sessions])).toEqual([["Ann Lee", "analyst", 1]]);

  await page.getByRole("button", { name: "Your account" }).click();
  await page.getByRole("button", { name: "Sign out" }).click();
  await expect(button(page)).toBeVisible();
  await page.reload();
  await expect(button(page)).toBeVisible();
  const recorded = (await (await ask(server(), "/api/query", { sql: "SELECT name FROM events WHERE user_name = 'Ann Lee' AND kind = 'session' ORDER BY time" })).json()) as { rows: string[][] };
  expect(recorded.rows.flat()).toEqual(["sign_in", "sign_out"]);
  elsewhere(watched, signOn);
});

test("somebody whose groups give no role is refused, and so is who turns back at the provider", async ({ page, signOn, watched }) => {
  await page.goto("/");
  await button(page).click();
  await atProvider(page, signOn, "guest");
  await expect(page.getByRole("alert")).toContainText("nobody gave you a role");
  await expect(page.locator(".shell")).toHaveCount(0);
  await page.context().clearCookies();
  await button(page).click();
  await expect(page).toHaveURL((url) => url.href.startsWith(signOn.issuer));
  await page.getByRole("link", { name: /Cancel/ }).click();
  await expect(page.getByRole("alert")).toContainText("did not let you in");
  elsewhere(watched, signOn);
});

/** That a browser went to the provider and came back by the door is what is tested; what the provider's pages miss is theirs. */
function elsewhere(watched: { faults: string[] }, { issuer, door }: SignOn): void {
  const isTheirs = (fault: string) => [issuer, door, "https://"].some((origin) => fault.startsWith(`request: ${origin}`)) || fault.includes(` ${issuer}`) || fault.includes(" https://");
  watched.faults.splice(0, Infinity, ...watched.faults.filter((fault) => !isTheirs(fault)));
}
