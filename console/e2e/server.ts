import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { preview } from "vite";

/** The program that is tested: `WATCHKEEPER_BIN`, or what `cargo build` has made. */
export function binary(): string {
  const built = ["release", "debug"].map((profile) => new URL(`../../target/${profile}/watchkeeper`, import.meta.url).pathname);
  const found = [process.env["WATCHKEEPER_BIN"], ...built].find((path) => path !== undefined && existsSync(path));
  if (!found) throw new Error("no watchkeeper to test: build it (`cargo build --workspace --bins`), or name it in WATCHKEEPER_BIN");
  return found;
}

export interface Server {
  readonly console: string;
  readonly key: string;
  readonly pid: number;
  readonly stop: () => Promise<void>;
}

/** Milliseconds until a server with an empty record is ready, and until one with a record is: it may have to read some of it anew. */
const READY_MS = { empty: 60_000, kept: 900_000 } as const;

/** Starts a server on ports that the system picks: with an empty record that goes with it, or with one that is kept in a folder. `config` is the text of its configuration. */
export async function startServer(kept?: string, config?: string): Promise<Server> {
  const home = kept ?? mkdtempSync(join(tmpdir(), "watchkeeper-console-"));
  mkdirSync(home, { recursive: true });
  const configured = join(home, "watchkeeper.toml");
  if (config !== undefined) writeFileSync(configured, config);
  const child: ChildProcess = spawn(binary(), ["serve", "--any-port", "--data", join(home, "data"), "--root-key", join(home, "root.key"), ...(config === undefined ? [] : ["--config", configured])], {
    env: { ...process.env, HOME: home, XDG_CONFIG_HOME: join(home, "config") },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  const ready = new Promise<void>((resolve, reject) => {
    const hear = (chunk: Buffer) => {
      said += chunk.toString();
      if (/^ready$/m.test(said)) resolve();
    };
    child.stdout?.on("data", hear);
    child.stderr?.on("data", hear);
    child.on("exit", (code) => reject(new Error(`watchkeeper ended with ${code}:\n${said}`)));
    setTimeout(() => reject(new Error(`watchkeeper did not get ready:\n${said}`)), READY_MS[kept === undefined ? "empty" : "kept"]).unref();
  });
  await ready;
  const console = /^console\s+(http:\S+)$/m.exec(said)?.[1];
  // The first start tells the key, and no other one does.
  const keyFile = join(home, "admin.key");
  const key = /^admin key\s+(wk_\S+)$/m.exec(said)?.[1] ?? (existsSync(keyFile) ? readFileSync(keyFile, "utf8").trim() : undefined);
  if (!console || !key || child.pid === undefined) throw new Error(`no address or no key in:\n${said}`);
  if (kept !== undefined) writeFileSync(keyFile, `${key}\n`, { mode: 0o600 });
  return {
    console,
    key,
    pid: child.pid,
    stop: () => new Promise((resolve) => {
      child.removeAllListeners("exit");
      child.once("exit", () => {
        if (kept === undefined) rmSync(home, { recursive: true, force: true });
        resolve();
      });
      child.kill("SIGTERM");
    }),
  };
}

/** A request with a key. */
export async function ask(server: Pick<Server, "console" | "key">, path: string, body?: unknown): Promise<Response> {
  const response = await fetch(server.console + path, {
    method: body === undefined ? "GET" : "POST",
    headers: { authorization: `Bearer ${server.key}`, "content-type": "application/json" },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return response;
}

/** Waits until everything that was recorded is sealed, in the store and examined. */
export async function settle(server: Pick<Server, "console" | "key">): Promise<void> {
  for (let round = 0; round < 300; round += 1) {
    const { progress } = (await (await ask(server, "/api/status")).json()) as { progress: Record<"recorded" | "sealed" | "indexed" | "detected", number> };
    if (progress.detected >= progress.recorded && progress.indexed >= progress.recorded && progress.sealed >= progress.recorded) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error("the server did not catch up within a minute");
}

/** Where the console is: in the program, or, where it was built without (or `CONSOLE_BESIDE` says so), in `dist/` beside it, with the same headers. */
export async function consoleOf(server: Server, beside = process.env["CONSOLE_BESIDE"] !== undefined): Promise<{ address: string; isEmbedded: boolean; stop: () => Promise<void> }> {
  const page = await (await fetch(server.console)).text();
  if (!beside && page.includes('id="root"')) return { address: server.console, isEmbedded: true, stop: async () => undefined };
  if (process.env["WATCHKEEPER_CONSOLE_REQUIRED"]) throw new Error("the program was built without the console: `cargo xtask console`, then build it again");
  process.env["WATCHKEEPER_CONSOLE"] = server.console;
  const shown = await preview({ preview: { port: 0, host: "127.0.0.1" }, logLevel: "error" });
  const address = shown.resolvedUrls?.local[0];
  if (!address) throw new Error("vite preview has no address");
  return { address: address.replace(/\/$/, ""), isEmbedded: false, stop: () => shown.close() };
}
