import { expect, test } from "vitest";
import { csv } from "./csv";
import { parseExact } from "./exact";

test("integers beyond 2^53 keep every digit", () => {
  expect(parseExact('{"rows":[[1795383552090444964,-9223372036854775808,9007199254740991,9007199254740992]]}'))
    .toEqual({ rows: [[1795383552090444964n, -9223372036854775808n, 9007199254740991, 9007199254740992n]] });
});

test("what stands in strings is left alone, and so are other numbers", () => {
  for (const value of ["1795383552090444964", 'a "1795383552090444964" b', "\\", '\\"', "\\\\ 1795383552090444964", "", 1.5, -2e300, 0, true, null]) {
    const rows = [[value, "17953835520904449640", value], { "99999999999999999999": value }];
    expect(parseExact(JSON.stringify(rows))).toEqual(rows);
  }
  expect(parseExact("[1795383552090444964.5, 1e30]")).toEqual([Number("1795383552090444964.5"), 1e30]);
});

test("what is no JSON is refused", () => {
  for (const text of ["", '"open', "[1795383552090444964", "1 2"]) expect(() => parseExact(text), text).toThrow(SyntaxError);
});

test("a table has them in its file as they are", () => {
  const { rows } = parseExact('{"rows":[[1795383552090444964,"x"],[-1795383552090444964,null]]}') as { rows: unknown[][] };
  expect(csv(rows)).toBe("1795383552090444964,x\r\n-1795383552090444964,");
});
