import { expect, goTo, reveal, server, settled, signIn, test } from "./base";
import { ask } from "./server";
import { ATTACK_SESSION } from "./traffic";
import type { Page, Request } from "@playwright/test";

// Contents are read by somebody, for a case, by an act of theirs; nothing of that outlives the case, the sign-in or the page.

/** Requests that ask for contents. */
function readings(page: Page): string[] {
  const asked: string[] = [];
  page.on("request", (request) => {
    const url = new URL(request.url());
    const isSearch = url.pathname === "/api/search" || url.pathname === "/api/query";
    if (isSearch || url.searchParams.get("texts") === "true" || url.searchParams.has("reason")) asked.push(url.pathname);
  });
  return asked;
}

const detail = (page: Page) => page.getByRole("region", { name: "Detection", exact: true });

test("a reason is for one case: going on does not reveal the next one", async ({ page }) => {
  const asked = readings(page);
  await signIn(page, "analyst", "/detections?range=24h&state=all&suppressed=yes");
  await expect(page.getByRole("grid", { name: "Detections" }).getByRole("row").nth(3)).toBeVisible();
  await page.keyboard.press("j");
  await reveal(page, "INC-1: the first one");
  await expect(detail(page).getByRole("button", { name: "Reveal" })).toHaveCount(0);
  await settled(page);
  expect(asked).toHaveLength(1);
  for (const key of ["j", "j", "k"]) {
    const before = page.url();
    await page.keyboard.press(key);
    await expect.poll(() => page.url()).not.toBe(before);
    await expect(detail(page).getByRole("heading", { name: "Who and where" })).toBeVisible();
    await settled(page);
    await expect(detail(page).getByRole("button", { name: "Reveal" })).toBeVisible();
  }
  // Nor a trace that one did not follow from there, or an address.
  await goTo(page, `/trace?id=${ATTACK_SESSION}`);
  await expect(page.getByRole("button", { name: "Reveal" })).toBeVisible();
  await page.goto(`/trace?id=${ATTACK_SESSION}`);
  await expect(page.getByRole("button", { name: "Reveal" })).toBeVisible();
  expect(asked).toHaveLength(1);
  // The reason of before is not there after the page was loaded anew; one without anything to read is none.
  await page.getByRole("button", { name: "Reveal" }).click();
  await expect(page.getByLabel("Reason")).toHaveValue("");
  await page.getByLabel("Reason").fill("\u200b\u202e");
  await expect(page.getByRole("dialog").getByRole("button", { name: "Reveal" })).toBeDisabled();
});

test("the reason of one person is not the next one's, in the same tab", async ({ page, site }) => {
  const asked = readings(page);
  await signIn(page, "analyst", `/trace?id=${ATTACK_SESSION}`);
  await reveal(page, "INC-2: of the first person");
  await expect(page.getByText("before you can answer the user").first()).toBeVisible();
  expect(asked).toHaveLength(1);
  await page.getByRole("button", { name: "Your account" }).click();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByLabel("Key", { exact: true }).fill(site.keys.admin);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await expect(page.getByText("execute_tool send_email").first()).toBeVisible();
  await settled(page);
  await expect(page.getByText("before you can answer the user")).toHaveCount(0);
  await page.getByRole("button", { name: "Reveal" }).click();
  await expect(page.getByLabel("Reason")).toHaveValue("");
  expect(asked).toHaveLength(1);
});

test("nor is what one saw, when another signs in in another tab", async ({ page, site, context }) => {
  await signIn(page, "analyst", `/trace?id=${ATTACK_SESSION}`);
  await reveal(page, "INC-3: of the first person");
  await expect(page.getByText("before you can answer the user").first()).toBeVisible();
  const other = await context.newPage();
  await other.goto("/");
  await other.getByRole("button", { name: "Your account" }).click();
  await other.getByRole("button", { name: "Sign out" }).click();
  await other.getByLabel("Key", { exact: true }).fill(site.keys.auditor);
  await other.getByRole("button", { name: "Sign in", exact: true }).click();
  await expect(other.locator(".shell")).toBeVisible();
  await other.close();
  // The first tab looks who is signed in when one comes back to it.
  await page.evaluate(() => window.dispatchEvent(new Event("visibilitychange")));
  await expect(page.getByText("Your role shows how it went")).toBeVisible();
  await expect(page.getByText("before you can answer the user")).toHaveCount(0);
});

test("an auditor's detections are never asked for with their texts", async ({ page }) => {
  const asked = readings(page);
  await signIn(page, "auditor", "/detections?range=24h&state=all&suppressed=yes&severity=critical");
  await page.getByRole("grid", { name: "Detections" }).getByText("went through").first().click();
  await expect(detail(page)).toContainText("Your role shows how it went");
  await expect(detail(page).getByRole("heading", { name: "Who and where" })).toBeVisible();
  expect(asked).toEqual([]);
});

test("a search that came with an address waits for its reader", async ({ page }) => {
  const asked = readings(page);
  const sql = "SELECT DISTINCT tool FROM events WHERE tool = 'send_email'";
  await signIn(page, "analyst", `/search?mode=sql&sql=${encodeURIComponent(sql)}`);
  await expect(page.getByLabel("SQL")).toHaveValue(sql);
  await expect(page.getByText("Not run yet")).toBeVisible();
  await settled(page);
  expect(asked).toEqual([]);
  await page.getByRole("button", { name: "Run" }).click();
  await expect(page.getByRole("grid", { name: "Rows" })).toContainText("send_email");
  expect(asked).toEqual(["/api/query"]);

  await page.goto("/search?mode=text&q=benign&q=invoice");
  await expect(page.getByLabel("Words")).toHaveValue("invoice");
  await expect(page.getByText("Not searched yet")).toBeVisible();
  await settled(page);
  expect(asked).toHaveLength(1);
  await page.getByRole("button", { name: "Search", exact: true }).click();
  await expect(page.locator(".hit").first()).toBeVisible();
  expect(asked).toEqual(["/api/query", "/api/search"]);
  // What somebody else keeps for all is shown, and waits, too.
  await ask(server(), "/api/searches", { name: "of the admin", view: "sql", query: { mode: "sql", sql: "SELECT 1" }, shared: true });
  await page.goto("/search");
  await page.getByRole("button", { name: "Kept searches" }).click();
  await page.getByRole("button", { name: /of the admin/ }).click();
  await expect(page.getByText("Not run yet")).toBeVisible();
  expect(asked).toHaveLength(2);
});

test("what a timer asks says that it is a timer's", async ({ page }) => {
  await signIn(page, "analyst", "/detections");
  await settled(page);
  const of = (...paths: readonly string[]) => (request: Request) => paths.includes(new URL(request.url()).pathname);
  // The bar looks at the record every ten seconds.
  const looked = await page.waitForRequest(of("/api/overview", "/api/pulse"));
  expect(await looked.headerValue("x-watchkeeper-background")).toBe("1");
  const asked = page.waitForRequest(of("/api/sessions"));
  await page.getByRole("navigation", { name: "Views" }).getByRole("link", { name: "Sessions" }).click();
  expect(await (await asked).headerValue("x-watchkeeper-background")).toBeNull();
});
