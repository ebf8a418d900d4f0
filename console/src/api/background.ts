// Which requests nobody made: those of timers. They say so (`x-watchkeeper-background`), and the server does not count them as use, so that a
// sign-in ends half an hour after its reader went away, and not never.

/** The header that a request of a timer has. */
export const BACKGROUND = "x-watchkeeper-background";

/** Milliseconds after an act of the reader for which what is asked is theirs: a view that is opened loads its code first. A timer of a query
    is known as one in that time, too. */
const ACT_MS = 30_000;
/** What a reader does; coming back to the page is one. */
const ACTS = ["pointerdown", "pointerup", "keydown", "wheel", "touchstart", "popstate", "pageshow", "focus"] as const;

let timers = 0;
let lastAct = performance.now();

/** Notes that the reader did something. */
export function acted(): void {
  lastAct = performance.now();
}

if (typeof window !== "undefined") {
  for (const act of ACTS) window.addEventListener(act, (event) => { if (event.isTrusted) acted(); }, { capture: true, passive: true });
}

/** Whether what is asked now is asked by a timer. */
export const isBackground = (): boolean => timers > 0 || performance.now() - lastAct > ACT_MS;

function asTimer(run: () => void): () => void {
  return () => {
    timers += 1;
    try {
      run();
    } finally {
      // A request that is tried again begins some promises later, and still in this turn of the loop.
      setTimeout(() => { timers -= 1; }, 0);
    }
  };
}

type Id = ReturnType<typeof setTimeout>;

/** Timers for the queries, which know that they are timers. */
export const TIMERS = {
  setTimeout: (run: () => void, delay: number): Id => setTimeout(asTimer(run), delay),
  clearTimeout: (id: Id | undefined): void => clearTimeout(id),
  setInterval: (run: () => void, delay: number): Id => setInterval(asTimer(run), delay),
  clearInterval: (id: Id | undefined): void => clearInterval(id),
};
