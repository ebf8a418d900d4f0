import { expect, test } from "vitest";
import { heightOf, NODE } from "./graph";

test("a destination has room for all of its address", () => {
  expect(heightOf("billing@contoso.example")).toBe(NODE.height + 6);
  expect(heightOf("a@b.example")).toBe(NODE.height);
  expect(heightOf(`https://files.attacker.example/${"a".repeat(149)}`)).toBe(38 + 18 * 10);
  expect(heightOf("\u4f60".repeat(18))).toBe(38 + 18 * 3);
  expect(heightOf("a".repeat(100_000))).toBe(heightOf("a".repeat(300)));
});
