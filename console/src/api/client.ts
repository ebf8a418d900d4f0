// The typed client. Its types are made from the server's contract, `docs/reference/openapi.json` (`npm run api`).

import createClient, { type Middleware } from "openapi-fetch";
import { BACKGROUND, isBackground } from "./background";
import { ApiProblem, roleFor } from "./problem";
import type { components, paths } from "./schema";

type Schemas = components["schemas"];
export type Schema<Name extends keyof Schemas> = Schemas[Name];

export const api = createClient<paths>({ baseUrl: "" });

let signedOut: () => void = () => undefined;

/** Says what is to be done when the sign-in is over. */
export function onSignedOut(then: () => void): void {
  signedOut = then;
}

/** An error as the server tells it. */
export async function problemIn(response: Response, method = "GET"): Promise<ApiProblem> {
  const wait = Number(response.headers.get("retry-after"));
  let message = response.statusText;
  let isOurs = false;
  try {
    const body = (await response.clone().json()) as { error?: { message?: unknown } };
    if (typeof body.error?.message === "string") {
      message = body.error.message;
      isOurs = true;
    }
  } catch {
    // Not ours: a proxy between us. Its status has to do.
  }
  const { pathname, search } = new URL(response.url || "/", "http://console");
  return new ApiProblem(response.status, message, Number.isFinite(wait) && wait > 0 ? wait : null, isOurs, isOurs && response.status === 403 ? roleFor(method, pathname + search) : null);
}

/** Requests of timers say that they are. It runs in the same turn as the call, so that the timer is known. */
export const asBackground: Middleware = {
  onRequest({ request }) {
    if (isBackground()) request.headers.set(BACKGROUND, "1");
    return undefined;
  },
};

api.use(asBackground, {
  async onResponse({ request, response, schemaPath }) {
    if (response.ok) return;
    if (response.status === 401 && schemaPath !== "/api/session") signedOut();
    throw await problemIn(response, request.method);
  },
});

/** What an answer holds. Errors were thrown before. */
export async function take<T>(answer: Promise<{ data?: T | undefined }>): Promise<T> {
  return (await answer).data as T;
}
