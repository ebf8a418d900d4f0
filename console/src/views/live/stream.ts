import { useEffect, useRef, useState } from "react";
import { BACKGROUND } from "../../api/background";
import { api, type Schema } from "../../api/client";
import { ApiProblem, isGone } from "../../api/problem";
import { parseSearch } from "../../lib/at";
import { Tail } from "./tail";

export type EventRow = Schema<"EventRow">;

/** How often what has come is shown: often enough to be live, seldom enough to leave the browser to its reader. */
const SHOW_MS = 200;
/** Milliseconds after which a connection that was refused is tried again. */
const AGAIN_MS = 3_000;
/** Seconds over which the rate is told. */
const RATE_S = 5;

export interface Live {
  /** Newest first. */
  readonly rows: readonly EventRow[];
  readonly isConnected: boolean;
  /** Records that are not shown, because they came faster than they were taken: passed over by the server, or while it was held. */
  readonly dropped: number;
  readonly perSecond: number;
  /** What has come while it was held. */
  readonly held: number;
  /** Whether the server went back behind what it had sent: it has another record, or builds its store anew. */
  readonly isReset: boolean;
  /** Why the server does not send. */
  readonly problem: unknown;
}

const EMPTY: Live = { rows: [], isConnected: false, dropped: 0, perSecond: 0, held: 0, isReset: false, problem: null };

/** What comes in, as it comes in. While it is held, rows are taken and not shown. */
export function useLive(query: string, isHeld: boolean): Live {
  const [live, setLive] = useState(EMPTY);
  const held = useRef(isHeld);
  held.current = isHeld;
  useEffect(() => {
    let source: EventSource;
    let again: ReturnType<typeof setTimeout> | undefined;
    const ended = new AbortController();
    const tail = new Tail<EventRow>();
    let isConnected = false;
    let isReset = false;
    let problem: unknown = null;
    const arrivals: { at: number; count: number }[] = [];
    const heard = (event: Event) => {
      isConnected = true;
      problem = null;
      const { data, lastEventId } = event as MessageEvent<string>;
      if (lastEventId !== "") tail.last = lastEventId;
      return data;
    };
    const hear = () => {
      // A new source knows nothing of what the one before has brought.
      const asked = { ...parseSearch(query), ...(tail.last === null ? {} : { after: tail.last }) };
      source = new EventSource(`/api/live?${new URLSearchParams(asked).toString()}`);
      source.addEventListener("open", () => { isConnected = true; problem = null; });
      source.addEventListener("error", () => {
        isConnected = false;
        // Browsers connect again by themselves, but not after an answer that is an error, and they do not tell which it was.
        if (source.readyState === EventSource.CLOSED) void refused();
      });
      source.addEventListener("rows", (event) => {
        const { rows } = JSON.parse(heard(event)) as Schema<"LiveRows">;
        arrivals.push({ at: performance.now(), count: tail.take(rows) });
      });
      source.addEventListener("dropped", (event) => tail.pass((JSON.parse(heard(event)) as Schema<"LiveDropped">).count));
      source.addEventListener("progress", heard);
      source.addEventListener("reset", (event) => {
        tail.reset((JSON.parse(heard(event)) as Schema<"LiveReset">).seq ?? null);
        isReset = true;
      });
    };
    const refused = async () => {
      let wait = AGAIN_MS;
      try {
        problem = null;
        await whyNot(ended.signal);
      } catch (error) {
        // That the server does not answer at all is said above.
        problem = isGone(error) ? null : error;
        if (error instanceof ApiProblem && error.retryAfter !== null) wait = Math.max(wait, error.retryAfter * 1000);
      }
      if (!ended.signal.aborted) again = setTimeout(hear, wait);
    };
    hear();
    const timer = setInterval(() => {
      const now = performance.now();
      while ((arrivals[0]?.at ?? now) < now - RATE_S * 1000) arrivals.shift();
      const perSecond = arrivals.reduce((sum, each) => sum + each.count, 0) / RATE_S;
      if (!held.current) tail.show();
      const dropped = tail.dropped + tail.lost;
      setLive((before) =>
        before.rows === tail.rows && before.isConnected === isConnected && before.dropped === dropped && before.perSecond === perSecond && before.held === tail.held && before.isReset === isReset && before.problem === problem
          ? before : { rows: tail.rows, isConnected, dropped, perSecond, held: tail.held, isReset, problem });
    }, SHOW_MS);
    return () => {
      clearInterval(timer);
      clearTimeout(again);
      ended.abort();
      source.close();
      setLive(EMPTY);
    };
  }, [query]);
  return live;
}

/** Asks once more, to hear the error that a source of events keeps to itself; nothing where there is none. */
async function whyNot(signal: AbortSignal): Promise<void> {
  const asked = new AbortController();
  const stop = () => asked.abort();
  signal.addEventListener("abort", stop);
  try {
    await api.GET("/api/live", { signal: asked.signal, parseAs: "stream", headers: { [BACKGROUND]: "1" } });
  } finally {
    // It was only asked whether it would.
    stop();
    signal.removeEventListener("abort", stop);
  }
}
