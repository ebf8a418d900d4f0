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

/** The range of time that the address names, or else the view's own, and its bounds as the API takes them. */
export function useRange(): { range: Range; text: string; bounds: { since: string; until?: string } } {
  const { range: asked } = useSearch({ strict: false }) as Params<"range">;
  const path = useRouterState({ select: (state) => state.location.pathname });
  const fallback = RANGES[path] ?? DEFAULT_RANGE;
  const now = useNow();
  const minute = Math.floor(now / 60_000);
  return useMemo(() => {
    const isTaken = asked !== undefined && parseRange(asked) && (asked !== ANY_TIME || OF_ANY_TIME.has(path));
    const text = isTaken ? asked : fallback;
    const range = parseRange(text) ?? { kind: "last", text: DEFAULT_RANGE, ms: 86_400_000 };
    return { range, text, bounds: bounds(range, minute * 60_000) };
  }, [asked, fallback, path, minute]);
}
