// A plugin of Vite: `licences.txt`, the licence and the notice of each package of which something is in the bundle. Most of them ask for that.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Plugin } from "vite";

const FILES = /^(licen[cs]e|copying|notice|unlicense)([.-].*)?$/i;

/** Folders of the packages that modules are of. */
function packagesOf(modules: Iterable<string>): string[] {
  const found = new Set<string>();
  for (const id of modules) {
    const folder = /^\0?(.*[/\\]node_modules[/\\](?:@[^/\\]+[/\\])?[^/\\]+)[/\\]/.exec(id)?.[1];
    if (folder !== undefined && existsSync(join(folder, "package.json"))) found.add(folder);
  }
  return [...found];
}

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly license: string;
}

function notice(folder: string): { title: string; text: string } {
  const { name, version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Manifest;
  const files = readdirSync(folder).filter((file) => FILES.test(file)).toSorted();
  if (files.length === 0) throw new Error(`${name} ${version} has no licence file that could go with the bundle: ${folder}`);
  return { title: `${name} ${version} (${license})`, text: files.map((file) => readFileSync(join(folder, file), "utf8").trim()).join("\n\n") };
}

const HEAD = "The web console of Watchkeeper is licensed under Apache-2.0. Of these packages it has something in it:\n";
const RULE = "-".repeat(100);

export const notices = (): Plugin => ({
  name: "watchkeeper:notices",
  apply: "build",
  generateBundle(_, bundle) {
    const modules = Object.values(bundle).flatMap((file) => (file.type === "chunk" ? file.moduleIds : []));
    // Styles are no modules of a chunk any more when they are written.
    const all = packagesOf([...modules, ...this.getModuleIds()]).map(notice).toSorted((a, b) => a.title.localeCompare(b.title));
    const source = [HEAD + all.map(({ title }) => `  ${title}`).join("\n"), ...all.map(({ title, text }) => `${RULE}\n${title}\n${RULE}\n\n${text}`)].join("\n\n");
    this.emitFile({ type: "asset", fileName: "licences.txt", source: `${source}\n` });
  },
});
