import AxeBuilder from "@axe-core/playwright";
import type { Page } from "@playwright/test";
import { expect, goTo, onOwnServer, picture, reveal, settled, signIn } from "./base";
import { ATTACK_SESSION, attack, dailyTraffic, hostile } from "./traffic";

// A short record: each kind of row a few times, with signs for unseen characters among them. Axe looks at every element.
const test = onOwnServer((now) => [...dailyTraffic(now, 30), ...attack(now), ...hostile(now).filter((_, at) => at % 8 === 0)]);

const VIEWS = [
  ["overview", "/"], ["live", "/live"], ["detections", "/detections?range=24h&severity=high"], ["groups", "/detections?range=24h&group=correlation"], ["sessions", "/sessions?user=hana"], ["trace", `/trace?id=${ATTACK_SESSION}`],
  ["waterfall", `/trace?id=${ATTACK_SESSION}&view=waterfall`], ["flow", `/trace?id=${ATTACK_SESSION}&view=flow`], ["search", "/search?user=hana"], ["words", "/search?mode=text&q=supplier"], ["sql", "/search?mode=sql"],
  ["entities", "/entities?q=an"], ["entity", "/entity?kind=user&name=hana"], ["models", "/models"], ["tokens", "/tokens"], ["coverage", "/coverage"], ["integrity", "/integrity"], ["settings", "/settings"], ["keys", "/settings?tab=keys"], ["people", "/settings?tab=people"],
  ["rules", "/settings?tab=rules"], ["suppressions", "/settings?tab=suppressions"], ["retention", "/settings?tab=retention"],
] as const;

const TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];

async function found(page: Page, within?: string): Promise<string[]> {
  // One document, no frames: what axe calls legacy does without another page for each run.
  const axe = new AxeBuilder({ page }).setLegacyMode();
  if (within !== undefined) axe.include(within);
  const { violations } = await axe.withTags(TAGS).analyze();
  return violations.flatMap((each) => each.nodes.map((node) => `${each.impact} ${each.id}: ${node.target.join(" ")} ${node.any[0]?.message ?? ""}`));
}

/** Shows the page in a theme, and waits until it is drawn in it: what is measured before has colours of both. */
async function inTheme(page: Page, colorScheme: "light" | "dark"): Promise<void> {
  await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
  await page.evaluate(() => new Promise((drawn) => { requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(drawn, 0))); }));
}

/** The same page in light, then in dark. */
async function inBothThemes(page: Page, name: string, isPicture = false): Promise<void> {
  await inTheme(page, "light");
  expect.soft(await found(page), `${name}, light`).toEqual([]);
  if (isPicture) await page.screenshot({ path: picture(`${name}-light`) });
  await inTheme(page, "dark");
  expect.soft(await found(page), `${name}, dark`).toEqual([]);
  if (isPicture) await page.screenshot({ path: picture(`${name}-dark`) });
}

test("axe finds nothing in any view, light and dark, and a narrow screen has all of it", async ({ page }) => {
  test.setTimeout(600_000);
  await page.goto("/");
  await expect(page.getByLabel("Key", { exact: true })).toBeVisible();
  await inBothThemes(page, "sign-in");
  await signIn(page, "admin");
  for (const [name, path] of VIEWS) {
    await goTo(page, path);
    if (name === "trace") await reveal(page, "tests: access");
    if (name === "words") await page.getByRole("button", { name: "Search", exact: true }).click();
    if (name === "detections") await page.keyboard.press("j");
    await settled(page);
    await inBothThemes(page, name, true);
    await page.setViewportSize({ width: 390, height: 844 });
    await settled(page);
    const wide = await page.evaluate(() => [...document.querySelectorAll<HTMLElement>(".main, body")].map((element) => element.scrollWidth - element.clientWidth));
    expect.soft(Math.max(...wide), `${name}, narrow`).toBeLessThanOrEqual(1);
    if (["overview", "detections", "trace", "integrity"].includes(name)) await page.screenshot({ path: picture(`${name}-narrow`) });
    await page.setViewportSize({ width: 1440, height: 900 });
  }
  await page.keyboard.press("Control+k");
  await inBothThemes(page, "palette");
});

test("axe finds nothing in any dialog", async ({ page }) => {
  test.setTimeout(600_000);
  await signIn(page, "admin");
  const dialog = page.getByRole("dialog");
  const look = async (name: string, isMenu = false) => {
    await (isMenu ? expect(page.locator(".menu:popover-open")).toBeVisible() : expect(dialog).toBeVisible());
    // What is under it was looked at above.
    const within = isMenu ? ".menu:popover-open" : "dialog[open]";
    await inTheme(page, "light");
    expect.soft(await found(page, within), `${name}, light`).toEqual([]);
    await inTheme(page, "dark");
    expect.soft(await found(page, within), `${name}, dark`).toEqual([]);
    await page.keyboard.press("Escape");
    await expect(isMenu ? page.locator(".menu:popover-open") : dialog).toHaveCount(0);
  };
  await page.keyboard.press("?");
  await look("keys");
  await goTo(page, "/detections?range=24h&severity=high");
  await page.keyboard.press("j");
  const detail = page.getByRole("region", { name: "Detection", exact: true });
  await expect(detail.getByRole("heading", { level: 2 })).toBeVisible();
  await settled(page);
  for (const [name, button] of [["reveal", "Reveal"], ["close", "Close"], ["suppress", "Suppress"]] as const) {
    await detail.getByRole("button", { name: button, exact: true }).first().click();
    await look(name);
  }
  await page.locator("body").press("t");
  await look("assign");
  await goTo(page, `/trace?id=${ATTACK_SESSION}`);
  await page.getByRole("button", { name: "Evidence" }).click();
  await look("bundle");
  await goTo(page, "/settings?tab=keys");
  await page.getByRole("button", { name: "New key" }).click();
  await look("new key");
  await page.getByRole("row").filter({ hasText: "Jonas Weber" }).getByRole("button", { name: "End it" }).click();
  await look("end a key");
  await goTo(page, "/settings?tab=rules");
  await page.getByRole("grid", { name: "Rules" }).getByRole("row").nth(1).click();
  await settled(page);
  await look("rule");
  await goTo(page, "/settings?tab=retention");
  await page.getByRole("button", { name: "Place a hold" }).click();
  await look("hold");
  await goTo(page, "/search");
  for (const [name, button] of [["range", /^Range of time/], ["zone", /^Time zone/], ["you", "Your account"], ["searches", "Kept searches"]] as const) {
    await page.getByRole("button", { name: button }).click();
    await look(name, true);
  }
});

test("a narrow screen is gone through with the navigation behind a button", async ({ page }) => {
  await page.setViewportSize({ width: 390, height: 844 });
  await signIn(page, "admin");
  await page.getByRole("button", { name: "Open the navigation" }).click();
  await page.getByRole("link", { name: /Detections/ }).click();
  await expect(page.getByRole("heading", { name: "Detections", exact: true })).toBeVisible();
});
