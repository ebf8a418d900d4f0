import { expect, test } from "vitest";
import { alone } from "./alone";

test("values with none beside them are drawn as points", () => {
  expect(alone([4])).toEqual([0]);
  expect(alone([null, 4, null, 3, 2, undefined, 0])).toEqual([1, 6]);
  expect(alone([1, 2])).toBeNull();
  expect(alone([])).toBeNull();
});
