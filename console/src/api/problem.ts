// What went wrong, in words that say what to do.

/** An answer of the server that is an error. */
export class ApiProblem extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly retryAfter: number | null = null,
    /** Whether the server said it, and not a proxy on the way. */
    readonly isOurs = true,
    /** The role that it takes, where the console knows. */
    readonly needs: string | null = null,
  ) {
    super(message);
  }
}

/** Whether the server was not reached at all. */
export const isGone = (error: unknown): boolean => error instanceof TypeError || (error instanceof ApiProblem && !error.isOurs && error.status >= 500);

const SIGN_IN = /^\/api\/session(?:[/?]|$)/;
const ADMIN = /^\/api\/(keys|holds|evidence|people|lifecycle)/;
const ANALYST = /^\/api\/(query$|search$|searches|rules\/(explain|replay)|detections\/triage|suppressions)/;

/** The role that a request takes, as `docs/reference/api.md` has it; none where the server's own words name those that do. */
export function roleFor(method: string, path: string): string | null {
  if (SIGN_IN.test(path)) return null;
  if (ADMIN.test(path)) return "admin";
  if (ANALYST.test(path)) return "analyst";
  // Contents are asked for with a reason.
  return /[?&]reason=/.test(path) || method !== "GET" ? "analyst" : "auditor";
}

/** What the provider of sign-in sent back with. */
export class SignInProblem extends Error {}

const TITLES: Readonly<Record<number, string>> = {
  400: "The server does not take this request",
  401: "Not signed in",
  403: "Your role does not allow this",
  404: "There is nothing of this name",
  409: "It does not fit what is there",
  410: "It was erased",
  422: "The server could not do this",
  429: "Too many at once",
  501: "This server does not have this yet",
  503: "The server cannot answer now",
};

/** An error as a title and what it says. */
export function problemOf(error: unknown): { title: string; says: string } {
  if (error instanceof ApiProblem) {
    if (isGone(error)) return { title: "The server does not answer", says: "Whatever stands between this browser and `watchkeeper serve` says that it cannot reach it. The console goes on when it can." };
    const wait = error.retryAfter === null ? "" : ` Try again in ${error.retryAfter} s.`;
    return { title: TITLES[error.status] ?? `The server answered ${error.status}`, says: error.message + wait + (error.needs ? `. It takes the role ${error.needs}: whoever administers this server makes such a key (Settings, Keys and roles)` : "") };
  }
  if (error instanceof SignInProblem) return { title: "Not signed in", says: error.message };
  if (error instanceof TypeError) {
    return { title: "The server does not answer", says: "Is `watchkeeper serve` running, and can this browser reach it? The console goes on when it can." };
  }
  return { title: "Something went wrong in the console", says: error instanceof Error ? error.message : String(error) };
}

/** Whether asking again might help. */
export const mayRetry = (error: unknown): boolean => !(error instanceof ApiProblem) || error.status === 429 || error.status >= 502;

/** Whether a reader who asks again could get another answer. */
export const isWorthAsking = (error: unknown): boolean => !(error instanceof ApiProblem) || ![400, 403, 404, 410].includes(error.status);
