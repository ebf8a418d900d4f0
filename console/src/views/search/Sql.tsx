import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useMemo, useRef, useState } from "react";
import { api, take, type Schema } from "../../api/client";
import { ask, useAsked } from "../../lib/asked";
import { useAt } from "../../lib/at";
import { csv } from "../../lib/csv";
import { parseExact } from "../../lib/exact";
import { day, fileName, saveText } from "../../lib/save";
import { duration } from "../../lib/time";
import { counted } from "../../lib/units";
import { Icon } from "../../ui/icons";
import { Empty, Loading, Problem, useDraft } from "../../ui/parts";
import { Cut } from "../../ui/list";
import { DataTable, type Column } from "../../ui/table";
import { Rec } from "../../ui/text";
import type { Name } from "./Search";

type Cells = readonly unknown[];

const EXAMPLES = [
  ["Newest prompts with a high score", "SELECT time, user_id, risk_score, classification, prompt FROM prompts WHERE risk_score >= 0.8 ORDER BY time DESC LIMIT 50"],
  ["Tools by how often they failed", "SELECT tool, count(*) AS calls, sum(status = 'error') AS failed FROM events WHERE kind = 'tool_call' GROUP BY tool ORDER BY failed DESC"],
  ["Paths from source to sink", "SELECT time, grade, edge, tool, destination, shared_value FROM flow_edges ORDER BY time DESC LIMIT 50"],
] as const;

/** One SELECT over the views. */
export function Sql() {
  const [at, change] = useAt<Name>();
  const [typed, setTyped] = useDraft(at.sql ?? "");
  const isAsked = useAsked("sql", at.sql);
  const started = useRef(0);
  const [took, setTook] = useState<number | null>(null);
  const { data, error, isFetching, refetch } = useQuery({
    queryKey: ["sql", at.sql],
    queryFn: async ({ signal }) => {
      started.current = performance.now();
      // Read here, so that no integer is rounded: times in nanoseconds are beyond what a number holds.
      const table = parseExact(await take(api.POST("/api/query", { signal, body: { sql: at.sql ?? "" }, parseAs: "text" }))) as Schema<"Table">;
      setTook(performance.now() - started.current);
      return table;
    },
    enabled: Boolean(at.sql) && isAsked,
    staleTime: Infinity,
    refetchOnWindowFocus: false,
    retry: false,
  });
  const choose = (sql: string) => {
    ask("sql", sql);
    if (sql !== at.sql) change({ sql }, { push: true });
  };
  const run = () => {
    const sql = typed.trim();
    if (sql === "") return;
    if (sql === at.sql && isAsked) void refetch();
    else choose(sql);
  };
  return (
    <div className="fill sql">
      <div className="sql-main">
        <form className="stack" onSubmit={(event) => { event.preventDefault(); run(); }}>
          <textarea className="input" aria-label="SQL" spellCheck={false} placeholder="SELECT …" value={typed} onChange={(event) => setTyped(event.target.value)}
            onKeyDown={(event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); run(); } }} />
          <div className="row">
            <button type="submit" className="btn primary" disabled={typed.trim() === "" || isFetching}>{isFetching ? "Running…" : "Run"}<kbd>Ctrl ↵</kbd></button>
            <span className="soft small" role="status">{data && !isFetching ? `${counted(data.rows.length, "row")}${data.truncated ? ", and there are more" : ""}${took === null ? "" : ` in ${duration(took)}`}` : ""}</span>
            {data ? <button type="button" className="btn tiny end" onClick={() => saveText(fileName(["query", day()], "csv"), "text/csv", csv([data.columns, ...data.rows] as readonly Cells[]))}><Icon name="download" />CSV</button> : null}
          </div>
        </form>
        {error ? <div><Problem error={error} /></div> : isFetching ? <Loading /> : data ? <Result table={data} /> : at.sql && !isAsked ? (
          <Empty icon="search" title="Not run yet">This query came with the address. A query is recorded as yours: read it, and then run it.</Empty>
        ) : (
          <div className="stack"><p className="soft">SQLite’s dialect, one SELECT, reading alone. Each query is recorded. To begin with:</p>
            {EXAMPLES.map(([says, sql]) => <button key={says} type="button" className="link" onClick={() => { setTyped(sql); choose(sql); }}>{says}</button>)}
          </div>
        )}
      </div>
      <Views onChoose={(name) => setTyped(typed.trim() === "" ? `SELECT * FROM ${name} ORDER BY time DESC LIMIT 50` : `${typed} ${name}`)} />
    </div>
  );
}

const WIDE = /^(prompt|response|text|evidence|attributes|title|arguments|result|description)$/;

const isNumber = (value: unknown): boolean => typeof value === "number" || typeof value === "bigint";

function Result({ table }: { table: Schema<"Table"> }) {
  const navigate = useNavigate();
  const [active, setActive] = useState<string | null>(null);
  const rows = useMemo(() => (table.rows as Cells[]).map((cells, at) => ({ cells, at })), [table]);
  const leads = ["session_id", "trace_id", "event_id", "detection_id"].map((name) => table.columns.indexOf(name)).find((at) => at >= 0);
  if (rows.length === 0) return <Empty icon="search" title="No row">The query ran, and nothing fits it.</Empty>;
  const columns: Column<(typeof rows)[number]>[] = table.columns.map((name, at) => ({
    name: `${at} ${name}`, head: <Rec text={name} />, width: WIDE.test(name) ? "minmax(18rem, 3fr)" : /time|_id$/.test(name) ? "minmax(10rem, 1fr)" : "minmax(6rem, 1fr)",
    isRight: isNumber(rows[0]?.cells[at]),
    cell: (row) => {
      const value = row.cells[at];
      return value === null || value === undefined ? <span className="faint">NULL</span> : <span className={isNumber(value) ? "num" : ""}><Rec text={String(value)} max={300} /></span>;
    },
  }));
  return (
    <div className="column">
    <Cut of={table.truncated} what={`the first ${counted(rows.length, "row")}`} then="narrow the query with WHERE, count in it, or set a LIMIT and an OFFSET" />
    <section className="panel list-panel sql-result" aria-label="Rows">
      <DataTable label="Rows" rows={rows} columns={columns} rowKey={(row) => String(row.at)} active={active} onActive={(row) => setActive(String(row.at))}
        {...(leads === undefined ? {} : { onOpen: (row: (typeof rows)[number]) => { const id = row.cells[leads]; if (typeof id === "string") void navigate({ to: "/trace", search: { id } as never }); } })} />
    </section>
    </div>
  );
}

function Views({ onChoose }: { onChoose: (name: string) => void }) {
  const { data } = useQuery({ queryKey: ["schema"], queryFn: ({ signal }) => take(api.GET("/api/query/schema", { signal })), staleTime: Infinity });
  return (
    <aside className="panel sql-side" aria-label="Views of the record">
      <header><h2>Views</h2></header>
      <div className="panel-body">
        {data?.views.map((view) => (
          <details key={view.name} className="schema-view">
            <summary>{view.name}</summary>
            <dl>
              <div><dd>{view.about}</dd><button type="button" className="link small" onClick={() => onChoose(view.name)}>put it into the query</button></div>
              {view.columns.map((column) => <div key={column.name}><dt className="mono">{column.name}</dt><dd>{column.meaning}</dd></div>)}
            </dl>
          </details>
        ))}
      </div>
    </aside>
  );
}
