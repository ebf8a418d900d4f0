import { expect, test } from "vitest";
import { ROW_PX, rowsMax } from "./rows";

/** Where Firefox stops to lay out, in pixels: 2^30 of its units, 60 to a pixel. */
const FIREFOX_PX = 2 ** 30 / 60;

test("a table of a million rows is as high as every browser can lay out", () => {
  for (const density of ["normal", "compact"] as const) {
    const shown = Math.min(1_000_000, rowsMax(density));
    expect(shown * ROW_PX[density], density).toBeLessThan(FIREFOX_PX);
    // And no lower than has to be.
    expect((shown + 100_000) * ROW_PX[density], density).toBeGreaterThan(FIREFOX_PX);
  }
});
