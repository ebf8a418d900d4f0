import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useMemo } from "react";
import { api, take, type Schema } from "../../api/client";
import { problemIn } from "../../api/client";
import { useAt } from "../../lib/at";
import { day, fileName, saveBlob } from "../../lib/save";
import { plainLine } from "../../lib/text";
import { count, counted } from "../../lib/units";
import { Icon } from "../../ui/icons";
import { Badge, Empty, PageHead, Panel, Problem, useSay } from "../../ui/parts";
import { Rec, When } from "../../ui/text";
import type { COVERAGE } from "../names";
import { NAMES, TACTICS } from "./tactics";

type Name = (typeof COVERAGE)[number];
type Technique = Schema<"TechniqueCoverage">;
type State = Schema<"CoverageState">;

/** A technique in the matrix: as it was proved, or, until then, with what is known of it at once. */
type Cell = Pick<Technique, "technique" | "name" | "detections" | "drill"> & { readonly state: State | null; readonly ruled: number | null };

const STATES: readonly { state: State; says: string; means: string }[] = [
  { state: "covered", says: "Covered", means: "its rule’s examples pass, and the record has the fields that it needs" },
  { state: "examples_only", says: "Examples only", means: "its rule’s examples pass; no record was asked" },
  { state: "fields_not_seen", says: "Data not seen", means: "its rule’s examples pass, and the record never had the fields that it needs" },
  { state: "unproven", says: "Unproven", means: "there are rules, and none has examples that all pass" },
  { state: "none", says: "No rule", means: "no rule is evidence of it" },
];

/** The ATLAS matrix: which techniques the rules in force see, proved by examples and by the data of the record. */
export function Coverage() {
  const [at, change] = useAt<Name>();
  const say = useSay();
  const { data, error, isPending, refetch } = useQuery({
    queryKey: ["coverage"],
    queryFn: ({ signal }) => take(api.GET("/api/rules/coverage", { signal, params: { query: { days: 30 } } })),
    // It runs every example of every rule.
    staleTime: 5 * 60_000,
    refetchOnWindowFocus: false,
  });
  // What the proof of it takes, the list of rules does not: it is here at once.
  const rules = useQuery({ queryKey: ["rules"], queryFn: ({ signal }) => take(api.GET("/api/rules", { signal })), staleTime: 60_000, enabled: data === undefined });
  const isLogging = at.only === "logging";
  const techniques = useMemo(() => (data?.techniques ?? []).filter((each) => !isLogging || each.is_of_telemetry_logging), [data, isLogging]);
  const cells = useMemo(() => (data ? techniques.map((each): Cell => ({ ...each, ruled: null })) : unproved(rules.data?.rows)), [data, techniques, rules.data]);
  const chosen = data?.techniques.find((each) => each.technique === at.technique);
  const navigator = async () => {
    const response = await fetch("/api/rules/coverage?days=30&format=navigator");
    if (response.ok) saveBlob(fileName(["atlas-layer", day()], "json"), await response.blob());
    else say((await problemIn(response)).message, "bad");
  };
  return (
    <div className="page">
      <PageHead title="Coverage" end={
        <>
          <label className="row small soft"><input type="checkbox" checked={isLogging} onChange={(event) => change({ only: event.target.checked ? "logging" : undefined })} />Only what ATLAS asks to be logged (AML.M0024)</label>
          <button type="button" className="btn" onClick={() => void navigator()}><Icon name="download" />Navigator layer</button>
        </>
      }>What the rules in force can see of MITRE ATLAS{data ? ` ${data.atlas}` : ""}: proved by running each rule’s examples, and by what the record held in the last 30 days.</PageHead>
      {error ? <Problem error={error} retry={() => void refetch()} /> : (
        <>
          {isPending ? <p className="proving" role="status"><i aria-hidden="true" />Running the examples of {rules.data ? counted(rules.data.rows.filter((row) => row.kind !== "filter").length, "rule") : "the rules"}, and looking what the record holds…</p> : null}
          <dl className="figures panel">
            {STATES.map(({ state, says, means }) => <div key={state} title={means}><dt className="row"><i className={`swatch ${state}`} />{says}</dt><dd className="num">{data ? count(techniques.filter((each) => each.state === state).length) : <span className="faint">–</span>}</dd></div>)}
            <div><dt>Rules</dt><dd className="num">{data ? count(data.rules) : rules.data ? count(rules.data.rows.length) : <span className="faint">–</span>}</dd></div>
          </dl>
          {[...(data?.problems ?? []), ...(data?.cut ?? [])].length > 0 ? <div className="notice warn stack-tight">{[...(data?.problems ?? []), ...(data?.cut ?? [])].slice(0, 5).map((each) => <Rec key={each} text={each} max={400} />)}</div> : null}
          {chosen ? <Chosen of={chosen} onClose={() => change({ technique: undefined })} /> : null}
          <Matrix techniques={cells} chosen={at.technique ?? null} onChoose={(technique) => change({ technique: technique === at.technique ? undefined : technique })} />
        </>
      )}
    </div>
  );
}

