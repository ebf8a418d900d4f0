import { preview } from "vite";
import { ask, settle, startServer, type Server } from "./server";
import { attack, dailyTraffic, hostile } from "./traffic";

/** Sessions of daily traffic. */
const SESSIONS = 120;
/** Events that are sent at once. */
const AT_ONCE = 200;

/** Where the console is: in the program, or, where it was built without, beside it with the same headers. */
async function consoleOf(server: Server): Promise<{ address: string; stop: () => Promise<void> }> {
  const page = await (await fetch(server.console)).text();
  if (page.includes('id="root"')) return { address: server.console, stop: async () => undefined };
  if (process.env["WATCHKEEPER_CONSOLE_REQUIRED"]) throw new Error("the program was built without the console: `cargo xtask console`, then build it again");
  process.env["WATCHKEEPER_CONSOLE"] = server.console;
  const beside = await preview({ preview: { port: 0, host: "127.0.0.1" }, logLevel: "error" });
  const address = beside.resolvedUrls?.local[0];
  if (!address) throw new Error("vite preview has no address");
  return { address: address.replace(/\/$/, ""), stop: () => beside.close() };
}

export default async function setup(): Promise<() => Promise<void>> {
  const server = await startServer();
  try {
    const now = Date.now();
    const events = [...dailyTraffic(now, SESSIONS), ...attack(now), ...hostile(now)];
    for (let at = 0; at < events.length; at += AT_ONCE) await ask(server, "/v1/events", events.slice(at, at + AT_ONCE));
    await settle(server);
    const keys: Record<string, string> = { admin: server.key };
    for (const role of ["analyst", "auditor"]) {
      const made = (await (await ask(server, "/api/keys", { name: `${role} of the tests`, role, lifetime_s: 3600 })).json()) as { key: string };
      keys[role] = made.key;
    }
    const shown = await consoleOf(server);
    process.env["E2E_CONSOLE"] = shown.address;
    process.env["E2E_SERVER"] = server.console;
    process.env["E2E_KEYS"] = JSON.stringify(keys);
    return async () => {
      await shown.stop();
      await server.stop();
    };
  } catch (error) {
    await server.stop();
    throw error;
  }
}
