import { expect, picture, server, signIn, test } from "./base";
import { ask } from "./server";
import { ATTACK_SESSION } from "./traffic";

test("an auditor verifies the record in the browser and reads no contents", async ({ page }) => {
  await signIn(page, "auditor", "/integrity");
  await page.getByRole("button", { name: "Verify now" }).click();
  await expect(page.getByRole("heading", { name: "Intact" })).toBeVisible();
  const verdict = page.locator(".verdict-big");
  await expect(verdict).toContainText(/(\d[\d,]*) of \1 leaves hashed/);
  const steps = page.locator(".steps > li");
  const step = (name: string) => steps.filter({ has: page.getByRole("heading", { name }) });
  await expect(step("Signature")).toHaveClass("passed");
  await expect(step("The leaves")).toHaveClass("passed");
  await page.screenshot({ path: picture("integrity") });

  // The log grows; the second verification compares with the first.
  await ask(server(), "/v1/events", { kind: "agent_step", name: "one more" });
  await page.getByRole("button", { name: "Verify again" }).click();
  await expect(step("Nothing was taken away")).toHaveClass("passed");
  await expect(step("The key")).toHaveClass("passed");

  // One record, and one that is not there.
  await page.getByLabel("One record").fill("3");
  await page.getByRole("button", { name: "Prove it" }).click();
  await expect(steps.filter({ hasText: "Record 3 is leaf 3" })).toHaveClass("passed");
  await expect(page.getByRole("heading", { name: "Record 3 proved, and the root" })).toBeVisible();
  await page.getByLabel("One record").fill("999999");
  await page.getByRole("button", { name: "Prove it" }).click();
  await expect(page.getByRole("heading", { name: "The record is not proved" })).toBeVisible();
  await page.getByLabel("One record").fill("");
  await page.getByRole("button", { name: "Prove it" }).click();

  // The root alone is not the whole.
  await page.getByLabel(/^every leaf/).uncheck();
  await page.getByRole("button", { name: /^Verify (now|again)$/ }).click();
  await expect(page.getByRole("heading", { name: "Root proved" })).toBeVisible();
  await expect(verdict).toContainText("no leaf hashed");

  // The key, compared with the copy that is kept; and another one than this browser knows.
  const { keys } = (await (await ask(server(), "/api/integrity")).json()) as { keys: { vkeys: string[] }[] };
  await page.getByLabel("The key that you keep").fill(keys[0]?.vkeys[0] ?? "");
  await expect(page.getByText("the one that you keep")).toHaveCount(1);
  await page.getByLabel("The key that you keep").fill("log.example+01234567+AAAA");
  await expect(page.getByText("It is none of these.")).toBeVisible();
  await page.evaluate(() => {
    const kept = JSON.parse(localStorage.getItem("watchkeeper.checkpoint") ?? "{}") as object;
    localStorage.setItem("watchkeeper.checkpoint", JSON.stringify({ ...kept, key: "0".repeat(64) }));
  });
  await page.getByRole("button", { name: "Verify again" }).click();
  await expect(page.getByRole("heading", { name: "Another key signs this log" })).toBeVisible();
  await expect(step("The key")).toHaveClass("changed");
  await page.screenshot({ path: picture("another-key") });
  await page.getByRole("button", { name: "Verify again" }).click();
  await expect(page.getByRole("heading", { name: "Another key signs this log" })).toBeVisible();
  await page.getByRole("button", { name: "I compared it" }).click();
  await expect(step("The key")).toHaveClass("passed");

  await page.goto(`/trace?id=${ATTACK_SESSION}`);
  await expect(page.getByText("Your role shows how it went")).toBeVisible();
  await expect(page.getByText("execute_tool send_email")).toBeVisible();
  await expect(page.getByText("before you can answer the user")).toHaveCount(0);
  await page.goto("/search");
  await expect(page.getByRole("button", { name: "SQL" })).toHaveCount(0);
  await page.goto("/search?mode=sql");
  await expect(page.getByRole("heading", { name: "SQL: only with the role analyst" })).toBeVisible();
  await page.goto("/settings?tab=keys");
  await expect(page.getByRole("heading", { name: "Keys and roles: only with the role admin" })).toBeVisible();
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
  await expect(page.locator(".steps > li").filter({ has: page.getByRole("heading", { name: "The leaves" }) })).toHaveClass("failed");
  await page.screenshot({ path: picture("not-proved") });
});
