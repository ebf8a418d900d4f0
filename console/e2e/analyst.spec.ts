import { ask, settle } from "./server";
import { expect, goTo, picture, reveal, server, settled, signIn, test } from "./base";
import { ATTACK_SESSION } from "./traffic";

// The analyst's story: open, see the detection, follow the trace to its source, read the evidence, acknowledge, note, close, suppress,
// export; and what of it stands in the record.
test("an analyst follows an attack to its source and deals with it", async ({ page }) => {
  await signIn(page, "analyst");
  await expect(page.getByRole("heading", { name: "Overview" })).toBeVisible();
  await expect(page.getByRole("region", { name: "What needs somebody" })).toContainText("open detections");
  await settled(page);
  await page.screenshot({ path: picture("overview") });

  // Keys alone from here to the detection.
  await page.keyboard.press("g");
  await page.keyboard.press("d");
  await expect(page.getByRole("heading", { name: "Detections", exact: true })).toBeVisible();
  await page.getByLabel("Severity").selectOption("critical");
  const row = page.getByRole("grid", { name: "Detections" }).getByRole("row").filter({ hasText: "went through" });
  await expect(row).toHaveCount(1);
  await page.keyboard.press("j");
  const detail = page.getByRole("region", { name: "Detection", exact: true });
  await expect(detail.getByRole("heading", { level: 2 })).toContainText("it went through");
  await expect(detail).toContainText("reached");
  await expect(detail).toContainText("not shown");
  await expect(page).toHaveURL(/id=/);
  const id = new URL(page.url()).searchParams.get("id");

  // The evidence, with a reason.
  await reveal(page, "INC-1042: customers sent away");
  await expect(detail).toContainText("customers.csv");
  await expect(detail).toContainText("invoice-archive.example");
  await page.screenshot({ path: picture("detections") });

  // The trace, from the source to where it went.
  await detail.getByRole("link", { name: "Follow the trace" }).click();
  await expect(page).toHaveURL(new RegExp(`/trace\\?.*${ATTACK_SESSION}`));
  await expect(page.getByText("before you can answer the user").first()).toBeVisible();
  const path = page.getByRole("complementary", { name: "What was found" });
  await expect(path.getByText("source")).toBeVisible();
  await expect(path.getByRole("button", { name: /send_email/ })).toBeVisible();
  await expect(page.locator("mark.found", { hasText: "Message to the AI assistant" }).first()).toBeVisible();
  await page.screenshot({ path: picture("trace") });
  await page.keyboard.press("3");
  await expect(page.getByRole("region", { name: "Flow of content" })).toContainText("told it to");
  await page.screenshot({ path: picture("flow") });
  await page.keyboard.press("2");
  await expect(page.getByRole("grid", { name: "Events in their order" })).toContainText("execute_tool send_email");
  await page.screenshot({ path: picture("waterfall") });

  // Back to triage.
  await path.getByRole("link", { name: "Open the detection" }).click();
  await expect(detail.getByRole("heading", { level: 2 })).toContainText("it went through");
  await detail.getByRole("button", { name: "Acknowledge" }).click();
  await expect(page.getByText("1 detection acknowledged")).toBeVisible();
  await expect(detail.getByText("acknowledged").first()).toBeVisible();
  await detail.getByLabel("Note").fill("The address is not ours. Asked the mail team to block it.");
  await detail.getByRole("button", { name: "Note" }).click();
  await expect(detail.getByText("Asked the mail team")).toBeVisible();

  // Given to somebody else, and taken back with a key.
  await page.locator("body").press("t");
  await page.getByRole("dialog").getByLabel("Name").fill("Fatima Silva");
  await page.keyboard.press("Enter");
  await expect(page.getByText("1 detection given to Fatima Silva")).toBeVisible();
  await expect(detail.getByRole("link", { name: "Fatima Silva" })).toBeVisible();
  await expect(detail.getByRole("button", { name: "Fatima Silva" })).toBeEnabled();
  await page.locator("body").press("i");
  await expect(page.getByText("1 detection given to Ines Duarte")).toBeVisible();
  await page.getByLabel("Mine").check();
  await expect(page.getByRole("grid", { name: "Detections" }).getByRole("row")).toHaveCount(2);
  await page.getByLabel("Mine").uncheck();

  await detail.getByRole("button", { name: "Suppress" }).click();
  const suppress = page.getByRole("dialog");
  await suppress.getByLabel("Why").fill("being worked on as INC-1042");
  await suppress.getByLabel("For", { exact: true }).selectOption("7");
  await suppress.getByRole("button", { name: "Suppress", exact: true }).click();
  await expect(page.getByText("Suppressed for 7 days")).toBeVisible();

  await detail.getByRole("button", { name: "Close", exact: true }).click();
  const close = page.getByRole("dialog");
  await expect(close.getByRole("button", { name: "Close", exact: true }).last()).toBeDisabled();
  await close.getByLabel(/True positive/).check();
  await page.screenshot({ path: picture("close") });
  await close.getByRole("button", { name: "Close", exact: true }).last().click();
  await expect(page.getByText("1 detection closed")).toBeVisible();
  await expect(detail.getByText("True positive")).toBeVisible();

  // Export what is in the list.
  await page.getByLabel("Suppressed, too").check();
  await page.getByLabel("Severity").selectOption("critical");
  await expect(row).toHaveCount(1);
  const saved = page.waitForEvent("download");
  await page.getByRole("button", { name: "Export" }).click();
  const file = await (await saved).createReadStream();
  let text = "";
  for await (const chunk of file) text += String(chunk);
  expect(text.includes("went through")).toBe(true);
  expect(text.split("\n").every((line) => typeof JSON.parse(line) === "object")).toBe(true);

  // Everything of it stands in the record.
  await settle(server());
  const answer = await ask(server(), "/api/query", { sql: "SELECT kind, name, attributes FROM events WHERE kind IN ('admin', 'data_access') AND application = 'watchkeeper'" });
  const { rows: recorded } = (await answer.json()) as { rows: [kind: string, name: string, attributes: string][] };
  const all = JSON.stringify(recorded);
  for (const said of ["INC-1042: customers sent away", "being worked on as INC-1042"]) expect(all.includes(said), said).toBe(true);
  // What was made of this detection, in the order in which it was done.
  const ofIt = recorded.filter(([, name]) => name === "detection.triage").map(([, , attributes]) => JSON.parse(attributes) as Record<string, string>)
    .filter((each) => each["watchkeeper.admin.object"] === `detection ${id}`);
  const done = ofIt.map((each) => JSON.parse(each["watchkeeper.admin.after"] ?? "{}") as Record<string, string | null>);
  expect(done.some((each) => each["state"] === "acknowledged"), "acknowledged").toBe(true);
  expect(done.some((each) => each["note"] === "The address is not ours. Asked the mail team to block it."), "its note").toBe(true);
  expect(done.filter((each) => each["assignee"]).map((each) => each["assignee"])).toEqual(["Fatima Silva", "Ines Duarte"]);
  expect(done.some((each) => each["state"] === "closed" && each["reason"] === "true_positive"), "closed, with what it was").toBe(true);
  expect(ofIt.every((each) => each["event.outcome"] === "success")).toBe(true);
  // Who may not take a bundle out is told who may.
  await page.goto(`/trace?id=${ATTACK_SESSION}`);
  await page.getByRole("button", { name: "Evidence" }).click();
  await expect(page.getByRole("dialog")).toContainText("Only the role admin");
});

