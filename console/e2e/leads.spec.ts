import { expect, goTo, onOwnServer, settled, signIn } from "./base";
import { attack, ATTACK_SESSION } from "./traffic";

// What is counted leads to what was counted, and what is handed out brings what is needed to use it.
const test = onOwnServer((now) => [
  ...attack(now),
  { kind: "model_call", name: "chat quiet", "session.id": "quiet", "user.id": "ada", application: "quiet-desk", agent: "quiet-agent", time: new Date(now - 60_000).toISOString(), duration_ms: 3, status: "error" },
  { kind: "model_call", name: "chat", "session.id": "customer-support-agent-eu-west-17", "user.id": "ines", application: "quiet-desk", agent: "quiet-agent", time: new Date(now - 50_000).toISOString(), duration_ms: 3, status: "ok" },
]);

test("each figure of the overview leads to the list of what it counts", async ({ page }) => {
  await signIn(page, "analyst", "/");
  await settled(page);
  for (const name of ["Model calls", "Tool calls", "Failed"]) {
    const figure = page.locator(".figures > div").filter({ hasText: name }).getByRole("link");
    const counted = Number(/^\d+/.exec((await figure.textContent()) ?? "")?.[0]);
    expect(counted, name).toBeGreaterThan(0);
    await figure.click();
    await expect(page.getByRole("grid", { name: "Events" }).locator(".t-foot"), name).toHaveText(new RegExp(`^${counted} events?\\.`));
    await page.goBack();
    await settled(page);
  }
});

test("tokens that nobody told are a dash", async ({ page }) => {
  await signIn(page, "analyst", "/tokens");
  const row = page.getByRole("row").filter({ hasText: "ada" });
  await expect(row.getByTitle("No tokens are told")).toHaveText(["–", "–", "–"]);
  await expect(page.getByRole("row").filter({ hasText: "hana" }).getByTitle("No tokens are told")).toHaveCount(0);
});

test("a detection leads to all of its incident, and a suppression says what it hides before it is made", async ({ page }) => {
  await signIn(page, "analyst", "/detections?range=24h&state=all");
  const grid = page.getByRole("grid", { name: "Detections" });
  await grid.locator(".t-row").first().click();
  const detail = page.getByRole("region", { name: "Detection", exact: true });
  await detail.getByRole("button", { name: "Suppress" }).click();
  const dialog = page.getByRole("dialog");
  await expect(dialog).toContainText("about the user hana leave the lists and counts of what is open");
  await expect(dialog).toContainText("What is recorded in that time is not shown as open afterwards either");
  await expect(dialog).toContainText("Those that there are already stay as they are");
  await dialog.getByRole("button", { name: "Cancel" }).click();
  await detail.getByTitle("All detections of this incident").click();
  await expect(page).toHaveURL(/correlation=/);
  await expect(grid.locator(".t-row").nth(1)).toBeVisible();
});

test("an evidence bundle comes with the command that verifies it, by the key that its reader has", async ({ page }) => {
  await signIn(page, "admin", `/trace?id=${ATTACK_SESSION}`);
  await page.getByRole("button", { name: "Evidence" }).click();
  await page.getByLabel("Reason").fill("handed to the auditor, case 17");
  const saved = page.waitForEvent("download");
  await page.getByRole("button", { name: "Make it" }).click();
  const name = (await saved).suggestedFilename();
  const dialog = page.getByRole("dialog");
  // What this server tells of its key is beside the command, and not in it: it would stand for the copy that the reader has.
  await expect(dialog.locator(".command code")).toHaveText(`watchkeeper evidence verify ${name} --key vkey`);
  await expect(dialog.getByRole("status")).toContainText("The bundle is made.");
  await expect(dialog.getByRole("button", { name: "Done" })).toBeFocused();
  await expect(dialog.locator("dl")).toContainText(/\+[0-9a-f]{8}\+[A-Za-z0-9+/=]+/);
});

test("a waterfall is scaled to one of its events", async ({ page }) => {
  await signIn(page, "analyst");
  await goTo(page, `/trace?id=${ATTACK_SESSION}&view=waterfall`);
  const bars = page.locator(".bar-track .span-bar");
  const widest = () => bars.evaluateAll((all) => all.filter((each) => each.getBoundingClientRect().width >= (each.parentElement?.getBoundingClientRect().width ?? 0) - 1).length);
  const row = page.locator(".t-row").filter({ hasText: "send_email" }).first();
  await row.click();
  await page.getByRole("button", { name: "Scale to the chosen one" }).click();
  await expect(row.locator(".span-bar")).toHaveJSProperty("style.width", "max(3px, 100%)");
  expect(await widest()).toBeGreaterThan(0);
  await page.getByRole("button", { name: "Scale to all" }).click();
  await expect(row.locator(".span-bar")).not.toHaveJSProperty("style.width", "max(3px, 100%)");
});

test("a name that is cut in its middle is selected, found and read whole, and in one line", async ({ page }) => {
  await signIn(page, "analyst", "/sessions");
  await settled(page);
  const name = page.locator(".t-row .rec.middle").first();
  const whole = (await name.textContent()) ?? "";
  expect(whole.length).toBeGreaterThan(18);
  expect(await name.getAttribute("title")).toBe(whole);
  expect(await name.evaluate((element) => {
    const selection = getSelection();
    selection?.selectAllChildren(element);
    return selection?.toString();
  })).toBe(whole);
  await expect(page.getByText(whole, { exact: true }).first()).toBeVisible();
});
