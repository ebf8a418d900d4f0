// A certified OpenID provider with a few people in it: the one of the program's own tests (`tests/clients/oidc`), whose packages `cargo xtask setup`
// has put beside the build. Browsers come back from it by a door, since the console's port is not known before the provider is.

import { spawn } from "node:child_process";
import { copyFileSync, existsSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { startSite, type Site } from "./site";

const SECRET = "the-secret-of-the-client";
const CALLBACK = "/api/session/oidc/callback";

export interface SignOn {
  readonly site: Site;
  /** Where the provider is. */
  readonly issuer: string;
  /** Where it sends browsers back to. */
  readonly door: string;
  readonly stop: () => Promise<void>;
}

/** Starts the provider; gives where it is and the way to end it. */
async function startProvider(callback: string): Promise<{ issuer: string; stop: () => void }> {
  const folder = new URL("../../target/clients/oidc/", import.meta.url).pathname;
  if (!existsSync(`${folder}node_modules`)) throw new Error(`${folder} has no provider: run \`cargo xtask setup\``);
  // Node looks for packages beside the script.
  const script = `${folder}provider-of-the-console.mjs`;
  copyFileSync(new URL("../../tests/clients/oidc/provider.mjs", import.meta.url), script);
  const child = spawn(process.execPath, [script, callback, SECRET], { stdio: ["pipe", "pipe", "ignore"] });
  const issuer = await new Promise<string>((resolve, reject) => {
    let said = "";
    child.stdout.on("data", (chunk: Buffer) => {
      said += chunk.toString();
      const ready = /^ready (\S+)$/m.exec(said)?.[1];
      if (ready) resolve(ready);
    });
    child.on("exit", (code) => reject(new Error(`the provider ended with ${code}: ${said}`)));
  });
  return { issuer, stop: () => child.kill() };
}

/** Starts a server where people sign in by the provider. */
export async function startSignOn(): Promise<SignOn> {
  let console = "";
  const waiting = createServer((request, response) => {
    response.writeHead(302, { location: console + (request.url ?? "/") }).end();
  });
  await new Promise<void>((listens) => { waiting.listen(0, "127.0.0.1", listens); });
  const door = `http://127.0.0.1:${(waiting.address() as AddressInfo).port}`;
  const { issuer, stop: stopProvider } = await startProvider(door + CALLBACK);
  const closeDoor = () => {
    stopProvider();
    waiting.close();
  };
  try {
    // `public` has no secret: what a file or a variable would hold is not what is tested here.
    const { site, stop } = await startSite([], `
[oidc]
name = "Example SSO"
issuer = "${issuer}"
client_id = "public"
redirect_url = "${door}${CALLBACK}"
scopes = ["openid", "profile", "email", "groups"]
claim = "groups"

[oidc.roles]
admin = ["wk-admins"]
analyst = ["wk-analysts"]
auditor = ["wk-auditors"]
`);
    console = site.console;
    return { site, issuer, door, stop: async () => { closeDoor(); await stop(); } };
  } catch (error) {
    closeDoor();
    throw error;
  }
}
