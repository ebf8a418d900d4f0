import { expect, onOwnServer, settled, signIn } from "./base";
import { record } from "./site";
import { dailyTraffic } from "./traffic";

// Who reads a list keeps it: minutes pass and events come in, and what is read stays where it is until its reader asks for the new.
const test = onOwnServer((now) => dailyTraffic(now, 60));

const event = (at: number) => ({ kind: "agent_step", name: `came while reading ${at}`, application: "support-desk", agent: "triage-agent", "session.id": `new-${at}`, time: new Date().toISOString(), status: "ok" });

test("a list that somebody reads stays as it is, tells what has come, and shows it when asked", async ({ page, site }) => {
  await page.clock.install();
  for (const [path, name] of [["/search", "Events"], ["/sessions", "Sessions"]] as const) {
    await (name === "Events" ? signIn(page, "analyst", path) : page.goto(path));
    const body = page.getByRole("grid", { name, exact: true }).locator(".t-body");
    await expect(body.locator(".t-row").first()).toBeVisible();
    await settled(page);
    await body.evaluate((element) => { element.scrollTop = 340; });
    const row = body.locator('[data-row="14"]');
    const reads = await row.textContent();
    await record(site.server, [1, 2, 3].map((at) => event(at + path.length * 10)));
    await page.clock.fastForward("02:10");
    const news = page.getByRole("button", { name: /^3 new/ });
    await expect(news).toBeVisible();
    expect(await body.evaluate((element) => element.scrollTop)).toBe(340);
    await expect(row).toHaveText(reads ?? "");
    await news.click();
    await expect(news).toHaveCount(0);
    await expect.poll(() => body.evaluate((element) => element.scrollTop)).toBe(0);
    await expect(body.locator(".t-row").first()).toContainText(name === "Events" ? "came while reading" : "new-");

    // At the top, with nothing open, it follows by itself.
    await record(site.server, [event(900 + path.length)]);
    await page.clock.fastForward("01:10");
    await expect(body.locator(".t-row").first()).toContainText(name === "Events" ? `came while reading ${900 + path.length}` : `new-${900 + path.length}`);
    await expect(page.getByRole("button", { name: /refresh the list/ })).toHaveCount(0);
  }
});
