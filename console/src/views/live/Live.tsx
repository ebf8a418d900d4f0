import { useNavigate } from "@tanstack/react-router";
import { useMemo, useState } from "react";
import { stringifySearch, useAt } from "../../lib/at";
import { leavesOutOwn } from "../../lib/own";
import { bind, useShortcuts } from "../../lib/shortcuts";
import { count } from "../../lib/units";
import { OwnChip } from "../../ui/beginning";
import { classOf, EVENT_COLUMNS, KINDS, traceOf } from "../../ui/events";
import { Icon } from "../../ui/icons";
import { Badge, Empty, FilterChip, KeyOf, PageHead, Problem } from "../../ui/parts";
import { DataTable } from "../../ui/table";
import { LIVE as NAMES } from "../names";
import { useLive } from "./stream";

type Name = (typeof NAMES)[number];

/** Events as they come in. */
export function Live() {
  const [at, change] = useAt<Name>();
  const [isHeld, setHeld] = useState(false);
  const [active, setActive] = useState<string | null>(null);
  const navigate = useNavigate();
  const isLeftOut = leavesOutOwn(at);
  const query = useMemo(() => stringifySearch(Object.fromEntries(NAMES.map((name) => [name, name === "own" ? (isLeftOut ? "false" : undefined) : at[name]]))), [at, isLeftOut]);
  // A row that is chosen stays where it is.
  const live = useLive(query, isHeld || active !== null);
  const waits = isHeld || active !== null;
  const resume = () => { setHeld(false); setActive(null); };
  useShortcuts([
    bind("hold", () => (waits ? resume() : setHeld(true))),
    bind("goOn", resume),
  ]);
  return (
    <div className="page full">
      <PageHead title="Live" end={
        <>
          <span className="row soft num" role="status">
            <span className={`dot ${live.isConnected ? (waits ? "medium" : "good") : "critical"}`} />
            {live.isConnected ? (waits ? `Held · ${count(live.held)} have come` : `${live.perSecond > 0 && live.perSecond < 10 ? live.perSecond.toFixed(1) : count(Math.round(live.perSecond))} events/s`) : live.problem ? "Not connected" : "Connecting…"}
          </span>
          <button type="button" className="btn" aria-pressed={waits} onClick={() => (waits ? resume() : setHeld(true))}><Icon name={waits ? "play" : "pause"} />{waits ? "Go on" : "Hold"}<KeyOf of="hold" /></button>
        </>
      } />
      <div className="filters">
        <select className="input" aria-label="Kind" value={at.kind ?? ""} onChange={(event) => change({ kind: event.target.value })}>
          <option value="">Every kind</option>
          {KINDS.map((kind) => <option key={kind} value={kind}>{kind.replaceAll("_", " ")}</option>)}
        </select>
        <FilterInput onAdd={(name, value) => change({ [name]: value })} />
        {NAMES.filter((name) => name !== "kind" && name !== "own" && at[name]).map((name) => <FilterChip key={name} name={name} value={at[name] ?? ""} onRemove={() => change({ [name]: undefined })} />)}
        <OwnChip own={at.own} isLeftOut={isLeftOut} onChange={(own) => change({ own })} />
        {live.dropped > 0 ? <Badge tone="medium" title="They came faster than this browser took them. Search has them.">{count(live.dropped)} passed over</Badge> : null}
      </div>
      {live.isReset ? <div className="notice warn" role="status"><Icon name="warning" /><span className="grow">The server went back behind what it had sent: it has another record now, or builds its store anew. What came before stays below and may not be found any more; load this page anew to begin with what there is.</span></div> : null}
      {live.problem ? <Problem error={live.problem} /> : null}
      <section className="panel list-panel fill" aria-label="Live events">
        {live.rows.length === 0 ? (
          <Empty icon="live" title={live.isConnected ? "Waiting for events" : live.problem ? "Not connected" : "Connecting"} command="watchkeeper run -- python my_agent.py">
            What comes in appears here at once, without what was said. To send some, start a program so that its calls report here:
          </Empty>
        ) : (
          <DataTable label="Live events" isStream rows={live.rows} columns={EVENT_COLUMNS} rowKey={(row) => row.event_id} active={active}
            onActive={(row) => setActive(row.event_id)} onOpen={(row) => void navigate({ to: "/trace", search: { id: traceOf(row), event: row.event_id } as never })}
            rowClass={classOf} />
        )}
      </section>
    </div>
  );
}

/** Adds a filter: `user ada`. */
export function FilterInput({ onAdd }: { onAdd: (name: Name, value: string) => void }) {
  const [name, setName] = useState<Name>("user");
  const [value, setValue] = useState("");
  return (
    <form className="row" onSubmit={(event) => { event.preventDefault(); if (value.trim()) { onAdd(name, value.trim()); setValue(""); } }}>
      <select className="input" aria-label="Filter by" value={name} onChange={(event) => setName(event.target.value as Name)}>
        {NAMES.filter((each) => each !== "kind" && each !== "own").map((each) => <option key={each} value={each}>{each}</option>)}
      </select>
      <input className="input filter-value" aria-label="Value of the filter" placeholder="is…" value={value} onChange={(event) => setValue(event.target.value)} />
    </form>
  );
}
