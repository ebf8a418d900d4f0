import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useMemo } from "react";
import type { Schema } from "../../api/client";
import { useRange } from "../../lib/at";
import { plainLine } from "../../lib/text";
import { duration } from "../../lib/time";
import { count, counted, isTokensTold, share, short, TOKENS_UNTOLD } from "../../lib/units";
import { Legend, TimeChart } from "../../ui/chart";
import { Cut } from "../../ui/list";
import { Badge, Empty, Loading, PageHead, Panel, Problem } from "../../ui/parts";
import { Rec, When } from "../../ui/text";
import { modelsQuery } from "../questions";

type Model = Schema<"Model">;

/** The colours of what models answer: the same in each card, whatever the order. */
const CATEGORY_COLOURS: Readonly<Record<string, string>> = {
  prose: "var(--accent-fill)", text: "var(--accent-fill)", code: "var(--good-fill)", structured_data: "var(--low-fill)", tool_call: "color-mix(in oklab, var(--low-fill) 55%, var(--good-fill))",
  financial: "var(--medium-fill)", personal_data: "color-mix(in oklab, var(--medium-fill) 55%, var(--neutral-fill))",
  refusal: "var(--high-fill)", credentials: "color-mix(in oklab, var(--critical-fill) 60%, var(--accent-fill))", markup_exfiltration: "color-mix(in oklab, var(--critical-fill) 55%, var(--neutral-fill))", error: "var(--critical-fill)",
};
const colourOf = (name: string) => CATEGORY_COLOURS[name] ?? "var(--neutral-fill)";
const LATENCY = [{ label: "p50", token: "accent-fill" }, { label: "p95", token: "high-fill" }] as const;
const ms = (value: number | null | undefined) => (value === null || value === undefined ? "–" : duration(value));

/** How models do: latency, errors, refusals, what they answer, what evaluations say, whether they drift. */
export function Models() {
  const { bounds } = useRange();
  const { data, error, isPending, refetch } = useQuery({
    ...modelsQuery(bounds),
    refetchInterval: 30_000,
    placeholderData: (before) => before,
  });
  return (
    <div className="page">
      <PageHead title="Models">Latency is from a histogram whose steps are 9 %. Evaluations run on schedule (<code>[[evaluate]]</code>) and are compared with the baseline that was accepted.</PageHead>
      <Cut of={data?.truncated} what="the newest evaluations and detections of drift" then="choose a shorter range of time" />
      {error ? <Problem error={error} retry={() => void refetch()} /> : isPending ? <Loading lines={10} /> : data.rows.length === 0 ? (
        <Empty icon="models" title="No model was called" command="watchkeeper run -- python my_agent.py">In this range of time. To record calls without touching code:</Empty>
      ) : <div className="cards">{data.rows.map((row) => <Card key={row.model} model={row} />)}</div>}
    </div>
  );
}

