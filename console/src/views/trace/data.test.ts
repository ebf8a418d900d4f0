import { expect, test } from "vitest";
import { barOf, extent, indentOf, verifyCommand } from "./data";

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

test("a bar is drawn of what lies in the stretch that is shown", () => {
  const from = Date.parse(T);
  const stretch = { from, to: from + 100 };
  expect(barOf({ time: T, duration_ms: 50 }, stretch)).toEqual({ left: 0, width: 0.5, isCut: false });
  expect(barOf({ time: "2026-11-22T15:59:59.950000Z", duration_ms: 3_600_000 }, stretch)).toEqual({ left: 0, width: 1, isCut: true });
  expect(barOf({ time: "2026-11-22T16:00:00.100000Z", duration_ms: null }, stretch)).toEqual({ left: 1, width: 0, isCut: false });
  expect(barOf({ time: "2026-11-22T16:00:00.200000Z", duration_ms: 5 }, stretch)).toBeNull();
  expect(barOf({ time: "2026-11-22T15:59:59.000000Z", duration_ms: 5 }, stretch)).toBeNull();
});

test("each step of depth is seen, and the deepest row leaves room for its name", () => {
  expect(indentOf(3, 3)).toBeCloseTo(3.3);
  for (const deepest of [1, 12, 64, 500]) {
    expect(indentOf(deepest, deepest)).toBeLessThanOrEqual(7);
    expect(indentOf(deepest, deepest)).toBeGreaterThan(indentOf(deepest - 1, deepest));
  }
});

test("a bundle is verified by the key that its reader has", () => expect(verifyCommand("evidence-a.tar.gz")).toBe('watchkeeper evidence verify evidence-a.tar.gz --key vkey'));
