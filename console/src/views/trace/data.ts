import { useQuery } from "@tanstack/react-query";
import { api, take, type Schema } from "../../api/client";
import type { TRACE } from "../names";

export type Trace = Schema<"TraceView">;
export type TraceEvent = Schema<"TraceEvent">;
export type TracePiece = Schema<"TracePiece">;
export type TraceFinding = Schema<"TraceFinding">;
export type TraceEdge = Schema<"TraceEdge">;
export type TraceDetection = Schema<"TraceDetection">;

export type Name = (typeof TRACE)[number];

/** A trace without what was said, or with it and the reason, which is recorded. */
export function useTrace(id: string, reason: string | null) {
  return useQuery({
    queryKey: ["trace", id, reason],
    queryFn: ({ signal }) => take(api.GET("/api/trace/{id}", { signal, params: { path: { id }, query: reason === null ? { texts: false } : { texts: true, reason } } })),
    enabled: id !== "",
    staleTime: Infinity,
    refetchOnWindowFocus: false,
    placeholderData: (before) => (before?.id === id ? before : undefined),
  });
}

/** A piece that is shown: each text once, where it came first. */
export interface Shown {
  readonly event: TraceEvent;
  readonly pieces: readonly TracePiece[];
}

/** The conversation: agent traffic repeats itself with every call, its reader should not have to. */
export function conversation(events: readonly TraceEvent[]): Shown[] {
  const told = new Set<string>();
  return events.filter((event) => event.kind !== "detection").map((event) => ({
    event,
    pieces: event.pieces.filter((piece) => {
      if (!piece.content_id) return true;
      // A call is told by the model that asks for it and by the tool that gets it; a result by the tool and by the next call.
      const key = piece.call_id && piece.part !== "text" ? `${piece.part} ${piece.call_id}` : `${piece.role} ${piece.part} ${piece.content_id}`;
      return !told.has(key) && told.add(key) !== undefined;
    }),
  }));
}

/** A step of an attack: an event, and what it is in the path. */
export interface Step {
  readonly event: string;
  readonly at: number;
}

/** The events of a detection in their order, numbered from 1. */
export function stepsOf(detection: TraceDetection | undefined, events: readonly TraceEvent[]): ReadonlyMap<string, number> {
  const steps = new Map<string, number>();
  if (!detection) return steps;
  const rests = new Set(detection.events);
  for (const event of events) if (rests.has(event.event_id)) steps.set(event.event_id, steps.size + 1);
  return steps;
}

/** Milliseconds since 1970, with the fraction that the record has. */
export const startOf = (event: { readonly time: string }): number => {
  const micros = /\.(\d{3})(\d{1,3})/.exec(event.time)?.[2] ?? "";
  return Date.parse(event.time) + Number(micros.padEnd(3, "0")) / 1000;
};

/** When the first event begins and the last one ends; whether there is a length between, or nobody gave one. */
export function extent(events: readonly Pick<TraceEvent, "time" | "duration_ms">[]): { from: number; to: number; isMeasured: boolean } {
  let [from, to] = [Infinity, -Infinity];
  for (const event of events) {
    const start = startOf(event);
    from = Math.min(from, start);
    to = Math.max(to, start + (event.duration_ms ?? 0));
  }
  // What is drawn is divided by the length: one that is there is never nothing.
  return to > from ? { from, to, isMeasured: true } : { from: Number.isFinite(from) ? from : 0, to: Number.isFinite(from) ? from + 1 : 1, isMeasured: false };
}

/** Where the bar of an event stands in a stretch of time, in parts of it: what lies outside is cut off, and nothing where none of it lies inside. */
export function barOf(event: Pick<TraceEvent, "time" | "duration_ms">, { from, to }: { readonly from: number; readonly to: number }): { left: number; width: number; isCut: boolean } | null {
  const start = startOf(event);
  const end = start + Math.max(event.duration_ms ?? 0, 0);
  if (end < from || start > to) return null;
  const [begins, ends] = [Math.max(start, from), Math.min(end, to)];
  return { left: (begins - from) / (to - from), width: (ends - begins) / (to - from), isCut: start < from || end > to };
}

/** Rem by which a row stands further in for each step of depth, and at the most: names have to have room beside it. */
const STEP_REM = 1.1;
const INDENT_MAX_REM = 7;

/** How far in rows stand, in rem, when the deepest of them is `deepest` steps deep. */
export const indentOf = (depth: number, deepest: number): number => depth * Math.min(STEP_REM, INDENT_MAX_REM / Math.max(deepest, 1));

/** The command that verifies a bundle. Its key is whatever its reader has: one that came with the bundle, or from the server that made it, proves nothing. */
export const verifyCommand = (name: string): string => `watchkeeper evidence verify ${name} --key vkey`;
