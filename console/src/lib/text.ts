// How text of the record is shown: everything in it was written by strangers. It goes into the page as text nodes only; here it is
// cut into runs, so that what would be invisible, turn the line around or pile up over its neighbours is shown by name instead.

/** A part of a text. `plain` may be shown as it is; `sign` stands for characters that are not shown themselves. */
export type Run =
  | { readonly kind: "plain"; readonly text: string; readonly start: number; readonly end: number }
  | { readonly kind: "sign" | "token"; readonly label: string; readonly title: string; readonly start: number; readonly end: number };

/** What the sanitiser puts in the place of a personal value (docs/reference/record-format.md, section 2). */
const TOKEN = /<([A-Z][A-Z0-9_]{0,31})(?::([A-Z][A-Z0-9_]{0,31}))?:([A-Za-z0-9.-]{1,16}):([a-z2-7]{32})([@:][A-Za-z0-9.+_-]{1,64})?>/y;
/** Longest token, in bytes; all of them are ASCII. */
const TOKEN_MAX = 176;
/** Characters of a token's id that tell it apart for the eye. */
const TOKEN_ID_SHOWN = 5;

/** `block` keeps line breaks and tabs; `line` shows them as signs, so that a text cannot leave its line. */
export type Layout = "block" | "line";

/** Combining marks on one character that are shown as they are; languages need fewer. */
const MARKS_MAX = 4;

const NAMES: ReadonlyMap<number, readonly [label: string, name: string]> = new Map([
  [0x00, ["NUL", "null"]],
  [0x07, ["BEL", "bell"]],
  [0x08, ["BS", "backspace"]],
  [0x0b, ["VT", "line tabulation"]],
  [0x0c, ["FF", "form feed"]],
  [0x0d, ["CR", "carriage return"]],
  [0x1b, ["ESC", "escape: begins a command to a terminal"]],
  [0x7f, ["DEL", "delete"]],
  [0x85, ["NEL", "next line"]],
  [0x9b, ["CSI", "control sequence introducer: begins a command to a terminal"]],
  [0xa0, ["NBSP", "no-break space"]],
  [0xad, ["SHY", "soft hyphen"]],
  [0x034f, ["CGJ", "combining grapheme joiner"]],
  [0x061c, ["ALM", "Arabic letter mark"]],
  [0x115f, ["HCF", "Hangul choseong filler"]],
  [0x1160, ["HJF", "Hangul jungseong filler"]],
  [0x17b4, ["KIVAQ", "Khmer vowel inherent aq"]],
  [0x17b5, ["KIVAA", "Khmer vowel inherent aa"]],
  [0x180e, ["MVS", "Mongolian vowel separator"]],
  [0x2028, ["LS", "line separator"]],
  [0x2029, ["PS", "paragraph separator"]],
  [0x200b, ["ZWSP", "zero width space"]],
  [0x200c, ["ZWNJ", "zero width non-joiner"]],
  [0x200d, ["ZWJ", "zero width joiner"]],
  [0x200e, ["LRM", "left-to-right mark"]],
  [0x200f, ["RLM", "right-to-left mark"]],
  [0x202a, ["LRE", "left-to-right embedding"]],
  [0x202b, ["RLE", "right-to-left embedding"]],
  [0x202c, ["PDF", "pop directional formatting"]],
  [0x202d, ["LRO", "left-to-right override"]],
  [0x202e, ["RLO", "right-to-left override"]],
  [0x2060, ["WJ", "word joiner"]],
  [0x2061, ["FA", "function application"]],
  [0x2062, ["IT", "invisible times"]],
  [0x2063, ["IS", "invisible separator"]],
  [0x2064, ["IP", "invisible plus"]],
  [0x2066, ["LRI", "left-to-right isolate"]],
  [0x2067, ["RLI", "right-to-left isolate"]],
  [0x2068, ["FSI", "first strong isolate"]],
  [0x2069, ["PDI", "pop directional isolate"]],
  [0x2800, ["BLANK", "Braille pattern blank"]],
  [0x3164, ["HF", "Hangul filler"]],
  [0xfeff, ["BOM", "zero width no-break space"]],
  [0xffa0, ["HHF", "halfwidth Hangul filler"]],
  [0xfffc, ["OBJ", "object replacement character"]],
]);

