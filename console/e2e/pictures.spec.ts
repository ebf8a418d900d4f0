import { expect, goTo, onOwnServer, reveal, settled, signIn } from "./base";
import { companyDay } from "./company";
import { ATTACK_SESSION } from "./traffic";

// The pictures of the README: `npm run pictures` keeps them.
const test = onOwnServer(companyDay);

const out = new URL("out/", import.meta.url).pathname;

for (const theme of ["light", "dark"] as const) {
  test(`pictures of a company's day, ${theme}`, async ({ page, site }) => {
    await page.emulateMedia({ colorScheme: theme, reducedMotion: "reduce" });
    const picture = async (name: string) => {
      await settled(page);
      // The pointer rests where nothing lights up.
      await page.mouse.move(700, 4);
      await page.screenshot({ path: `${out}readme-${name}-${theme}.png`, animations: "disabled" });
    };
    await signIn(page, "analyst", "/");
    expect(site.console).toContain("127.0.0.1");
    await picture("overview");
    await goTo(page, "/detections?range=24h");
    await page.getByRole("grid", { name: "Detections" }).getByRole("row").filter({ hasText: "it went through" }).first().click();
    await reveal(page, "INC-1042: customers sent away");
    await expect(page.getByRole("region", { name: "Detection", exact: true })).toContainText("invoice-archive.example");
    await picture("detections");
    await page.getByRole("link", { name: "Follow the trace" }).click();
    await expect(page.locator("mark.found").first()).toBeVisible();
    await picture("trace");
    await page.keyboard.press("3");
    await expect(page.getByRole("region", { name: "Flow of content" })).toContainText("told it to");
    await picture("flow");
    await goTo(page, "/integrity");
    await page.getByRole("button", { name: "Verify now" }).click();
    await expect(page.getByRole("heading", { name: "Intact" })).toBeVisible();
    await picture("integrity");
    expect(page.url()).not.toContain(ATTACK_SESSION);
  });
}
