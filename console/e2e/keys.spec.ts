import type { Locator, Page } from "@playwright/test";
import { expect, goTo, signIn, test } from "./base";
import { ATTACK_SESSION } from "./traffic";

// Keys alone: Tab and Enter press what is there, whatever keys a view takes for itself.

/** Presses Tab until it has the focus. */
async function tabTo(page: Page, to: Locator): Promise<void> {
  await expect(to).toBeVisible();
  for (let at = 0; at < 150; at += 1) {
    await page.keyboard.press("Tab");
    if (await to.evaluate((element) => element === document.activeElement)) return;
  }
  throw new Error(`Tab does not come to ${String(to)}`);
}

test("Tab and Enter alone go through the console", async ({ page }) => {
  await signIn(page, "analyst");
  await expect(page.getByRole("heading", { name: "Overview" })).toBeVisible();
  await tabTo(page, page.getByRole("link", { name: /^Detections/ }));
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { name: "Detections", exact: true })).toBeVisible();

  // A view with a table, of which a row is chosen: Enter is the button's that has the focus.
  await goTo(page, "/detections?range=24h&state=all&severity=critical&suppressed=yes");
  await tabTo(page, page.getByRole("grid", { name: "Detections" }).locator(".t-body"));
  await page.keyboard.press("ArrowDown");
  const detail = page.getByRole("region", { name: "Detection", exact: true });
  await expect(detail.getByRole("heading", { level: 2 })).toBeVisible();
  await tabTo(page, detail.getByRole("button", { name: "Reveal" }));
  await page.keyboard.press("Enter");
  await expect(page.getByRole("dialog")).toContainText("Why do you read it?");
  await page.keyboard.press("Escape");
  await tabTo(page, detail.getByRole("link", { name: "Follow the trace" }));
  await page.keyboard.press("Enter");
  await expect(page).toHaveURL(new RegExp(`/trace\\?.*${ATTACK_SESSION}`));
  await tabTo(page, page.getByRole("button", { name: "Waterfall" }));
  await page.keyboard.press("Enter");
  await expect(page).toHaveURL(/view=waterfall/);

  // The space is the button's, too: in Live it is a key of the view elsewhere.
  await tabTo(page, page.getByRole("link", { name: "Live" }));
  await page.keyboard.press("Enter");
  await expect(page.getByText(/events\/s/)).toBeVisible();
  await tabTo(page, page.getByRole("button", { name: "Hold" }));
  await page.keyboard.press("Space");
  await expect(page.getByText(/Held/)).toBeVisible();
  await page.keyboard.press("Enter");
  await expect(page.getByText(/events\/s/)).toBeVisible();
  await tabTo(page, page.getByRole("button", { name: "Your account" }));
  await page.keyboard.press("Enter");
  await tabTo(page, page.getByRole("button", { name: /^Keys/ }));
  await page.keyboard.press("Enter");
  await expect(page.getByRole("dialog", { name: "Keys" })).toBeVisible();
});

test("keys that are letters alone can be turned off", async ({ page }) => {
  await signIn(page, "analyst", "/settings");
  const choice = page.getByRole("group", { name: "Single-key shortcuts" });
  await choice.getByRole("button", { name: "Off" }).click();
  await goTo(page, "/detections?range=24h&state=all");
  await expect(page.getByRole("grid", { name: "Detections" }).getByRole("row").nth(1)).toBeVisible();
  for (const key of ["j", "?", "g", "l"]) await page.locator("body").press(key);
  await expect(page.getByRole("heading", { name: "Detections", exact: true })).toBeVisible();
  await expect(page).not.toHaveURL(/id=/);
  await expect(page.getByRole("dialog")).toHaveCount(0);
  // It stays so, and what takes more than one key works.
  await page.reload();
  await expect(page.getByRole("grid", { name: "Detections" })).toBeVisible();
  await page.keyboard.press("Control+k");
  await expect(page.getByRole("dialog")).toBeVisible();
  await page.keyboard.press("Escape");
  await goTo(page, "/settings");
  await choice.getByRole("button", { name: "On" }).click();
  await page.locator("body").press("?");
  await expect(page.getByRole("dialog", { name: "Keys" })).toContainText("Go to");
});

test("the end of a sign-in is told before, and put off", async ({ page }) => {
  let isNear = true;
  await page.route("**/api/session", async (route) => {
    if (route.request().method() !== "GET" || !isNear) return route.fallback();
    const response = await route.fetch();
    if (!response.ok()) return route.fulfill({ response });
    const json = (await response.json()) as Record<string, unknown>;
    return route.fulfill({ response, json: { ...json, idle_expires: new Date(Date.now() + 90_000).toISOString() } });
  });
  await signIn(page, "auditor");
  const notice = page.getByRole("alert").filter({ hasText: "Your sign-in ends" });
  await expect(notice).toContainText("left");
  isNear = false;
  // A request that counts as use.
  const asked = page.waitForRequest((request) => request.url().endsWith("/api/status") && request.headers()["x-watchkeeper-background"] === undefined);
  await notice.getByRole("button", { name: "Go on" }).click();
  await asked;
  await expect(notice).toHaveCount(0);
});