const MARK = /^\p{M}$/u;
const UNSEEN = /^[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Cs}\p{Zl}\p{Zp}]$/u;
const PICTURE = /^[\p{Extended_Pictographic}\p{Emoji_Modifier}\u{1F1E6}-\u{1F1FF}]$/u;
// Scripts that write with joiners: there they are letters' forms, not hiding places.
const JOINING = /^[\p{Script=Arabic}\p{Script=Syriac}\p{Script=Mongolian}\p{Script=Nko}\p{Script=Devanagari}\p{Script=Bengali}\p{Script=Gurmukhi}\p{Script=Gujarati}\p{Script=Oriya}\p{Script=Tamil}\p{Script=Telugu}\p{Script=Kannada}\p{Script=Malayalam}\p{Script=Sinhala}\p{Script=Khmer}\p{Script=Tibetan}]$/u;

const code = (point: number) => `U+${point.toString(16).toUpperCase().padStart(4, "0")}`;
const isSelector = (point: number) => (point >= 0xfe00 && point <= 0xfe0f) || (point >= 0xe0100 && point <= 0xe01ef);
const isTag = (point: number) => point >= 0xe0000 && point <= 0xe007f;
const selectorByte = (point: number) => (point <= 0xfe0f ? point - 0xfe00 : point - 0xe0100 + 16);

/** What a run of tag characters says: they mirror ASCII and no font shows them. */
function tagText(points: readonly number[]): string {
  return points.map((point) => (point >= 0xe0020 && point <= 0xe007e ? String.fromCharCode(point - 0xe0000) : "·")).join("");
}

/** What a run of variation selectors says, when each stands for a byte. */
function selectorText(points: readonly number[]): string {
  return points.map(selectorByte).map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : "·")).join("");
}

/** Cuts a text into runs. `start` and `end` count code points, as findings do. Linear in the length of the text. */
export function runs(text: string, layout: Layout): Run[] {
  const points = Array.from(text);
  const made: Run[] = [];
  let plainFrom = 0;
  const plain = (to: number) => {
    if (to > plainFrom) made.push({ kind: "plain", text: points.slice(plainFrom, to).join(""), start: plainFrom, end: to });
  };
  const sign = (start: number, end: number, label: string, title: string, kind: "sign" | "token" = "sign") => {
    plain(start);
    made.push({ kind, label, title, start, end });
    plainFrom = end;
  };
  const at = (index: number) => points[index]?.codePointAt(0) ?? -1;

  let index = 0;
  while (index < points.length) {
    const char = points[index] ?? "";
    const point = at(index);
    const token = char === "<" ? tokenAt(points, index) : null;
    if (token) {
      sign(index, index + token.length, token.label, token.title, "token");
      index += token.length;
      continue;
    }
    if (point >= 0x20 && point < 0x7f) {
      index += 1;
      continue;
    }
    const end = stretch(points, index);
    if (end > index) {
      const inside = points.slice(index, end).map((each) => each.codePointAt(0) ?? 0);
      if (isTag(point)) {
        sign(index, end, `TAG “${tagText(inside)}”`, `${inside.length} tag characters: invisible, they spell “${tagText(inside)}”`);
      } else if (isSelector(point)) {
        sign(index, end, `VS×${inside.length} “${selectorText(inside)}”`, `${inside.length} variation selectors: invisible; as bytes “${selectorText(inside)}”`);
      } else {
        sign(index, end, `+${inside.length} marks`, `${inside.length} combining marks on one character`);
      }
      index = end;
      continue;
    }
    if (isShown(points, index, layout)) {
      index += 1;
      continue;
    }
    const [label, name] = NAMES.get(point) ?? [code(point), "not shown"];
    if (char === "\n") sign(index, index + 1, "↵", "line break");
    else if (char === "\t") sign(index, index + 1, "⇥", "tab");
    else if (char === "\r" && at(index + 1) === 0x0a && layout === "block") {
      // The line break behind it says the same.
      plain(index);
      plainFrom = index + 1;
    } else sign(index, index + 1, label, `${code(point)} ${name}`);
    index += 1;
  }
  plain(points.length);
  return made;
}

