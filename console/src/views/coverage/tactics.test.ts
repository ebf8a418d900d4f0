import { expect, test } from "vitest";
import atlas from "../../../../content/taxonomy/atlas.json";
import { TACTICS } from "./tactics";

test("the matrix has every tactic and every technique of the taxonomy, and nothing else of it", () => {
  expect(TACTICS.map(({ id, name }) => ({ id, name }))).toEqual(atlas.tactics.map(({ id, name }) => ({ id, name })));
  for (const { id, tactics } of atlas.techniques) {
    const isSub = /\.\d{3}$/.test(id);
    expect(TACTICS.filter((each) => each.techniques.includes(id)).map((each) => each.id).toSorted(), id).toEqual(isSub ? [] : tactics.toSorted());
  }
  for (const each of TACTICS) expect(Object.keys(each)).toEqual(["id", "name", "techniques"]);
});
