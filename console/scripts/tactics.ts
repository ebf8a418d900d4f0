// A plugin of Vite: `virtual:atlas-tactics`, the tactics of the taxonomy with the ids of their techniques, and the names of techniques; nothing else of it.

import { readFileSync } from "node:fs";
import type { Plugin } from "vite";

const ID = "virtual:atlas-tactics";
const RESOLVED = `\0${ID}`;
const TAXONOMY = new URL("../../content/taxonomy/atlas.json", import.meta.url);

interface Taxonomy {
  readonly tactics: readonly { readonly id: string; readonly name: string }[];
  readonly techniques: readonly { readonly id: string; readonly name: string; readonly tactics: readonly string[] }[];
}

/** Tactics in the order of the taxonomy, each with its techniques, without those below them. */
function tacticsOf({ tactics, techniques }: Taxonomy) {
  const own = techniques.filter(({ id }) => !/\.\d{3}$/.test(id));
  return tactics.map(({ id, name }) => ({ id, name, techniques: own.filter((each) => each.tactics.includes(id)).map((each) => each.id) }));
}

export const tactics = (): Plugin => ({
  name: "watchkeeper:tactics",
  resolveId: (id) => (id === ID ? RESOLVED : undefined),
  load(id) {
    if (id !== RESOLVED) return undefined;
    this.addWatchFile(TAXONOMY.pathname);
    const taxonomy = JSON.parse(readFileSync(TAXONOMY, "utf8")) as Taxonomy;
    const names = Object.fromEntries(taxonomy.techniques.map(({ id, name }) => [id, name]));
    return `export const tactics = ${JSON.stringify(tacticsOf(taxonomy))};\nexport const names = ${JSON.stringify(names)};`;
  },
});
