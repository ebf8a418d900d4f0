import { QueryClient, QueryObserver, timeoutManager } from "@tanstack/react-query";
import createClient from "openapi-fetch";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { acted, BACKGROUND, TIMERS } from "./background";
import { asBackground } from "./client";

timeoutManager.setTimeoutProvider(TIMERS);

const sent: (string | null)[] = [];
beforeEach(() => {
  sent.length = 0;
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "performance"] });
  vi.stubGlobal("fetch", (request: Request) => {
    sent.push(request.headers.get(BACKGROUND));
    return Promise.resolve(sent.length === 2 ? new Response("{}", { status: 503 }) : new Response("{}", { headers: { "content-type": "application/json" } }));
  });
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

/** Looks at a query every second, as the views do (outside of a browser the queries themselves start no interval). */
function watching() {
  const client = createClient<{ "/x": { get: { responses: { 200: { content: { "application/json": object } } } } } }>({ baseUrl: "http://console" });
  client.use(asBackground);
  const observer = new QueryObserver(new QueryClient(), {
    queryKey: ["x"], retry: 1, retryDelay: 300,
    queryFn: async () => {
      const { response } = await client.GET("/x");
      if (!response.ok) throw new Error("503");
      return 1;
    },
  });
  const unsubscribe = observer.subscribe(() => undefined);
  const interval = timeoutManager.setInterval(() => void observer.refetch(), 1_000);
  return { refetch: () => observer.refetch(), stop: () => { timeoutManager.clearInterval(interval); unsubscribe(); } };
}

test("what a timer asks says so, also when it tries again; what the reader asks does not", async () => {
  acted();
  const { refetch, stop } = watching();
  await vi.advanceTimersByTimeAsync(10);
  expect(sent).toEqual([null]);
  // The interval, and what it tries again.
  await vi.advanceTimersByTimeAsync(1_400);
  expect(sent).toEqual([null, "1", "1"]);
  acted();
  await refetch();
  expect(sent.at(-1)).toBeNull();
  // Nobody is there any more: not even what a clock of the page has caused is use.
  await vi.advanceTimersByTimeAsync(31_000);
  await refetch();
  expect(sent.slice(4).every((each) => each === "1")).toBe(true);
  stop();
});
