// What is done before it is asked for, so that a view is there sooner: its question goes to the server while its code comes, and the code of the
// other views comes when nothing else is to be done.

import type { QueryClient } from "@tanstack/react-query";
import { sessionQuery } from "./api/session";
import { parseSearch, rangeAt } from "./lib/at";
import { clockNow } from "./lib/clock";
import { loadView, VIEW_PATHS } from "./router";
import { modelsQuery, overviewQuery, tokensQuery, usageBy } from "./views/questions";

/** Begins with the view of the address. Whatever fails here is asked again by the view, which says so. */
export async function beginEarly(queries: QueryClient, { pathname, search }: Pick<Location, "pathname" | "search">): Promise<void> {
  const code = loadView(pathname).catch(() => undefined);
  const session = await queries.fetchQuery(sessionQuery).catch(() => null);
  if (session?.permissions.includes("record.read")) {
    const asked = parseSearch(search);
    const { bounds } = rangeAt(pathname, asked["range"], clockNow());
    if (pathname === "/") void queries.prefetchQuery(overviewQuery(bounds));
    else if (pathname === "/tokens") void queries.prefetchQuery(tokensQuery(usageBy(asked["by"]), bounds));
    else if (pathname === "/models") void queries.prefetchQuery(modelsQuery(bounds));
  }
  await code;
  await pause(FIRST_MS);
  for (const path of VIEW_PATHS) {
    await idle();
    await loadView(path).catch(() => undefined);
  }
}

/** How long the view that was opened has the connection for itself. */
const FIRST_MS = 1_500;
/** Longest wait for a moment in which nothing is to be done. */
const IDLE_MS = 10_000;

const pause = (ms: number): Promise<void> => new Promise((resolve) => { setTimeout(resolve, ms); });

/** Waits for a moment in which nothing is to be done; Safari knows none, and each is as good as another one. */
const idle = (): Promise<void> => (typeof requestIdleCallback === "undefined" ? pause(0) : new Promise((resolve) => { requestIdleCallback(() => resolve(), { timeout: IDLE_MS }); }));
