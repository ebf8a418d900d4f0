// Keys. A view says which it takes while it is shown; `?` lists them all.

import { useEffect, useRef } from "react";
import { prefsNow } from "./prefs";

export interface Shortcut {
  /** `j`, `?`, `Escape`, `Mod+k`, or two one after another: `g d`. */
  readonly keys: string;
  /** What it does, for the list of keys. */
  readonly says: string;
  readonly group: string;
  readonly run: () => void;
  /** Whether it works while one types, too. */
  readonly whileTyping?: boolean;
}

const active = new Set<{ current: readonly Shortcut[] }>();
/** How long the second key of two may take. */
const PAIR_MS = 900;
let pending: { key: string; at: number } | null = null;

/** Whether it is made of characters alone (`j`, `?`, `g d`, the space): what people who dictate, or whose hands slip, must be able to turn off. */
export const isOfCharacters = (keys: string): boolean => keys.length === 1 || keys.split(" ").every((key) => key.length === 1);

/** Every key that works now. */
export const activeShortcuts = (): Shortcut[] =>
  [...active].flatMap((entry) => [...entry.current]).filter((each) => prefsNow().singleKeys || !isOfCharacters(each.keys));

/** What Enter and the space already do something on, by the browser. */
const PRESSED = "button, a[href], summary, label, input, select, textarea, [role=button], [role^=menuitem], [contenteditable]";

/** Whether a key belongs to what has the focus. */
export const isOwnKey = (key: string, at: { closest: (selector: string) => unknown } | null): boolean =>
  (key === "Enter" || key === " ") && at !== null && Boolean(at.closest(PRESSED));

function typed(event: KeyboardEvent): boolean {
  const at = event.target;
  return at instanceof HTMLElement && (at.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(at.tagName));
}

function named(event: KeyboardEvent): string {
  const mod = event.metaKey || event.ctrlKey ? "Mod+" : "";
  return mod + (event.key.length === 1 && mod ? event.key.toLowerCase() : event.key);
}

function onKey(event: KeyboardEvent): void {
  if (event.defaultPrevented || event.altKey || event.isComposing) return;
  if (isOwnKey(event.key, event.target instanceof Element ? event.target : null) && !event.metaKey && !event.ctrlKey) return;
  const key = named(event);
  const pair = pending && performance.now() - pending.at < PAIR_MS ? `${pending.key} ${key}` : null;
  pending = null;
  const isTyped = typed(event);
  // In a dialog that is open only its own keys work.
  const dialog = document.querySelector("dialog[open]");
  const all = activeShortcuts().toReversed().filter((each) => (!isTyped || each.whileTyping) && (!dialog || each.whileTyping));
  const found = (pair && all.find((each) => each.keys === pair)) || all.find((each) => each.keys === key);
  if (found) {
    event.preventDefault();
    found.run();
  } else if (!isTyped && all.some((each) => each.keys.startsWith(`${key} `))) {
    pending = { key, at: performance.now() };
  }
}

/** Takes keys while the component is shown. The newest to be shown goes first. */
export function useShortcuts(shortcuts: readonly Shortcut[]): void {
  const entry = useRef<{ current: readonly Shortcut[] }>({ current: shortcuts });
  entry.current.current = shortcuts;
  useEffect(() => {
    const own = entry.current;
    if (active.size === 0) document.addEventListener("keydown", onKey);
    active.add(own);
    return () => {
      active.delete(own);
      if (active.size === 0) document.removeEventListener("keydown", onKey);
    };
  }, []);
}

/** `Mod` as it is called on the reader's machine. */
export const keyName = (keys: string): string =>
  keys.replace("Mod+", /Mac|iPhone|iPad/.test(navigator.userAgent) ? "⌘" : "Ctrl ").replace("Escape", "Esc").replace("Enter", "↵")
    .replace("ArrowDown", "↓").replace("ArrowUp", "↑");
