import { useState } from "react";
import { problemIn } from "../../api/client";
import { useMay } from "../../api/session";
import { fileName, moment, saveBlob } from "../../lib/save";
import { Icon } from "../../ui/icons";
import { Dialog, Problem, useSay } from "../../ui/parts";
import { isReason, Reason } from "../../ui/reason";
import { Rec } from "../../ui/text";
import type { Trace } from "./data";

/** An evidence bundle of a session: what an outsider can verify without this server. Only an admin may take one out; others are told so. */
export function Bundle({ id, trace }: { id: string; trace: Trace }) {
  const mayAdminister = useMay("administer");
  const [isOpen, setOpen] = useState(false);
  const session = trace.id_kind === "session" ? id : [...trace.sessions][0];
  if (session === undefined) return null;
  const close = () => setOpen(false);
  return (
    <>
      <button type="button" className="btn" onClick={() => setOpen(true)}><Icon name="download" />Evidence</button>
      {isOpen ? mayAdminister ? <Make session={session} onClose={close} /> : <NotYours session={session} onClose={close} /> : null}
    </>
  );
}

const WHAT = <>All records of this session with their proofs, as one file that <code>watchkeeper evidence verify</code> checks without this server. Making it is recorded.</>;

function NotYours({ session, onClose }: { session: string; onClose: () => void }) {
  return (
    <Dialog title="Evidence bundle" onClose={onClose} foot={<button type="button" className="btn primary" onClick={onClose}>Close</button>}>
      <p className="soft">{WHAT}</p>
      <p><strong>Only the role admin may take one out:</strong> it holds what was said. Ask whoever administers this server, with the session and your reason.</p>
      <dl className="facts"><dt>Session</dt><dd className="mono small"><Rec text={session} max={200} /></dd></dl>
    </Dialog>
  );
}

function Make({ session, onClose }: { session: string; onClose: () => void }) {
  const say = useSay();
  const [reason, setReason] = useState("");
  const [error, setError] = useState<unknown>(null);
  const [isBusy, setBusy] = useState(false);
  const go = async () => {
    setBusy(true);
    setError(null);
    try {
      const response = await fetch("/api/evidence", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ what: { session }, reason: reason.trim() }) });
      if (!response.ok) throw await problemIn(response, "POST");
      const name = fileName(["evidence", session, moment()], "tar.gz");
      saveBlob(name, await response.blob());
      say(`Bundle made. \`watchkeeper evidence verify ${name}\` checks it anywhere`);
      onClose();
    } catch (problem) {
      setError(problem);
    }
    setBusy(false);
  };
  return (
    <Dialog title="Evidence bundle" onClose={onClose} foot={
      <>
        <button type="button" className="btn" onClick={onClose}>Cancel</button>
        <button type="button" className="btn primary" disabled={!isReason(reason) || isBusy} onClick={() => void go()}>{isBusy ? "Being made…" : "Make it"}</button>
      </>
    }>
      <p className="soft">{WHAT}</p>
      <Reason label="Reason" value={reason} onChange={setReason} />
      {error === null ? null : <Problem error={error} />}
    </Dialog>
  );
}