/** The token that begins there. */
function tokenAt(points: readonly string[], from: number): { length: number; label: string; title: string } | null {
  TOKEN.lastIndex = 0;
  const match = TOKEN.exec(points.slice(from, from + TOKEN_MAX).join(""));
  if (!match) return null;
  const [whole, type = "", inner, , id = "", feature = ""] = match;
  const label = `${inner ?? type} ${id.slice(0, TOKEN_ID_SHOWN)}…${feature}`;
  return { length: whole.length, label, title: `${whole}: a value that the sanitiser replaced; equal values have equal tokens` };
}

/** Where a stretch that is shown as one sign ends, or `from`: tags, several selectors, marks that pile up. */
function stretch(points: readonly string[], from: number): number {
  const at = (index: number) => points[index]?.codePointAt(0) ?? -1;
  const whilst = (holds: (index: number) => boolean) => {
    let end = from;
    while (end < points.length && holds(end)) end += 1;
    return end;
  };
  const point = at(from);
  if (isTag(point)) return whilst((index) => isTag(at(index)));
  if (isSelector(point)) {
    const end = whilst((index) => isSelector(at(index)));
    return end - from > 1 || point > 0xfe0f || point < 0xfe0e ? end : from;
  }
  if (MARK.test(points[from] ?? "")) {
    const end = whilst((index) => MARK.test(points[index] ?? "") && !isSelector(at(index)));
    return end - from > MARKS_MAX ? end : from;
  }
  return from;
}

function isShown(points: readonly string[], index: number, layout: Layout): boolean {
  const char = points[index] ?? "";
  const point = char.codePointAt(0) ?? 0;
  if (char === "\n" || char === "\t") return layout === "block";
  if (point === 0xfe0e || point === 0xfe0f) return true;
  if (point === 0x200d || point === 0x200c) {
    const before = points[index - 1] ?? "";
    const beforeSelector = before === "\ufe0f" ? (points[index - 2] ?? "") : before;
    const after = points[index + 1] ?? "";
    const joinsPictures = point === 0x200d && PICTURE.test(beforeSelector) && PICTURE.test(after);
    const joins = (char: string) => JOINING.test(char) || (MARK.test(char) && char > "\u0900");
    return joinsPictures || (joins(before) && JOINING.test(after));
  }
  if (point === 0xa0) return true;
  return !NAMES.has(point) && !UNSEEN.test(char);
}

/** A text in one line, with its signs in brackets: for titles, labels and what assistive technology reads. */
export function plainLine(text: string, max = 200): string {
  const cut = text.length > max * 2 ? text.slice(0, max * 2) : text;
  const line = runs(cut, "line").map((run) => (run.kind === "plain" ? run.text : `⟨${run.label}⟩`)).join("");
  return line.length > max ? `${line.slice(0, max).replace(/[\ud800-\udbff]$/, "")}…` : line;
}

const READABLE = /^[\p{L}\p{N}\p{P}\p{S}]$/u;

/** Whether there is something to read in a text: a letter, a digit, a sign, and not only what no font shows. */
export const hasVisible = (text: string): boolean => Array.from(text).some((char) => READABLE.test(char) && !NAMES.has(char.codePointAt(0) ?? 0));

/** A stretch of a text that something was found in, in code points. */
export interface Mark<T> {
  readonly start: number;
  readonly end: number;
  readonly of: T;
}

