// Refuses packages whose licence is not permissive. Every package that `package-lock.json` names is looked at: what runs in the console must
// be permissive, and so must the tools that make it, but for those named here. Where `dist/` is, what its `licences.txt` names must be of those.
import { existsSync, readFileSync } from "node:fs";

const PERMISSIVE = new Set(["0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BlueOak-1.0.0", "CC0-1.0", "ISC", "MIT", "MIT-0", "Unlicense", "Zlib"]);
/** Tools, of which nothing is in the bundle: what looks for barriers (axe), what makes styles small, what reads command lines. */
const TOOLS = new Map([["@axe-core/playwright", "MPL-2.0"], ["axe-core", "MPL-2.0"], ["lightningcss", "MPL-2.0"], ["argparse", "Python-2.0"]]);
const isTool = (name, licence) => TOOLS.get(name) === licence || (name.startsWith("lightningcss-") && licence === "MPL-2.0");

const root = new URL("../", import.meta.url);
const read = (path) => JSON.parse(readFileSync(new URL(path, root), "utf8"));

/** Whether an SPDX expression can be met with permissive licences alone. Brackets inside of brackets are not read. */
export function isPermissive(expression) {
  const bare = expression.trim().replace(/^\((.*)\)$/, "$1");
  if (/[()]/.test(bare)) return false;
  return bare.split(" OR ").some((either) => either.split(" AND ").every((each) => PERMISSIVE.has(each.trim())));
}

/** The licence that a manifest names, in the form of today or in one of those before. */
export const licenceOf = ({ license, licenses }) =>
  typeof license === "string" ? license : (license?.type ?? (Array.isArray(licenses) ? licenses.map((each) => each.type).join(" OR ") : undefined));

function check() {
  const { packages } = read("package-lock.json");
  const faults = [];
  const counts = { runtime: 0, tools: 0, elsewhere: 0 };
  const runtime = new Set();
  for (const [path, { dev, optional, version }] of Object.entries(packages)) {
    if (path === "") continue;
    const name = path.replace(/^.*node_modules\//, "");
    if (!existsSync(new URL(`${path}/package.json`, root))) {
      // Parts for other machines are not installed here; what is needed is.
      if (optional) counts.elsewhere += 1;
      else faults.push(`${path} is not installed: npm ci`);
      continue;
    }
    const manifest = read(`${path}/package.json`);
    const licence = licenceOf(manifest);
    if (manifest.version !== version) faults.push(`${path} is ${manifest.version}, and package-lock.json names ${version}: npm ci`);
    if (!dev) runtime.add(`${name} ${version} (${licence})`);
    counts[dev ? "tools" : "runtime"] += 1;
    if (typeof licence !== "string") faults.push(`${name} ${version} names no licence`);
    else if (!isPermissive(licence) && !(dev && isTool(name, licence))) faults.push(`${name} ${version}: ${licence} is not permissive${dev ? ", and not named as a tool" : ""}`);
  }
  const made = new URL("dist/licences.txt", root);
  let bundled = "";
  if (existsSync(new URL("dist/index.html", root))) {
    const named = existsSync(made) ? readFileSync(made, "utf8").split(/\n-{20,}\n/)[0].split("\n").filter((line) => line.startsWith("  ")).map((line) => line.trim()) : [];
    if (named.length === 0) faults.push("dist/licences.txt names nothing: npm run build");
    for (const each of named) if (!runtime.has(each)) faults.push(`${each} is in the bundle, and no dependency of it: move it to "dependencies"`);
    bundled = `; ${named.length} in the bundle, with their notices in dist/licences.txt`;
  }
  for (const fault of faults) console.error(fault);
  console.log(`licences of ${counts.runtime} packages that run, ${counts.tools} tools (${counts.elsewhere} for other machines)${bundled}`);
  return faults.length === 0;
}

if (process.argv[1] === new URL(import.meta.url).pathname && !check()) process.exit(1);
