import { useMemo, useState } from "react";
import { nameOf, useMay, useSessionQuery } from "../../api/session";
import { useAt, useRange } from "../../lib/at";
import { bind, useShortcuts } from "../../lib/shortcuts";
import { NO_NEWS, useAsOf, useKept } from "../../lib/list";
import { plainLine } from "../../lib/text";
import { count, counted } from "../../lib/units";
import { Icon } from "../../ui/icons";
import { Foot, Looking, News, Cut } from "../../ui/list";
import { Badge, Choice, Empty, FilterChip, Grade, KeyOf, Loading, PageHead, Problem, Sev, SEVERITIES, useSay, useTyped } from "../../ui/parts";
import { backToTable, DataTable, type Column } from "../../ui/table";
import { Rec, When } from "../../ui/text";
import { day, fileName, saveText } from "../../lib/save";
import { span } from "../../lib/time";
import { filterOf, useDetections, useGroups, useTriage, type Detection, type Filter, type Name } from "./data";
import { Detail } from "./Detail";
import { targetOf } from "./target";
import { AssignDialog, CloseDialog, SuppressDialog } from "./Dialogs";
import type { Schema } from "../../api/client";

const STATES = [
  { value: "open", says: "Open" },
  { value: "acknowledged", says: "Acknowledged" },
  { value: "closed", says: "Closed" },
  { value: "all", says: "All" },
] as const;

const FILTERS = [["rule", "rule"], ["technique", "technique"], ["user", "user"], ["session", "session"], ["application", "application"], ["agent", "agent"], ["tool", "tool"], ["grade", "grade"], ["assignee", "assignee"], ["correlation", "incident"]] as const;

type Group = Schema<"DetectionGroup">;

