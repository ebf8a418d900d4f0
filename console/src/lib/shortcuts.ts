// Keys. A view says which it takes while it is shown; `?` lists them all.

import { useEffect, useRef } from "react";
import { KEYS, keyText, keyTo, type Key, type KeyName } from "./keys";
import { prefsNow } from "./prefs";

declare const BOUND: unique symbol;

/** A key of `keys.ts`, and what it does now. `bind` alone makes it: there is none that the list of keys does not have. */
export interface Shortcut extends Key {
  readonly run: () => void;
  readonly [BOUND]: true;
}

/** Binds a key. */
export const bind = (name: KeyName, run: () => void): Shortcut => ({ ...(KEYS[name] as Key), run }) as Shortcut;

/** Binds the key that leads to a view. */
export const bindTo = (place: { readonly key: string; readonly name: string }, run: () => void): Shortcut => ({ ...keyTo(place), run }) as Shortcut;

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

/** Fields that take no letters: who has ticked a row goes on with keys. */
const PRESSED_FIELDS: ReadonlySet<string> = new Set(["checkbox", "radio", "button", "submit", "reset", "file", "range", "color"]);

/** Whether letters are typed into it. */
export const isTypedInto = (at: { readonly tagName: string; readonly type?: unknown; readonly isContentEditable?: boolean }): boolean =>
  at.isContentEditable === true || at.tagName === "TEXTAREA" || at.tagName === "SELECT" || (at.tagName === "INPUT" && !PRESSED_FIELDS.has(String(at.type)));

const typed = (event: KeyboardEvent): boolean => event.target instanceof HTMLElement && isTypedInto(event.target);

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
  // In a dialog or a menu that is open only its own keys work: Escape closes it, whatever the view below does with that key.
  const dialog = document.querySelector("dialog[open], :popover-open");
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

/** A key as it is called on the reader's machine. */
export const keyName = (keys: string): string => keyText(keys, /Mac|iPhone|iPad/.test(navigator.userAgent));
