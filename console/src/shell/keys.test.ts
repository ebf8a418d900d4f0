import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { KEYS, keyText, keyTo, type Key } from "../lib/keys";
import { PLACES, SETTINGS } from "./nav";

const every: readonly Key[] = [...Object.values(KEYS), ...[...PLACES.flatMap((group) => group.places), SETTINGS].map(keyTo)];

test("the guide's table of keys is what is bound", () => {
  const guide = readFileSync(new URL("../../../docs/guides/console.md", import.meta.url), "utf8");
  const [, after = ""] = guide.split("\n## Keys\n");
  const [section = ""] = after.split("\n## ");
  const rows = section.split("\n").filter((line) => line.startsWith("| ")).slice(1);
  const names = (keys: string) => (keys.startsWith("g ") ? keys.split(" ").map((key) => `\`${key}\``).join(" then ") : `\`${keyText(keys, false)}\``);
  expect(rows.filter((row) => !row.startsWith("| ---"))).toEqual(every.map((key) => `| ${key.group} | ${names(key.keys)} | ${key.says} |`));
});

test("no key has two meanings in one place, and none that works everywhere is taken by a view", () => {
  const groups = new Set(every.map((key) => key.group));
  for (const group of groups) {
    const own = every.filter((key) => key.group === group).map((key) => key.keys);
    expect(new Set(own).size, group).toBe(own.length);
  }
  const everywhere = new Set(every.filter((key) => ["Everywhere", "Go to"].includes(key.group)).map((key) => key.keys));
  for (const key of every.filter((each) => !["Everywhere", "Go to"].includes(each.group))) expect(everywhere.has(key.keys), key.keys).toBe(false);
  // The first of two keys is no key by itself.
  expect(every.some((key) => key.keys === "g")).toBe(false);
});
