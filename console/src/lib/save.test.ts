import { expect, test } from "vitest";
import { day, fileName, moment } from "./save";

test("names of files say what they hold, and of when", () => {
  expect(day(new Date("2026-11-22T23:59:59Z"))).toBe("2026-11-22");
  expect(fileName(["evidence", "sess-42", "2026-11-22"], "tar.gz")).toBe("evidence-sess-42-2026-11-22.tar.gz");
});

test("two files of one moment's day have names of their own", () => {
  expect(moment(new Date("2026-11-22T09:15:03.120Z"))).toBe("2026-11-22-091503-120");
  expect(moment(new Date("2026-11-22T09:15:03.121Z"))).not.toBe(moment(new Date("2026-11-22T09:15:03.120Z")));
});

test.each([["../../etc/passwd", "etc-passwd"], ["$(reboot); `x`", "reboot-x"], ["a\u202Egpj.exe", "a-gpj.exe"], ["C:\\CON", "C-CON"], [".hidden", "hidden"], ["-rf", "rf"], ["ａ", "a"], ["..", ""], ["\u0000\n", ""]])("%j is made safe", (session, safe) => {
  expect(fileName(["evidence", session], "json")).toBe(safe === "" ? "evidence.json" : `evidence-${safe}.json`);
});

test("a name is never longer than a file system takes", () => expect(fileName(["evidence", "x".repeat(5000), "2026-11-22"], "tar.gz").length).toBeLessThan(120));
