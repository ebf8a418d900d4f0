import type { Schema } from "../api/client";
import { duration } from "../lib/time";
import { score } from "../lib/units";
import { Icon, KIND_ICON } from "./icons";
import { Badge, isSeverity, Sev } from "./parts";
import type { Column } from "./table";
import { Rec, When } from "./text";

type EventRow = Schema<"EventRow">;

export const KINDS = ["model_call", "tool_call", "retrieval", "guardrail", "agent_step", "external_call", "data_access", "system_prompt", "installation", "session", "admin", "evaluation", "detection", "response_action", "gap"] as const;

/** Where a row leads: the session, or the trace, or the event itself. */
export const traceOf = (row: Pick<EventRow, "session_id" | "trace_id" | "event_id">): string => row.session_id ?? row.trace_id ?? row.event_id;

/** Detections stand out of a list by the colour of their severity. */
export const classOf = (row: Pick<EventRow, "kind" | "severity">): string => (row.kind === "detection" ? `hot ${isSeverity(row.severity) ? row.severity : ""}` : "");

/** The columns of every list of events. */
export const EVENT_COLUMNS: readonly Column<EventRow>[] = [
  { name: "time", width: "6rem", head: "When", cell: (row) => <span className="soft"><When time={row.time} /></span> },
  { name: "kind", width: "7.5rem", head: "Kind", cell: (row) => <span className="row"><Icon name={KIND_ICON[row.kind] ?? "info"} className={row.kind === "detection" ? `c-${row.severity ?? "high"}` : row.kind === "gap" ? "c-high" : "faint"} /><span className="cut">{row.kind.replaceAll("_", " ")}</span></span> },
  { name: "name", width: "minmax(12rem, 3.2fr)", head: "What", cell: (row) => <span className="row"><span className="two"><Rec text={row.title ?? row.name} className="strong" /></span>{row.status === "error" ? <Badge tone="critical">error</Badge> : null}{row.severity ? <Sev of={row.severity} /> : null}</span> },
  { name: "who", from: 560, width: "minmax(6rem, 1fr)", head: "User", cell: (row) => <Rec isName text={row.user_id} className="soft" /> },
  { name: "agent", from: 900, width: "minmax(7rem, 1.1fr)", head: "Agent", cell: (row) => <Rec isName text={row.agent ?? row.application} className="soft" /> },
  { name: "on", from: 780, width: "minmax(6rem, 1fr)", head: "Model or tool", cell: (row) => <Rec isName text={row.tool ?? row.model} className="soft" /> },
  { name: "risks", from: 1060, width: "minmax(7rem, 1.2fr)", head: "Found", cell: (row) => (row.risks.length > 0 ? <span className="row">{row.risks.slice(0, 2).map((risk) => <Badge key={risk} square tone={(row.score ?? 0) >= 0.8 ? "high" : "medium"}><span className="cut"><Rec text={risk.replaceAll("_", " ")} max={30} /></span></Badge>)}</span> : null) },
  { name: "score", from: 480, width: "3.5rem", head: "Score", isRight: true, cell: (row) => <span className={`num ${(row.score ?? 0) >= 0.8 ? "c-high strong" : (row.score ?? 0) >= 0.4 ? "c-medium" : "faint"}`}>{row.kind === "detection" ? "" : score(row.score)}</span> },
  { name: "took", from: 980, width: "4.5rem", head: "Took", isRight: true, cell: (row) => <span className="num soft">{row.duration_ms ? duration(row.duration_ms) : ""}</span> },
];
