import { useMemo } from "react";
import { duration } from "../../lib/time";
import { Icon, KIND_ICON } from "../../ui/icons";
import { DataTable, type Column } from "../../ui/table";
import { Rec } from "../../ui/text";
import { count } from "../../lib/units";
import { extent, startOf, type Trace, type TraceEvent } from "./data";

const TICKS = [0, 0.25, 0.5, 0.75];

/** Who called whom, when, and how long it took. */
export function Waterfall({ trace, steps, chosen, onChoose }: { trace: Trace; steps: ReadonlyMap<string, number>; chosen: string | null; onChoose: (event: string) => void }) {
  const rows = useMemo(() => trace.events.filter((event) => event.kind !== "detection"), [trace]);
  const { from, to, isMeasured } = useMemo(() => extent(rows), [rows]);
  const length = to - from;
  // What the longest name needs, as characters of about half an em, and its place and sign.
  const longest = useMemo(() => rows.reduce((most, event) => Math.max(most, Array.from(event.name).length * 0.52 + Math.min(event.depth, 12) * 1.1), 0), [rows]);
  const columns: Column<TraceEvent>[] = [
    { name: "name", width: `minmax(11rem, min(40%, ${(Math.min(longest, 80) + 2).toFixed(1)}rem))`, head: "What", cell: (event) => (
      <span className="row" style={{ paddingLeft: `${Math.min(event.depth, 12) * 1.1}rem` }}>
        {steps.has(event.event_id) ? <b className="step-no">{steps.get(event.event_id)}</b> : <Icon name={KIND_ICON[event.kind] ?? "info"} className={event.status === "error" ? "c-critical" : "faint"} />}
        <span className="cut"><Rec text={event.name} /></span>
      </span>
    ) },
    { name: "tokens", from: 700, width: "5rem", head: "Tokens", isRight: true, cell: (event) => <span className="num soft">{event.input_tokens || event.output_tokens ? count((event.input_tokens ?? 0) + (event.output_tokens ?? 0)) : ""}</span> },
    { name: "took", from: 560, width: "5rem", head: "Took", isRight: true, cell: (event) => <span className="num soft">{event.duration_ms ? duration(event.duration_ms) : "–"}</span> },
    { name: "bar", width: "minmax(8rem, 1fr)", head: <span className="ticks" aria-hidden="true">{(isMeasured ? TICKS : []).map((tick) => <span key={tick} style={{ left: `${tick * 100}%` }}>{duration(length * tick)}</span>)}</span>, cell: (event) => {
      const left = ((startOf(event) - from) / length) * 100;
      const width = ((event.duration_ms ?? 0) / length) * 100;
      return <span className="bar-track"><i className={`span-bar ${event.kind}${event.status === "error" ? " failed" : ""}${steps.has(event.event_id) ? " on-path" : ""}`} style={{ left: `${left}%`, width: `max(3px, ${width}%)` }} /></span>;
    } },
  ];
  return (
    <section className="panel list-panel" aria-label="Waterfall">
      <DataTable label="Events in their order" rows={rows} columns={columns} rowKey={(event) => event.event_id} active={chosen} onActive={(event) => onChoose(event.event_id)} />
    </section>
  );
}
