import { expect, test } from "vitest";
import { leavesOutOwn } from "./own";

test("it is left out unless it is asked for", () => {
  expect(leavesOutOwn({})).toBe(true);
  expect(leavesOutOwn({ kind: "tool_call" })).toBe(true);
  for (const asked of [{ own: "yes" }, { kind: "admin" }, { application: "watchkeeper" }, { session: "console-1" }, { trace: "1" }]) expect(leavesOutOwn(asked)).toBe(false);
});
