import { Link, useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { useMay } from "../../api/session";
import { Icon } from "../../ui/icons";
import { Markdown } from "../../ui/markdown";
import { Badge, Copy, Empty, Grade, KeyOf, Loading, Problem, Sev, useSay } from "../../ui/parts";
import { Cut } from "../../ui/list";
import { Reveal } from "../../ui/reveal";
import { give, useReason } from "../../lib/reasons";
import { Rec, RecBlock, When } from "../../ui/text";
import { counted, score, stood } from "../../lib/units";
import { ApiProblem } from "../../api/problem";
import { fileName, saveText } from "../../lib/save";
import { bind, useShortcuts } from "../../lib/shortcuts";
import { Explain } from "./Explain";
import { Late, StateOf } from "./Detections";
import { isDetector, useDetection, useSimilar, useTriage, VERDICTS, type Detection, type DetectionDetail } from "./data";
import type { Schema } from "../../api/client";

type Evidence = Schema<"DetectionEvidence">;

/** One detection: why, who, what to do, what was done. */
export function Detail({ id, row, hasKeys, onClose, onAcknowledge, onCloseIt, onAssign, onTake, me, onSuppress }: {
  id: string; row: Detection | null;
  /** Whether the keys of triage act on this one, and not on rows that are ticked. */
  hasKeys: boolean;
  onClose: () => void; onAcknowledge: () => void; onCloseIt: () => void; onAssign: () => void; onTake: () => void; me: string; onSuppress: (of: Detection) => void;
}) {
  const [reason, setReason] = useReason(`detection ${id}`);
  const mayTriage = useMay("triage");
  const mayRead = useMay("content.read");
  const { data, error, isPending, refetch } = useDetection(id, mayRead ? reason : null);
  const of = data ?? row;
  const trace = of?.session_id ?? of?.trace_id ?? of?.detection_id;
  const search = { id: trace, detection: id } as never;
  const navigate = useNavigate();
  const carry = () => { if (trace && mayRead && reason !== null) give(`trace ${trace}`, reason); };
  useShortcuts(trace ? [bind("follow", () => { carry(); void navigate({ to: "/trace", search }); })] : []);
  if (!row && error instanceof ApiProblem && error.status === 404) {
    return (
      <section className="panel detail" aria-label="Detection">
        <div className="detail-head"><span className="end"><button type="button" className="btn plain tiny icon" aria-label="Close the panel" onClick={onClose}><Icon name="close" /></button></span></div>
        <Empty icon="detections" title="There is no such detection">The id in the address names none. It may be mistyped, or what it names was erased.</Empty>
      </section>
    );
  }
  return (
    <section className="panel detail" aria-label="Detection">
      <div className="detail-head">
        <div className="row">
          <Sev of={of?.severity} /><Grade of={of?.grade} />
          {of ? <StateOf row={of} /> : null}
          <span className="end row">
            <button type="button" className="btn plain tiny icon" aria-label="Save as JSON" title="Save as JSON" disabled={!data} onClick={() => saveText(fileName(["detection", id], "json"), "application/json", JSON.stringify(data, null, 2))}><Icon name="download" /></button>
            <button type="button" className="btn plain tiny icon" aria-label="Close the panel" onClick={onClose}><Icon name="close" /></button>
          </span>
        </div>
        <h2><Rec text={of?.title} /></h2>
        <div className="row-wrap">
          {trace ? <Link to="/trace" search={search} onClick={carry} className="btn primary"><Icon name="flow" />Follow the trace<KeyOf of="follow" /></Link> : null}
          {mayTriage ? (
            <>
              {hasKeys ? null : <span className="small soft">This detection alone:</span>}
              <button type="button" className="btn" onClick={onAcknowledge} disabled={of?.state !== "open"}><Icon name="check" />Acknowledge{hasKeys ? <KeyOf of="acknowledge" /> : null}</button>
              <button type="button" className="btn" onClick={onCloseIt} disabled={of?.state === "closed"}>Close{hasKeys ? <KeyOf of="close" /> : null}</button>
              <button type="button" className="btn" onClick={onAssign}>{of?.assignee ? <><span className="unseen">Assigned to </span><Rec text={of.assignee} max={16} /></> : "Assign"}{hasKeys ? <KeyOf of="assign" /> : null}</button>
              {me !== "" && of?.assignee !== me ? <button type="button" className="btn" onClick={onTake}>Take it{hasKeys ? <KeyOf of="take" /> : null}</button> : null}
              <button type="button" className="btn" onClick={() => { if (of) onSuppress(of); }} disabled={!of?.rule || Boolean(of.suppressed_by)}>Suppress<KeyOf of="suppress" /></button>
            </>
          ) : null}
        </div>
      </div>
      <div className="detail-body">
        {error ? <Problem error={error} retry={() => void refetch()} /> : null}
        {isPending ? <Loading /> : null}
        {data ? (
          <>
            {data.suppression ? <div className="notice warn"><Icon name="mute" /><span>Suppressed by <Rec text={data.suppression.owner} /> until <When time={data.suppression.expires} how="full" />: <Rec text={data.suppression.reason} /></span></div> : null}
            <section className="stack"><h3>Why</h3>
              {data.withheld ? <Reveal what="the evidence" mayRead={mayRead} onReveal={setReason} /> : null}
              <EvidenceList evidence={data.evidence} isWithheld={data.withheld} />
            </section>
            <section className="stack"><h3>Who and where</h3><About of={data} /></section>
            <Rule of={data} />
            {mayRead && !data.withheld ? <Explain id={id} isRule={Boolean(data.rule_now)} /> : null}
            {data.runbook ? <section className="stack"><h3>What to do</h3><Markdown text={data.runbook} /></section> : null}
            <History of={data} mayTriage={mayTriage} />
            <Similar id={id} />
          </>
        ) : null}
      </div>
    </section>
  );
}

const PATH = ["source", "data", "call", "answer", "shared_value", "destination"];
const SAYS: Readonly<Record<string, string>> = {
  source: "Where it came from", call: "What the agent then did", answer: "What the agent answered", shared_value: "What both have in common",
  destination: "Where it went", data: "What it carried", ground: "Why one follows the other", match: "The field that matched", finding: "What inspection found",
  count: "How often", risk: "Risk", indicator: "Indicator", insight: "Behaviour", observed: "Observed", expected: "Expected", example: "Example",
};
const GROUNDS: Readonly<Record<string, string>> = {
  address: "the address stands in the text", assembled: "the value was put together from the text", value: "the value stands in the text",
  unasked: "the user did not ask for it", elsewhere: "it went elsewhere than before", instructed: "the text gives the instruction",
};

function EvidenceList({ evidence, isWithheld }: { evidence: readonly Evidence[]; isWithheld: boolean }) {
  const rank = (each: Evidence) => (PATH.includes(each.what) ? PATH.indexOf(each.what) : PATH.length);
  const sorted = evidence.toSorted((a, b) => rank(a) - rank(b));
  if (sorted.length === 0) return <p className="faint">The rule rests on the event itself; it names no part of it.</p>;
  return (
    <ol className="evidence">
      {sorted.map((each, index) => (
        <li key={index} className={PATH.includes(each.what) ? `step ${each.what}` : "step"}>
          <div className="row">
            <span className="label">{SAYS[each.what] ?? <Rec text={each.what} />}</span>
            {each.field ? <Rec text={each.field} className="mono small soft" /> : null}
            {each.channel ? <Badge square>{each.channel}</Badge> : null}
          </div>
          {each.value ? <RecBlock text={each.what === "ground" ? (GROUNDS[each.value] ?? each.value) : stood(each.value)} className="quote" /> : isWithheld && each.content ? <div className="veiled"><Icon name="veil" />not shown</div> : null}
          {each.pattern ? <div className="small soft">looked for <Rec text={each.pattern} className="mono" /></div> : null}
        </li>
      ))}
    </ol>
  );
}

function About({ of }: { of: DetectionDetail }) {
  const entity = (kind: string, name: string | null | undefined) =>
    name ? <Link to="/entity" search={{ kind, name } as never}><Rec text={name} /></Link> : <span className="faint">–</span>;
  return (
    <dl className="facts">
      <dt>Recorded</dt><dd><When time={of.observed} how="full" /> <span className="faint">(<When time={of.observed} how="ago" />)</span></dd>
      {of.late_s ? <><dt>Happened</dt><dd><When time={of.time} how="full" /> <Late by={of.late_s} /> <span className="faint">by the source's clock</span></dd></> : null}
      <dt>User</dt><dd>{entity("user", of.user_id)}</dd>
      <dt>Agent</dt><dd>{entity("agent", of.agent)}</dd>
      <dt>Application</dt><dd>{entity("application", of.application)}</dd>
      {of.tool ? <><dt>Tool</dt><dd>{entity("tool", of.tool)}</dd></> : null}
      <dt>Session</dt><dd>{of.session_id ? <Link to="/trace" search={{ id: of.session_id } as never} className="mono"><Rec text={of.session_id} /></Link> : <span className="faint">–</span>}</dd>
      {"correlation" in of && of.correlation ? <><dt>Incident</dt><dd><Link to="/detections" search={{ correlation: of.correlation, state: "all", suppressed: "yes", range: "any" } as never} title="All detections of this incident">all of <Rec text={of.correlation} className="mono small" /></Link></dd></> : null}
      <dt>Looks at it</dt><dd>{of.assignee ? <Link to="/detections" search={{ assignee: of.assignee, state: "all" } as never}><Rec text={of.assignee} /></Link> : <span className="faint">nobody yet</span>}</dd>
      <dt>Confidence</dt><dd className="num">{score(of.confidence)}</dd>
      <dt>Record</dt><dd><Link to="/integrity" search={{ record: String(of.seq) } as never} className="num">#{of.seq}</Link> <span className="mono small faint">{of.detection_id}</span> <Copy text={of.detection_id} what="id" /></dd>
    </dl>
  );
}

function Rule({ of }: { of: DetectionDetail }) {
  const { frameworks, rule_now: rule } = of;
  const entries = [
    { by: "MITRE ATLAS", entries: frameworks.atlas },
    { by: "OWASP LLM", entries: frameworks.owasp_llm }, { by: "OWASP agentic", entries: frameworks.owasp_agentic }, { by: "NIST", entries: frameworks.nist },
  ].filter((each) => each.entries.length > 0);
  return (
    <section className="stack">
      <h3>Rule</h3>
      {!rule && isDetector(of.rule) ? <p className="soft">A detector of the program, no rule of conditions.</p> : null}
      {rule?.description ? <p className="soft"><Rec text={rule.description} max={1500} /></p> : null}
      <dl className="facts">
        <dt>Rule</dt><dd className="mono small"><Rec text={of.rule} /> {rule || isDetector(of.rule) ? null : <Badge>not in force now</Badge>}</dd>
        {of.rule_digest && rule && rule.digest !== of.rule_digest ? <><dt>Changed</dt><dd>the rule has another text now than when it fired</dd></> : null}
        {entries.map((each) => <FrameworkRow key={each.by} {...each} />)}
      </dl>
      {rule && rule.falsepositives.length > 0 ? <details><summary className="soft">When it fires and nothing is wrong</summary><ul className="bullets">{rule.falsepositives.map((each) => <li key={each}><Rec text={each} max={600} /></li>)}</ul></details> : null}
    </section>
  );
}

function FrameworkRow({ by, entries }: { by: string; entries: readonly Schema<"FrameworkEntry">[] }) {
  return <><dt>{by}</dt><dd className="stack-tight">{entries.map((each) => <span key={each.id}><Rec text={each.id} className="mono small" /> <Rec text={each.name} /></span>)}</dd></>;
}

function History({ of, mayTriage }: { of: DetectionDetail; mayTriage: boolean }) {
  const [note, setNote] = useState("");
  const triage = useTriage();
  const say = useSay();
  const add = () => triage.mutate({ ids: [of.detection_id], note: note.trim() }, {
    onSuccess: () => { setNote(""); say("Noted"); },
    onError: (error) => say(error.message, "bad"),
  });
  return (
    <section className="stack">
      <h3>What was done</h3>
      {of.history.length === 0 ? <p className="faint">Nobody has touched it yet.</p> : (
        <ol className="history">
          {of.history.map((each, index) => (
            <li key={index}>
              <span className="small faint"><When time={each.time} how="full" /> · <Rec text={each.by_name ?? each.by} /></span>
              <div className="row-wrap">
                {each.state ? <Badge tone={each.state === "open" ? "accent" : ""}>{each.state}</Badge> : null}
                {each.reason ? <Badge>{VERDICTS.find((verdict) => verdict.value === each.reason)?.says ?? each.reason}</Badge> : null}
                {each.assignee !== null && each.assignee !== undefined ? <span className="small">{each.assignee === "" ? "nobody looks at it" : <>given to <Rec text={each.assignee} /></>}</span> : null}
              </div>
              {each.note ? <RecBlock text={each.note} /> : null}
            </li>
          ))}
        </ol>
      )}
      {mayTriage ? (
        <form className="row" onSubmit={(event) => { event.preventDefault(); if (note.trim()) add(); }}>
          <input className="input" aria-label="Note" placeholder="Add a note…" value={note} maxLength={4000} onChange={(event) => setNote(event.target.value)} />
          <button type="submit" className="btn" disabled={note.trim() === "" || triage.isPending}><Icon name="note" />Note</button>
        </form>
      ) : null}
    </section>
  );
}

function Similar({ id }: { id: string }) {
  const { data } = useSimilar(id);
  if (!data || data.rows.length === 0) return null;
  return (
    <section className="stack">
      <h3>Like it <span className="faint num">{counted(data.rows.length, "detection")}</span></h3>
      <ul className="similar">
        {data.rows.slice(0, 8).map((row) => (
          <li key={row.detection_id}>
            <Sev of={row.severity} word={false} />
            <Link to="/detections" search={((before: object) => ({ ...before, id: row.detection_id })) as never} className="grow cut"><Rec text={row.title} /></Link>
            <span className="small faint nowrap">same {row.shared.slice(0, 3).join(", ")}</span>
            <span className="small faint"><When time={row.observed} /></span>
          </li>
        ))}
      </ul>
      <Cut of={data.truncated} what="the similar ones among the newest" then="filter the list by the rule or by who it is about" />
    </section>
  );
}
