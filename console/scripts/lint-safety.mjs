// What the console shows was written by strangers. No source of it may hold a way to turn text into markup or script, open a
// window, or fetch from elsewhere. Exits with 1 and names the place.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const FORBIDDEN = [
  [/dangerouslySetInnerHTML|\binnerHTML\b|\bouterHTML\b|insertAdjacentHTML|createContextualFragment|DOMParser|document\.write/, "markup made of text"],
  [/\beval\s*\(|new Function\b|setTimeout\(\s*["'`]/, "script made of text"],
  [/\bwindow\.open\b|target=["']_blank["']/, "a new window"],
  [/\bsrcDoc\b|<iframe|<object|<embed/, "a frame"],
  [/<img\b|<video\b|<audio\b|new Image\b/, "an image or a medium"],
  [/fetch\(\s*["'`]https?:|from\s+["']https?:|import\(\s*["'`]https?:|@import\s+url|url\(\s*["']?https?:/, "something from elsewhere"],
];
// An address may only be written where it is a name of ours: `href` with text from the record is a live link.
const HREF = /<a\b[^>]*\bhref=\{(?!docs\(|href\b)/;

const files = (dir) => readdirSync(dir, { withFileTypes: true }).flatMap((entry) =>
  entry.isDirectory() ? files(join(dir, entry.name)) : [join(dir, entry.name)]);

let faults = 0;
for (const file of files(new URL("../src", import.meta.url).pathname)) {
  if (!/\.(tsx?|css)$/.test(file) || /\.test\.tsx?$|schema\.d\.ts$/.test(file)) continue;
  readFileSync(file, "utf8").split("\n").forEach((line, index) => {
    for (const [pattern, what] of [...FORBIDDEN, [HREF, "a link to text of the record"]]) {
      if (pattern.test(line)) {
        faults += 1;
        console.error(`${file}:${index + 1}: ${what}: ${line.trim()}`);
      }
    }
  });
}
process.exit(faults > 0 ? 1 : 0);
