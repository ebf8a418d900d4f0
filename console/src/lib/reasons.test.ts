import { afterEach, expect, test } from "vitest";
import { faultOf, forgetReasons, give, lastReason, reasonFor } from "./reasons";

afterEach(forgetReasons);

test("a reason is for the case that it was given for", () => {
  give("detection a", " INC-1 ");
  expect(reasonFor("detection a")).toBe("INC-1");
  expect(reasonFor("detection b")).toBeNull();
  expect(reasonFor("trace a")).toBeNull();
  expect(lastReason()).toBe("INC-1");
});

test("and ends with the sign-in", () => {
  give("trace a", "INC-1");
  forgetReasons();
  expect(reasonFor("trace a")).toBeNull();
  expect(lastReason()).toBe("");
});

test.each(["", "   ", "\u200b", "\u202e\u2066", "\u00ad \ufeff", "\u3164\u2800\u115f\uffa0", "\u{e0041}\u{e0042}", "\ufe0f\u0301", "\u0000\n"])("%j is no reason", (reason) => {
  expect(faultOf(reason)).not.toBeNull();
  give("trace a", reason);
  expect(reasonFor("trace a")).toBeNull();
});

test.each(["x", "要求", "\u202e1", "?", "🚨", "می"])("%j is one", (reason) => expect(faultOf(reason)).toBeNull());

test("it has at most what the server takes, in bytes", () => {
  expect(faultOf("é".repeat(512))).toBeNull();
  expect(faultOf("é".repeat(513))).toContain("1026");
});

test("cases are bounded", () => {
  for (let at = 0; at < 300; at += 1) give(`trace ${at}`, "INC-1");
  expect(reasonFor("trace 0")).toBeNull();
  expect(reasonFor("trace 299")).toBe("INC-1");
});
