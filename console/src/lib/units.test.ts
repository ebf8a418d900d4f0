import { expect, it } from "vitest";
import { stood } from "./units";

it("shows what stood in a field without repetition and binary tails, and nothing else changed", () => {
  expect(stood('["a","a","b"]')).toBe("a, b");
  expect(stood("0.8999999761581421")).toBe("0.9");
  expect(stood("0.5")).toBe("0.5");
  expect(stood("00421")).toBe("00421");
  expect(stood('["a","b')).toBe('["a","b');
  expect(stood('[{"a":1}]')).toBe('[{"a":1}]');
  expect(stood("[click](javascript:x)")).toBe("[click](javascript:x)");
});
