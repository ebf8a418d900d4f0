import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useEffect, useMemo, useState, type ReactNode } from "react";
import { api, take, type Schema } from "../../api/client";
import { useAt } from "../../lib/at";
import { duration, span } from "../../lib/time";
import { bytes, count, counted } from "../../lib/units";
import { fingerprint, schemeOf } from "../../log/note";
import type { Step, Verified } from "../../log/verify";
import { Icon, type IconName } from "../../ui/icons";
import { Badge, Command, Copy, Empty, Loading, PageHead, Panel, Problem } from "../../ui/parts";
import { Rec, RecBlock, When } from "../../ui/text";
import { remember, remembered, useVerification, type Run } from "./verification";

type Integrity = Schema<"Integrity">;

/** Records up to which the whole tree is verified without being asked for: a few megabytes. */
const WHOLE_BY_ITSELF = 100_000;
/** Bytes that a leaf and its hash are. */
const LEAF_BYTES = 104 + 32;

/** How far the record is sealed, and the proof of it checked on the reader's own machine. */
export function IntegrityView() {
  const [at, change] = useAt<"record">();
  const { data, error, isPending, refetch } = useQuery({
    queryKey: ["integrity"],
    queryFn: ({ signal }) => take(api.GET("/api/integrity", { signal })),
    refetchInterval: 15_000,
  });
  if (error) return <div className="page"><PageHead title="Integrity" /><Problem error={error} retry={() => void refetch()} /></div>;
  if (isPending) return <div className="page"><PageHead title="Integrity" /><Loading lines={12} /></div>;
  return (
    <div className="page">
      <PageHead title="Integrity">Every record is a leaf of a tree whose root is signed. Here your own browser checks that, from the same public files that anybody can check without this server.</PageHead>
      <div className="verify">
        <Verify integrity={data} record={at.record ?? null} onRecord={(record) => change({ record })} />
        <div className="stack-wide">
          <Standing integrity={data} />
          <Gaps integrity={data} />
        </div>
      </div>
      <Keys integrity={data} />
    </div>
  );
}

function Verify({ integrity, record, onRecord }: { integrity: Integrity; record: string | null; onRecord: (record: string | undefined) => void }) {
  const { run, start, stop } = useVerification();
  const [typed, setTyped] = useState(record ?? "");
  const size = integrity.checkpoint?.size ?? 0;
  const seq = record !== null && /^\d{1,15}$/.test(record) ? Number(record) : null;
  const [isWhole, setWhole] = useState(size <= WHOLE_BY_ITSELF);
  const go = (whole: boolean) => start({
    logKeys: integrity.keys.filter((pair) => pair.from <= size && (pair.last === null || pair.last === undefined || pair.last >= size)).flatMap((pair) => pair.vkeys),
    remembered: remembered(), whole, record: seq, minimum: integrity.minimum_index,
  });
  // Whoever comes to verify a record gets it verified.
  const isThere = size > 0;
  useEffect(() => {
    if (seq !== null && isThere) go(false);
    // A checkpoint that is newer, as they are each second, is no reason to begin anew.
    // oxlint-disable-next-line react-hooks/exhaustive-deps
  }, [seq, isThere]);
  const seen = remembered();
  return (
    <Panel title="Verify in this browser" end={run.state === "running" ? <button type="button" className="btn tiny" onClick={stop}>Stop</button> : null}>
      <div className="stack-wide">
        <Outcome run={run} seen={seen?.at ?? null} onAccept={(verified) => { remember(verified); go(isWhole); }} />
        {run.state === "done" ? <><h3>What was checked</h3><Steps verified={run.verified} /></> : null}
        <div className="row-wrap">
          <button type="button" className="btn primary" disabled={run.state === "running" || size === 0} onClick={() => go(isWhole)}><Icon name="seal" />{run.state === "done" ? "Verify again" : "Verify now"}</button>
          <label className="row small soft"><input type="checkbox" checked={isWhole} onChange={(event) => setWhole(event.target.checked)} />every leaf ({bytes((size - integrity.minimum_index) * LEAF_BYTES)})</label>
        </div>
        <form className="row" onSubmit={(event) => { event.preventDefault(); onRecord(typed.trim() || undefined); }}>
          <label htmlFor="record" className="small soft nowrap">One record</label>
          <input id="record" className="input num record-no" inputMode="numeric" pattern="\d*" placeholder="number" value={typed} onChange={(event) => setTyped(event.target.value)} />
          <button type="submit" className="btn">Prove it</button>
        </form>
        <details><summary className="soft small">What this shows, and what it does not</summary>
          <ul className="bullets small">
            <li>The newest checkpoint is signed by the log’s key, and the tree’s nodes give the root that was signed. <strong>Intact</strong> is said only where every leaf was hashed here, too; without that it is <strong>Root proved</strong>.</li>
            <li>The log begins with what this browser verified before: nothing was taken away or changed since.</li>
            <li>The key comes from this server. Compare it, below, with the copy that you keep elsewhere. This browser remembers it, and says when another one signs.</li>
            <li>How much retention let go of is the server’s word. What it let go of is not checked, and then it is not <strong>Intact</strong>.</li>
            <li>The post-quantum signature (ML-DSA-44) and time stamps need <code>watchkeeper verify</code>, which checks everything, offline:</li>
          </ul>
          <Command text="watchkeeper verify DIR" />
        </details>
      </div>
    </Panel>
  );
}

