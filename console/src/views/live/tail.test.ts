import { expect, test } from "vitest";
import { ROWS_MAX, Tail } from "./tail";

const rows = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => ({ seq: from + index }));

test("rows are shown newest first, each once", () => {
  const tail = new Tail<{ seq: number }>();
  expect(tail.take(rows(0, 3))).toBe(3);
  // The connection began again and brought two of them once more.
  expect(tail.take(rows(1, 5))).toBe(2);
  tail.show();
  expect(tail.rows.map((row) => row.seq)).toEqual([4, 3, 2, 1, 0]);
  expect(tail.take(rows(3, 6))).toBe(1);
  tail.show();
  expect(tail.rows.map((row) => row.seq)).toEqual([5, 4, 3, 2, 1, 0]);
  expect(tail.dropped).toBe(0);
});

test("what there is no room for while it is held is counted, and the newest are kept", () => {
  const tail = new Tail<{ seq: number }>();
  const all = 3 * ROWS_MAX + 7;
  for (let at = 0; at < all; at += 1_000) tail.take(rows(at, Math.min(at + 1_000, all)));
  expect(tail.held).toBe(all);
  expect(tail.lost).toBeGreaterThan(0);
  tail.show();
  expect(tail.held).toBe(0);
  expect(tail.rows.length).toBe(ROWS_MAX);
  expect(tail.rows[0]?.seq).toBe(all - 1);
  expect(tail.dropped).toBe(all - ROWS_MAX);
  tail.pass(5);
  expect(tail.dropped).toBe(all - ROWS_MAX + 5);
});

test("where the record is another one, places begin anew and rows of the same place are new", () => {
  const tail = new Tail<{ seq: number }>();
  tail.take(rows(0, 5));
  tail.show();
  tail.reset(1);
  expect(tail.last).toBe("1");
  expect(tail.take(rows(2, 4))).toBe(2);
  tail.show();
  expect(tail.rows.map((row) => row.seq)).toEqual([3, 2, 4, 3, 2, 1, 0]);
  tail.reset(null);
  expect(tail.last).toBeNull();
});

test("places of rows that are gone are not kept", () => {
  const tail = new Tail<{ seq: number }>();
  tail.take(rows(0, ROWS_MAX));
  tail.show();
  tail.take(rows(ROWS_MAX, ROWS_MAX + 10));
  tail.show();
  // Row 0 is shown no more: should it come again, it is new.
  expect(tail.take([{ seq: 0 }])).toBe(1);
  expect(tail.take([{ seq: ROWS_MAX + 9 }])).toBe(0);
});

test("a row of the place of another record that goes out of sight leaves the one that is shown known", () => {
  const tail = new Tail<{ seq: number }>();
  tail.take(rows(0, 2));
  tail.show();
  tail.reset(null);
  tail.take(rows(0, ROWS_MAX - 1));
  // The first row of the record of before is out of sight now.
  tail.show();
  expect(tail.rows.length).toBe(ROWS_MAX);
  expect(tail.take(rows(0, 1))).toBe(0);
});
