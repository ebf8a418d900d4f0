import { expect, test } from "vitest";
import { extent } from "./data";

const T = "2026-11-22T16:00:00.000000Z";

test("a length that nobody gave is none", () => {
  expect(extent([{ time: T, duration_ms: null }]).isMeasured).toBe(false);
  expect(extent([{ time: T, duration_ms: null }, { time: T, duration_ms: 0 }]).isMeasured).toBe(false);
  expect(extent([]).isMeasured).toBe(false);
  const { from, to } = extent([{ time: T, duration_ms: null }]);
  expect(to).toBeGreaterThan(from);
});

test("a length that was given is there, however short", () => {
  const { from, to, isMeasured } = extent([{ time: T, duration_ms: 0.25 }]);
  expect([to - from, isMeasured]).toEqual([0.25, true]);
  expect(extent([{ time: T, duration_ms: null }, { time: "2026-11-22T16:00:00.000100Z", duration_ms: null }]).isMeasured).toBe(true);
});