function Outcome({ run, seen, onAccept }: { run: Run; seen: string | null; onAccept: (verified: Verified) => void }) {
  if (run.state === "idle") return <p className="soft">{seen ? <>This browser verified this log last <When time={seen} how="ago" />.</> : "This browser has not verified this log yet."}</p>;
  if (run.state === "running") {
    return (
      <div className="stack-tight" role="status">
        <span className="soft num">{run.of > 0 ? `${count(run.leaves)} of ${counted(run.of, "leaf", "leaves")}` : "Reading the checkpoint…"}</span>
        <progress aria-label="Leaves verified" {...(run.of > 0 ? { value: run.leaves, max: run.of } : {})} />
      </div>
    );
  }
  if (run.state === "failed") return <Verdict tone="bad" title="Could not be verified"><Rec text={run.says} max={500} /></Verdict>;
  const { verified } = run;
  const { size } = verified.checkpoint;
  const hashed = verified.leaves > 0 ? `${count(verified.leaves)} of ${counted(size, "leaf", "leaves")} hashed` : `no leaf hashed of ${count(size)}`;
  const how = <><span className="num">{hashed}, in {duration(run.ms)}, on this machine</span>, against <Against checkpoint={verified.checkpoint} at={run.at} /></>;
  switch (verified.verdict) {
    case "intact": return <Verdict tone="good" title="Intact">{how}</Verdict>;
    case "pruned": return <Verdict tone="part" title={`Root proved, pruned up to ${count(verified.minimum)}`}>{how}. The leaves before are gone by the server’s word.</Verdict>;
    case "root": return <Verdict tone="part" title={verified.record ? `Record ${count(verified.record.seq)} proved, and the root` : "Root proved"}>{verified.record ? <>It is a leaf of the signed tree. </> : null}{how}. For the whole, tick <em>every leaf</em> and verify again.</Verdict>;
    case "empty": return <Verdict tone="part" title="Nothing to prove">The log has no record yet.</Verdict>;
    case "unproved": return <Verdict tone="bad" title="The record is not proved"><Rec text={stepThat(verified, "record")} max={600} /></Verdict>;
    case "key": return (
      <Verdict tone="bad" title="Another key signs this log" end={<button type="button" className="btn" onClick={() => onAccept(verified)}>I compared it: it is the log’s key</button>}>
        This browser knows it under another one. Everything else fits; who holds the new key is what you have to find out.
      </Verdict>
    );
    case "failed": return <Verdict tone="bad" title="Not proved"><Rec text={verified.steps.find((step) => step.state === "failed" || step.state === "unreadable")?.says ?? "The signature could not be checked in this browser."} max={600} /></Verdict>;
  }
}

/** Which checkpoint it was that everything was held to. */
function Against({ checkpoint: { origin, size, root }, at }: { checkpoint: Verified["checkpoint"]; at: string }) {
  return (
    <>
      the checkpoint of <span className="num">{counted(size, "record")}</span> that the server gave <When time={at} how="full" /> by this machine’s clock, of the log <Rec text={origin} className="mono small" />, with
      the root <Rec text={root} className="mono small" />
    </>
  );
}

const stepThat = (verified: Verified, name: Step["name"]) => verified.steps.find((step) => step.name === name)?.says;

