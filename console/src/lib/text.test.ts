import { describe, expect, test } from "vitest";
import { head, markedRuns, partsOf, plainLine, runs, middleOf } from "./text";

const shown = (text: string, layout: "block" | "line" = "block") =>
  runs(text, layout).map((run) => (run.kind === "plain" ? run.text : `[${run.label}]`)).join("");

describe("runs", () => {
  test.each([
    ["plain", "Hello, Wörld — 你好 עברית العربية हिन्दी", "Hello, Wörld — 你好 עברית العربية हिन्दी"],
    ["markup is text", "<script>alert(1)</script>", "<script>alert(1)</script>"],
    ["right-to-left override", "a\u202egnp.exe", "a[RLO]gnp.exe"],
    ["isolates", "\u2066x\u2069", "[LRI]x[PDI]"],
    ["zero width", "pay\u200bload\ufeff", "pay[ZWSP]load[BOM]"],
    ["terminal command", "\u001b[31mred\u001b[0m\u009b2J", "[ESC][31mred[ESC][0m[CSI]2J"],
    ["NUL and bell", "\u0000\u0007", "[NUL][BEL]"],
    ["tags spell", "hi\u{e0069}\u{e0067}\u{e006e}\u{e006f}\u{e0072}\u{e0065}!", "hi[TAG “ignore”]!"],
    ["selectors spell", "a\u{e0158}\u{e0159}", "a[VS×2 “hi”]"],
    ["a single rare selector is shown, too", "a\u{e0158}", "a[VS×1 “h”]"],
    ["emoji stay whole", "👩‍💻 ❤️ 👨‍👩‍👧 🏳️‍🌈 🇵🇹 👍🏽", "👩‍💻 ❤️ 👨‍👩‍👧 🏳️‍🌈 🇵🇹 👍🏽"],
    ["a joiner elsewhere does not", "ig\u200dnore", "ig[ZWJ]nore"],
    ["a joiner of a script that joins stays", "می\u200cخواهم क्\u200dष", "می\u200cخواهم क्\u200dष"],
    ["piled marks", `e${"\u0301".repeat(40)}x`, "e[+40 marks]x"],
    ["some marks stay", "e\u0301\u0323", "e\u0301\u0323"],
    ["line separators", "a\u2028b\u2029c", "a[LS]b[PS]c"],
    ["CRLF is a line break", "a\r\nb\rc", "a\nb[CR]c"],
    ["private and unassigned", "\ue000\u{10ffff}", "[U+E000][U+10FFFF]"],
    ["a lone surrogate", "a\ud800b", "a[U+D800]b"],
    ["blanks that are no space", "a\u3164b\u2800c\u115fd", "a[HF]b[BLANK]c[HCF]d"],
  ])("%s", (_name, text, expected) => expect(shown(text)).toBe(expected));

  test("tokens of the sanitiser are short, and nothing else is one", () => {
    const token = "<EMAIL:v26:abcdefghijklmnopqrstuvwxyz234567@example.com>";
    expect(shown(`to ${token}.`)).toBe("to [EMAIL abcde…@example.com].");
    expect(runs(`to ${token}.`, "block").map((run) => [run.kind, run.start, run.end])).toEqual([["plain", 0, 3], ["token", 3, 59], ["plain", 59, 60]]);
    for (const text of ["<b>", token.replace("v26:", ""), token.replace("abc", "ABC"), token.replace(">", ""), `<${"A".repeat(40)}${token.slice(6)}`]) expect(shown(text)).toBe(text);
  });

  test("a text cannot leave its line", () => expect(shown("a\n\tb\r\nc", "line")).toBe("a[↵][⇥]b[CR][↵]c"));

  test("places count code points and cover the text", () => {
    const text = "x👍\u202e\u{e0041}\u{e0042}y\n";
    const places = runs(text, "line").map((run) => [run.start, run.end]);
    expect(places).toEqual([[0, 2], [2, 3], [3, 5], [5, 6], [6, 7]]);
  });

  test("no character that is not shown gets into a plain run", () => {
    for (let point = 0; point <= 0x2fff; point += 1) {
      if (point >= 0xd800 && point <= 0xdfff) continue;
      for (const run of runs(`a${String.fromCodePoint(point)}b`, "line")) {
        if (run.kind === "plain") expect(run.text, point.toString(16)).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
      }
    }
  });

  test("a long hostile text is gone through once", () => {
    expect(runs("\u202e\u0301a\u{e0041}".repeat(50_000), "block")).toHaveLength(150_000);
  });
});

