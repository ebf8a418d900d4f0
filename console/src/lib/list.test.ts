import { describe, expect, test } from "vitest";
import { isShort, keep, newsIn } from "./list";

describe("the range of a list", () => {
  const then = { since: "2026-11-21T10:00:00.000Z" };
  const now = { since: "2026-11-21T10:01:00.000Z" };
  test("moves on where nobody reads it", () => {
    expect(keep({ of: "24h", value: then }, "24h", now, false)).toEqual({ of: "24h", value: now });
  });
  test("stays while somebody has scrolled or a row is open", () => {
    const kept = { of: "24h", value: then };
    expect(keep(kept, "24h", now, true)).toBe(kept);
  });
  test("is another one where another is chosen, or another filter, whoever reads", () => {
    expect(keep({ of: "24h", value: then }, "7d", now, true)).toEqual({ of: "7d", value: now });
  });
  test("is the same object where nothing moved: nothing is drawn or asked for anew", () => {
    const kept = { of: "24h", value: now };
    expect(keep(kept, "24h", now, false)).toBe(kept);
  });
});

describe("what has come in since", () => {
  const known = new Set(["a", "b"]);
  const isKnown = (row: string) => known.has(row);
  test("is counted", () => expect(newsIn(["d", "c", "a", "b"], isKnown)).toEqual({ count: 2, isMore: false }));
  test("is nothing where all was shown", () => expect(newsIn(["b", "a"], isKnown)).toEqual({ count: 0, isMore: false }));
  test("counts what came late, and stands between what was shown", () => expect(newsIn(["a", "late", "b"], isKnown).count).toBe(1));
  test("is at least so many where a whole page is new", () => {
    expect(newsIn(Array.from({ length: 50 }, (_, at) => `new ${at}`), isKnown)).toEqual({ count: 50, isMore: true });
    expect(newsIn(["c", "d"], isKnown)).toEqual({ count: 2, isMore: false });
  });
});

test("pages that end early are gone on with until a view is full, or there is no more", () => {
  expect(isShort(0, true)).toBe(true);
  expect(isShort(3, true)).toBe(true);
  expect(isShort(40, true)).toBe(false);
  expect(isShort(3, false)).toBe(false);
});
