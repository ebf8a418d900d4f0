import { expect, test } from "vitest";
import { day, fileName } from "./save";

test("names of files say what they hold, and of when", () => {
  expect(day(new Date("2026-11-22T23:59:59Z"))).toBe("2026-11-22");
  expect(fileName(["evidence", "sess-42", "2026-11-22"], "tar.gz")).toBe("evidence-sess-42-2026-11-22.tar.gz");
});

test.each([["../../etc/passwd", "etc-passwd"], ["$(reboot); `x`", "reboot-x"], ["a\u202Egpj.exe", "a-gpj.exe"], ["C:\\CON", "C-CON"], [".hidden", "hidden"], ["-rf", "rf"], ["ａ", "a"], ["..", ""], ["\u0000\n", ""]])("%j is made safe", (session, safe) => {
  expect(fileName(["evidence", session], "json")).toBe(safe === "" ? "evidence.json" : `evidence-${safe}.json`);
});

test("a name is never longer than a file system takes", () => expect(fileName(["evidence", "x".repeat(5000), "2026-11-22"], "tar.gz").length).toBeLessThan(120));
