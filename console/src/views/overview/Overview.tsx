import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useMemo } from "react";
import type { Schema } from "../../api/client";
import { useAt, useRange } from "../../lib/at";
import { ANY_TIME, rangeOfBuckets, span } from "../../lib/time";
import { count, counted, isTokensTold, short, TOKENS_UNTOLD } from "../../lib/units";
import { standingOf } from "../../shell/RecordSign";
import { Legend, TimeChart, type Series } from "../../ui/chart";
import { Beginning } from "../../ui/beginning";
import { Icon } from "../../ui/icons";
import { Cut } from "../../ui/list";
import { Empty, Grade, Loading, PageHead, Panel, Problem, Sev, SEVERITIES } from "../../ui/parts";
import { Risk } from "../../ui/risk";
import { Rec, When } from "../../ui/text";
import { overviewQuery } from "../questions";

type Overview = Schema<"Overview">;

/** What happened, what needs somebody, and whether the record is whole. */
export function OverviewView() {
  const { bounds } = useRange();
  const [, change] = useAt<"range">();
  const { data, error, isPending, refetch } = useQuery({
    ...overviewQuery(bounds),
    refetchInterval: 15_000,
    placeholderData: (before) => before,
  });
  if (error) return <div className="page"><PageHead title="Overview" /><Problem error={error} retry={() => void refetch()} /></div>;
  if (isPending) return <div className="page"><PageHead title="Overview" /><Loading lines={10} /></div>;
  const onRange = (since: string, until: string) => change({ range: `${since}/${until}` }, { push: true });
  return (
    <div className="page">
      <PageHead title="Overview" />
      <Cut of={data.truncated} what="figures of the newest detections and entities" so="what is open, and what counts entities, is too low" then="close what is done with, or choose a shorter range of time" />
      {data.totals.model_calls + data.totals.tool_calls === 0 ? <Beginning /> : null}
      <div className="hero">
        <Needs overview={data} />
        <div className="stack-wide hero-side">
          <Whole record={data.record} />
          <Panel title="Highest risk now" end={<Link to="/entities">All</Link>} flush><Risky rows={data.entities} /></Panel>
        </div>
      </div>
      <Figures overview={data} />
      <div className="grid-two">
        <Panel title="Detections" end={<Legend series={SEVERITY_SERIES} />}><DetectionChart overview={data} onRange={onRange} /></Panel>
        <Panel title="Events" end={<Legend series={[{ label: "events", token: "accent-fill" }, { label: "failed", token: "critical-fill" }]} />}><EventChart overview={data} onRange={onRange} /></Panel>
      </div>
    </div>
  );
}

function Needs({ overview }: { overview: Overview }) {
  const { open, acknowledged, suppressed } = overview;
  const total = SEVERITIES.reduce((sum, each) => sum + open[each], 0);
  const taken = SEVERITIES.reduce((sum, each) => sum + acknowledged[each], 0);
  return (
    <section className="panel needs" aria-label="What needs somebody">
      <div className="needs-head">
        <div className="hero-head">
          <span className="label">Needs you</span>
          <Link to="/detections" search={{ range: ANY_TIME } as never} className="hero-figure num">{count(total)}</Link>
          <span className="soft">{total === 0 ? "Nothing waits." : `open ${total === 1 ? "detection" : "detections"}, of any time`}{taken > 0 ? <> · <Link to="/detections" search={{ state: "acknowledged", range: ANY_TIME } as never}>{count(taken)} being looked at</Link></> : null}</span>
          {suppressed.suppressions > 0 ? <Link to="/settings" search={{ tab: "suppressions" } as never} className="soft" title="Detections that suppressions in force hide. They are recorded and counted; the list says what hides them, until when, and who answers for it">{counted(suppressed.detections, "detection")} hidden by {counted(suppressed.suppressions, "suppression")}{suppressed.whole_rules > 0 ? `, ${counted(suppressed.whole_rules, "rule")} whole` : ""}</Link> : null}
        </div>
      <div className="sev-row">
        {SEVERITIES.slice(0, 4).map((each, at) => {
          // As the filter has it to which it leads: of this severity, and of those that are worse.
          const upward = SEVERITIES.slice(0, at + 1).reduce((sum, worse) => sum + open[worse], 0);
          return (
            <Link key={each} to="/detections" search={{ severity: each, range: ANY_TIME } as never} className={upward > 0 ? "sev-cell" : "sev-cell none"}>
              <span className="num">{count(upward)}{at === 0 ? null : <span className="upward"> and up</span>}</span><Sev of={each} />
            </Link>
          );
        })}
      </div>
      </div>
      <h3 className="needs-title">High and critical, the worst first</h3>
      <Grave rows={overview.grave} />
    </section>
  );
}

function Whole({ record }: { record: Overview["record"] }) {
  const standing = standingOf(record);
  const behind = record.progress.recorded - record.progress.sealed;
  return (
    <section className={`panel whole ${standing.tone}`} aria-label="The record">
      <div className="hero-head">
        <span className="label">The record</span>
        <span className="hero-word"><Icon name={standing.tone === "good" ? "seal" : "warning"} className={`c-${standing.tone === "good" ? "good" : standing.tone}`} />{standing.tone === "good" ? "Whole, as far as it knows" : standing.word}</span>
        <Rec text={standing.says} max={600} className="soft" />
      </div>
      <dl className="facts">
        <dt>Sealed</dt><dd className="num">{count(record.progress.sealed)} of {count(record.progress.recorded)}{behind === 0 ? "" : `, ${count(behind)} to come`}</dd>
        <dt>Checkpoint</dt><dd>{record.checkpoint ? `${span((record.checkpoint.age_s ?? 0) * 1000)} old` : "none yet"}</dd>
        <dt>Witnessed</dt><dd>{record.witnessed ? `${counted(record.cosignatures, "cosignature")}, ${span((record.witnessed.age_s ?? 0) * 1000)} ago` : <span className="faint">no witness is configured</span>}</dd>
        <dt>Examined</dt><dd className="num">{count(record.progress.detected)}</dd>
      </dl>
      <Link to="/integrity" className="btn">Verify in this browser</Link>
    </section>
  );
}

