import { expect, goTo, onOwnServer, picture, signIn } from "./base";

// A server that has recorded nothing but its own start and who signed in: no view is at a loss, and each says what brings data.
const test = onOwnServer(() => []);

const VIEWS = [
  ["/", "watchkeeper run -- python"], ["/live", "watchkeeper run -- python"], ["/detections", "watchkeeper demo"], ["/detections?group=correlation", "watchkeeper demo"],
  ["/detections?severity=high&user=hana", "Take one off"], ["/sessions", "watchkeeper run -- python"], ["/sessions?user=hana", "watchkeeper demo"], ["/trace?id=invoice-4471", "watchkeeper restore"], ["/trace", "Sessions lists them"],
  ["/search", "watchkeeper run -- python"], ["/search?user=hana", "Take a filter off"], ["/search?mode=text&q=invoice", "Not searched yet"], ["/search?mode=sql", "Newest prompts"], ["/entities", "watchkeeper run -- python"],
  ["/entities?type=tool", "Entities come out of events"], ["/entity?kind=user&name=hana", "Entities lists whom"], ["/models", "watchkeeper run -- python"], ["/tokens", "watchkeeper run -- python"],
  ["/coverage", "Data not seen"], ["/integrity", "no witness is configured ([[witness]])"], ["/settings?tab=keys", "first administrator"], ["/settings?tab=people", "[oidc]"], ["/settings?tab=rules", "rules"], ["/settings?tab=suppressions", "similar to the one"],
  ["/settings?tab=retention", "A hold keeps"], ["/search?own=yes", "nothing but what this server did itself"], ["/sessions?own=yes", "nothing but what this server did itself"], ["/nowhere", "There is no such view"],
] as const;

test("a record with nothing in it teaches how to fill it, in every view", async ({ page, watched }) => {
  await signIn(page, "admin");
  for (const [path, says] of VIEWS) {
    await goTo(page, path);
    await expect.soft(page.locator(".main"), path).toContainText(says);
    await expect.soft(page.locator(".problem"), path).toHaveCount(0);
  }
  await goTo(page, "/");
  await page.screenshot({ path: picture("empty-overview") });
  // What is asked for by a name that nobody has is answered with 404, which browsers write down.
  watched.faults.splice(0, Infinity, ...watched.faults.filter((fault) => !/status of 404 .*\/api\/(trace\/invoice-4471|entities\/user\/hana)/.test(fault)));
});

test("a server that is gone is told, what was shown stays, and it goes on when the server is back", async ({ page, watched }) => {
  await signIn(page, "admin", "/settings?tab=keys");
  await expect(page.getByRole("cell", { name: "first administrator" }).first()).toBeVisible();
  await page.route("**/api/**", (route) => route.abort());
  await goTo(page, "/sessions?own=yes", { isGone: true });
  const gone = page.getByRole("alert").filter({ hasText: "The server does not answer" });
  await expect(gone).toContainText("The console goes on by itself");
  await expect(page.getByRole("grid", { name: "Sessions" })).toHaveCount(0);
  await page.unroute("**/api/**");
  await expect(gone).toHaveCount(0);
  const grid = page.getByRole("grid", { name: "Sessions" });
  await expect(grid).toBeVisible();
  // What was shown stays, and what is said above it takes its own room and covers nothing.
  await page.route("**/api/**", (route) => route.abort());
  await expect(gone).toBeVisible();
  await expect(grid).toBeVisible();
  const [banner, head] = [await gone.boundingBox(), await page.getByRole("heading", { level: 1 }).boundingBox()];
  expect(head?.y).toBeGreaterThanOrEqual((banner?.y ?? 0) + (banner?.height ?? 0));
  expect(await page.locator(".main").evaluate((main) => main.scrollHeight - main.clientHeight)).toBe(0);
  await page.unroute("**/api/**");
  await expect(gone).toHaveCount(0);
  watched.faults.splice(0, Infinity, ...watched.faults.filter((fault) => !fault.includes("net::ERR_FAILED")));
});
