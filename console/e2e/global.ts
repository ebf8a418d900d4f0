import { ask, consoleOf, settle, startServer } from "./server";
import { attack, dailyTraffic, hostile } from "./traffic";

/** Sessions of daily traffic. */
const SESSIONS = 120;
/** Events that are sent at once. */
const AT_ONCE = 200;

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
