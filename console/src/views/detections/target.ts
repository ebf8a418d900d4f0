// What an act of triage is for: the rows that are ticked, or else the one that is open.

export interface Target {
  readonly ids: readonly string[];
  /** Whether they are the ticked ones. */
  readonly isTicked: boolean;
}

/** Ticks count of rows that stand in the list alone: nobody decides on what a filter has taken out of sight. */
export function targetOf(ticked: ReadonlySet<string>, listed: readonly string[], open: string | undefined): Target {
  const ids = ticked.size === 0 ? [] : listed.filter((id) => ticked.has(id));
  return ids.length > 0 ? { ids, isTicked: true } : { ids: open === undefined ? [] : [open], isTicked: false };
}
