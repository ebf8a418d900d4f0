// When a sign-in ends, by the clock of the reader's machine.

/** How long before the end it is told. */
export const WARN_MS = 3 * 60_000;

export interface Ends {
  /** When it ends if nothing is asked until then, in milliseconds of this machine's clock; none where it does not. */
  readonly idle: number | null;
  /** When it ends whatever is done. */
  readonly whole: number | null;
}

/** What the server says of the end, moved from its clock (`date`, the header of its answer) to ours. */
export function endsOf(session: { readonly expires?: string | null | undefined; readonly idle_expires?: string | null | undefined }, date: string | null, now: number): Ends {
  const theirs = date === null ? Number.NaN : Date.parse(date);
  const ahead = Number.isNaN(theirs) ? 0 : theirs - now;
  const ours = (time: string | null | undefined) => {
    const at = time ? Date.parse(time) : Number.NaN;
    return Number.isNaN(at) ? null : at - ahead;
  };
  return { idle: ours(session.idle_expires), whole: ours(session.expires) };
}

/** What there is to warn of now: the end that nothing puts off goes first. */
export function warning({ idle, whole }: Ends, now: number): { readonly kind: "idle" | "whole"; readonly left: number } | null {
  if (whole !== null && whole - now <= WARN_MS) return { kind: "whole", left: Math.max(0, whole - now) };
  if (idle !== null && idle - now <= WARN_MS) return { kind: "idle", left: Math.max(0, idle - now) };
  return null;
}
