// The columns of the matrix: tactics in ATLAS's order with their techniques, from the taxonomy that the server has, too.

import atlas from "../../../../content/taxonomy/atlas.json";

export interface Tactic {
  readonly id: string;
  readonly name: string;
  /** Techniques, without those below them. */
  readonly techniques: readonly string[];
}

export const TACTICS: readonly Tactic[] = atlas.tactics.map(({ id, name }) => ({
  id,
  name,
  techniques: atlas.techniques.filter((each) => each.tactics.includes(id) && !/\.\d{3}$/.test(each.id)).map((each) => each.id),
}));