function Card({ model }: { model: Model }) {
  const { times, latency, tokens } = useMemo(() => {
    const points = model.over_time;
    return {
      times: points.map((point) => point.time),
      latency: [
        { ...LATENCY[0], values: points.map((point) => point.latency_ms_p50 ?? null) },
        { ...LATENCY[1], values: points.map((point) => point.latency_ms_p95 ?? null) },
      ],
      tokens: [{ label: "tokens", token: "accent-fill", values: points.map((point) => point.input_tokens + point.output_tokens) }],
    };
  }, [model.over_time]);
  const hasTokens = isTokensTold(model.input_tokens + model.output_tokens, model.calls);
  const hasLatency = latency.some((each) => each.values.some((value) => value !== null));
  return (
    <Panel title={<Link to="/entity" search={{ kind: "model", name: model.model } as never}><Rec text={model.model} /></Link>} end={<><span className="faint small cut"><Rec text={model.providers.join(", ")} /></span>{model.drift.length > 0 ? <Badge tone="high">drift</Badge> : null}</>}>
      <div className="stack-wide">
        <dl className="stat-row">
          <div className="stat"><dt>Calls</dt><dd className="num" title={count(model.calls)}>{short(model.calls)}</dd></div>
          <div className="stat"><dt>p50</dt><dd className="num">{ms(model.latency_ms_p50)}</dd></div>
          <div className="stat"><dt>p95</dt><dd className="num">{ms(model.latency_ms_p95)}</dd></div>
          <div className="stat"><dt>Failed</dt><dd className={`num ${model.errors > 0 ? "c-critical" : ""}`}>{share(model.errors, model.calls)}</dd></div>
          <div className="stat"><dt>Refused</dt><dd className="num">{share(model.refusals, model.calls)}</dd></div>
          <div className="stat"><dt>Tokens</dt><dd className="num" title={hasTokens ? count(model.input_tokens + model.output_tokens) : TOKENS_UNTOLD}>{hasTokens ? short(model.input_tokens + model.output_tokens) : "–"}</dd></div>
        </dl>
        {hasLatency ? <div className="stack-tight"><div className="row"><span className="label">Latency</span><span className="end"><Legend series={LATENCY} /></span></div><TimeChart times={times} series={latency} how="lines" height={120} format={(value) => (value === 0 ? "0" : duration(value))} label={`Latency of ${plainLine(model.model)}: half within ${ms(model.latency_ms_p50)}, 95 of 100 within ${ms(model.latency_ms_p95)}`} /></div> : <p className="faint small">No call tells how long it took.</p>}
        {hasTokens ? <div className="stack-tight"><span className="label">Tokens</span><TimeChart times={times} series={tokens} how="bars" height={100} label={`Tokens of ${plainLine(model.model)}: ${counted(model.input_tokens + model.output_tokens, "token")}`} /></div> : null}
        <Categories of={model} />
        <Evaluations of={model} />
        {model.drift.length > 0 ? <ul className="stack-tight">{model.drift.slice(0, 5).map((each) => <li key={each.detection_id} className="row"><Link to="/detections" search={{ id: each.detection_id, state: "all", range: "any" } as never} className="grow cut"><Rec text={each.title} /></Link><span className="soft"><When time={each.time} how="ago" /></span></li>)}</ul> : null}
      </div>
    </Panel>
  );
}

function Categories({ of }: { of: Model }) {
  const all = Object.entries(of.categories).toSorted(([, a], [, b]) => b - a);
  const total = all.reduce((sum, [, value]) => sum + value, 0);
  if (total === 0) return null;
  return (
    <div className="stack-tight">
      <span className="label">What it answers</span>
      <div className="share" role="img" aria-label={plainLine(all.map(([name, value]) => `${name.replaceAll("_", " ")} ${share(value, total)}`).join(", "))}>{all.map(([name, value]) => <i key={name} style={{ flexGrow: value, background: colourOf(name) }} />)}</div>
      <div className="legend">{all.slice(0, 6).map(([name, value]) => <span key={name}><i style={{ background: colourOf(name) }} /><Rec text={name.replaceAll("_", " ")} max={30} /> <span className="num faint">{share(value, total)}</span></span>)}</div>
    </div>
  );
}

function Evaluations({ of }: { of: Model }) {
  if (of.evaluations.length === 0) return null;
  return (
    <div className="stack-tight scroll-x">
      <span className="label">Evaluations</span>
      <table className="plain-table">
        <thead><tr><th>Set</th><th className="right">Score</th><th className="right">Before</th><th>Came out</th><th className="right">When</th></tr></thead>
        <tbody>
          {of.evaluations.slice(0, 5).map((each) => (
            <tr key={each.event_id}>
              <td><Link to="/trace" search={{ id: each.event_id } as never}><Rec text={each.evaluation_set ?? each.name} /></Link></td>
              <td className="num right strong">{each.score === null || each.score === undefined ? "–" : each.score.toFixed(3)}</td>
              <td className="num right">{each.score_before === null || each.score_before === undefined ? "–" : each.score_before.toFixed(3)}</td>
              <td><Badge tone={each.outcome === "changed" ? "high" : each.outcome === "failed" ? "critical" : each.outcome === "no_change" ? "good" : ""}>{(each.outcome ?? "–").replaceAll("_", " ")}</Badge> <span className="small soft">{each.verdict.filter((verdict) => verdict !== "no_change").join(", ").replaceAll("_", " ")}</span></td>
              <td className="right soft"><When time={each.time} /></td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
