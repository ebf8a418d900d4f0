import { useNavigate } from "@tanstack/react-router";
import { api, take, type Schema } from "../../api/client";
import { useAt } from "../../lib/at";
import { useList } from "../../lib/list";
import { leavesOutOwn } from "../../lib/own";
import { counted } from "../../lib/units";
import { isOwnAlone, NothingElse, OwnAlone, OwnChip } from "../../ui/beginning";
import { classOf, EVENT_COLUMNS, KINDS, traceOf } from "../../ui/events";
import { Foot, Looking, News } from "../../ui/list";
import { Empty, FilterChip, Problem } from "../../ui/parts";
import { DataTable } from "../../ui/table";
import { FilterInput } from "../live/Live";
import type { Name } from "./Search";

const FILTERS = ["user", "agent", "application", "model", "tool", "session", "trace", "risk"] as const;
const SCORES = [["", "Any score"], ["0.4", "Score from 0.4"], ["0.8", "Score from 0.8"]] as const;
const LOOK_MS = 30_000;
const idOf = (row: Schema<"EventRow">) => row.event_id;
const timeOf = (row: Schema<"EventRow">) => row.time;

/** Events by what is known of them, without what was said. */
export function Events() {
  const [at, change] = useAt<Name>();
  const navigate = useNavigate();
  const filter = Object.fromEntries(([...FILTERS, "kind", "status"] as const).flatMap((name) => (at[name] ? [[name, at[name]]] : [])));
  const score = at.score && Number.isFinite(Number(at.score)) ? { score: Number(at.score) } : {};
  const isLeftOut = leavesOutOwn(at);
  const list = useList({
    name: ["events"], filter: { ...filter, ...score, ...(isLeftOut ? { own: false } : {}) }, orElse: isLeftOut ? { ...filter, ...score, own: true } : undefined, isOpen: at.id !== undefined, everyMs: LOOK_MS, keyOf: idOf, timeOf,
    ask: (query, signal) => take(api.GET("/api/events", { signal, params: { query } })),
  });
  const { rows, result } = list;
  return (
    <>
      <div className="filters">
        <select className="input" aria-label="Kind" value={at.kind ?? ""} onChange={(event) => change({ kind: event.target.value })}>
          <option value="">Every kind</option>
          {KINDS.map((kind) => <option key={kind} value={kind}>{kind.replaceAll("_", " ")}</option>)}
        </select>
        <select className="input" aria-label="Status" value={at.status ?? ""} onChange={(event) => change({ status: event.target.value })}>
          <option value="">Any status</option><option value="error">Failed</option><option value="ok">Went well</option>
        </select>
        <select className="input" aria-label="Score" value={at.score ?? ""} onChange={(event) => change({ score: event.target.value })}>
          {SCORES.map(([value, says]) => <option key={value} value={value}>{says}</option>)}
        </select>
        <FilterInput onAdd={(name, value) => change({ [name]: value })} />
        {FILTERS.map((name) => (at[name] ? <FilterChip key={name} name={name} value={at[name] ?? ""} onRemove={() => change({ [name]: undefined })} /> : null))}
        <OwnChip own={at.own} isLeftOut={isLeftOut} onChange={(own) => change({ own })} />
        <span className="end"><News of={list} /></span>
      </div>
      {result.hasNextPage || !isOwnAlone(rows.map((row) => row.own)) ? null : <OwnAlone />}
      <section className="panel list-panel fill" aria-label="Events">
        {result.error ? <Problem error={result.error} retry={() => void result.refetch()} /> : result.isPending || list.isLooking ? <Looking of={list} /> : list.isLeftOutAlone ? <NothingElse icon="search" /> : rows.length === 0 ? (
          <Empty icon="search" title="No event fits">Take a filter off, or choose a longer range of time above.</Empty>
        ) : (
          <DataTable label="Events" {...list.table} rows={rows} columns={EVENT_COLUMNS} rowKey={idOf} active={at.id ?? null} onActive={(row) => change({ id: row.event_id })}
            onOpen={(row) => void navigate({ to: "/trace", search: { id: traceOf(row), event: row.event_id } as never })}
            rowClass={classOf}
            foot={<Foot of={list} all={`${counted(rows.length, "event")}. Enter opens the trace.`} />} />
        )}
      </section>
    </>
  );
}
