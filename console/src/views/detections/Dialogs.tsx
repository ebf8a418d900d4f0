import { useState } from "react";
import { nameOf, useSessionQuery } from "../../api/session";
import { nameOfPerson, usePeople } from "../../api/people";
import { plainLine } from "../../lib/text";
import { counted } from "../../lib/units";
import { Icon } from "../../ui/icons";
import { Dialog, Problem, useSay } from "../../ui/parts";
import { isReason, Reason } from "../../ui/reason";
import { Rec, When } from "../../ui/text";
import { useSuppress, useTriage, VERDICTS, type Detection, type Verdict } from "./data";
import type { Schema } from "../../api/client";

export function CloseDialog({ ids, onDone }: { ids: readonly string[]; onDone: (isDone?: boolean) => void }) {
  const [reason, setReason] = useState<Verdict | null>(null);
  const [note, setNote] = useState("");
  const triage = useTriage();
  const say = useSay();
  const isReady = reason !== null && (reason !== "other" || note.trim() !== "");
  const close = () => {
    if (!isReady || reason === null) return;
    triage.mutate({ ids, state: "closed", reason, ...(note.trim() ? { note: note.trim() } : {}) }, {
      onSuccess: () => { say(`${counted(ids.length, "detection")} closed`); onDone(true); },
    });
  };
  return (
    <Dialog title={ids.length === 1 ? "Close the detection" : `Close ${counted(ids.length, "detection")}`} onClose={() => onDone()} foot={
      <>
        <button type="button" className="btn" onClick={() => onDone()}>Cancel</button>
        <button type="submit" form="close" className="btn primary" disabled={!isReady || triage.isPending}>Close</button>
      </>
    }>
      <form id="close" className="stack-wide" onSubmit={(event) => { event.preventDefault(); close(); }}>
      <fieldset className="verdicts">
        <legend className="label">What was it?</legend>
        {VERDICTS.map((each) => (
          <label key={each.value} className="verdict">
            <input type="radio" name="verdict" value={each.value} checked={reason === each.value} onChange={() => setReason(each.value)} />
            <span><span className="strong">{each.says}</span> <span className="faint">{each.means}</span></span>
          </label>
        ))}
      </fieldset>
      <div className="field">
        <label htmlFor="note">Note{reason === "other" ? "" : " (not needed)"}</label>
        <textarea id="note" className="input" value={note} maxLength={4000} onChange={(event) => setNote(event.target.value)} />
        <span className="hint">It goes into the record, with your key and the time.</span>
      </div>
      </form>
      {triage.error ? <Problem error={triage.error} /> : null}
    </Dialog>
  );
}

/** Gives detections to somebody who looks at them. */
export function AssignDialog({ ids, now, known, onDone }: { ids: readonly string[]; now: string; known: readonly string[]; onDone: (isDone?: boolean) => void }) {
  const { data: session } = useSessionQuery();
  const { data: people } = usePeople();
  const me = session ? nameOf(session) : "";
  const [who, setWho] = useState(now);
  const triage = useTriage();
  const say = useSay();
  const names = [...new Set([me, ...known, ...(people?.rows.map(nameOfPerson) ?? [])].filter(Boolean))];
  const give = (to: string) => triage.mutate({ ids, assignee: to }, {
    onSuccess: () => { say(to === "" ? `Nobody looks at ${ids.length === 1 ? "it" : "them"} now` : `${counted(ids.length, "detection")} given to ${to}`); onDone(true); },
  });
  return (
    <Dialog title={ids.length === 1 ? "Assign the detection" : `Assign ${counted(ids.length, "detection")}`} onClose={() => onDone()} foot={
      <>
        {now === "" ? null : <button type="button" className="btn" disabled={triage.isPending} onClick={() => give("")}>Nobody</button>}
        <button type="button" className="btn end" onClick={() => onDone()}>Cancel</button>
        <button type="submit" form="assign" className="btn primary" disabled={who.trim() === "" || who.trim() === now || triage.isPending}>Assign</button>
      </>
    }>
      <form id="assign" className="field" onSubmit={(event) => { event.preventDefault(); if (who.trim() !== "") give(who.trim()); }}>
        <label htmlFor="who">Name</label>
        <input id="who" className="input" list="known" value={who} maxLength={200} autoFocus={true} autoComplete="off" onFocus={(event) => event.target.select()} onChange={(event) => setWho(event.target.value)} />
        <datalist id="known">{names.map((each) => <option key={each} value={plainLine(each, 200)} />)}</datalist>
        <span className="hint">Who it is given to finds it under Mine. It goes into the record.</span>
      </form>
      {me !== "" && now !== me ? <button type="button" className="btn" disabled={triage.isPending} onClick={() => give(me)}><Icon name="user" />I look at it</button> : null}
      {triage.error ? <Problem error={triage.error} /> : null}
    </Dialog>
  );
}

