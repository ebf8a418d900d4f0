import { queryOptions, useQuery, useQueryClient, type QueryClient } from "@tanstack/react-query";
import { api, take, type Schema } from "./client";
import { forgetAsked } from "../lib/asked";
import { forgetReasons } from "../lib/reasons";
import { ApiProblem } from "./problem";

export type Session = Schema<"SessionInfo">;
export type Permission = Schema<"Permission">;

/** What somebody is called in triage: as the record calls who did something. */
export const nameOf = (session: Pick<Session, "key_id" | "key_name">): string => session.key_name ?? session.key_id;

const KEY = ["session"] as const;
/** How often the console looks whether the sign-in still stands. */
const LOOK_MS = 60_000;

async function current(signal: AbortSignal): Promise<Session | null> {
  try {
    return await take(api.GET("/api/session", { signal }));
  } catch (error) {
    if (error instanceof ApiProblem && error.status === 401) return null;
    throw error;
  }
}

/** Names a sign-in, to tell it from another one. */
export const signInOf = (session: Session | null): string => (session ? `${session.key_id} ${session.session ?? ""}` : "");

/** Who is signed in; nothing where nobody is. */
export const sessionQuery = queryOptions({
  queryKey: KEY,
  queryFn: async ({ signal, client }): Promise<Session | null> => {
    const session = await current(signal);
    // Another tab may have signed out, and somebody else in: nothing that one saw, or gave as a reason, is the other's.
    const before = client.getQueryData<Session | null>(KEY);
    if (before && signInOf(before) !== signInOf(session)) forgetAll(client);
    return session;
  },
  staleTime: LOOK_MS / 2,
  retry: 1,
});

/** The same, looked at again and again. */
export function useSessionQuery() {
  return useQuery({ ...sessionQuery, refetchOnWindowFocus: "always", refetchInterval: LOOK_MS });
}

/** Whether the reader may do something. The server decides; this is for what is shown. */
export function useMay(permission: Permission): boolean {
  const { data } = useSessionQuery();
  return data?.permissions.includes(permission) ?? false;
}

export function useSignIn() {
  const queries = useQueryClient();
  return async (key: string) => {
    await api.POST("/api/session", { body: { key } });
    forgetAll(queries);
    await queries.refetchQueries({ queryKey: KEY });
  };
}

export function useSignOut() {
  const queries = useQueryClient();
  return async () => {
    await api.DELETE("/api/session");
    endSession(queries);
  };
}

/** The sign-in is over: what was shown is forgotten, and why it was read. */
export function endSession(queries: QueryClient): void {
  forgetAll(queries);
  queries.setQueryData(KEY, null);
}

function forgetAll(queries: QueryClient): void {
  forgetReasons();
  forgetAsked();
  queries.removeQueries({ predicate: (query) => query.queryKey[0] !== KEY[0] });
}
