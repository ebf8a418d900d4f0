import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { problemIn } from "./client";
import { SignInProblem } from "./problem";
import { useMay } from "./session";

// Sign-in by OpenID Connect and the people who come that way. A server that has neither has not these routes: then nothing of it is shown.

/** Somebody who signed in by OpenID Connect. */
export interface Person {
  readonly subject: string;
  readonly name?: string | null;
  readonly email?: string | null;
  readonly role: string;
  readonly provider: string;
  readonly first_signed_in: string;
  readonly last_signed_in: string;
  /** Sign-ins that stand. */
  readonly sessions: number;
}

/** Who signs people in for this server. */
export interface Provider {
  readonly name: string;
  /** Where signing in begins, on this server. */
  readonly start: string;
}

async function asked<T>(path: string, signal: AbortSignal): Promise<T | null> {
  const response = await fetch(path, { signal, headers: { accept: "application/json" } });
  if (response.ok) return (await response.json()) as T;
  const problem = await problemIn(response);
  if (problem.status === 404 || problem.status === 401) return null;
  throw problem;
}

const isStart = (value: unknown): value is string => typeof value === "string" && /^\/api\/session\/[\w/-]+$/.test(value);

/** Who signs people in, beside keys. */
export function useProvider() {
  return useQuery({
    queryKey: ["session", "providers"],
    queryFn: async ({ signal }): Promise<Provider | null> => {
      const answer = await asked<{ oidc?: Provider | null }>("/api/session/providers", signal);
      // The address is the server's own; what leads elsewhere is none.
      return answer?.oidc && isStart(answer.oidc.start) ? answer.oidc : null;
    },
    staleTime: Infinity,
    retry: false,
  });
}

/** The people that the server knows; nothing where it knows none. */
export function usePeople() {
  const mayAdminister = useMay("administer");
  return useQuery({
    queryKey: ["people"],
    queryFn: ({ signal }) => asked<{ rows: readonly Person[] }>("/api/people", signal),
    enabled: mayAdminister,
    staleTime: 30_000,
    retry: false,
  });
}

/** Signs somebody out everywhere. */
export function useEndSessions() {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: async (subject: string) => {
      const response = await fetch(`/api/people/${encodeURIComponent(subject)}/sessions`, { method: "DELETE" });
      if (!response.ok) throw await problemIn(response);
    },
    onSuccess: () => queries.invalidateQueries({ queryKey: ["people"] }),
  });
}

const SIGN_IN_ERRORS: Readonly<Record<string, string>> = {
  denied: "The provider did not let you in, or you turned back. Try again, or sign in with a key.",
  state: "The answer of the provider does not belong to this browser’s sign-in: it was begun in another window, or too long ago. Begin anew.",
  provider: "The provider could not be asked, or answered what cannot be trusted. The server’s log says what; whoever runs it can look there.",
  role: "You are known, and nobody gave you a role here. Whoever administers Watchkeeper maps groups of the provider to roles.",
  expired: "Signing in took too long. Begin anew.",
};

/** Why signing in did not work, from the code in the address. */
export const signInError = (code: string | null | undefined): SignInProblem | null =>
  code ? new SignInProblem(SIGN_IN_ERRORS[code] ?? "Signing in did not work.") : null;
