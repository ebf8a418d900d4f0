import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useMemo } from "react";
import { api, take, type Schema } from "../../api/client";
import { ApiProblem } from "../../api/problem";
import { useAt } from "../../lib/at";
import { bandOf } from "../../lib/risk";
import { count, counted, short } from "../../lib/units";
import { TimeChart } from "../../ui/chart";
import { Icon } from "../../ui/icons";
import { Cut } from "../../ui/list";
import { Empty, Grade, Loading, PageHead, Panel, Problem, Sev } from "../../ui/parts";
import { Rec, When } from "../../ui/text";
import type { ENTITY } from "../names";

type Entity = Schema<"Entity">;
const KINDS: ReadonlySet<string> = new Set(["user", "agent", "application", "tool", "model"]);

/** One entity: its risk over time, what behaviour said of it, what it did. */
export function EntityView() {
  const [at] = useAt<(typeof ENTITY)[number]>();
  const [kind, name] = [(at.kind ?? "") as Schema<"EntityKind">, at.name ?? ""];
  const { data, error, isPending, refetch } = useQuery({
    queryKey: ["entity", kind, name],
    queryFn: ({ signal }) => take(api.GET("/api/entities/{kind}/{name}", { signal, params: { path: { kind, name } } })),
    enabled: KINDS.has(kind) && name !== "",
  });
  if (!KINDS.has(kind) || name === "") return <div className="page"><Empty icon="entities" title="There is no such kind of entity">User, agent, application, tool or model.</Empty></div>;
  if (error instanceof ApiProblem && error.status === 404) return <div className="page"><Empty icon="entities" title="Nobody of this name has been recorded">Entities lists whom the record knows: <Link to="/entities" search={{ type: kind } as never}>{kind}s</Link>.</Empty></div>;
  if (error) return <div className="page"><Problem error={error} retry={() => void refetch()} /></div>;
  if (isPending) return <div className="page"><Loading lines={10} /></div>;
  const filter = { [kind]: name };
  return (
    <div className="page">
      <PageHead title={<><span className="faint kind-of">{kind}</span> <Rec text={name} /></>} end={
        <>
          {kind === "model" ? null : <Link to="/detections" search={{ ...filter, state: "all", range: "any" } as never} className="btn"><Icon name="detections" />Detections</Link>}
          <Link to="/search" search={filter as never} className="btn"><Icon name="search" />Events</Link>
        </>
      } />
      <Cut of={data.truncated} what="the newest detections" so="counts are too low" then="go through its detections with a range of time" />
      <dl className="figures panel">
        <div><dt>Risk now</dt><dd className="row"><span className="num">{data.risk.toFixed(0)}</span>{bandOf(data.risk) ? <span className="small"><Sev of={bandOf(data.risk)} /></span> : null}</dd></div>
        <div><dt>Detections</dt><dd className="num">{count(data.detections)}</dd></div>
        <div><dt>Events</dt><dd className="num" title={count(data.events)}>{short(data.events)}</dd></div>
        <div><dt>First seen</dt><dd><When time={data.first_seen} how="ago" /></dd></div>
        <div><dt>Last seen</dt><dd><When time={data.last_seen} how="ago" /></dd></div>
      </dl>
      <div className="grid-two">
        <Panel title="Risk over time"><Risk entity={data} /></Panel>
        <Panel title="Against its baseline" flush><Insights entity={data} /></Panel>
      </div>
      <div className="grid-two">
        <Panel title="Detections" flush><Detections rows={data.detection_rows} /></Panel>
        <Panel title="Sessions" flush><Sessions rows={data.session_rows} /></Panel>
      </div>
    </div>
  );
}

function Risk({ entity }: { entity: Entity }) {
  const points = entity.risk_over_time;
  const { times, series } = useMemo(() => ({ times: points.map((point) => point.time), series: [{ label: "risk", token: "high-fill", values: points.map((point) => point.risk) }] }), [points]);
  if (points.length < 2) return <Empty icon="check" title="No risk in the hot store">Nothing was detected of it.</Empty>;
  return <TimeChart times={times} series={series} how="lines" label={`Risk over time, now ${entity.risk.toFixed(0)}`} format={(value) => value.toFixed(0)} />;
}

const figure = (value: number | null | undefined) => (value === null || value === undefined ? "–" : Math.abs(value) >= 100 ? count(Math.round(value)) : String(Number(value.toPrecision(3))));

function Insights({ entity }: { entity: Entity }) {
  if (entity.insights.length === 0) return <Empty icon="check" title="Nothing out of the ordinary">Behaviour compares what it does with what it did before, and with its peers.</Empty>;
  return (
    <div className="panel-body scroll-x">
      <table className="plain-table">
        <thead><tr><th>What</th><th className="right">Observed</th><th className="right">Expected</th><th className="right">Peers</th><th className="right">On</th><th className="right">When</th></tr></thead>
        <tbody>
          {entity.insights.map((each) => (
            <tr key={each.detection_id + each.insight}>
              <td><Link to="/detections" search={{ id: each.detection_id, state: "all", range: "any" } as never}>{each.insight.replaceAll("_", " ")}</Link>{each.what ? <div className="small soft"><Rec text={each.what} /></div> : null}</td>
              <td className="num right strong">{figure(each.observed)}</td><td className="num right">{figure(each.expected)}</td><td className="num right">{figure(each.peers)}</td><td className="num right soft">{figure(each.support)}</td>
              <td className="right soft"><When time={each.time} /></td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Detections({ rows }: { rows: Entity["detection_rows"] }) {
  if (rows.length === 0) return <Empty icon="check" title="None" />;
  return (
    <ul className="lines">
      {rows.map((row) => (
        <li key={row.detection_id}><Link to="/detections" search={{ id: row.detection_id, state: "all", range: "any" } as never} className="line"><Sev of={row.severity} /><span className="grow cut"><Rec text={row.title} /></span><Grade of={row.grade} /><span className="soft"><When time={row.observed} /></span></Link></li>
      ))}
    </ul>
  );
}

function Sessions({ rows }: { rows: Entity["session_rows"] }) {
  if (rows.length === 0) return <Empty icon="sessions" title="None">Tools and models have no sessions of their own.</Empty>;
  return (
    <ul className="lines">
      {rows.map((row) => (
        <li key={row.session_id}><Link to="/trace" search={{ id: row.session_id } as never} className="line"><span className="grow cut"><Rec isName text={row.session_id} className="mono" /></span><span className="soft num">{counted(row.events, "event")}</span>{row.severity ? <Sev of={row.severity} /> : <span className="sev" />}<span className="soft"><When time={row.last} /></span></Link></li>
      ))}
    </ul>
  );
}
