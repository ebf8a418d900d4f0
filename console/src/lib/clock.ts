import { useSyncExternalStore } from "react";

// One clock for all that says how long ago something was.
const TICK_MS = 10_000;
let now = Date.now();
const listeners = new Set<() => void>();
let timer: ReturnType<typeof setInterval> | null = null;

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  timer ??= setInterval(() => {
    now = Date.now();
    for (const each of listeners) each();
  }, TICK_MS);
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0 && timer !== null) {
      clearInterval(timer);
      timer = null;
    }
  };
}

/** The time of that clock, for what is not drawn. */
export const clockNow = (): number => now;

/** The time now, to some seconds. */
export function useNow(): number {
  return useSyncExternalStore(subscribe, () => now);
}
