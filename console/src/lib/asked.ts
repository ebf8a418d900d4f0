// What the reader asked the record for, in this page's life. A search is recorded as the act of who is signed in: what came with an address
// (a link, a bookmark, the page loaded anew) is shown, and waits until it is run here.

import { useSyncExternalStore } from "react";

export type Question = "words" | "sql";

const asked = new Set<string>();
const listeners = new Set<() => void>();
const tell = () => {
  for (const listener of listeners) listener();
};
const keyOf = (kind: Question, text: string) => `${kind} ${text}`;

/** The reader typed it, chose it or ran it. */
export function ask(kind: Question, text: string): void {
  asked.add(keyOf(kind, text));
  tell();
}

/** Forgets all of it: the sign-in is over. */
export function forgetAsked(): void {
  asked.clear();
  tell();
}

export const isAsked = (kind: Question, text: string | undefined): boolean => text !== undefined && asked.has(keyOf(kind, text));

const subscribe = (listener: () => void) => {
  listeners.add(listener);
  return () => {
    listeners.delete(listener);
  };
};

/** Whether the reader asked for it. */
export const useAsked = (kind: Question, text: string | undefined): boolean => useSyncExternalStore(subscribe, () => isAsked(kind, text));
