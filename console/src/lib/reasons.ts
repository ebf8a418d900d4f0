// Why contents are read. A reason is given for one detection or one trace, by one person: it lives in this page's memory alone, and ends with
// the sign-in. The last one is offered, and not taken, for the next case.

import { useSyncExternalStore } from "react";
import { bytesIn, REASON_BYTES_MAX } from "./limits";
import { hasVisible } from "./text";

/** Cases that a reason is kept for; whoever opens more gives it again. */
const CASES_MAX = 200;

/** What a reason is given for. */
export type Case = `detection ${string}` | `trace ${string}`;

const given = new Map<Case, string>();
let last = "";
const listeners = new Set<() => void>();
const tell = () => {
  for (const listener of listeners) listener();
};

/** What is wrong with a reason, or nothing. */
export function faultOf(reason: string): string | null {
  if (!hasVisible(reason)) return "A reason has something to read in it.";
  const bytes = bytesIn(reason.trim());
  return bytes > REASON_BYTES_MAX ? `A reason has at most ${REASON_BYTES_MAX} bytes; this one has ${bytes}.` : null;
}

/** Keeps a reason for a case. */
export function give(of: Case, reason: string): void {
  if (faultOf(reason) !== null) return;
  last = reason.trim();
  given.delete(of);
  given.set(of, last);
  const [oldest] = given.keys();
  if (given.size > CASES_MAX && oldest !== undefined) given.delete(oldest);
  tell();
}

/** Forgets all of them: the sign-in is over, or is another person's. */
export function forgetReasons(): void {
  given.clear();
  last = "";
  tell();
}

/** The reason that was given last in this sign-in, to be offered again. */
export const lastReason = (): string => last;

/** The reason that was given for a case, or nothing. */
export const reasonFor = (of: Case): string | null => given.get(of) ?? null;

const subscribe = (listener: () => void) => {
  listeners.add(listener);
  return () => {
    listeners.delete(listener);
  };
};

/** The reason that the reader gave for a case, and the way to give one. */
export function useReason(of: Case): [string | null, (reason: string) => void] {
  const reason = useSyncExternalStore(subscribe, () => reasonFor(of));
  return [reason, (reason) => give(of, reason)];
}
