import { useNavigate } from "@tanstack/react-router";
import { api, take, type Schema } from "../../api/client";
import { useAt } from "../../lib/at";
import { useList } from "../../lib/list";
import { leavesOutOwn } from "../../lib/own";
import { column, count, counted, isTokensTold, score, TOKENS_UNTOLD } from "../../lib/units";
import { isOwnAlone, NothingElse, OwnAlone, OwnChip } from "../../ui/beginning";
import { Foot, Looking, News } from "../../ui/list";
import { Empty, FilterChip, Grade, PageHead, Problem, Sev, SEVERITIES, useTyped } from "../../ui/parts";
import { DataTable, type Column } from "../../ui/table";
import { Rec, When } from "../../ui/text";
import { SESSIONS as NAMES } from "../names";

type Name = (typeof NAMES)[number];
type Session = Schema<"SessionRow">;
const LOOK_MS = 15_000;
const idOf = (row: Session) => row.session_id;
const timeOf = (row: Session) => row.last;

const COLUMNS: readonly Column<Session>[] = [
  { name: "session", width: "minmax(10rem, 2fr)", head: "Session", cell: (row) => <Rec isName text={row.session_id} className="mono strong" /> },
  { name: "user", from: 480, width: "minmax(5rem, 1fr)", head: "User", cell: (row) => <Rec isName text={row.user_id} className="soft" /> },
  { name: "application", from: 820, width: "minmax(6rem, 1fr)", head: "Application", cell: (row) => <Rec isName text={row.application} className="soft" /> },
  { name: "agents", from: 1180, width: "minmax(7rem, 1.2fr)", head: "Agents", cell: (row) => <Rec text={row.agents.join(", ")} className="soft" /> },
  { name: "calls", from: 760, width: "4.5rem", head: "Calls", isRight: true, cell: (row) => <span className="num" title={`${counted(row.model_calls, "model call")}, ${counted(row.tool_calls, "tool call")}`}>{column(row.model_calls + row.tool_calls)}</span> },
  { name: "tokens", from: 680, width: "4.5rem", head: "Tokens", isRight: true, cell: (row) => (isTokensTold(row.tokens, row.model_calls) ? <span className="num soft" title={count(row.tokens)}>{column(row.tokens)}</span> : <span className="faint" title={TOKENS_UNTOLD}>–</span>) },
  { name: "score", from: 1000, width: "3.5rem", head: "Score", isRight: true, cell: (row) => <span className={`num ${(row.score ?? 0) >= 0.8 ? "c-high" : "faint"}`}>{score(row.score)}</span> },
  { name: "detections", width: "8.5rem", head: "Detections", cell: (row) => (row.detections > 0 ? <span className="row"><span className="num">{count(row.detections)}</span><Sev of={row.severity} /></span> : <span className="faint">–</span>) },
  { name: "grade", from: 860, width: "7rem", head: "Reached", cell: (row) => <Grade of={row.grade} /> },
  { name: "last", width: "5.5rem", head: "Last", isRight: true, cell: (row) => <span className="soft"><When time={row.last} /></span> },
];

/** Conversations and runs of agents. */
export function Sessions() {
  const [at, change] = useAt<Name>();
  const navigate = useNavigate();
  const [typed, setTyped] = useTyped(at.q ?? "", (q) => change({ q }));
  const { id, ...filter } = at;
  const isLeftOut = leavesOutOwn(at);
  const asked: Readonly<Record<string, string | boolean>> = Object.fromEntries(NAMES.flatMap((name) => (name !== "id" && name !== "own" && filter[name] ? [[name, filter[name]]] : [])));
  const list = useList({
    name: ["sessions"], filter: isLeftOut ? { ...asked, own: false } : asked, orElse: isLeftOut ? { ...asked, own: true } : undefined,
    isOpen: id !== undefined, everyMs: LOOK_MS, keyOf: idOf, timeOf,
    ask: (query, signal) => take(api.GET("/api/sessions", { signal, params: { query } })),
  });
  const { rows, result } = list;
  return (
    <div className="page full">
      <PageHead title="Sessions" />
      <div className="filters">
        <input className="input find-in" type="search" aria-label="Part of the id" placeholder="Part of the id…" value={typed} onChange={(event) => setTyped(event.target.value)} />
        <select className="input" aria-label="With a detection" value={at.severity ?? ""} onChange={(event) => change({ severity: event.target.value })}>
          <option value="">With detections or without</option>
          {SEVERITIES.map((each) => <option key={each} value={each}>With one that is {each === "critical" ? "critical" : `${each} or worse`}</option>)}
        </select>
        {(["user", "application", "agent"] as const).map((name) => (at[name] ? <FilterChip key={name} name={name} value={at[name] ?? ""} onRemove={() => change({ [name]: undefined })} /> : null))}
        <OwnChip own={at.own} isLeftOut={isLeftOut} onChange={(own) => change({ own })} />
        <span className="end"><News of={list} /></span>
      </div>
      {result.hasNextPage || !isOwnAlone(rows.map((row) => row.own)) ? null : <OwnAlone />}
      <section className="panel list-panel fill" aria-label="Sessions">
        {result.error ? <Problem error={result.error} retry={() => void result.refetch()} /> : result.isPending || list.isLooking ? <Looking of={list} /> : list.isLeftOutAlone ? <NothingElse icon="sessions" /> : rows.length === 0 ? (
          <Empty icon="sessions" title="No session here" command="watchkeeper demo">In this range of time no session fits. To record some, replay the demonstration:</Empty>
        ) : (
          <DataTable label="Sessions" {...list.table} rows={rows} columns={COLUMNS} rowKey={idOf} active={id ?? null} onActive={(row) => change({ id: row.session_id })}
            onOpen={(row) => void navigate({ to: "/trace", search: { id: row.session_id } as never })}
            foot={<Foot of={list} all={`${counted(rows.length, "session")}. Enter opens one.`} />} />
        )}
      </section>
    </div>
  );
}
