import { useMemo, useState } from "react";
import { duration } from "../../lib/time";
import { plainLine } from "../../lib/text";
import { Icon, KIND_ICON } from "../../ui/icons";
import { DataTable, type Column } from "../../ui/table";
import { Rec } from "../../ui/text";
import { count, TOKENS_UNTOLD, tokensTold } from "../../lib/units";
import { barOf, extent, indentOf, startOf, type Trace, type TraceEvent } from "./data";

const TICKS = [0, 0.25, 0.5, 0.75];

/** A time at the scale, as short as it can be. */
const tickOf = (ms: number): string => duration(ms).replace(/ 0 (?:s|min)$/, "");

/** Who called whom, when, and how long it took. */
export function Waterfall({ trace, steps, chosen, onChoose }: { trace: Trace; steps: ReadonlyMap<string, number>; chosen: string | null; onChoose: (event: string) => void }) {
  const rows = useMemo(() => trace.events.filter((event) => event.kind !== "detection"), [trace]);
  // What is short beside a span that takes an hour is a dot: the scale can be that of one event.
  const [scaledTo, setScaledTo] = useState<string | null>(null);
  const scale = rows.find((event) => event.event_id === scaledTo);
  const one = rows.find((event) => event.event_id === chosen);
  const { from, to, isMeasured } = useMemo(() => extent(scale ? [scale] : rows), [scale, rows]);
  const begin = useMemo(() => extent(rows).from, [rows]);
  const length = to - from;
  const deepest = useMemo(() => rows.reduce((most, event) => Math.max(most, event.depth), 0), [rows]);
  // What the longest name needs, as characters of about half an em, and its place and sign.
  const longest = useMemo(() => rows.reduce((most, event) => Math.max(most, Array.from(event.name).length * 0.52 + indentOf(event.depth, deepest)), 0), [rows, deepest]);
  const columns: Column<TraceEvent>[] = [
    { name: "name", width: `minmax(13rem, min(40%, ${(Math.min(longest, 80) + 2).toFixed(1)}rem))`, head: "What", cell: (event) => (
      <span className="row" style={{ paddingLeft: `${indentOf(event.depth, deepest)}rem` }} title={event.depth > 0 ? `${count(event.depth)} deep` : undefined}>
        {steps.has(event.event_id) ? <b className="step-no">{steps.get(event.event_id)}</b> : <Icon name={KIND_ICON[event.kind] ?? "info"} className={event.status === "error" ? "c-critical" : "faint"} />}
        <span className="cut"><Rec isName text={event.name} /></span>
      </span>
    ) },
    { name: "tokens", from: 700, width: "5rem", head: "Tokens", isRight: true, cell: (event) => <Tokens of={event} /> },
    { name: "took", from: 560, width: "5rem", head: "Took", isRight: true, cell: (event) => <span className="num soft">{event.duration_ms ? duration(event.duration_ms) : "–"}</span> },
    { name: "bar", width: "minmax(8rem, 1fr)", head: <span className="ticks" aria-hidden="true">{(isMeasured ? TICKS : []).map((tick) => <span key={tick} style={{ left: `${tick * 100}%` }}>{scale ? `+${tickOf(from - begin + length * tick)}` : tickOf(length * tick)}</span>)}</span>, cell: (event) => {
      const bar = barOf(event, { from, to });
      const when = `begins after ${duration(Math.max(startOf(event) - begin, 0))}, ${event.duration_ms ? `takes ${duration(event.duration_ms)}` : "how long it takes is not told"}`;
      const classes = ["span-bar", event.kind, event.status === "error" ? "failed" : "", steps.has(event.event_id) ? "on-path" : "", bar?.isCut ? "is-cut" : ""].filter(Boolean).join(" ");
      // The shortest bar is to be seen, at the end, too.
      return <span className="bar-track" title={plainLine(when)}>{bar ? <i className={classes} style={{ left: `min(${bar.left * 100}%, 100% - 3px)`, width: `max(3px, ${bar.width * 100}%)` }} /> : <i className="span-out" aria-hidden="true">{startOf(event) < from ? "‹" : "›"}</i>}</span>;
    } },
  ];
  return (
    <section className="panel list-panel waterfall" aria-label="Waterfall">
      {scale || (one?.duration_ms ?? 0) > 0 ? (
        <div className="flow-bar small">
          {scale ? <><span className="row soft">Scale:<span className="cut"><Rec isName text={scale.name} className="strong" /></span><span className="num nowrap">{duration(scale.duration_ms ?? 0)}</span></span><button type="button" className="btn tiny" onClick={() => setScaledTo(null)}>Scale to all</button></> : null}
          {one && one !== scale && one.duration_ms ? <button type="button" className="btn tiny" onClick={() => setScaledTo(one.event_id)}>Scale to the chosen one</button> : null}
        </div>
      ) : null}
      <DataTable label="Events in their order" rows={rows} columns={columns} rowKey={(event) => event.event_id} active={chosen} onActive={(event) => onChoose(event.event_id)} />
    </section>
  );
}

/** The tokens of a call; a dash where it tells none, and nothing of what is no call of a model. */
function Tokens({ of }: { of: TraceEvent }) {
  const told = tokensTold(of);
  if (told !== null) return <span className="num soft">{count(told)}</span>;
  return of.kind === "model_call" ? <span className="faint" title={TOKENS_UNTOLD}>–</span> : null;
}
