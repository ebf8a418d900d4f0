import { useState } from "react";
import { REASON_BYTES_MAX } from "../lib/limits";
import { faultOf, lastReason } from "../lib/reasons";
import { Icon } from "./icons";
import { bind, useShortcuts } from "../lib/shortcuts";
import { Dialog, KeyOf } from "./parts";

/** Asks why contents are read before they are shown. */
export function Reveal({ what, onReveal, mayRead }: { what: string; onReveal: (reason: string) => void; mayRead: boolean }) {
  const [isAsking, setAsking] = useState(false);
  const [reason, setReason] = useState("");
  const fault = faultOf(reason);
  const ask = () => {
    setReason(lastReason());
    setAsking(true);
  };
  const go = () => {
    if (fault !== null) return;
    setAsking(false);
    onReveal(reason.trim());
  };
  useShortcuts(mayRead ? [bind("reveal", ask)] : []);
  if (!mayRead) {
    return (
      <div className="notice no-print">
        <Icon name="veil" /><span className="grow">Your role shows how it went, and not what was said. An analyst can read {what}.</span>
      </div>
    );
  }
  return (
    <div className="notice no-print">
      <Icon name="veil" />
      <span className="grow">{what.charAt(0).toUpperCase() + what.slice(1)} may hold personal or confidential text. Reading it leaves an event in the record.</span>
      <button type="button" className="btn primary" onClick={ask}><Icon name="eye" />Reveal<KeyOf of="reveal" /></button>
      {isAsking ? (
        <Dialog title="Why do you read it?" onClose={() => setAsking(false)} foot={
          <>
            <button type="button" className="btn" onClick={() => setAsking(false)}>Cancel</button>
            <button type="submit" form="reveal" className="btn primary" disabled={fault !== null}>Reveal</button>
          </>
        }>
          <form id="reveal" className="field" onSubmit={(event) => { event.preventDefault(); go(); }}>
            <label htmlFor="reason">Reason</label>
            <input id="reason" className="input" value={reason} maxLength={REASON_BYTES_MAX} autoFocus={true} aria-describedby="reason-hint" onFocus={(event) => event.target.select()} placeholder="INC-1042: injection in a supplier's mail" onChange={(event) => setReason(event.target.value)} />
            <span className="hint" id="reason-hint">{fault !== null && reason !== "" ? fault : "It is recorded with who you are, the time and what you read, and holds for this case alone."}</span>
          </form>
        </Dialog>
      ) : null}
    </div>
  );
}