type Kind = Schema<"SuppressedKind">;
const DAYS = [1, 7, 30, 90] as const;

export function SuppressDialog({ of, onDone }: { of: Detection; onDone: () => void }) {
  const { data: session } = useSessionQuery();
  const entities = ([["user", of.user_id], ["agent", of.agent], ["application", of.application], ["tool", of.tool], ["session", of.session_id]] as const)
    .flatMap(([kind, name]): { kind: Kind; name: string }[] => (name ? [{ kind, name }] : []));
  const [entity, setEntity] = useState<number>(entities.length > 0 ? 0 : -1);
  const [days, setDays] = useState<number>(7);
  const [reason, setReason] = useState("");
  const [owner, setOwner] = useState(session ? nameOf(session) : "");
  const suppress = useSuppress();
  const say = useSay();
  // A whole rule is silenced by who says which rules there are.
  const mayWhole = session?.role === "admin";
  const isReady = of.rule && (mayWhole || entity >= 0) && isReason(reason) && owner.trim() !== "";
  const [now] = useState(Date.now);
  const expires = new Date(now + days * 86_400_000).toISOString();
  const about = entities[entity];
  const go = () => {
    if (!isReady || !of.rule) return;
    suppress.mutate({ rule: of.rule, reason: reason.trim(), owner: owner.trim(), expires, ...(about ? { entity: about } : {}) }, {
      onSuccess: () => { say(`Suppressed for ${counted(days, "day")}`); onDone(); },
    });
  };
  return (
    <Dialog title="Suppress similar detections" onClose={onDone} foot={
      <>
        <button type="button" className="btn" onClick={onDone}>Cancel</button>
        <button type="button" className="btn primary" disabled={!isReady || suppress.isPending} onClick={go}>Suppress</button>
      </>
    }>
      <p className="soft">
        From now until <strong><When time={expires} how="second" /></strong>, detections of <strong><Rec text={of.title} /></strong> {about ? <>about the {about.kind} <strong><Rec text={about.name} max={80} /></strong></> : <strong>about anybody</strong>} leave
        the lists and counts of what is open, for everybody. They are still detected and recorded, marked as suppressed: <em>Suppressed, too</em> shows them. What is recorded in that time is not shown as open afterwards either, when the suppression is over. Those that there are already stay as they are, this one, too: close it by itself.
      </p>
      <div className="field">
        <label htmlFor="about">About</label>
        <select id="about" className="input" value={entity} onChange={(event) => setEntity(Number(event.target.value))}>
          {entities.map((each, index) => <option key={each.kind} value={index}>{plainLine(`the ${each.kind} ${each.name}`, 80)}</option>)}
          {mayWhole || entities.length === 0 ? <option value={-1}>{mayWhole ? "anybody: the whole rule" : "anybody: the whole rule (needs the role admin)"}</option> : null}
        </select>
      </div>
      <div className="field">
        <label htmlFor="days">For</label>
        <select id="days" className="input" value={days} onChange={(event) => setDays(Number(event.target.value))}>
          {DAYS.map((each) => <option key={each} value={each}>{counted(each, "day")}</option>)}
        </select>
      </div>
      <div className="field">
        <label htmlFor="owner">Who answers for it</label>
        <input id="owner" className="input" value={owner} maxLength={200} onChange={(event) => setOwner(event.target.value)} />
      </div>
      <Reason label="Why" value={reason} onChange={setReason} lines={3} />
      <p className="hint">Who may triage may suppress, and end it earlier in Settings, Suppressions; a whole rule needs the role admin. All of it goes into the record.</p>
      {suppress.error ? <Problem error={suppress.error} /> : null}
    </Dialog>
  );
}
