import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { api, take, type Schema } from "./client";
import { SignInProblem } from "./problem";
import { useMay } from "./session";

/** Somebody who signed in by OpenID Connect. */
export type Person = Schema<"PersonRow">;
/** Who signs people in for this server. */
export type Provider = Schema<"OidcButton">;

/** The address is the server's own; what leads elsewhere is none. */
const isStart = (path: string): boolean => /^\/api\/session\/[\w/-]+$/.test(path);

/** Who signs people in, beside keys. */
export function useProvider() {
  return useQuery({
    queryKey: ["session", "providers"],
    queryFn: async ({ signal }): Promise<Provider | null> => {
      const { oidc } = await take(api.GET("/api/session/providers", { signal }));
      return oidc && isStart(oidc.start) ? oidc : null;
    },
    staleTime: Infinity,
  });
}

/** What somebody is called: by the name that the provider gives, or else by what it has. */
export const nameOfPerson = (of: Pick<Person, "name" | "email" | "subject">): string => of.name ?? of.email ?? of.subject;

/** The people that the server knows. */
export function usePeople() {
  const mayAdminister = useMay("administer");
  return useQuery({
    queryKey: ["people"],
    queryFn: ({ signal }) => take(api.GET("/api/people", { signal })),
    enabled: mayAdminister,
    staleTime: 30_000,
  });
}

/** Signs somebody out everywhere. */
export function useEndSessions() {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: (subject: string) => take(api.DELETE("/api/people/{subject}/sessions", { params: { path: { subject } } })),
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
