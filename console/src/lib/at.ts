// Where one is: every state of a view stands in its address, as plain text.

import { useNavigate, useRouterState, useSearch } from "@tanstack/react-router";
import { useCallback, useMemo } from "react";
import { ANY_TIME, bounds, DEFAULT_RANGE, parseRange, type Range } from "./time";
import { useNow } from "./clock";
import { OF_ANY_TIME, RANGES } from "../views/names";

export type Params<K extends string> = { readonly [P in K]?: string | undefined };

/** Longest value of a parameter that is taken from an address. */
const VALUE_MAX = 20_000;

/** Takes the parameters of these names out of an address; what is no text, or empty, is none. */
export const params = <K extends string>(...names: readonly K[]) => (search: Record<string, unknown>): Params<K> => {
  const found: Partial<Record<K, string>> = {};
  for (const name of names) {
    const value = search[name];
    if (typeof value === "string" && value !== "") found[name] = value.slice(0, VALUE_MAX);
  }
  return found;
};

/** The parameters of an address. */
export const parseSearch = (text: string): Record<string, string> => Object.fromEntries(new URLSearchParams(text));

/** The address of parameters. */
export function stringifySearch(search: Record<string, unknown>): string {
  const found = new URLSearchParams();
  for (const [name, value] of Object.entries(search)) if (typeof value === "string" && value !== "") found.set(name, value);
  const text = found.toString();
  return text === "" ? "" : `?${text}`;
}

/** The parameters of the view that is shown, and a way to change some of them. */
export function useAt<K extends string>(): [Params<K>, (change: Params<K>, how?: { push?: boolean }) => void] {
  const search = useSearch({ strict: false }) as Params<K>;
  const navigate = useNavigate();
  const change = useCallback((change: Params<K>, how?: { push?: boolean }) => {
    void navigate({ to: ".", search: ((before: Params<K>) => ({ ...before, ...change })) as never, replace: how?.push !== true });
  }, [navigate]);
  return [search, change];
}

/** A range of time, as its address has it, and its bounds as the API takes them. */
export interface RangeAt {
  readonly range: Range;
  readonly text: string;
  readonly bounds: { since: string; until?: string };
}

/** The range of time that the address of a view names, or else the view's own. */
export function rangeAt(path: string, asked: string | undefined, now: number): RangeAt {
  const isTaken = asked !== undefined && parseRange(asked) && (asked !== ANY_TIME || OF_ANY_TIME.has(path));
  const text = isTaken ? asked : (RANGES[path] ?? DEFAULT_RANGE);
  const range = parseRange(text) ?? { kind: "last", text: DEFAULT_RANGE, ms: 86_400_000 };
  return { range, text, bounds: bounds(range, Math.floor(now / 60_000) * 60_000) };
}

/** The same of the view that is shown. */
export function useRange(): RangeAt {
  const { range: asked } = useSearch({ strict: false }) as Params<"range">;
  const path = useRouterState({ select: (state) => state.location.pathname });
  const minute = Math.floor(useNow() / 60_000) * 60_000;
  return useMemo(() => rangeAt(path, asked, minute), [asked, path, minute]);
}