/** What happened: each figure leads to the list of what it counts, in the range of time that it counts: that of the answer, whatever the address asks by now. */
function Figures({ overview }: { overview: Overview }) {
  const { totals } = overview;
  const range = rangeOfBuckets(overview.buckets.map((bucket) => bucket.time), overview.bucket_s, overview);
  const events = (filter: object) => ({ to: "/search", search: { ...filter, range, own: "yes" } });
  const tokens = { to: "/tokens", search: { range } };
  const all = [
    { name: "Events", value: totals.events, says: "everything that is recorded, with what Watchkeeper records of itself", at: events({}) },
    { name: "Model calls", value: totals.model_calls, says: "calls of models that are over; the list shows their requests, too", at: events({ kind: "model_call" }) },
    { name: "Tool calls", value: totals.tool_calls, says: "calls of tools that are over; the list shows their requests, too", at: events({ kind: "tool_call" }) },
    { name: "Failed", value: totals.errors, says: "events whose status is error", at: events({ status: "error" }) },
    { name: "Tokens read", value: totals.input_tokens, calls: totals.model_calls, says: "as the sources tell them", at: tokens },
    { name: "Tokens written", value: totals.output_tokens, calls: totals.model_calls, says: "as the sources tell them", at: tokens },
  ];
  return (
    <dl className="figures panel">
      {all.map(({ name, value, calls, says, at }) => {
        const isTold = calls === undefined || isTokensTold(totals.input_tokens + totals.output_tokens, calls);
        return (
          <div key={name}>
            <dt>{name}</dt>
            <dd className="num"><Link to={at.to} search={at.search as never} title={isTold ? `${count(value)}: ${says}` : TOKENS_UNTOLD}>{isTold ? short(value) : "–"}<span className="unseen"> {name.toLowerCase()}: show them</span></Link></dd>
          </div>
        );
      })}
    </dl>
  );
}

const SEVERITY_SERIES = [
  { label: "critical", token: "critical-fill" }, { label: "high", token: "high-fill" }, { label: "medium", token: "medium-fill" }, { label: "low", token: "low-fill" },
] as const;

function DetectionChart({ overview, onRange }: { overview: Overview; onRange: (since: string, until: string) => void }) {
  const { times, series } = useMemo(() => ({
    times: overview.buckets.map((bucket) => bucket.time),
    series: SEVERITY_SERIES.map((each): Series => ({ ...each, values: overview.buckets.map((bucket) => bucket.detections[each.label]) })),
  }), [overview.buckets]);
  const total = series.reduce((sum, each) => sum + each.values.reduce<number>((sum, value) => sum + (value ?? 0), 0), 0);
  return <TimeChart times={times} series={series} how="bars" height={140} onRange={onRange} label={`Detections over time: ${counted(total, "detection")} in ${times.length} steps`} format={(value) => (Number.isInteger(value) ? short(value) : "")} />;
}

function EventChart({ overview, onRange }: { overview: Overview; onRange: (since: string, until: string) => void }) {
  const { times, series } = useMemo(() => ({
    times: overview.buckets.map((bucket) => bucket.time),
    series: [
      { label: "failed", token: "critical-fill", values: overview.buckets.map((bucket) => bucket.errors) },
      { label: "events", token: "accent-fill", values: overview.buckets.map((bucket) => bucket.events - bucket.errors) },
    ],
  }), [overview.buckets]);
  return <TimeChart times={times} series={series} how="bars" height={140} onRange={onRange} label={`Events over time: ${counted(overview.totals.events, "event")}, ${count(overview.totals.errors)} failed`} />;
}

function Grave({ rows }: { rows: Overview["grave"] }) {
  if (rows.length === 0) return <Empty icon="check" title="None that is high or critical">When there is one, it stands here until somebody looks at it.</Empty>;
  return (
    <ul className="lines">
      {rows.slice(0, 8).map((row) => (
        <li key={row.detection_id}>
          <Link to="/detections" search={{ id: row.detection_id, range: ANY_TIME } as never} className="line">
            <Sev of={row.severity} />
            <span className="grow"><span className="two"><Rec text={row.title} className="strong" /></span></span>
            <Grade of={row.grade} />
            <span className="cut who"><Rec isName text={row.user_id ?? row.agent ?? row.application} className="soft" /></span>
            <span className="soft"><When time={row.observed} how="ago" /></span>
          </Link>
        </li>
      ))}
    </ul>
  );
}

function Risky({ rows }: { rows: Overview["entities"] }) {
  if (rows.length === 0) return <Empty icon="entities" title="No risk yet">Detections add to the risk of those they name; it halves each day.</Empty>;
  return (
    <ul className="lines">
      {rows.slice(0, 4).map((row) => (
        <li key={`${row.kind} ${row.name}`}>
          <Link to="/entity" search={{ kind: row.kind, name: row.name } as never} className="line">
            <span className="kind small faint">{row.kind}</span>
            <span className="grow cut"><Rec isName text={row.name} className="strong" /></span>
            <span className="risk-bar"><Risk of={row.risk} /></span>
          </Link>
        </li>
      ))}
    </ul>
  );
}