test("keys go through the list, and the address holds every state", async ({ page }) => {
  await signIn(page, "analyst", "/detections?range=7d&state=all");
  const grid = page.getByRole("grid", { name: "Detections" });
  await expect(grid.getByRole("row").nth(2)).toBeVisible();
  await page.keyboard.press("j");
  await page.keyboard.press("j");
  await page.keyboard.press("k");
  const chosen = grid.locator('[aria-selected="true"]');
  await expect(chosen).toHaveCount(1);
  await expect(chosen).toBeFocused();
  const address = page.url();
  const title = await page.getByRole("region", { name: "Detection", exact: true }).getByRole("heading", { level: 2 }).textContent();
  await page.goto(address);
  await expect(page.getByRole("region", { name: "Detection", exact: true }).getByRole("heading", { level: 2 })).toHaveText(title ?? "");
  await page.keyboard.press("Escape");
  await expect(page).not.toHaveURL(/id=/);

  await page.keyboard.press("?");
  await expect(page.getByRole("dialog")).toContainText("acknowledge");
  await page.keyboard.press("Escape");
  await page.keyboard.press("Control+k");
  await page.keyboard.type(ATTACK_SESSION);
  await expect(page.getByRole("option", { name: new RegExp(`^${ATTACK_SESSION}\\s*session$`) })).toHaveAttribute("aria-selected", "true");
  await page.screenshot({ path: picture("palette") });
  await page.keyboard.press("Enter");
  await expect(page).toHaveURL(new RegExp(`/trace\\?.*${ATTACK_SESSION}`));
  // Whoever is in the record, and the rules in force.
  await page.keyboard.press("Control+k");
  await page.keyboard.type("hana");
  await expect(page.getByRole("option", { name: /^hana\s*user$/ })).toBeVisible();
  await page.keyboard.press("Escape");
});

