import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { binary, consoleOf, startServer } from "../server";
import { caughtUp, sendDay, settleDay, type Filled, type Sent } from "./fill";
import { environment, table } from "./results";

/** Events of the day. */
const EVENTS = Number(process.env["SCALE_EVENTS"] ?? 1_000_000);

const log = (text: string) => console.log(`  ${text}`);

/** Starts the server on a record of that size: one that is made now, or one that an earlier run has kept. */
export default async function setup(): Promise<() => Promise<void>> {
  const kept = process.env["SCALE_DATA"];
  const home = kept ?? mkdtempSync(join(tmpdir(), "watchkeeper-scale-"));
  const [sentFile, file] = [join(home, "sent.json"), join(home, "filled.json")];
  const isFilled = existsSync(file);
  if (!isFilled && !existsSync(sentFile) && existsSync(join(home, "data"))) throw new Error(`${home} holds a record that was not filled to its end: remove it, or name another folder in SCALE_DATA`);
  const server = await startServer(home);
  const end = async () => {
    await server.stop();
    if (kept === undefined) rmSync(home, { recursive: true, force: true });
  };
  try {
    let filled: Filled;
    if (isFilled) {
      filled = JSON.parse(readFileSync(file, "utf8")) as Filled;
      await caughtUp(server, log);
    } else {
      if (!existsSync(sentFile)) {
        log(`${EVENTS} events are recorded in ${home}`);
        writeFileSync(sentFile, JSON.stringify(await sendDay(server, EVENTS, log)));
      }
      filled = await settleDay(server, JSON.parse(readFileSync(sentFile, "utf8")) as Sent, log);
      writeFileSync(file, JSON.stringify(filled, null, 1));
    }
    log(`${filled.events} events, ${filled.detections} detections, ${filled.sessions} sessions`);
    const shown = await consoleOf(server, process.env["SCALE_CONSOLE"] === "beside");
    const version = execFileSync(binary(), ["--version"], { encoding: "utf8" }).trim();
    process.env["SCALE"] = JSON.stringify({ console: shown.address, server: server.console, key: server.key, pid: server.pid, filled });
    await environment({ version, embedded: shown.isEmbedded, filled });
    return async () => {
      log(`\n${table()}`);
      await shown.stop();
      await end();
    };
  } catch (error) {
    await end();
    throw error;
  }
}
