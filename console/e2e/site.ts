import { ask, consoleOf, settle, startServer, type Server } from "./server";

export type Role = "admin" | "analyst" | "auditor";

/** A server with its console, and keys to it. */
export interface Site {
  readonly server: Pick<Server, "console" | "key">;
  /** Where the pages of the console come from. */
  readonly console: string;
  readonly keys: Readonly<Record<Role, string>>;
}

/** Events that are sent at once. */
const AT_ONCE = 200;

/** Sends events, and waits until they are sealed, in the store and examined. */
export async function record(server: Site["server"], events: readonly Record<string, unknown>[]): Promise<void> {
  for (let at = 0; at < events.length; at += AT_ONCE) await ask(server, "/v1/events", events.slice(at, at + AT_ONCE));
  await settle(server);
}

/** Starts a server with this record. */
export async function startSite(events: readonly Record<string, unknown>[], config?: string): Promise<{ site: Site; stop: () => Promise<void> }> {
  const server = await startServer(undefined, config);
  try {
    await record(server, events);
    const made = async (role: Role, name: string) => ((await (await ask(server, "/api/keys", { name, role, lifetime_s: 3600 })).json()) as { key: string }).key;
    const keys = { admin: server.key, analyst: await made("analyst", "Ines Duarte"), auditor: await made("auditor", "Jonas Weber") };
    const shown = await consoleOf(server);
    const stop = async () => {
      await shown.stop();
      await server.stop();
    };
    return { site: { server: { console: server.console, key: server.key }, console: shown.address, keys }, stop };
  } catch (error) {
    await server.stop();
    throw error;
  }
}