/** The techniques of the taxonomy, with how many rules name each. */
function unproved(rules: readonly Schema<"RuleRow">[] | undefined): Cell[] {
  const by = new Map<string, number>();
  for (const rule of rules ?? []) for (const id of rule.techniques) by.set(id, (by.get(id) ?? 0) + 1);
  return Object.entries(NAMES).map(([technique, name]) => ({ technique, name, detections: 0, state: null, ruled: rules ? (by.get(technique) ?? 0) : null }));
}

function Matrix({ techniques, chosen, onChoose }: { techniques: readonly Cell[]; chosen: string | null; onChoose: (technique: string) => void }) {
  const by = useMemo(() => new Map(techniques.map((each) => [each.technique, each])), [techniques]);
  const known = new Set(TACTICS.flatMap((tactic) => tactic.techniques));
  const parentOf = (id: string) => id.replace(/\.\d{3}$/, "");
  const others = techniques.filter((each) => !known.has(parentOf(each.technique)));
  const columns = [...TACTICS, ...(others.length > 0 ? [{ id: "", name: "Elsewhere", techniques: [...new Set(others.map((each) => parentOf(each.technique)))] }] : [])];
  return (
    <div className="matrix" role="group" aria-label="ATLAS matrix" tabIndex={0}>
      {columns.map((tactic) => {
        const cells = tactic.techniques.flatMap((id) => [...(by.has(id) ? [id] : []), ...techniques.filter((each) => each.technique !== id && parentOf(each.technique) === id).map((each) => each.technique)]);
        if (cells.length === 0) return null;
        return (
          <div key={tactic.name} className="tactic">
            <h3>{tactic.name}</h3>
            {cells.map((id) => {
              const each = by.get(id);
              if (!each) return null;
              const isSub = id !== parentOf(id);
              return (
                <button key={id} type="button" className={`cell ${each.state ?? (each.ruled ? "pending" : "none")}${isSub ? " sub" : ""}`} disabled={each.state === null} aria-pressed={chosen === id} onClick={() => onChoose(id)}
                  title={`${plainLine(id)} ${plainLine(each.name)}: ${STATES.find((state) => state.state === each.state)?.says ?? "not proved yet"}`}>
                  <span>{isSub ? each.name.split(": ").at(-1) : each.name}</span>
                  {each.drill ? <span className={`small ${each.drill.caught === each.drill.played ? "c-good" : "c-critical"}`}>{drilled(each.drill)}</span> : null}
                  {each.detections > 0 ? <span className="small num strong">{counted(each.detections, "detection")}</span> : null}
                  {each.ruled ? <span className="small num faint">{counted(each.ruled, "rule")}</span> : null}
                  <span className="unseen">{STATES.find((state) => state.state === each.state)?.says}</span>
                </button>
              );
            })}
          </div>
        );
      })}
    </div>
  );
}

/** What came of drills. */
const drilled = (drill: Schema<"Drilled">) => drill.caught === drill.played ? "drill passed" : drill.caught === 0 ? "drill not told" : `${drill.caught} of ${drill.played} drills told`;

function Chosen({ of, onClose }: { of: Technique; onClose: () => void }) {
  const state = STATES.find((each) => each.state === of.state);
  return (
    <Panel title={<><span className="mono small soft">{of.technique}</span> {of.name}</>} end={<button type="button" className="btn plain tiny icon" aria-label="Close the technique" onClick={onClose}><Icon name="close" /></button>}>
      <div className="stack">
        <p className="row-wrap"><Badge tone={of.state === "covered" ? "good" : of.state === "none" ? "" : "medium"}>{state?.says}</Badge><span className="soft">{state?.means}.</span>{of.detections > 0 ? <Link to="/detections" search={{ technique: of.technique, state: "all", range: "30d" } as never}>{counted(of.detections, "detection")} in 30 days</Link> : null}</p>
        {of.drill ? <p className="row-wrap"><Badge tone={of.drill.caught === of.drill.played ? "good" : "critical"}>{drilled(of.drill)}</Badge><span className="soft">{count(of.drill.caught)} of {counted(of.drill.played, "drill")} told at the first step that shows; played last <When time={of.drill.last} />.</span></p>
          : <p className="soft">No drill of it was played on this server in 30 days: <code className="mono small">watchkeeper drill --server URL --case {of.technique}</code></p>}
        {of.rules.length === 0 ? <Empty icon="coverage" title="No rule sees it" command="watchkeeper rules coverage">Many techniques leave no trace in the traffic of an AI system. For those that do, write a rule:</Empty> : (
          <div className="scroll-x">
            <table className="plain-table">
              <thead><tr><th>Rule</th><th>State</th><th className="right">Examples</th><th>Fields that the record lacks</th><th className="right">Detections</th></tr></thead>
              <tbody>
                {of.rules.map((rule) => (
                  <tr key={rule.id}>
                    <td><Link to="/settings" search={{ tab: "rules", rule: rule.id } as never}><Rec text={rule.title} /></Link></td>
                    <td>{STATES.find((each) => each.state === rule.state)?.says}</td>
                    <td className="num right">{rule.examples_passed}{rule.examples_failed > 0 ? <span className="c-critical"> · {rule.examples_failed} failed</span> : null}</td>
                    <td className="mono small">{rule.missing.join(", ") || <span className="faint">none</span>}</td>
                    <td className="num right">{count(rule.detections)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </div>
    </Panel>
  );
}
