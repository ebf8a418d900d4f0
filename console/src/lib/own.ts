// What Watchkeeper records of itself: its start, its keys, who signed in, who read what. Lists of what AI systems did leave it out unless it is
// asked for: the server does (`own=false`), which knows what came from within. What names itself so is anybody's, and never left out.

/** The application of what the server records of itself. */
export const OWN = "watchkeeper";

/** Kinds that hold little else: whoever asks for one of them asks for it. */
const KINDS: ReadonlySet<string> = new Set(["admin", "session", "data_access"]);

/** Whether a view leaves them out: unless they are asked for, by the switch, by their kind, by their name, or by the session that they are of. */
export const leavesOutOwn = (at: { readonly own?: string | undefined; readonly kind?: string | undefined; readonly application?: string | undefined; readonly session?: string | undefined; readonly trace?: string | undefined }): boolean =>
  at.own !== "yes" && at.application !== OWN && !KINDS.has(at.kind ?? "") && !at.session && !at.trace;
