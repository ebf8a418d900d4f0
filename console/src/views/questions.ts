// What views ask the server when they are opened, where that is known before their code is there: see `early.ts`.

import { queryOptions } from "@tanstack/react-query";
import { api, take, type Schema } from "../api/client";

export type Bounds = { readonly since: string; readonly until?: string };

export type UsageBy = Schema<"UsageBy">;
const USAGE: readonly UsageBy[] = ["user", "model", "application", "agent"];

/** By what usage is counted, as the address says. */
export const usageBy = (asked: string | undefined): UsageBy => USAGE.find((each) => each === asked) ?? "user";

export const overviewQuery = (bounds: Bounds) => queryOptions({
  queryKey: ["overview", bounds],
  queryFn: ({ signal }) => take(api.GET("/api/overview", { signal, params: { query: bounds } })),
});

export const tokensQuery = (by: UsageBy, bounds: Bounds) => queryOptions({
  queryKey: ["tokens", by, bounds],
  queryFn: ({ signal }) => take(api.GET("/api/tokens", { signal, params: { query: { by, ...bounds, limit: 50 } } })),
});

export const modelsQuery = (bounds: Bounds) => queryOptions({
  queryKey: ["models", bounds],
  queryFn: ({ signal }) => take(api.GET("/api/models", { signal, params: { query: bounds } })),
});
