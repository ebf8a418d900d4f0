import { expect, picture, server, signIn, test } from "./base";
import { ask } from "./server";
import { ATTACK_SESSION } from "./traffic";

test("an auditor verifies the record in the browser and reads no contents", async ({ page }) => {
  await signIn(page, "auditor", "/integrity");
  await page.getByRole("button", { name: "Verify now" }).click();
  await expect(page.getByRole("heading", { name: "Intact" })).toBeVisible();
  const steps = page.locator(".steps > li");
  await expect(steps.filter({ hasText: "Signature" })).toHaveClass("passed");
  await expect(steps.filter({ hasText: "Every leaf" })).toHaveClass("passed");
  await page.screenshot({ path: picture("integrity") });

  // The log grows; the second verification compares with the first.
  await ask(server(), "/v1/events", { kind: "agent_step", name: "one more" });
  await page.getByRole("button", { name: "Verify again" }).click();
  await expect(steps.filter({ hasText: "Nothing was taken away" })).toHaveClass("passed");

  // One record.
  await page.getByLabel("One record").fill("3");
  await page.getByRole("button", { name: "Prove it" }).click();
  await expect(steps.filter({ hasText: "Record 3 is leaf 3" })).toHaveClass("passed");

  await page.goto(`/trace?id=${ATTACK_SESSION}`);
  await expect(page.getByText("Your role shows how it went")).toBeVisible();
  await expect(page.getByText("execute_tool send_email")).toBeVisible();
  await expect(page.getByText("before you can answer the user")).toHaveCount(0);
  await page.goto("/search");
  await expect(page.getByRole("button", { name: "SQL" })).toHaveCount(0);
  await page.goto("/coverage");
  await page.getByRole("button", { name: /LLM Jailbreak/ }).first().click();
  await expect(page.getByRole("columnheader", { name: "Examples" })).toBeVisible();
  await page.screenshot({ path: picture("coverage") });
});

test("a log that was changed on its way is not proved", async ({ page }) => {
  await page.route("**/api/log/tile/entries/**", async (route) => {
    const response = await route.fetch();
    const body = await response.body();
    body[body.length - 1] = (body[body.length - 1] ?? 0) ^ 1;
    await route.fulfill({ response, body });
  });
  await signIn(page, "auditor", "/integrity");
  await page.getByRole("button", { name: "Verify now" }).click();
  await expect(page.getByRole("heading", { name: "Not proved" })).toBeVisible();
  await expect(page.locator(".steps > li").filter({ hasText: "Every leaf" })).toHaveClass("failed");
  await page.screenshot({ path: picture("not-proved") });
});