/** Runs cut further, so that each has the same marks from its beginning to its end. */
export function markedRuns<T>(text: string, layout: Layout, all: readonly Mark<T>[]): { run: Run; marks: T[] }[] {
  const marks = all.filter((mark) => mark.end > mark.start);
  const edges = new Set(marks.flatMap((mark) => [mark.start, mark.end]));
  const sorted = [...edges].toSorted((a, b) => a - b);
  const parts: { run: Run; marks: T[] }[] = [];
  let next = 0;
  for (const run of runs(text, layout)) {
    while (next < sorted.length && (sorted[next] ?? 0) <= run.start) next += 1;
    const cuts: number[] = [];
    for (let edge = next; edge < sorted.length && (sorted[edge] ?? 0) < run.end; edge += 1) cuts.push(sorted[edge] ?? 0);
    const of = (start: number, end: number) => marks.filter((mark) => mark.start < end && mark.end > start).map((mark) => mark.of);
    if (run.kind !== "plain" || cuts.length === 0) {
      parts.push({ run, marks: of(run.start, run.end) });
      continue;
    }
    const points = Array.from(run.text);
    let from = run.start;
    for (const cut of [...cuts, run.end]) {
      const text = points.slice(from - run.start, cut - run.start).join("");
      parts.push({ run: { kind: "plain", text, start: from, end: cut }, marks: of(from, cut) });
      from = cut;
    }
  }
  return parts;
}

/** The first `max` code points of a text, and how many there are. Does not cut a character in two. */
export function head(text: string, max: number): { text: string; rest: number } {
  if (text.length <= max) return { text, rest: 0 };
  let units = 0;
  let count = 0;
  for (const char of text) {
    if (count === max) break;
    units += char.length;
    count += 1;
  }
  let rest = 0;
  for (const _ of text.slice(units)) rest += 1;
  return { text: text.slice(0, units), rest };
}

/** Letters of scripts that are written from right to left: their halves would stand in the wrong order. */
const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u;
/** Characters of a name that are shown however little room there is: what tells names apart often stands at their end. */
const END_MAX = 10;
/** The same of an address or a path, whose last part says what it is. */
const ADDRESS_END_MAX = 28;
/** Names that have room enough as they are. */
const SHORT = 18;

/**
 * Where a name is to be cut in two, in UTF-16 units: what stands behind stays in sight where there is no room for all of it. Nothing for
 * names that are short, or have more in them than plain characters of scripts that are written from left to right.
 */
export function middleOf(text: string): number | null {
  if (text.length <= SHORT || RIGHT_TO_LEFT.test(text)) return null;
  const slash = text.lastIndexOf("/", text.length - 2);
  const end = slash > 0 ? Math.min(Math.max(text.length - slash, END_MAX), ADDRESS_END_MAX) : END_MAX;
  let at = text.length - Math.min(end, Math.floor(text.length / 2));
  const joins = (at: number) => /^(?:\p{M}|\u200c|\u200d|\p{Cs}|\p{Emoji_Modifier})/u.test(text.slice(at)) || text[at - 1] === "\u200d";
  // No character is taken from its marks.
  while (at > 0 && joins(at)) at -= 1;
  return at > 0 ? at : null;
}

/** The scheme and the host of an address, behind a word at the most: what says whose it is. Its path is whatever its writer likes. */
const HOST = /^(?:\S{1,16} )?[a-z][a-z0-9+.-]{0,15}:\/\/[^/?#\\\s]+/i;

/** What stays of a name in sight: all of it where there is room, else its beginning gives way first, then its end, and the host of an address last. */
export interface NameParts {
  readonly host: string;
  readonly begin: string;
  readonly end: string;
}

/** The parts of a name that is cut in its middle; nothing for one that is cut at its end, as others are, or not at all. */
export function partsOf(text: string): NameParts | null {
  const at = middleOf(text);
  if (at === null) return null;
  const host = HOST.exec(text)?.[0] ?? "";
  // Between the host and the last part is nothing to be left out.
  if (at <= host.length) return null;
  return { host, begin: text.slice(host.length, at), end: text.slice(at) };
}
