import { expect, test } from "vitest";
import { csv } from "./csv";

const field = (value: unknown) => csv([[value]]);

test.each(["=1+1", "+1+1", "-1+1", "@SUM(A1)", "＝1+1", "＋1", "－1", "＠SUM(A1)", "﹢1", "−1", " =1", "\u00a0=1", "\u200b=1", "\u202e=1", "\t=1", "\t1", "\t", "=HYPERLINK(1)", "+1", "-"])("%j is no formula any more", (text) => {
  expect(field(text)).toBe(`'${text}`);
});

test.each(["\r=1", "\n=1", "\r", "\n\t"])("%j neither, in quotes", (text) => expect(field(text)).toBe(`"'${text}"`));

test.each([[-1, "-1"], ["-1.5", "-1.5"], ["-1e-7", "-1e-7"], [0, "0"], ["a=b", "a=b"], ["5-3", "5-3"], ["", ""], [null, ""], [true, "true"]])("%j stays", (value, text) => expect(field(value)).toBe(text));

test("rows and fields are those of RFC 4180", () => {
  expect(csv([["a", 'b "c"'], ["d,e", "f\ng"]])).toBe('a,"b ""c"""\r\n"d,e","f\ng"');
});
