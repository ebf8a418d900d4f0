import { expect, test } from "vitest";
import { targetOf } from "./target";

const listed = ["a", "b", "c"];

test("keys act on what is ticked, and on the open one where nothing is", () => {
  expect(targetOf(new Set(["c", "a"]), listed, "b")).toEqual({ ids: ["a", "c"], isTicked: true });
  expect(targetOf(new Set(), listed, "b")).toEqual({ ids: ["b"], isTicked: false });
  expect(targetOf(new Set(), listed, undefined)).toEqual({ ids: [], isTicked: false });
});

test("what was ticked and is out of sight is not acted on", () => {
  expect(targetOf(new Set(["a", "gone"]), listed, "b")).toEqual({ ids: ["a"], isTicked: true });
  expect(targetOf(new Set(["gone"]), listed, "b")).toEqual({ ids: ["b"], isTicked: false });
});