/** What came of it, with how bad that is as colour, icon and word. */
function Verdict({ tone, title, end, children }: { tone: "good" | "part" | "bad"; title: string; end?: ReactNode; children: ReactNode }) {
  return (
    <div className={`verdict-big ${tone}`} role={tone === "bad" ? "alert" : "status"}>
      <Icon name={tone === "bad" ? "warning" : tone === "part" ? "info" : "seal"} className={tone === "good" ? "c-good" : tone === "part" ? "c-medium" : "c-critical"} />
      <div className="stack-tight"><h2>{title}</h2><p className={tone === "bad" ? undefined : "soft"}>{children}</p>{end ? <div className="row">{end}</div> : null}</div>
    </div>
  );
}

const NAME: Readonly<Record<Step["name"], string>> = {
  signature: "Signature", key: "The key", edge: "Root", consistency: "Nothing was taken away", retention: "Retention", tree: "The leaves", record: "The record",
};
const ICON: Readonly<Record<Step["state"], IconName>> = { passed: "check", skipped: "info", changed: "warning", failed: "warning", unreadable: "warning" };

function Steps({ verified }: { verified: Verified }) {
  return (
    <ol className="steps">
      {verified.steps.map((step) => (
        <li key={step.name} className={step.state}>
          <span className="state"><Icon name={ICON[step.state]} /></span>
          <div>
            <h3>{NAME[step.name]} {step.state === "passed" ? "" : <Badge tone={step.state === "failed" ? "critical" : step.state === "changed" ? "high" : ""}>{step.state === "skipped" ? "not checked" : step.state}</Badge>}</h3>
            <p><Rec text={step.says} max={600} /></p>
            {step.name === "signature" ? <ul className="small faint">{verified.signatures.map((each) => <li key={each.keyId + each.name}>{each.scheme} · <Rec text={each.name} max={60} /> · <span className="mono">{each.keyId}</span> · {each.outcome === "unchecked" ? "not checked by browsers" : each.outcome === "unknown" ? "of a key that is not here" : each.outcome}{each.at ? <> · <When time={each.at} how="full" /></> : null}</li>)}</ul> : null}
            {step.name === "record" && verified.record?.leaf ? (
              <dl className="facts small">
                <dt>Kind</dt><dd>{verified.record.leaf.kind.replaceAll("_", " ")}, {counted(verified.record.leaf.fields, "field")}</dd>
                <dt>Happened</dt><dd><When time={verified.record.leaf.time} how="full" /></dd>
                <dt>Recorded</dt><dd><When time={verified.record.leaf.observed} how="full" /></dd>
                <dt>Field root</dt><dd className="mono">{verified.record.leaf.fieldRoot}</dd>
              </dl>
            ) : null}
          </div>
        </li>
      ))}
    </ol>
  );
}

function Standing({ integrity }: { integrity: Integrity }) {
  const { progress, checkpoint, witnessed, time_stamped: stamped, archive, published } = integrity;
  const failures = [...integrity.witness_failures, ...integrity.time_stamp_failures, ...integrity.publish_failures].filter((each) => !each.is_over);
  return (
    <Panel title="How far it is">
      <div className="stack">
        <dl className="facts">
          <dt>Recorded</dt><dd className="num">{count(progress.recorded)}</dd>
          <dt>Sealed</dt><dd className="num">{count(progress.sealed)}{progress.recorded > progress.sealed ? <span className="faint"> · {count(progress.recorded - progress.sealed)} behind</span> : null}</dd>
          <dt>Checkpoint</dt><dd>{checkpoint ? <>{counted(checkpoint.size, "record")}{checkpoint.age_s === null || checkpoint.age_s === undefined ? "" : `, ${span(checkpoint.age_s * 1000)} old`}</> : <span className="faint">none yet</span>}</dd>
          <dt>Witnessed</dt><dd>{witnessed ? <>{counted(witnessed.size, "record")} <span className="faint"><Rec text={witnessed.signers.join(", ")} /></span></> : <span className="faint">no witness is configured (<code>[[witness]]</code>)</span>}</dd>
          <dt>Time-stamped</dt><dd>{stamped ? <>{counted(stamped.records, "record")}, {span(stamped.age_s * 1000)} ago</> : <span className="faint">no authority is configured</span>}</dd>
          <dt>Published</dt><dd>{published ? counted(published.records, "record") : <span className="faint">nowhere</span>}</dd>
          <dt>Archived</dt><dd className="num">{archive.segments === 0 ? <span className="faint">nothing yet</span> : <>{counted(archive.records, "record")} in {counted(archive.segments, "segment")}</>}</dd>
          {integrity.minimum_index > 0 ? <><dt>Let go of</dt><dd className="num">leaves before {count(integrity.minimum_index)}</dd></> : null}
        </dl>
        {failures.length > 0 ? <div className="notice bad stack-tight">{failures.map((each) => <span key={each.who}><strong><Rec text={each.who} /></strong> <Rec text={each.what} max={300} /></span>)}</div> : null}
        {checkpoint ? <details><summary className="soft small">The signed checkpoint</summary><RecBlock className="note-text mono" text={checkpoint.note.replace(/^(— \S+ \S{44})\S{200,}$/gm, "$1…")} /></details> : null}
      </div>
    </Panel>
  );
}

