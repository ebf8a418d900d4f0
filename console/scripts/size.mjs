// States the size of what a browser loads, gzipped, and holds it: what is needed for the first paint, and all.
import { readdirSync, readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const FIRST_MAX_KIB = 170;
const ALL_MAX_KIB = 300;

const dist = new URL("../dist/", import.meta.url);
const html = readFileSync(new URL("index.html", dist), "utf8");
const sizes = readdirSync(new URL("assets/", dist)).map((name) => {
  const bytes = readFileSync(new URL(`assets/${name}`, dist));
  return { name, raw: bytes.length / 1024, gzip: gzipSync(bytes, { level: 9 }).length / 1024, first: html.includes(name) };
});
sizes.sort((a, b) => b.gzip - a.gzip);
for (const { name, raw, gzip, first } of sizes) {
  console.log(`${first ? "first" : "later"}  ${gzip.toFixed(1).padStart(7)} KiB gzip  ${raw.toFixed(1).padStart(7)} KiB  ${name}`);
}
const sum = (rows) => rows.reduce((total, row) => total + row.gzip, 0);
const first = sum(sizes.filter((row) => row.first));
const all = sum(sizes);
console.log(`first paint ${first.toFixed(1)} KiB of at most ${FIRST_MAX_KIB}; all ${all.toFixed(1)} KiB of at most ${ALL_MAX_KIB} (gzip)`);
if (first > FIRST_MAX_KIB || all > ALL_MAX_KIB) process.exit(1);
