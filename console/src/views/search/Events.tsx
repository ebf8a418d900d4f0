import { useInfiniteQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { api, take } from "../../api/client";
import { useAt, useRange } from "../../lib/at";
import { LIST, useRows } from "../../lib/pages";
import { counted } from "../../lib/units";
import { isOwnAlone, OwnAlone } from "../../ui/beginning";
import { EVENT_COLUMNS, KINDS, traceOf } from "../../ui/events";
import { Empty, FilterChip, Loading, Problem } from "../../ui/parts";
import { DataTable } from "../../ui/table";
import { FilterInput } from "../live/Live";
import type { Name } from "./Search";

const FILTERS = ["user", "agent", "application", "model", "tool", "session", "trace", "risk"] as const;
const SCORES = [["", "Any score"], ["0.4", "Score from 0.4"], ["0.8", "Score from 0.8"]] as const;
const PAGE = 200;

/** Events by what is known of them, without what was said. */
export function Events() {
  const [at, change] = useAt<Name>();
  const { bounds } = useRange();
  const navigate = useNavigate();
  const filter = Object.fromEntries(([...FILTERS, "kind", "status"] as const).flatMap((name) => (at[name] ? [[name, at[name]]] : [])));
  const score = at.score && Number.isFinite(Number(at.score)) ? { score: Number(at.score) } : {};
  const query = { ...filter, ...score, ...bounds };
  const list = useInfiniteQuery({
    queryKey: ["events", query],
    queryFn: ({ signal, pageParam }) => take(api.GET("/api/events", { signal, params: { query: { ...query, limit: PAGE, ...(pageParam === null ? {} : { cursor: pageParam }) } } })),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next ?? null,
    placeholderData: (before) => before,
    ...LIST,
  });
  const { rows, isLooking } = useRows(list);
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
      </div>
      {list.hasNextPage || !isOwnAlone(rows.map((row) => row.application)) ? null : <OwnAlone />}
      <section className="panel list-panel fill" aria-label="Events">
        {list.error ? <Problem error={list.error} retry={() => void list.refetch()} /> : list.isPending || isLooking ? <Loading lines={12} /> : rows.length === 0 ? (
          <Empty icon="search" title="No event fits">Take a filter off, or choose a longer range of time above.</Empty>
        ) : (
          <DataTable label="Events" isBusy={list.isPlaceholderData} rows={rows} columns={EVENT_COLUMNS} rowKey={(row) => row.event_id} active={at.id ?? null} onActive={(row) => change({ id: row.event_id })}
            onOpen={(row) => void navigate({ to: "/trace", search: { id: traceOf(row), event: row.event_id } as never })}
            more={list.hasNextPage && !list.isFetchingNextPage ? () => void list.fetchNextPage() : undefined}
            rowClass={(row) => (row.kind === "detection" ? "hot" : "")}
            foot={list.hasNextPage ? "More as you scroll…" : `${counted(rows.length, "event")}. Enter opens the trace.`} />
        )}
      </section>
    </>
  );
}
