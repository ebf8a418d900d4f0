// The columns of the matrix: tactics in ATLAS's order with their techniques, from the taxonomy that the server has, too. The build takes out
// of it what is needed here (`scripts/tactics.ts`): the rest of the taxonomy is not in the bundle.

import { names, tactics } from "virtual:atlas-tactics";

export interface Tactic {
  readonly id: string;
  readonly name: string;
  /** Techniques, without those below them. */
  readonly techniques: readonly string[];
}

export const TACTICS: readonly Tactic[] = tactics;

/** What techniques are called, those below others, too. */
export const NAMES: Readonly<Record<string, string>> = names;
