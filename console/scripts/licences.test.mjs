import { expect, test } from "vitest";
import { isPermissive, licenceOf } from "./licences.mjs";

test("an expression is permissive when permissive licences are enough for it", () => {
  for (const each of ["MIT", "Apache-2.0", "(MIT OR CC0-1.0)", "GPL-3.0-only OR MIT", "MIT AND ISC", "Unlicense"]) expect(isPermissive(each), each).toBe(true);
  for (const each of ["MPL-2.0", "GPL-3.0-only", "MIT AND LGPL-2.1-only", "SEE LICENSE IN LICENSE", "UNLICENSED", "", "MIT AND (GPL-2.0-only OR MPL-2.0)", "BUSL-1.1"]) expect(isPermissive(each), each).toBe(false);
});

test("a manifest names its licence in the form of today or of those before", () => {
  expect(licenceOf({ license: "MIT" })).toBe("MIT");
  expect(licenceOf({ license: { type: "ISC" } })).toBe("ISC");
  expect(licenceOf({ licenses: [{ type: "GPL-2.0" }, { type: "MIT" }] })).toBe("GPL-2.0 OR MIT");
  expect(licenceOf({})).toBeUndefined();
});
