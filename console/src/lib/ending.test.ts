import { expect, test } from "vitest";
import { endsOf, warning, WARN_MS } from "./ending";

const NOW = Date.parse("2026-11-22T12:00:00Z");

test("the end is told by the reader's clock, however wrong it is", () => {
  const session = { expires: "2026-11-22T20:00:00Z", idle_expires: "2026-11-22T12:30:00Z" };
  expect(endsOf(session, "Sun, 22 Nov 2026 12:00:00 GMT", NOW)).toEqual({ idle: NOW + 30 * 60_000, whole: NOW + 8 * 3_600_000 });
  // The reader's machine is an hour behind.
  expect(endsOf(session, "Sun, 22 Nov 2026 13:00:00 GMT", NOW).idle).toBe(NOW - 30 * 60_000);
  expect(endsOf({}, null, NOW)).toEqual({ idle: null, whole: null });
});

test("it is told in time, and the end that nothing puts off first", () => {
  expect(warning({ idle: NOW + WARN_MS + 1, whole: NOW + WARN_MS + 1 }, NOW)).toBeNull();
  expect(warning({ idle: NOW + 60_000, whole: NOW + 4 * WARN_MS }, NOW)).toEqual({ kind: "idle", left: 60_000 });
  expect(warning({ idle: NOW + 60_000, whole: NOW + 60_000 }, NOW)?.kind).toBe("whole");
  expect(warning({ idle: NOW - 1, whole: null }, NOW)?.left).toBe(0);
  expect(warning({ idle: null, whole: null }, NOW)).toBeNull();
});
