import { expect, test } from "vitest";
import { isReason, REASON_BYTES_MAX } from "./limits";

test("a reason is as long as the server takes, in bytes", () => {
  expect(isReason(" ")).toBe(false);
  expect(isReason("x".repeat(REASON_BYTES_MAX))).toBe(true);
  expect(isReason(`  ${"x".repeat(REASON_BYTES_MAX)}  `)).toBe(true);
  expect(isReason("x".repeat(REASON_BYTES_MAX + 1))).toBe(false);
  // Two bytes each.
  expect(isReason("é".repeat(REASON_BYTES_MAX / 2))).toBe(true);
  expect(isReason("é".repeat(REASON_BYTES_MAX / 2 + 1))).toBe(false);
});