/** Triage: what was detected, what it rests on, what is to be done with it. */
export function Detections() {
  const [at, change] = useAt<Name>();
  const { id, group } = at;
  const filter = filterOf(at);
  const mayTriage = useMay("triage");
  const [typed, setTyped] = useTyped(filter.q ?? "", (q) => change({ q }));

  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());
  const list = useDetections(filter, id !== undefined || selected.size > 0);
  const { rows, result } = list;
  // What is asked about is kept as it was: the list may lose it while one types.
  const [closing, setClosing] = useState<readonly string[] | null>(null);
  const [assigning, setAssigning] = useState<readonly string[] | null>(null);
  const [suppressing, setSuppressing] = useState<Detection | null>(null);
  const triage = useTriage();
  const say = useSay();
  const chosen = rows.find((row) => row.detection_id === id) ?? null;
  // What keys act on. The buttons of the panel are for the detection that is open, whatever is ticked.
  const { ids, isTicked } = useMemo(() => targetOf(selected, selected.size === 0 ? [] : rows.map((row) => row.detection_id), id), [selected, rows, id]);
  const untick = (ids: readonly string[]) => setSelected((before) => new Set([...before].filter((id) => !ids.includes(id))));

  const acknowledge = (ids: readonly string[]) => {
    if (ids.length === 0 || !mayTriage) return;
    triage.mutate({ ids, state: "acknowledged" }, {
      onSuccess: () => { untick(ids); say(`${counted(ids.length, "detection")} acknowledged`); backToTable("Detections"); },
      onError: (error) => say(error.message, "bad"),
    });
  };
  const { data: session } = useSessionQuery();
  const me = session ? nameOf(session) : "";
  const assign = (to: string, ids: readonly string[]) => {
    if (ids.length === 0 || !mayTriage) return;
    triage.mutate({ ids, assignee: to }, {
      onSuccess: () => { untick(ids); say(`${counted(ids.length, "detection")} given to ${to}`); backToTable("Detections"); },
      onError: (error) => say(error.message, "bad"),
    });
  };
  const save = () => saveText(fileName(["detections", day()], "jsonl"), "application/x-ndjson", rows.map((row) => JSON.stringify(row)).join("\n"));
  const toggle = (key: string) => setSelected((before) => {
    const after = new Set(before);
    if (!after.delete(key)) after.add(key);
    return after;
  });
  useShortcuts([
    ...(mayTriage ? [
      bind("acknowledge", () => acknowledge(ids)),
      bind("close", () => { if (ids.length > 0) setClosing(ids); }),
      bind("take", () => assign(me, ids)),
      bind("assign", () => { if (ids.length > 0) setAssigning(ids); }),
      bind("suppress", () => { if (chosen) setSuppressing(chosen); }),
      bind("tick", () => { if (id) toggle(id); }),
    ] : []),
    bind("export", () => { if (rows.length > 0) save(); }),
    bind("leave", () => { setSelected(new Set()); change({ id: undefined }); }),
  ]);

  const columns: Column<Detection>[] = [
    ...(mayTriage ? [{
      name: "tick", width: "1.25rem", from: 420, head: <span className="unseen">Ticked</span>,
      cell: (row: Detection) => <input type="checkbox" tabIndex={-1} checked={selected.has(row.detection_id)} aria-label="Tick" onClick={(event) => event.stopPropagation()} onChange={() => toggle(row.detection_id)} />,
    }] : []),
    { name: "sign", width: "1rem", until: 480, head: <span className="unseen">Severity</span>, cell: (row) => <Sev of={row.severity} word={false} /> },
    { name: "severity", width: "5rem", from: 480, head: "Severity", cell: (row) => <Sev of={row.severity} /> },
    { name: "title", width: "minmax(8rem, 3fr)", head: "Detection", cell: (row) => <span className="two"><Rec text={row.title} className={row.state === "open" ? "strong" : ""} />{row.suppressed_by ? <> <Badge>suppressed</Badge></> : null}{row.late_s ? <> <Late by={row.late_s} /></> : null}</span> },
    { name: "grade", width: "7rem", head: "Reached", from: 480, cell: (row) => <Grade of={row.grade} /> },
    { name: "technique", width: "7.25rem", head: "ATLAS", from: 940, cell: (row) => <span className="mono small soft">{row.technique}</span> },
    { name: "tool", width: "minmax(5rem, 0.8fr)", head: "Tool", from: 1160, cell: (row) => <Rec isName text={row.tool} className="mono small soft" /> },
    { name: "who", from: 660, width: "minmax(4.5rem, 1fr)", head: "Who", cell: (row) => <Rec isName text={row.user_id ?? row.agent ?? row.application} className="soft" /> },
    { name: "where", width: "minmax(6rem, 1fr)", head: "Application", from: 1040, cell: (row) => <Rec isName text={row.application ?? row.agent} className="soft" /> },
    { name: "state", width: "7rem", head: "State", from: 800, cell: (row) => <StateOf row={row} /> },
    { name: "time", width: "5.5rem", head: "When", isRight: true, cell: (row) => <span className="soft"><When time={row.observed} /></span> },
  ];

  return (
    <div className="page full detections">
      <PageHead title="Detections" end={
        <>
          <Choice label="State" value={(filter.state ?? "open") as (typeof STATES)[number]["value"]} options={STATES} onChoose={(state) => change({ state: state === "open" ? undefined : state })} />
          <Choice label="Group by" value={group ?? "none"} options={[{ value: "none", says: "Each" }, { value: "correlation", says: "By incident" }, { value: "rule", says: "By rule" }]}
            onChoose={(value) => change({ group: value === "none" ? undefined : value, id: undefined })} />
        </>
      } />
      <div className="filters">
        <input className="input find-in" type="search" placeholder="Title, rule or name…" aria-label="Find in detections" value={typed} onChange={(event) => setTyped(event.target.value)} />
        <select className="input" aria-label="Severity" value={filter.severity ?? ""} onChange={(event) => change({ severity: event.target.value })}>
          <option value="">Any severity</option>
          {SEVERITIES.slice(0, 4).map((each) => <option key={each} value={each}>{each === "critical" ? "Critical" : `${each[0]?.toUpperCase()}${each.slice(1)} and up`}</option>)}
        </select>
        {me === "" ? null : <label className="row small soft"><input type="checkbox" checked={filter.assignee === me} onChange={(event) => change({ assignee: event.target.checked ? me : undefined })} />Mine</label>}
        <label className="row small soft"><input type="checkbox" checked={filter.suppressed === "yes"} onChange={(event) => change({ suppressed: event.target.checked ? "yes" : undefined })} />Suppressed, too</label>
        {FILTERS.map(([name, says]) => (filter[name] && !(name === "assignee" && filter.assignee === me) ? <FilterChip key={name} name={says} value={filter[name] ?? ""} onRemove={() => change({ [name]: undefined })} /> : null))}
        <span className="end row-wrap">
          <News of={list} />
          {mayTriage && isTicked ? (
            <span className="ticked row" role="group" aria-label={`${count(ids.length)} ticked`}>
              <span className="small strong num">{count(ids.length)} ticked:</span>
              {([["Acknowledge", "acknowledge", () => acknowledge(ids)], ["Close", "close", () => setClosing(ids)], ["Assign", "assign", () => setAssigning(ids)]] as const).map(([says, key, run]) => (
                <button key={says} type="button" className="btn tiny" onClick={run} disabled={triage.isPending}>{says}<span className="unseen"> the {count(ids.length)} ticked</span><KeyOf of={key} /></button>
              ))}
              <button type="button" className="btn plain tiny icon" aria-label="Untick all" title="Untick all" onClick={() => setSelected(new Set())}><Icon name="close" /></button>
            </span>
          ) : null}
          <button type="button" className="btn tiny" disabled={rows.length === 0} title="What is in the list, as JSON lines" onClick={save}>
            <Icon name="download" />Export<KeyOf of="export" />
          </button>
        </span>
      </div>
      <div className={id ? "fill split" : "fill"}>
        {group === "correlation" || group === "rule"
          ? <Groups filter={filter} by={group} onOpen={(each) => change({ group: undefined, [group]: each.key }, { push: true })} />
          : (
            <section className="panel list-panel" aria-label="Detections">
              {result.error ? <Problem error={result.error} retry={() => void result.refetch()} /> : result.isPending || list.isLooking ? <Looking of={list} /> : rows.length === 0 ? <Nothing filter={filter} /> : (
                <DataTable label="Detections" {...list.table} rows={rows} columns={columns} rowKey={(row) => row.detection_id} active={id ?? null}
                  onActive={(row) => change({ id: row.detection_id })}
                  foot={<Foot of={list} all={`${counted(rows.length, "detection")}. That is all of them.`} />} />
              )}
            </section>
          )}
        {id ? <Detail key={id} id={id} row={chosen} onClose={() => change({ id: undefined })} hasKeys={!isTicked} onAcknowledge={() => acknowledge([id])} onCloseIt={() => setClosing([id])} onAssign={() => setAssigning([id])} onTake={() => assign(me, [id])} me={me} onSuppress={setSuppressing} /> : null}
      </div>
      {closing ? <CloseDialog ids={closing} onDone={(isDone) => { setClosing(null); if (isDone) untick(closing); backToTable("Detections"); }} /> : null}
      {assigning ? <AssignDialog ids={assigning} now={rows.find((row) => row.detection_id === assigning[0])?.assignee ?? ""} known={[...new Set(rows.flatMap((row) => row.assignee || []))]} onDone={(isDone) => { setAssigning(null); if (isDone) untick(assigning); backToTable("Detections"); }} /> : null}
      {suppressing ? <SuppressDialog of={suppressing} onDone={() => { setSuppressing(null); backToTable("Detections"); }} /> : null}
    </div>
  );
}

