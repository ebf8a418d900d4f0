import { expect, goTo, onOwnServer, picture, signIn } from "./base";

// A server whose OpenID provider does not answer: nothing listens on the port that is named.
const test = onOwnServer(() => [], `
[oidc]
name = "Example SSO"
issuer = "http://127.0.0.1:9/realms/example"
client_id = "watchkeeper"
redirect_url = "http://127.0.0.1:7700/api/session/oidc/callback"
claim = "groups"

[oidc.roles]
analyst = ["soc"]
`);

test("the sign-in page leads to the provider, and says what to do when that fails", async ({ page }) => {
  await page.goto("/detections?state=all");
  const button = page.getByRole("link", { name: "Sign in with Example SSO" });
  await expect(button).toHaveAttribute("href", /^\/api\/session\/oidc\/start\?to=%2Fdetections%3Fstate%3Dall$/);
  await button.click();
  await expect(page.getByRole("alert")).toContainText("The provider could not be asked");
  await page.screenshot({ path: picture("sign-in") });
  // Each code is told in its own words, and a code that nobody sends as no more than that.
  for (const [code, says] of [["denied", "did not let you in"], ["role", "nobody gave you a role"], ["state", "Begin anew"], ["expired", "took too long"], ["%3Cb%3Ex", "Signing in did not work"]] as const) {
    await page.goto(`/?sign_in_error=${code}`);
    await expect(page.getByRole("alert")).toContainText(says);
  }
  // A key still signs in, and the code is gone from the address.
  await signIn(page, "admin", "/?sign_in_error=role");
  await expect(page).not.toHaveURL(/sign_in_error/);
  await goTo(page, "/settings?tab=people");
  await expect(page.locator(".main")).toContainText("Nobody has signed in this way yet");
});
