import { useEffect, useRef, useState } from "react";
import type { Schema } from "../../api/client";

export type EventRow = Schema<"EventRow">;

/** Rows that are kept; older ones are in the lists. */
const ROWS_MAX = 5_000;
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
}

const EMPTY: Live = { rows: [], isConnected: false, dropped: 0, perSecond: 0, held: 0 };

/** What comes in, as it comes in. While it is held, rows are taken and not shown. */
export function useLive(query: string, isHeld: boolean): Live {
  const [live, setLive] = useState(EMPTY);
  const held = useRef(isHeld);
  held.current = isHeld;
  useEffect(() => {
    let source: EventSource;
    let again: ReturnType<typeof setTimeout> | undefined;
    let waiting: EventRow[] = [];
    let rows: readonly EventRow[] = [];
    let dropped = 0;
    // What has come since it is held, also what there was no room for.
    let came = 0;
    let isConnected = false;
    const arrivals: { at: number; count: number }[] = [];
    const hear = () => {
      source = new EventSource(`/api/live${query}`);
      source.addEventListener("open", () => { isConnected = true; });
      source.addEventListener("error", () => {
        isConnected = false;
        // Browsers connect again by themselves, but not after an answer that is an error, such as a proxy's.
        if (source.readyState === EventSource.CLOSED) again = setTimeout(hear, AGAIN_MS);
      });
      source.addEventListener("rows", (event) => {
        isConnected = true;
        const batch = (JSON.parse((event as MessageEvent<string>).data) as Schema<"LiveRows">).rows;
        arrivals.push({ at: performance.now(), count: batch.length });
        came += batch.length;
        for (const row of batch) waiting.push(row);
        if (waiting.length > 2 * ROWS_MAX) waiting = waiting.slice(-ROWS_MAX);
      });
      source.addEventListener("dropped", (event) => {
        dropped += (JSON.parse((event as MessageEvent<string>).data) as Schema<"LiveDropped">).count;
      });
    };
    hear();
    const timer = setInterval(() => {
      const now = performance.now();
      while ((arrivals[0]?.at ?? now) < now - RATE_S * 1000) arrivals.shift();
      const perSecond = arrivals.reduce((sum, each) => sum + each.count, 0) / RATE_S;
      if (!held.current && waiting.length > 0) {
        const shown = waiting.slice(-ROWS_MAX);
        dropped += came - shown.length;
        rows = [...shown.toReversed(), ...rows].slice(0, ROWS_MAX);
        waiting = [];
        came = 0;
      }
      const count = held.current ? came : 0;
      setLive((before) =>
        before.rows === rows && before.isConnected === isConnected && before.dropped === dropped && before.perSecond === perSecond && before.held === count
          ? before : { rows, isConnected, dropped, perSecond, held: count });
    }, SHOW_MS);
    return () => {
      clearInterval(timer);
      clearTimeout(again);
      source.close();
      setLive(EMPTY);
    };
  }, [query]);
  return live;
}
