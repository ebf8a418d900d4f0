import { describe, expect, test } from "vitest";
import { isOfCharacters, isOwnKey, isTypedInto } from "./shortcuts";

test("a shortcut is of characters alone, or it is not", () => {
  for (const keys of ["j", "?", "/", " ", "g d", "g ,"]) expect(isOfCharacters(keys), keys).toBe(true);
  for (const keys of ["Mod+k", "Enter", "Escape", "ArrowDown"]) expect(isOfCharacters(keys), keys).toBe(false);
});

test("letters belong to what is typed into, and not to a box that is ticked", () => {
  for (const type of ["text", "search", "password", "number"]) expect(isTypedInto({ tagName: "INPUT", type }), type).toBe(true);
  for (const type of ["checkbox", "radio"]) expect(isTypedInto({ tagName: "INPUT", type }), type).toBe(false);
  expect(isTypedInto({ tagName: "TEXTAREA" })).toBe(true);
  expect(isTypedInto({ tagName: "SELECT", type: "select-one" })).toBe(true);
  expect(isTypedInto({ tagName: "DIV" })).toBe(false);
  expect(isTypedInto({ tagName: "DIV", isContentEditable: true })).toBe(true);
});

describe("Enter and the space", () => {
  const on = (selector: string) => ({ closest: (asked: string) => asked.split(", ").includes(selector) });
  test("belong to what is pressed with them", () => {
    for (const each of ["button", "a[href]", "summary", "[role=button]"]) {
      expect(isOwnKey("Enter", on(each)), each).toBe(true);
      expect(isOwnKey(" ", on(each)), each).toBe(true);
    }
  });
  test("and to the view elsewhere", () => {
    expect(isOwnKey("Enter", on("div"))).toBe(false);
    expect(isOwnKey("Enter", null)).toBe(false);
    expect(isOwnKey("j", on("button"))).toBe(false);
  });
});