test("marks are cut at their edges and may overlap", () => {
  const parts = markedRuns("ab👍cd\u202ee", "block", [
    { start: 1, end: 4, of: "x" },
    { start: 3, end: 6, of: "y" },
  ]);
  expect(parts.map(({ run, marks }) => [run.kind === "plain" ? run.text : run.label, marks.join("")])).toEqual([
    ["a", ""],
    ["b👍", "x"],
    ["c", "xy"],
    ["d", "y"],
    ["RLO", "y"],
    ["e", ""],
  ]);
});

test("marks beyond the text and empty ones do no harm", () => {
  const parts = markedRuns("abc", "block", [
    { start: 2, end: 99, of: "x" },
    { start: 1, end: 1, of: "y" },
  ]);
  expect(parts.map(({ run, marks }) => [run.kind === "plain" ? run.text : "", marks.join("")])).toEqual([["ab", ""], ["c", "x"]]);
});

test("a line for titles is bounded and names its signs", () => {
  expect(plainLine("a\u202eb\nc")).toBe("a⟨RLO⟩b⟨↵⟩c");
  expect(plainLine("x".repeat(500), 10)).toBe(`${"x".repeat(10)}…`);
});

test("the head of a text does not cut a character in two", () => {
  expect(head("👍👍👍", 2)).toEqual({ text: "👍👍", rest: 1 });
  expect(head("abc", 3)).toEqual({ text: "abc", rest: 0 });
});

describe("names are cut in their middle", () => {
  const parts = (text: string) => {
    const at = middleOf(text);
    return at === null ? null : [text.slice(0, at), text.slice(at)];
  };
  test("what tells them apart at their end stays, and the last part of an address", () => {
    expect(parts("customer-support-agent-eu-west-17")).toEqual(["customer-support-agent-", "eu-west-17"]);
    expect(parts("https://files.example.org/a/b/quarterly-report.pdf")).toEqual(["https://files.example.org/a/b", "/quarterly-report.pdf"]);
    expect(parts(`/srv/${"x".repeat(60)}`)?.[1]?.length).toBe(28);
  });
  test("short names, and those that are written from the right, are one piece", () => {
    expect(parts("ada.lovelace")).toBeNull();
    expect(parts("\u05d0".repeat(30))).toBeNull();
    expect(parts(`customer-support-${"\u0627".repeat(20)}`)).toBeNull();
  });
  test("no character is cut in two or loses its marks", () => {
    for (const end of ["e\u0301".repeat(9), "\u{1f468}\u200d\u{1f4bb}".repeat(6), "\u{1f44d}\u{1f3fd}".repeat(8), "\u{1f600}".repeat(9)]) {
      for (let more = 0; more < 12; more += 1) {
        const text = `a long beginning ${end}${"z".repeat(more)}`;
        const [begin = "", rest = ""] = parts(text) ?? [];
        expect(begin + rest).toBe(text);
        expect(rest).not.toMatch(/^(?:\p{M}|\u200d|\p{Emoji_Modifier})/u);
        expect(begin).not.toMatch(/\u200d$/);
        expect(/\p{Cs}/u.test(begin) || /\p{Cs}/u.test(rest)).toBe(false);
      }
    }
  });
});

describe("of an address the host stays", () => {
  test("whatever its last part is", () => {
    expect(partsOf("https://files.attacker.example/a/b/your-bank.example.org")).toEqual({ host: "https://files.attacker.example", begin: "/a/b", end: "/your-bank.example.org" });
    expect(partsOf("GET https://u:p@h.example:8443/one/two/three")?.host).toBe("GET https://u:p@h.example:8443");
    expect(partsOf("https://h.example?a=1/bbbbbbbbbbbbbbbbbbbb/ccccc")?.host).toBe("https://h.example");
    expect(partsOf("https://h.example\\@bank.example/bbbbbbbbbbbb/ccccc")?.host).toBe("https://h.example");
  });
  test("and one that has nothing between both is cut at its end", () => {
    expect(partsOf("https://files.attacker.example/your-bank.example.org")).toBeNull();
    expect(partsOf("https://a-long-name-of-a-host.attacker.example")).toBeNull();
  });
  test("names and paths have none", () => {
    expect(partsOf("customer-support-agent-eu-west-17")).toEqual({ host: "", begin: "customer-support-agent-", end: "eu-west-17" });
    expect(partsOf("/srv/one/two/three/four/report.pdf")?.host).toBe("");
    expect(partsOf(`${"x".repeat(40)}://host.example/one/two/three`)?.host).toBe("");
  });
});
