import { useState } from "react";
import { problemIn } from "../../api/client";
import { useMay } from "../../api/session";
import { saveBlob } from "../../lib/save";
import { Icon } from "../../ui/icons";
import { Dialog, Problem, useSay } from "../../ui/parts";
import type { Trace } from "./data";

/** An evidence bundle of a session: what an outsider can verify without this server. */
export function Bundle({ id, trace }: { id: string; trace: Trace }) {
  const mayAdminister = useMay("administer");
  const say = useSay();
  const [isOpen, setOpen] = useState(false);
  const [reason, setReason] = useState("");
  const [error, setError] = useState<unknown>(null);
  const [isBusy, setBusy] = useState(false);
  const session = trace.id_kind === "session" ? id : [...trace.sessions][0];
  if (!mayAdminister || session === undefined) return null;
  const go = async () => {
    setBusy(true);
    setError(null);
    try {
      const response = await fetch("/api/evidence", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ what: { session }, reason }) });
      if (!response.ok) throw await problemIn(response);
      saveBlob("evidence.tar.gz", await response.blob());
      say("Bundle made. `watchkeeper verify` checks it anywhere");
      setOpen(false);
    } catch (problem) {
      setError(problem);
    }
    setBusy(false);
  };
  return (
    <>
      <button type="button" className="btn" onClick={() => setOpen(true)}><Icon name="download" />Evidence</button>
      {isOpen ? (
        <Dialog title="Evidence bundle" onClose={() => setOpen(false)} foot={
          <>
            <button type="button" className="btn" onClick={() => setOpen(false)}>Cancel</button>
            <button type="button" className="btn primary" disabled={reason.trim() === "" || isBusy} onClick={() => void go()}>{isBusy ? "Being made…" : "Make it"}</button>
          </>
        }>
          <p className="soft">All records of this session with their proofs, as one file that <code>watchkeeper verify</code> checks without this server. Making it is recorded.</p>
          <div className="field"><label htmlFor="bundle-reason">Reason</label><input id="bundle-reason" className="input" value={reason} maxLength={500} onChange={(event) => setReason(event.target.value)} /></div>
          {error === null ? null : <Problem error={error} />}
        </Dialog>
      ) : null}
    </>
  );
}