function Gaps({ integrity }: { integrity: Integrity }) {
  if (integrity.gap_count === 0) return <Panel title="Gaps"><Empty icon="check" title="None is known">What a sensor loses, a tail that a crash tore, bytes that nobody inspected: each would stand here as an event of its own.</Empty></Panel>;
  return (
    <Panel title="Gaps" end={<span className="faint num">{count(integrity.gap_count)}</span>} flush>
      <ul className="lines">
        {integrity.gaps.map((gap) => (
          <li key={gap.event_id}>
            <Link to="/trace" search={{ id: gap.event_id } as never} className="line">
              <span className="grow cut"><Rec text={(gap.reason ?? gap.name).replaceAll("_", " ")} className="strong" /></span>
              {gap.count ? <span className="num soft">{count(gap.count)} missing</span> : null}
              <span className="soft"><When time={gap.time} /></span>
            </Link>
          </li>
        ))}
      </ul>
      {integrity.gap_count > integrity.gaps.length ? <p className="panel-body faint small">The newest {integrity.gaps.length}. The view <code>gaps</code> has all of them.</p> : null}
    </Panel>
  );
}

function Keys({ integrity }: { integrity: Integrity }) {
  const [typed, setTyped] = useState("");
  const keys = useMemo(() => integrity.keys.flatMap((pair) => pair.vkeys.map((vkey) => ({ pair, vkey, is: fingerprint(vkey) }))), [integrity]);
  const kept = typed.trim();
  // The copy that is kept is the key itself, several of them, or their digest.
  const compared = new Set(kept.split(/\s+/).map((each) => (/^[0-9a-f]{64}$/i.test(each) ? each.toLowerCase() : fingerprint(each))));
  const isSame = (is: string) => kept !== "" && compared.has(is);
  const seen = remembered()?.key ?? null;
  return (
    <Panel title="The log’s keys">
      <div className="stack">
        <div className="scroll-x">
          <table className="plain-table">
            <thead><tr><th className="right">Generation</th><th>State</th><th>Signature</th><th>Signs</th><th>Verifier key</th><th>SHA-256 of the verifier key</th></tr></thead>
            <tbody>
              {keys.map(({ pair, vkey, is }) => {
                const [name = "", id = ""] = vkey.split("+");
                return (
                  <tr key={vkey}>
                    <td className="num right">{pair.generation}</td>
                    <td><Badge tone={pair.state === "signs" ? "good" : ""}>{pair.state}</Badge></td>
                    <td className="nowrap">{schemeOf(vkey)}</td>
                    <td className="num nowrap">from {count(pair.from)}{pair.last === null || pair.last === undefined ? "" : ` to ${count(pair.last)}`}</td>
                    <td><span className="row"><span className="mono small cut vkey"><Rec text={`${name}+${id}+…`} /></span><Copy text={vkey} what="verifier key" /></span></td>
                    <td><span className="mono small fingerprint">{is}</span> {isSame(is) ? <Badge tone="good">the one that you keep</Badge> : null}{is === seen ? <Badge>remembered here</Badge> : null}</td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        </div>
        <div className="field">
          <label htmlFor="kept-key">The key that you keep</label>
          <input id="kept-key" className="input mono" spellCheck={false} autoComplete="off" placeholder="a line of ledger/vkey, or its SHA-256" value={typed} onChange={(event) => setTyped(event.target.value)} />
          <span className="hint" role="status">{kept === "" ? <>Compared here, with every character of it. SHA-256 of a key: <code>printf %s KEY | sha256sum</code></> : keys.some((key) => isSame(key.is)) ? "It is one of these." : <strong className="c-critical">It is none of these.</strong>}</span>
        </div>
      </div>
    </Panel>
  );
}
