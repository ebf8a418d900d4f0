import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useMemo, useState } from "react";
import { api, take, type Schema } from "../../api/client";
import { useAt } from "../../lib/at";
import { count, counted } from "../../lib/units";
import { Markdown } from "../../ui/markdown";
import { Cut } from "../../ui/list";
import { Badge, Copy, Dialog, Empty, Loading, Panel, Problem, Sev } from "../../ui/parts";
import { DataTable, type Column } from "../../ui/table";
import { Rec, RecBlock } from "../../ui/text";

type Rule = Schema<"RuleRow">;

const COLUMNS: readonly Column<Rule>[] = [
  { name: "level", width: "7rem", head: "Level", cell: (row) => <Sev of={row.level} /> },
  { name: "title", width: "minmax(14rem, 2.5fr)", head: "Rule", cell: (row) => <span className="two"><Rec text={row.title} className="strong" /></span> },
  { name: "kind", from: 560, width: "6.5rem", head: "Kind", cell: (row) => <span className="soft">{row.kind}</span> },
  { name: "techniques", from: 720, width: "minmax(10rem, 1.3fr)", head: "ATLAS", cell: (row) => <span className="mono small soft">{row.techniques.join(" ")}</span> },
  { name: "from", from: 640, width: "6rem", head: "From", cell: (row) => <span className="soft">{row.is_builtin ? "built in" : "yours"}</span> },
  { name: "hits", width: "6rem", head: "30 days", isRight: true, cell: (row) => <span className={`num ${row.hits_30d === 0 ? "faint" : "strong"}`}>{count(row.hits_30d)}</span> },
];

/** The rules in force, with their text. */
export function Rules() {
  const [at, change] = useAt<"rule">();
  const { data, error, isPending, refetch } = useQuery({ queryKey: ["rules"], queryFn: ({ signal }) => take(api.GET("/api/rules", { signal })), staleTime: 60_000 });
  const [q, setQ] = useState("");
  const rows = useMemo(() => (data?.rows ?? []).filter((row) => `${row.title} ${row.id} ${row.techniques.join(" ")} ${row.file}`.toLowerCase().includes(q.toLowerCase())), [data, q]);
  if (error) return <Problem error={error} retry={() => void refetch()} />;
  if (isPending) return <Loading lines={12} />;
  return (
    <>
      {data.problems.length > 0 ? <div className="notice bad stack-tight"><strong>{counted(data.problems.length, "problem")} with the rules</strong>{data.problems.slice(0, 10).map((each) => <Rec key={each} text={each} max={400} />)}</div> : null}
      {data.notes.length > 0 ? <details className="notice"><summary>{counted(data.notes.length, "note")}</summary>{data.notes.map((each) => <div key={each}><Rec text={each} max={400} /></div>)}</details> : null}
      <Cut of={data.truncated} what="counts of the newest detections" so="hits of 30 days are too low" then="follow a rule to its detections" />
      <Panel title={counted(data.rows.length, "rule")} end={<><span className="hint nowrap">{count(data.budget.per_hour)} alerts an hour each, and the first {data.budget.per_entity_first} of each entity</span><input className="input find-rule" type="search" aria-label="Find a rule" placeholder="Find…" value={q} onChange={(event) => setQ(event.target.value)} /></>} flush>
        <div className="rules-table">
          {rows.length === 0 ? <Empty icon="filter" title="No such rule" /> : <DataTable label="Rules" rows={rows} columns={COLUMNS} rowKey={(row) => row.id} active={at.rule ?? null} onActive={(row) => change({ rule: row.id })} keys={at.rule === undefined} />}
        </div>
      </Panel>
      {at.rule ? <One id={at.rule} onClose={() => change({ rule: undefined })} /> : null}
    </>
  );
}

function One({ id, onClose }: { id: string; onClose: () => void }) {
  const { data, error, isPending } = useQuery({ queryKey: ["rule", id], queryFn: ({ signal }) => take(api.GET("/api/rules/in-force/{id}", { signal, params: { path: { id } } })) });
  return (
    <Dialog title={<Rec text={data?.title ?? id} />} onClose={onClose} className="wide" foot={data ? <Link to="/detections" search={{ rule: data.id, state: "all", range: "30d" } as never} className="btn">{counted(data.hits_30d, "detection")} in 30 days</Link> : null}>
      {error ? <Problem error={error} /> : isPending ? <Loading /> : (
        <>
          <Cut of={data.truncated} what="counts of the newest detections" so="hits of 30 days are too low" then="follow the rule to its detections" />
          {data.description ? <p className="soft"><Rec text={data.description} max={2000} /></p> : null}
          <dl className="facts">
            <dt>Level</dt><dd><Sev of={data.level} /></dd>
            <dt>Id</dt><dd className="mono small"><Rec text={data.id} /> <Copy text={data.id} what="id" /></dd>
            <dt>File</dt><dd className="mono small"><Rec text={data.file} />:{data.line} {data.is_builtin ? <Badge>built in</Badge> : null}</dd>
            {data.techniques.length > 0 ? <><dt>ATLAS</dt><dd className="mono small">{data.techniques.join(" ")}</dd></> : null}
            <dt>Digest</dt><dd className="mono small cut">{data.digest}</dd>
          </dl>
          {data.text ? <pre className="note-text rule-text" tabIndex={0} role="group" aria-label="Text of the rule"><RecBlock text={data.text} /></pre> : null}
          {data.runbook_text ? <details open={true}><summary className="strong">Runbook</summary><Markdown text={data.runbook_text} /></details> : null}
        </>
      )}
    </Dialog>
  );
}
