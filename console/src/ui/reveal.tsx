import { useCallback, useState } from "react";
import { Icon } from "./icons";
import { Dialog } from "./parts";

const KEY = "watchkeeper.reason";

/** Why the reader reads contents, for this tab: asked once, recorded each time. */
export function useReason(): [string | null, (reason: string | null) => void] {
  const [reason, setReason] = useState(() => sessionStorage.getItem(KEY));
  const keep = useCallback((reason: string | null) => {
    if (reason === null) sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, reason);
    setReason(reason);
  }, []);
  return [reason, keep];
}

/** Asks why contents are read before they are shown. */
export function Reveal({ what, onReveal, mayRead }: { what: string; onReveal: (reason: string) => void; mayRead: boolean }) {
  const [isAsking, setAsking] = useState(false);
  const [reason, setReason] = useState(() => sessionStorage.getItem(KEY) ?? "");
  const go = () => {
    if (reason.trim() === "") return;
    setAsking(false);
    onReveal(reason.trim());
  };
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
      <span className="grow">{what.charAt(0).toUpperCase() + what.slice(1)} may hold what is nobody’s business. Reading it leaves an event in the record.</span>
      <button type="button" className="btn primary" onClick={() => setAsking(true)}><Icon name="eye" />Reveal</button>
      {isAsking ? (
        <Dialog title="Why do you read it?" onClose={() => setAsking(false)} foot={
          <>
            <button type="button" className="btn" onClick={() => setAsking(false)}>Cancel</button>
            <button type="submit" form="reveal" className="btn primary" disabled={reason.trim() === ""}>Reveal</button>
          </>
        }>
          <form id="reveal" className="field" onSubmit={(event) => { event.preventDefault(); go(); }}>
            <label htmlFor="reason">Reason</label>
            <input id="reason" className="input" value={reason} maxLength={500} autoFocus={true} placeholder="INC-1042: injection in a supplier's mail" onChange={(event) => setReason(event.target.value)} />
            <span className="hint">It is recorded with your key, the time and what you read, and asked once in this tab.</span>
          </form>
        </Dialog>
      ) : null}
    </div>
  );
}