export function StateOf({ row }: { row: Pick<Detection, "state" | "assignee"> }) {
  const tone = row.state === "open" ? "accent" : row.state === "closed" ? "" : "good";
  return <Badge tone={tone} title={row.assignee ? `${plainLine(row.assignee)} looks at it` : undefined}>{row.state}{row.assignee ? <span className="cut">· <Rec text={row.assignee} max={12} /></span> : null}</Badge>;
}

function Nothing({ filter }: { filter: Filter }) {
  const isFiltered = Object.entries(filter).some(([name, value]) => value && name !== "state");
  if (isFiltered) return <Empty icon="filter" title="Nothing fits these filters">Take one off, or choose a longer range of time.</Empty>;
  if (filter.state === "all") return <Empty icon="detections" title="No detection" command="watchkeeper demo">In this range of time nothing was detected. To see what a detection looks like, replay recorded attacks:</Empty>;
  if ((filter.state ?? "open") !== "open") return <Empty icon="detections" title="None in this state">In this range of time there is no such detection.</Empty>;
  return (
    <Empty icon="detections" title="Nothing waits for you" command="watchkeeper demo">
      No open detection in this range of time. To see what one looks like, replay recorded attacks:
    </Empty>
  );
}

function Groups({ filter, by, onOpen }: { filter: Filter; by: "correlation" | "rule"; onOpen: (group: Group) => void }) {
  const { bounds: now, text } = useRange();
  const [active, setActive] = useState<string | null>(null);
  const [isScrolled, setScrolled] = useState(false);
  const [times, setTimes] = useState(0);
  const isHeld = active !== null || isScrolled;
  const { bounds, follow } = useKept(JSON.stringify([filter, text, by]), now, isHeld);
  const { data, error, isPending, isPlaceholderData, refetch, dataUpdatedAt } = useGroups(filter, bounds, by, isHeld);
  const asOf = useAsOf(isHeld && bounds.until === undefined, dataUpdatedAt);
  const refresh = () => {
    follow();
    setActive(null);
    setTimes((before) => before + 1);
    void refetch();
  };
  const columns: Column<Group>[] = [
    { name: "severity", width: "6rem", head: "Worst", cell: (row) => <Sev of={row.severity} /> },
    { name: "count", width: "4rem", head: "Count", isRight: true, cell: (row) => <span className="num strong">{count(row.count)}</span> },
    { name: "title", width: "minmax(14rem, 3fr)", head: by === "rule" ? "Rule" : "Led by", cell: (row) => <span className="two"><Rec text={row.lead.title} className="strong" /></span> },
    { name: "grade", from: 680, width: "7rem", head: "Reached", cell: (row) => <Grade of={row.grade} /> },
    { name: "key", from: 900, width: "minmax(8rem, 1.4fr)", head: by === "rule" ? "Id" : "Incident", cell: (row) => <Rec isName text={row.key} className="mono small soft" /> },
    { name: "who", from: 760, width: "minmax(7rem, 1fr)", head: "Users", cell: (row) => <Rec text={row.users.join(", ")} className="soft" /> },
    { name: "open", from: 560, width: "5rem", head: "Open", isRight: true, cell: (row) => <span className="num soft">{count(row.open)}</span> },
    { name: "last", width: "5.5rem", head: "Newest", isRight: true, cell: (row) => <span className="soft"><When time={row.last} /></span> },
  ];
  return (
    <div className="column">
    {asOf === null ? null : <span className="row"><span className="end"><News of={{ news: NO_NEWS, asOf, refresh }} /></span></span>}
    <Cut of={data?.truncated} what="the groups of the newest detections" so="what they count is too low" then="narrow the filter, or choose a shorter range of time" />
    <section className="panel list-panel" aria-label="Groups">
      {error ? <Problem error={error} retry={() => void refetch()} /> : isPending ? <Loading lines={10} /> : data.rows.length === 0 ? <Nothing filter={filter} /> : (
        <DataTable label="Groups of detections" anew={`${JSON.stringify([filter, text, by])} ${times}`} onScrolled={setScrolled} isBusy={isPlaceholderData} rows={data.rows} columns={columns} rowKey={(row) => row.key} active={active} onActive={(row) => setActive(row.key)} onOpen={onOpen}
          foot={`${counted(data.rows.length, "group")} of ${counted(data.detections, "detection")}. Enter opens one.`} />
      )}
    </section>
    </div>
  );
}

/** By how much the source's time and that of recording are apart, in seconds. */
export function Late({ by }: { by: number }) {
  return (
    <Badge title={by > 0 ? "Its source says that it happened so long before it was recorded" : "Its source says that it happens so long after it was recorded"}>
      {span(Math.abs(by) * 1000)} {by > 0 ? "late" : "ahead"}
    </Badge>
  );
}
