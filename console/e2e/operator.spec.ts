import { expect, picture, signIn, test } from "./base";

test("an operator looks after keys, rules and holds", async ({ page }) => {
  await signIn(page, "admin", "/settings?tab=keys");
  await page.getByRole("button", { name: "New key" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("For whom or what").fill("night shift");
  await dialog.getByLabel(/^auditor/).check();
  await dialog.getByRole("button", { name: "Make it" }).click();
  await expect(dialog.locator("code")).toHaveText(/^wk_/);
  // Nothing but its own button closes what is shown once.
  await page.keyboard.press("Escape");
  await expect(dialog.getByRole("alert")).toContainText("Have you kept it?");
  await page.keyboard.press("Escape");
  await expect(dialog).toBeVisible();
  await dialog.getByRole("button", { name: "I have kept it" }).click();
  const row = page.getByRole("row").filter({ hasText: "night shift" });
  await expect(row).toContainText("auditor");
  await page.screenshot({ path: picture("keys") });
  await row.getByRole("button", { name: "End it" }).click();
  await dialog.getByRole("button", { name: "End it now" }).click();
  await expect(row).toHaveCount(0);

  await page.getByRole("button", { name: "Rules" }).click();
  await page.getByLabel("Find a rule").fill("Jailbreak by persona");
  await page.getByRole("grid", { name: "Rules" }).getByText("Jailbreak by persona").first().click();
  await expect(page.getByRole("dialog")).toContainText("detection:");
  await page.screenshot({ path: picture("rule") });
  await page.keyboard.press("Escape");

  await page.getByRole("button", { name: "Retention and holds" }).click();
  await page.getByRole("button", { name: "Place a hold" }).click();
  await dialog.getByLabel("Name of the case").fill("case-7");
  await dialog.getByLabel("Which user").fill("hana");
  await dialog.getByLabel("Why").fill("litigation");
  await dialog.getByRole("button", { name: "Place it" }).click();
  const hold = page.getByRole("row").filter({ hasText: "case-7" });
  await expect(hold).toContainText("litigation");
  await page.screenshot({ path: picture("retention") });
  await hold.getByRole("button", { name: "Release" }).click();
  await dialog.getByLabel("Why").fill("settled");
  await dialog.getByRole("button", { name: "Release it" }).click();
  await expect(hold).toHaveCount(0);
});

test("whoever signs out sees nothing any more", async ({ page }) => {
  await signIn(page, "admin", "/detections");
  await page.getByRole("button", { name: "Your account" }).click();
  await page.getByRole("button", { name: "Sign out" }).click();
  await expect(page.getByLabel("Key", { exact: true })).toBeVisible();
  await expect(page.getByRole("grid")).toHaveCount(0);
});

test("a wrong key is told what to do", async ({ page }) => {
  await page.goto("/");
  await page.getByLabel("Key", { exact: true }).fill("wk_wrong");
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(page.getByRole("alert")).toContainText("watchkeeper keys create");
});