test("a rule is explained part by part, and what is alike is shown", async ({ page }) => {
  await signIn(page, "analyst", "/detections?range=24h&state=all&user=hana&q=Prompt+injection+in+a+tool+result");
  await page.getByRole("grid", { name: "Detections" }).getByText("Prompt injection in a tool result").first().click();
  const detail = page.getByRole("region", { name: "Detection", exact: true });
  await expect(detail.getByRole("button", { name: "Explain" })).toHaveCount(0);
  await reveal(page, "INC-1042: which part of it");
  await detail.getByRole("button", { name: "Explain" }).click();
  const explained = detail.getByRole("region", { name: "Explanation" });
  await expect(explained).toContainText("watchkeeper.finding.tool");
  await expect(explained).toContainText("stood there prompt_injection");
  await expect(detail.getByRole("heading", { name: /Like it/ })).toBeVisible();
  await explained.scrollIntoViewIfNeeded();
  await page.screenshot({ path: picture("explain") });
  // What a detector found has no conditions of a rule to explain.
  await goTo(page, "/detections?range=24h&state=all&user=hana&severity=critical&suppressed=yes");
  await page.getByRole("grid", { name: "Detections" }).getByText("went through").first().click();
  await reveal(page, "INC-1042: what made it");
  await expect(explained).toContainText("A detector of the program made it");
});

test("search by events, words and SQL", async ({ page }) => {
  await signIn(page, "analyst", "/search?kind=tool_call&tool=send_email");
  await expect(page.getByRole("grid", { name: "Events" }).getByRole("row").filter({ hasText: "execute_tool send_email" })).toHaveCount(1);
  await page.goto("/search?mode=text");
  await page.getByLabel("Words").fill("invoice");
  await page.keyboard.press("Enter");
  await expect(page.locator(".hit").filter({ hasText: "Invoice 4471" }).first()).toBeVisible();
  await page.goto("/search?mode=sql");
  await page.getByRole("button", { name: "Paths from source to sink" }).click();
  await expect(page.getByRole("grid", { name: "Rows" })).toContainText("send_email");
  await page.screenshot({ path: picture("sql") });
  await page.getByRole("button", { name: "Kept searches" }).click();
  await page.getByLabel("Keep this search as").fill("Paths");
  await page.getByRole("button", { name: "Keep", exact: true }).click();
  await page.goto("/search");
  await page.getByRole("button", { name: "Kept searches" }).click();
  await page.getByRole("button", { name: /Paths/ }).first().click();
  await expect(page.getByRole("grid", { name: "Rows" })).toContainText("send_email");
});

test("live events come in, and hold still when they are held", async ({ page }) => {
  await signIn(page, "analyst", "/live");
  await expect(page.getByText(/events\/s/)).toBeVisible();
  const send = (name: string) => ask(server(), "/v1/events", { kind: "agent_step", name, "session.id": "live-1", agent: "live-agent" });
  await send("first of live");
  const grid = page.getByRole("grid", { name: "Live events" });
  await expect(grid.getByText("first of live")).toBeVisible();
  await page.screenshot({ path: picture("live") });
  await page.getByRole("button", { name: "Hold" }).click();
  await send("second of live");
  await expect(page.getByText(/Held · [1-9]/)).toBeVisible();
  await expect(grid.getByText("second of live")).toHaveCount(0);
  await page.getByRole("button", { name: "Go on" }).click();
  await expect(grid.getByText("second of live")).toBeVisible();
});
