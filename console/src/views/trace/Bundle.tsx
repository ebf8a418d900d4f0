import { useQuery } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import { api, problemIn, take } from "../../api/client";
import { useMay } from "../../api/session";
import { fileName, moment, saveBlob } from "../../lib/save";
import { schemeOf } from "../../log/note";
import { Icon } from "../../ui/icons";
import { Command, Dialog, Problem } from "../../ui/parts";
import { isReason, Reason } from "../../ui/reason";
import { Rec } from "../../ui/text";
import { verifyCommand, type Trace } from "./data";

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

/** The key of the log as this server tells it: to be compared, and never what the bundle is verified with. Whoever could forge the bundle could tell it, too. */
function ToldKey() {
  const { data } = useQuery({ queryKey: ["integrity"], queryFn: ({ signal }) => take(api.GET("/api/integrity", { signal })), staleTime: 60_000 });
  const key = data?.keys.find((pair) => pair.state === "signs")?.vkeys.find((vkey) => schemeOf(vkey) === "Ed25519");
  if (key === undefined) return null;
  return (
    <dl className="facts">
      <dt>To compare</dt><dd><Rec text={key} max={600} className="mono small" /> <span className="faint small">The key as this server tells it. It is no copy from elsewhere, and alone proves nothing.</span></dd>
    </dl>
  );
}

function Make({ session, onClose }: { session: string; onClose: () => void }) {
  const [reason, setReason] = useState("");
  const [error, setError] = useState<unknown>(null);
  const [isBusy, setBusy] = useState(false);
  const [made, setMade] = useState<string | null>(null);
  const done = useRef<HTMLButtonElement>(null);
  // The button that had the focus is gone with what it did.
  useEffect(() => {
    if (made !== null) done.current?.focus();
  }, [made]);
  const go = async () => {
    setBusy(true);
    setError(null);
    try {
      const response = await fetch("/api/evidence", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ what: { session }, reason: reason.trim() }) });
      if (!response.ok) throw await problemIn(response, "POST");
      const name = fileName(["evidence", session, moment()], "tar.gz");
      saveBlob(name, await response.blob());
      setMade(name);
    } catch (problem) {
      setError(problem);
    }
    setBusy(false);
  };
  return (
    <Dialog title="Evidence bundle" onClose={onClose} foot={made === null ? (
      <>
        <button type="button" className="btn" onClick={onClose}>Cancel</button>
        <button type="button" className="btn primary" disabled={!isReason(reason) || isBusy} onClick={() => void go()}>{isBusy ? "Being made…" : "Make it"}</button>
      </>
    ) : <button type="button" className="btn primary" ref={done} onClick={onClose}>Done</button>}>
      <p role="status">{made === null ? null : <><strong>The bundle is made.</strong> Your browser saves it as <Rec text={made} className="mono small" />. Whoever gets it verifies it, without this server, by</>}</p>
      {made === null ? (
        <>
          <p className="soft">{WHAT}</p>
          <Reason label="Reason" value={reason} onChange={setReason} />
        </>
      ) : (
        <>
          <Command text={verifyCommand(made)} />
          <p className="soft"><code>vkey</code> is a file of theirs with the key of the log: a line of <code>ledger/vkey</code>, from a copy that they keep, or that came to them by another way than the bundle. With a key from the same place as the bundle nothing is proved.</p>
          <ToldKey />
        </>
      )}
      {error === null ? null : <Problem error={error} />}
    </Dialog>
  );
}
