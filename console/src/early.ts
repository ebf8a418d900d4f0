// What is done before it is asked for, so that a view is there sooner: its question goes to the server while its code comes. The code
// of other views waits until somebody means to go there: a browser keeps what it failed to load, so that a short outage would break all of them.

import type { QueryClient } from "@tanstack/react-query";
import { sessionQuery } from "./api/session";
import { parseSearch, rangeAt } from "./lib/at";
import { clockNow } from "./lib/clock";
import { loadView } from "./router";
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
}