test("live says why the server does not send, and goes on when it does", async ({ page, watched }) => {
  await page.route("**/api/live?*", (route) => route.fulfill({ status: 429, headers: { "retry-after": "3" }, json: { error: { message: "64 streams are open already" } } }));
  await page.route("**/api/live", (route) => route.fulfill({ status: 429, headers: { "retry-after": "3" }, json: { error: { message: "64 streams are open already" } } }));
  await signIn(page, "analyst", "/live");
  await expect(page.getByRole("alert")).toContainText("64 streams are open already");
  await page.unroute("**/api/live?*");
  await page.unroute("**/api/live");
  await expect(page.getByText(/events\/s/)).toBeVisible();
  await expect(page.getByRole("alert")).toHaveCount(0);
  // The browser tells of each refusal; there is nothing else to tell.
  expect(watched.faults.filter((each) => !/status of 429/.test(each))).toEqual([]);
  watched.faults.length = 0;
});

test("detections are worked through by keys alone, and dialogs begin in their first field", async ({ page }) => {
  await signIn(page, "analyst", "/detections?range=7d&severity=low");
  const grid = page.getByRole("grid", { name: "Detections" });
  const rows = grid.locator(".t-row");
  await expect(rows.nth(4)).toBeVisible();
  const idOf = () => new URL(page.url()).searchParams.get("id");
  for (const at of [0, 1, 2]) {
    await page.keyboard.press("j");
    await expect(rows.nth(at)).toBeFocused();
  }
  const third = idOf();
  expect(third).not.toBeNull();
  await page.keyboard.press("k");
  await expect(rows.nth(1)).toBeFocused();
  await expect.poll(idOf).not.toBe(third);

  // Each dialog begins where one goes on, and gives the focus back.
  const dialog = page.getByRole("dialog");
  await page.keyboard.press("c");
  await expect(dialog.getByRole("radio").first()).toBeFocused();
  await page.keyboard.press("Escape");
  await expect(rows.nth(1)).toBeFocused();
  await page.keyboard.press("t");
  await expect(dialog.getByLabel("Name")).toBeFocused();
  await page.keyboard.press("Escape");
  await page.keyboard.press("s");
  await expect(dialog.getByLabel("About")).toBeFocused();
  await page.keyboard.press("Escape");
  await page.keyboard.press("r");
  await expect(dialog.getByLabel("Reason")).toBeFocused();
  await page.keyboard.press("Escape");
  await expect(dialog).toHaveCount(0);

  // What is closed by a verdict and Enter leaves the list, and the next one takes its place.
  await page.keyboard.press("c");
  await page.keyboard.press("Space");
  await page.keyboard.press("Enter");
  await expect(page.getByText("1 detection closed")).toBeVisible();
  await expect(grid.locator('[aria-selected="true"]')).toHaveCount(0);
  await expect(grid.locator(".t-body")).toBeFocused();
  await page.keyboard.press("j");
  await expect(rows.nth(1)).toBeFocused();
  await expect.poll(idOf).toBe(third);

  await page.keyboard.press("f");
  await expect(page).toHaveURL(/\/trace\?/);
});

test("with rows ticked and one open, each button says what it acts on, and acts on that", async ({ page }) => {
  await signIn(page, "analyst", "/detections?range=7d&severity=low");
  const grid = page.getByRole("grid", { name: "Detections" });
  for (const at of [2, 3]) await grid.locator(`[data-row="${at}"]`).getByLabel("Tick").check();
  await page.keyboard.press("j");
  const detail = page.getByRole("region", { name: "Detection", exact: true });
  await expect(detail.getByRole("heading", { level: 2 })).toBeVisible();
  const ticked = page.getByRole("group", { name: "2 ticked" });
  await expect(ticked.getByRole("button", { name: "Acknowledge the 2 ticked" })).toBeVisible();
  for (const name of ["Acknowledge", "Close", "Assign"]) await expect(page.getByRole("button", { name, exact: true })).toHaveCount(1);
  // The panel's is for the one that is open, and the ticked stay ticked.
  await detail.getByRole("button", { name: "Acknowledge", exact: true }).click();
  await expect(page.getByText("1 detection acknowledged")).toBeVisible();
  await expect(ticked).toBeVisible();
  // A dialog that is left changes nothing.
  await ticked.getByRole("button", { name: /^Close/ }).click();
  await expect(page.getByRole("dialog", { name: "Close 2 detections" })).toBeVisible();
  await page.keyboard.press("Escape");
  await expect(ticked).toBeVisible();
  await page.keyboard.press("a");
  await expect(page.getByText("2 detections acknowledged")).toBeVisible();
  await expect(ticked).toHaveCount(0);
});

test("a detection that is not there has no buttons", async ({ page, watched }) => {
  await signIn(page, "analyst", "/detections?id=nosuch");
  const detail = page.getByRole("region", { name: "Detection", exact: true });
  await expect(detail).toContainText("There is no such detection");
  await expect(detail.getByRole("button")).toHaveCount(1);
  watched.faults.length = 0;
});
