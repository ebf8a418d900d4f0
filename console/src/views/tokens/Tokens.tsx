import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useDeferredValue, useMemo } from "react";
import type { Schema } from "../../api/client";
import { useAt, useRange } from "../../lib/at";
import { column, count, counted, isTokensTold, share, short, TOKENS_UNTOLD } from "../../lib/units";
import { Legend, Spark, TimeChart } from "../../ui/chart";
import { Choice, Empty, Loading, PageHead, Panel, Problem } from "../../ui/parts";
import { Rec } from "../../ui/text";
import { tokensQuery, usageBy, type UsageBy as By } from "../questions";

type Row = Schema<"UsageRow">;
const BY: readonly { value: By; says: string }[] = [{ value: "user", says: "Users" }, { value: "model", says: "Models" }, { value: "application", says: "Applications" }, { value: "agent", says: "Agents" }];
/** Rows that a window has room for below the chart. */
const ROWS_FIRST = 12;
const SERIES = [{ label: "read", token: "accent-fill" }, { label: "written", token: "good-fill" }] as const;
const dollars = new Intl.NumberFormat("en-US", { style: "currency", currency: "USD", maximumFractionDigits: 2 });

const tokensOf = (row: { input_tokens: number; output_tokens: number }) => row.input_tokens + row.output_tokens;

/** Who uses how much. Cost is what the sources said, or is not there. */
export function Tokens() {
  const [at, change] = useAt<"by">();
  const { bounds } = useRange();
  const by = usageBy(at.by);
  const { data, error, isPending, refetch } = useQuery({
    ...tokensQuery(by, bounds),
    // Of the same question alone: names of another kind would lead to others.
    placeholderData: (before) => (before?.by === by ? before : undefined),
  });
  return (
    <div className="page">
      <PageHead title="Tokens" end={<Choice label="By" value={by} options={BY} onChoose={(value) => change({ by: value === "user" ? undefined : value })} />} />
      {error ? <Problem error={error} retry={() => void refetch()} /> : isPending ? <Loading lines={10} /> : tokensOf(data.total) === 0 && data.rows.length === 0 ? (
        <Empty icon="tokens" title="No tokens in this range of time" command="watchkeeper run -- python my_agent.py">They are counted where the source tells them, as providers and instrumentations do. To record calls without touching code:</Empty>
      ) : <Usage data={data} by={by} />}
    </div>
  );
}

function Usage({ data, by }: { data: Schema<"Tokens">; by: By }) {
  const { times, series } = useMemo(() => ({
    times: data.total.over_time.map((point) => point.time),
    series: [
      { ...SERIES[0], values: data.total.over_time.map((point) => point.input_tokens) },
      { ...SERIES[1], values: data.total.over_time.map((point) => point.output_tokens) },
    ],
  }), [data.total]);
  const all = tokensOf(data.total);
  const hasCost = data.total.calls_with_cost > 0;
  const every = useMemo((): readonly (Row & { isOthers?: boolean })[] => (data.others ? [...data.rows, { ...data.others, isOthers: true }] : data.rows), [data]);
  // What is in sight first: each row has a link and a line of its own to be drawn.
  const rows = useDeferredValue(every, every.slice(0, ROWS_FIRST));
  return (
    <>
      <dl className="figures panel">
        <div><dt>Tokens read</dt><dd className="num"><Told value={data.total.input_tokens} of={data.total} as={short} /></dd></div>
        <div><dt>Tokens written</dt><dd className="num"><Told value={data.total.output_tokens} of={data.total} as={short} /></dd></div>
        <div><dt>From a cache</dt><dd className="num">{share(data.total.cached_tokens, data.total.input_tokens)}</dd></div>
        <div><dt>Calls</dt><dd className="num" title={count(data.total.calls)}>{short(data.total.calls)}</dd></div>
        {hasCost ? <div><dt>Cost, as told</dt><dd className="num" title={`${counted(data.total.calls_with_cost, "call")} of ${count(data.total.calls)} tell it`}>{dollars.format(data.total.cost ?? 0)}</dd></div> : null}
      </dl>
      <Panel title="Over time" end={<Legend series={SERIES} />}><TimeChart times={times} series={series} how="bars" label={`Tokens over time: ${counted(all, "token")}`} /></Panel>
      <Panel title={BY.find((each) => each.value === by)?.says} flush>
        <div className="panel-body scroll-x">
          <table className="plain-table usage">
            <thead><tr><th>Who</th><th className="right">Tokens</th><th className="share-col">Share</th><th className="right">Read</th><th className="right">Written</th><th className="right">Calls</th>{hasCost ? <th className="right">Cost</th> : null}<th className="spark-col">Over time</th></tr></thead>
            <tbody>
              {rows.map((row) => (
                <tr key={row.isOthers ? "others of the list" : `by ${row.name}`}>
                  <td>{row.isOthers ? <span className="faint">all others</span> : row.name === "" ? <span className="faint">nobody is named</span> : <Link to="/entity" search={{ kind: by, name: row.name } as never}><Rec text={row.name} /></Link>}</td>
                  <td className="num right strong"><Told value={tokensOf(row)} of={row} /></td>
                  <td><span className="row"><span className="bar-line grow"><i style={{ width: `${(tokensOf(row) / Math.max(all, 1)) * 100}%` }} /></span><span className="num small soft share-no">{isTokensTold(tokensOf(row), row.calls) ? share(tokensOf(row), all) : "–"}</span></span></td>
                  <td className="num right"><Told value={row.input_tokens} of={row} /></td><td className="num right"><Told value={row.output_tokens} of={row} /></td><td className="num right">{column(row.calls)}</td>
                  {hasCost ? <td className="num right">{row.cost === null || row.cost === undefined ? "–" : dollars.format(row.cost)}</td> : null}
                  <td><Spark values={row.over_time.map(tokensOf)} label={`Tokens over time: ${counted(tokensOf(row), "token")}`} /></td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </Panel>
    </>
  );
}

/** Tokens of the calls of a row; a dash where neither those read nor those written are told. */
function Told({ value, of, as = column }: { value: number; of: { input_tokens: number; output_tokens: number; calls: number }; as?: (value: number) => string }) {
  return isTokensTold(tokensOf(of), of.calls) ? <span title={count(value)}>{as(value)}</span> : <span className="faint" title={TOKENS_UNTOLD}>–</span>;
}
