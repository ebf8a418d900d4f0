import { useNavigate } from "@tanstack/react-router";
import { api, take, type Schema } from "../../api/client";
import { useAt } from "../../lib/at";
import { useList } from "../../lib/list";
import { column, count, counted } from "../../lib/units";
import { OWN } from "../../lib/own";
import { isOwnAlone, OwnAlone } from "../../ui/beginning";
import { Foot, Looking, News, Cut } from "../../ui/list";
import { Choice, Empty, PageHead, Problem, useTyped } from "../../ui/parts";
import { Risk, RiskLegend } from "../../ui/risk";
import { DataTable, type Column } from "../../ui/table";
import { Rec, When } from "../../ui/text";
import type { ENTITIES } from "../names";

type Name = (typeof ENTITIES)[number];
type Entity = Schema<"EntityRow">;
type Kind = Schema<"EntityKind">;
const KINDS: readonly { value: Kind | "all"; says: string }[] = [
  { value: "all", says: "All" }, { value: "user", says: "Users" }, { value: "agent", says: "Agents" }, { value: "application", says: "Applications" }, { value: "tool", says: "Tools" }, { value: "model", says: "Models" },
];
const keyOf = (row: Entity) => `${row.kind} ${row.name}`;

const COLUMNS: readonly Column<Entity>[] = [
  { name: "risk", width: "9rem", head: "Risk", cell: (row) => <Risk of={row.risk} /> },
  { name: "kind", width: "6.5rem", head: "What", cell: (row) => <span className="soft">{row.kind}</span> },
  { name: "name", width: "minmax(12rem, 2fr)", head: "Who", cell: (row) => <Rec isName text={row.name} className="strong" /> },
  { name: "techniques", from: 820, width: "minmax(9rem, 1.3fr)", head: "ATLAS", cell: (row) => <span className="mono small soft">{row.techniques.join(" ")}</span> },
  { name: "detections", from: 520, width: "6rem", head: "Detections", isRight: true, cell: (row) => <span className="num">{count(row.detections)}</span> },
  { name: "events", from: 620, width: "5rem", head: "Events", isRight: true, cell: (row) => <span className="num soft" title={count(row.events)}>{column(row.events)}</span> },
  { name: "last", width: "6rem", head: "Last seen", isRight: true, cell: (row) => <span className="soft"><When time={row.last_seen} /></span> },
];

/** Users, agents, applications, tools and models, by the risk that they are now. */
export function Entities() {
  const [at, change] = useAt<Name>();
  const navigate = useNavigate();
  const [typed, setTyped] = useTyped(at.q ?? "", (q) => change({ q }));
  const kind = KINDS.find((each) => each.value === at.type)?.value ?? "all";
  const list = useList({
    name: ["entities"], filter: { ...(kind === "all" ? {} : { type: kind }), ...(at.q ? { q: at.q } : {}) }, isOpen: at.id !== undefined, isRanged: false, keyOf,
    ask: (query, signal) => take(api.GET("/api/entities", { signal, params: { query } })),
  });
  const { rows, result } = list;
  return (
    <div className="page full">
      <PageHead title="Entities" end={<Choice label="What" value={kind} options={KINDS} onChoose={(value) => change({ type: value === "all" ? undefined : value })} />}>
        The risk of each is the weight of its detections, halved each day.
      </PageHead>
      <div className="filters"><input className="input find-in" type="search" aria-label="Part of the name" placeholder="Part of the name…" value={typed} onChange={(event) => setTyped(event.target.value)} /><RiskLegend /><span className="end"><News of={list} /></span></div>
      <Cut of={list.isPartial} what="the entities of the newest detections" so="counts and risks may be too low" then="look for a name, or choose one kind" />
      {result.hasNextPage || !isOwnAlone(rows.flatMap((row) => (row.kind === "application" ? [row.name === OWN] : []))) ? null : <OwnAlone />}
      <section className="panel list-panel fill" aria-label="Entities">
        {result.error ? <Problem error={result.error} retry={() => void result.refetch()} /> : result.isPending || list.isLooking ? <Looking of={list} /> : rows.length === 0 ? (
          <Empty icon="entities" title="Nobody of this name">Entities come out of events: who called, which agent, which tool, which model.</Empty>
        ) : (
          <DataTable label="Entities" {...list.table} rows={rows} columns={COLUMNS} rowKey={keyOf} active={at.id ?? null} onActive={(row) => change({ id: keyOf(row) })}
            onOpen={(row) => void navigate({ to: "/entity", search: { kind: row.kind, name: row.name } as never })}
            foot={<Foot of={list} all={counted(rows.length, "entity", "entities")} />} />
        )}
      </section>
    </div>
  );
}
