import AxeBuilder from "@axe-core/playwright";
import { expect, picture, reveal, signIn, test } from "./base";
import { ATTACK_SESSION } from "./traffic";

const VIEWS = [
  ["overview", "/"], ["live", "/live"], ["detections", "/detections?range=24h&severity=high"], ["groups", "/detections?range=24h&group=correlation"], ["sessions", "/sessions"], ["trace", `/trace?id=${ATTACK_SESSION}`],
  ["waterfall", `/trace?id=${ATTACK_SESSION}&view=waterfall`], ["flow", `/trace?id=${ATTACK_SESSION}&view=flow`], ["search", "/search"], ["words", "/search?mode=text&q=invoice"], ["sql", "/search?mode=sql"],
  ["entities", "/entities"], ["entity", "/entity?kind=user&name=hana"], ["models", "/models"], ["tokens", "/tokens"], ["coverage", "/coverage"], ["integrity", "/integrity"], ["settings", "/settings"], ["keys", "/settings?tab=keys"],
  ["rules", "/settings?tab=rules"], ["suppressions", "/settings?tab=suppressions"], ["retention", "/settings?tab=retention"],
] as const;

const found = async (page: import("@playwright/test").Page) => {
  const { violations } = await new AxeBuilder({ page }).withTags(["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]).analyze();
  return violations.flatMap((each) => each.nodes.map((node) => `${each.impact} ${each.id}: ${node.target.join(" ")} ${node.any[0]?.message ?? ""}`));
};

for (const theme of ["light", "dark"] as const) {
  test(`axe finds nothing in any view, ${theme}`, async ({ page }) => {
    test.setTimeout(900_000);
    await page.emulateMedia({ colorScheme: theme, reducedMotion: "reduce" });
    await page.goto("/");
    await expect(page.getByLabel("Key", { exact: true })).toBeVisible();
    expect(await found(page), "sign-in").toEqual([]);
    await signIn(page, "admin");
    for (const [name, path] of VIEWS) {
      await page.goto(path);
      await expect(page.locator(".shell")).toBeVisible();
      await expect(page.locator(".skeleton")).toHaveCount(0);
      if (name === "trace") await reveal(page, "tests: access");
      if (name === "detections") await page.keyboard.press("j");
      await page.waitForTimeout(400);
      expect(await found(page), name).toEqual([]);
      await page.screenshot({ path: picture(`${name}-${theme}`) });
    }
    await page.keyboard.press("Control+k");
    expect(await found(page), "palette").toEqual([]);
  });
}

test("a narrow screen has everything, and nothing beside it", async ({ page }) => {
  test.setTimeout(600_000);
  await page.setViewportSize({ width: 390, height: 844 });
  await signIn(page, "admin");
  await page.getByRole("button", { name: "Open the navigation" }).click();
  await page.getByRole("link", { name: /Detections/ }).click();
  await expect(page.getByRole("heading", { name: "Detections", exact: true })).toBeVisible();
  for (const [name, path] of VIEWS) {
    await page.goto(path);
      await expect(page.locator(".shell")).toBeVisible();
    await expect(page.locator(".skeleton")).toHaveCount(0);
    await page.waitForTimeout(150);
    const wide = await page.evaluate(() => [...document.querySelectorAll<HTMLElement>(".main, body")].map((element) => element.scrollWidth - element.clientWidth));
    expect(Math.max(...wide), name).toBeLessThanOrEqual(1);
    if (["overview", "detections", "trace", "integrity"].includes(name)) await page.screenshot({ path: picture(`${name}-narrow`) });
  }
});
