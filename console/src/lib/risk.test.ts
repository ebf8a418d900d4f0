import { expect, test } from "vitest";
import { bandOf, BANDS, reachOf } from "./risk";

test("a risk is in the band that it has reached", () => {
  const bands = [[0, null], [0.4, null], [1, "low"], [29.9, "low"], [30, "medium"], [59.9, "medium"], [60, "high"], [159, "high"], [160, "critical"], [4_000, "critical"]] as const;
  for (const [risk, band] of bands) expect(bandOf(risk), String(risk)).toBe(band);
});

test("bands are in order, and a bar never leaves its track", () => {
  expect(BANDS.map(({ from }) => from)).toEqual(BANDS.map(({ from }) => from).toSorted((a, b) => b - a));
  expect(reachOf(-1)).toBe(0);
  expect(reachOf(80)).toBe(50);
  expect(reachOf(9_000)).toBe(100);
});
