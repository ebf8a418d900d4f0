import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";

// The tokens as they are written, and WCAG 2.2's contrast between them.
const css = readFileSync(new URL("tokens.css", import.meta.url), "utf8");
const PAIR = /--([\w-]+): light-dark\(oklch\(([\d.]+) ([\d.]+) ([\d.]+)\), oklch\(([\d.]+) ([\d.]+) ([\d.]+)\)\);/g;

type Color = readonly [l: number, c: number, h: number];
const tokens = new Map([...css.matchAll(PAIR)].map((match) => {
  const [, name = "", ...numbers] = match;
  const [l1 = 0, c1 = 0, h1 = 0, l2 = 0, c2 = 0, h2 = 0] = numbers.map(Number);
  return [name, { light: [l1, c1, h1] as Color, dark: [l2, c2, h2] as Color }];
}));

/** OKLCH to linear sRGB (Ottosson), out of gamut cut as browsers do at the least. */
function linear([l, c, h]: Color): [number, number, number] {
  const a = c * Math.cos((h * Math.PI) / 180);
  const b = c * Math.sin((h * Math.PI) / 180);
  const [x, y, z] = [l + 0.3963377774 * a + 0.2158037573 * b, l - 0.1055613458 * a - 0.0638541728 * b, l - 0.0894841775 * a - 1.291485548 * b];
  const [l3, m3, s3] = [x ** 3, y ** 3, z ** 3];
  const rgb = [
    4.0767416621 * l3 - 3.3077115913 * m3 + 0.2309699292 * s3,
    -1.2684380046 * l3 + 2.6097574011 * m3 - 0.3413193965 * s3,
    -0.0041960863 * l3 - 0.7034186147 * m3 + 1.707614701 * s3,
  ];
  return rgb.map((value) => Math.min(1, Math.max(0, value))) as [number, number, number];
}

function contrast(one: Color, other: Color): number {
  const luminance = (color: Color) => {
    const [r, g, b] = linear(color);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const [dark = 0, light = 0] = [luminance(one), luminance(other)].toSorted((a, b) => a - b);
  return (light + 0.05) / (dark + 0.05);
}

const SURFACES = ["ground", "panel", "raised", "sunken", "hover", "selected"];
const TEXT: [string, string[]][] = [
  ["ink", [...SURFACES, "mark", "accent-soft", "critical-soft", "high-soft", "medium-soft", "low-soft", "neutral-soft", "good-soft"]],
  ["ink-soft", SURFACES],
  ["ink-faint", SURFACES],
  ["accent", [...SURFACES, "accent-soft"]],
  ["on-accent", ["accent-fill", "accent-hover"]],
  ["sign", ["sign-soft"]],
  ["on-critical", ["critical-fill", "high"]],
  ...["critical", "high", "medium", "low", "neutral", "good"].map((name): [string, string[]] => [name, [...SURFACES, `${name}-soft`]]),
];
const SHAPES: [string, string[]][] = [
  ["line-strong", ["ground", "panel", "raised"]],
  ["focus", SURFACES],
  ["critical-fill", ["panel", "ground"]],
];

describe.each(["light", "dark"] as const)("%s", (theme) => {
  const of = (name: string): Color => {
    const token = tokens.get(name);
    if (!token) throw new Error(`no token ${name}`);
    return token[theme];
  };
  test.each(TEXT.flatMap(([ink, grounds]) => grounds.map((ground) => [ink, ground] as const)))("%s on %s is read (4.5)", (ink, ground) => {
    expect(contrast(of(ink), of(ground))).toBeGreaterThanOrEqual(4.5);
  });
  test.each(SHAPES.flatMap(([shape, grounds]) => grounds.map((ground) => [shape, ground] as const)))("%s on %s is seen (3)", (shape, ground) => {
    expect(contrast(of(shape), of(ground))).toBeGreaterThanOrEqual(3);
  });
});

test("every colour of a token that is a plain pair was read", () => {
  expect(tokens.size).toBe([...css.matchAll(/--[\w-]+: light-dark\(/g)].length - 1); // the scrim is translucent
});

test("black on white is 21", () => expect(contrast([0, 0, 0], [1, 0, 0])).toBeCloseTo(21, 1));
