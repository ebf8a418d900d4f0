// What Watchkeeper records of itself: its start, its keys, who signed in, who read what. Lists of what AI systems did leave it out unless it is
// asked for. What names itself so and is anything else (a call, a detection, a gap) is never left out.

/** The application of what the server records of itself. */
export const OWN = "watchkeeper";

const KINDS: ReadonlySet<string> = new Set(["admin", "session", "data_access"]);

interface Event {
  readonly kind: string;
  readonly application?: string | null | undefined;
  readonly agent?: string | null | undefined;
  readonly model?: string | null | undefined;
  readonly tool?: string | null | undefined;
  readonly risks: readonly string[];
}

/** Whether an event is an act of administration of the server itself. */
export const isOwnEvent = (row: Event): boolean =>
  row.application === OWN && KINDS.has(row.kind) && !row.agent && !row.model && !row.tool && row.risks.length === 0;

interface Session {
  readonly application?: string | null | undefined;
  readonly agents: readonly string[];
  readonly model_calls: number;
  readonly tool_calls: number;
  readonly detections: number;
}

/** Whether a session is somebody's with the console: nothing was called in it and nothing found. */
export const isOwnSession = (row: Session): boolean =>
  row.application === OWN && row.agents.length === 0 && row.model_calls + row.tool_calls + row.detections === 0;

/** Whether a view leaves them out: unless they are asked for, by the switch, by their kind, by their name, or by the session that they are of. */
export const leavesOutOwn = (at: { readonly own?: string | undefined; readonly kind?: string | undefined; readonly application?: string | undefined; readonly session?: string | undefined; readonly trace?: string | undefined }): boolean =>
  at.own !== "yes" && at.application !== OWN && !KINDS.has(at.kind ?? "") && !at.session && !at.trace;

export const isOthersEvent = (row: Event): boolean => !isOwnEvent(row);
export const isOthersSession = (row: Session): boolean => !isOwnSession(row);
