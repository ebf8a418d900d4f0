import { useCallback, useEffect, useRef, useState } from "react";
import type { Answer, Request } from "../../log/worker";
import type { Remembered, Verdict, Verified } from "../../log/verify";

const KEY = "watchkeeper.checkpoint";

/** The checkpoint of this address that this browser verified last. */
export function remembered(): Remembered | null {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? "null") as Partial<Remembered> | null;
    if (!kept || typeof kept.origin !== "string" || typeof kept.root !== "string" || typeof kept.at !== "string" || !Number.isSafeInteger(kept.size)) return null;
    return {
      origin: kept.origin, size: Number(kept.size), root: kept.root, at: kept.at,
      key: typeof kept.key === "string" ? kept.key : null,
      minimum: Number.isSafeInteger(kept.minimum) ? Number(kept.minimum) : null,
    };
  } catch {
    return null;
  }
}

/** What is remembered by itself. Another key than before is not: whoever looks says that it is right. */
const REMEMBERED: ReadonlySet<Verdict> = new Set(["intact", "pruned", "root"]);

/** Remembers a checkpoint that was verified, and who signed it, to compare the next one with. */
export function remember({ checkpoint, key, minimum }: Verified): void {
  const { origin, size, root } = checkpoint;
  try {
    localStorage.setItem(KEY, JSON.stringify({ origin, size, root, at: new Date().toISOString(), key, minimum } satisfies Remembered));
  } catch {
    // A browser that keeps nothing compares nothing; the step says so.
  }
}

export const forget = (): void => localStorage.removeItem(KEY);

export type Run =
  | { readonly state: "idle" }
  | { readonly state: "running"; readonly leaves: number; readonly of: number }
  | { readonly state: "done"; readonly verified: Verified; readonly ms: number; /** When it began, by this machine. */ readonly at: string }
  | { readonly state: "failed"; readonly says: string };

/** Runs verifications in a worker; the newest one counts. */
export function useVerification(): { run: Run; start: (request: Request) => void; stop: () => void } {
  const [run, setRun] = useState<Run>({ state: "idle" });
  const worker = useRef<Worker | null>(null);
  const stop = useCallback(() => {
    worker.current?.terminate();
    worker.current = null;
    setRun({ state: "idle" });
  }, []);
  const start = useCallback((request: Request) => {
    worker.current?.terminate();
    const own = new Worker(new URL("../../log/worker.ts", import.meta.url), { type: "module" });
    worker.current = own;
    const from = performance.now();
    // The checkpoint is asked for at once: what takes long comes behind it.
    const at = new Date().toISOString();
    setRun({ state: "running", leaves: 0, of: 0 });
    own.addEventListener("message", (event: MessageEvent<Answer>) => {
      const answer = event.data;
      if (answer.kind === "progress") setRun({ state: "running", leaves: answer.leaves, of: answer.of });
      else {
        own.terminate();
        if (answer.kind === "failed") setRun({ state: "failed", says: answer.says });
        else {
          if (REMEMBERED.has(answer.verified.verdict)) remember(answer.verified);
          setRun({ state: "done", verified: answer.verified, ms: performance.now() - from, at });
        }
      }
    });
    own.addEventListener("error", (event) => setRun({ state: "failed", says: event.message || "the verification stopped" }));
    own.postMessage(request);
  }, []);
  useEffect(() => () => worker.current?.terminate(), []);
  return { run, start, stop };
}
