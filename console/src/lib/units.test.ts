import { expect, test } from "vitest";
import { column, isTokensTold, share, short, TOKENS_UNTOLD, tokensTold } from "./units";

test("figures of one column have as many digits behind the point", () => {
  expect([0, 875, 999, 1_000, 12_000, 12_340, 2_000_000].map(column)).toEqual(["0", "875", "999", "1.0K", "12.0K", "12.3K", "2.0M"]);
});

test("figures alone have no more digits than they need", () => expect([12_000, 12_340].map(short)).toEqual(["12K", "12.3K"]));

test("a share of nothing is none", () => {
  expect(share(0, 0)).toBe("–");
  expect(share(1, 200)).toBe("0.5 %");
  expect(share(1, 2)).toBe("50 %");
});

test("the words for a dash say no more than is known", () => expect(TOKENS_UNTOLD).toBe("No tokens are told, or none were used"));

test("tokens that nobody told are not 0", () => {
  expect([isTokensTold(0, 3), isTokensTold(0, 0), isTokensTold(7, 3)]).toEqual([false, true, true]);
  expect([tokensTold({}), tokensTold({ input_tokens: null }), tokensTold({ input_tokens: 0 }), tokensTold({ input_tokens: 3, output_tokens: 4 }), tokensTold({ output_tokens: 4 })]).toEqual([null, null, 0, 7, 4]);
});
