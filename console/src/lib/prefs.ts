// What a reader chose for this browser. Nothing of the record is ever kept here, but the checkpoint that was verified last.

import { useSyncExternalStore } from "react";
import { isZone, type Zone } from "./time";

export interface Prefs {
  readonly theme: "system" | "light" | "dark";
  readonly density: "normal" | "compact";
  readonly zone: Zone;
  readonly navIsNarrow: boolean;
  /** Whether keys that are characters do something by themselves. */
  readonly singleKeys: boolean;
}

const KEY = "watchkeeper.prefs";
const DEFAULTS: Prefs = { theme: "system", density: "normal", zone: "local", navIsNarrow: false, singleKeys: true };

function read(): Prefs {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    const of = kept as Partial<Record<keyof Prefs, unknown>>;
    return {
      theme: of.theme === "light" || of.theme === "dark" ? of.theme : DEFAULTS.theme,
      density: of.density === "compact" ? "compact" : "normal",
      zone: typeof of.zone === "string" && isZone(of.zone) ? of.zone : DEFAULTS.zone,
      navIsNarrow: of.navIsNarrow === true,
      singleKeys: of.singleKeys !== false,
    };
  } catch {
    return DEFAULTS;
  }
}

let prefs = read();
const listeners = new Set<() => void>();

function show(): void {
  if (typeof document === "undefined") return;
  const { dataset } = document.documentElement;
  if (prefs.theme === "system") delete dataset["theme"];
  else dataset["theme"] = prefs.theme;
  dataset["density"] = prefs.density;
  dataset["keys"] = prefs.singleKeys ? "single" : "none";
}

show();

/** Changes some of the preferences. */
export function setPrefs(change: Partial<Prefs>): void {
  prefs = { ...prefs, ...change };
  try {
    localStorage.setItem(KEY, JSON.stringify(prefs));
  } catch {
    // A browser that keeps nothing keeps it for this page.
  }
  show();
  for (const listener of listeners) listener();
}

/** The preferences as they are now, for what is not drawn. */
export const prefsNow = (): Prefs => prefs;

/** The preferences as they are. */
export function usePrefs(): Prefs {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => prefs,
  );
}
