// How long until there is something to see, and until it is what was asked for.

import { go, open, probeOf, RUNS, signedIn, test } from "./probe";
import { tell } from "./results";

const GOAL = 1_000;

const grid = (name: string) => `[role=grid][aria-label="${name}"] .t-row`;
const VIEWS = [
  ["Overview", "/", ".figures dd"],
  ["Detections", "/detections", grid("Detections")],
  // Nothing comes in: what is waited for is that the stream is there.
  ["Live", "/live", "main [role=status]:has(.dot.good)"],
  ["Sessions", "/sessions", grid("Sessions")],
  ["Search", "/search", grid("Events")],
  ["Entities", "/entities", grid("Entities")],
  ["Tokens", "/tokens", "table.usage tbody tr"],
] as const;

test("first paint", async ({ browser }) => {
  // The browser's own start is not the console's.
  await (await signedIn(browser)).close();
  for (const [name, path, selector] of VIEWS) {
    const [cold, warm] = [{ fcp: [] as number[], content: [] as number[] }, { fcp: [] as number[], content: [] as number[] }];
    const take = async (into: typeof cold, page: Parameters<typeof probeOf>[0]) => {
      const { fcp, content } = await probeOf(page);
      into.fcp.push(fcp ?? Number.NaN);
      into.content.push(content ?? Number.NaN);
    };
    for (let run = 0; run < RUNS; run += 1) {
      const context = await signedIn(browser);
      const page = await open(context, path, selector);
      await take(cold, page);
      await go(page, path);
      await take(warm, page);
      await context.close();
    }
    tell("first paint", `${name}, nothing in the cache`, cold.fcp, { goal: GOAL });
    tell("first paint", `${name}, cached`, warm.fcp, { goal: GOAL });
    tell("content painted", `${name}, nothing in the cache`, cold.content, { goal: GOAL });
    tell("content painted", `${name}, cached`, warm.content, { goal: GOAL });
  }
});
