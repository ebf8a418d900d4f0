import { useState } from "react";
import { api, problemIn, take } from "../../api/client";
import { useMay } from "../../api/session";
import { fileName, moment, saveBlob } from "../../lib/save";
import { schemeOf } from "../../log/note";
import { Icon } from "../../ui/icons";
import { Command, Dialog, Problem } from "../../ui/parts";
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

/** The key of the log as `--key` takes it. */
const KEY = /^[!-&(-~]{1,512}$/;

/** The command that verifies a bundle: with the log's key, where the server tells it. */
async function commandFor(name: string): Promise<{ command: string; hasKey: boolean }> {
  const integrity = await take(api.GET("/api/integrity")).catch(() => null);
  const key = integrity?.keys.find((pair) => pair.state === "signs")?.vkeys.find((vkey) => schemeOf(vkey) === "Ed25519" && KEY.test(vkey));
  return { command: `watchkeeper evidence verify ${name} --key ${key === undefined ? "vkey" : `'${key}'`}`, hasKey: key !== undefined };
}

function Make({ session, onClose }: { session: string; onClose: () => void }) {
  const [reason, setReason] = useState("");
  const [error, setError] = useState<unknown>(null);
  const [isBusy, setBusy] = useState(false);
  const [made, setMade] = useState<{ name: string; command: string; hasKey: boolean } | null>(null);
  const go = async () => {
    setBusy(true);
    setError(null);
    try {
      const response = await fetch("/api/evidence", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ what: { session }, reason: reason.trim() }) });
      if (!response.ok) throw await problemIn(response, "POST");
      const name = fileName(["evidence", session, moment()], "tar.gz");
      saveBlob(name, await response.blob());
      setMade({ name, ...(await commandFor(name)) });
    } catch (problem) {
      setError(problem);
    }
    setBusy(false);
  };
  if (made) {
    return (
      <Dialog title="Evidence bundle" onClose={onClose} foot={<button type="button" className="btn primary" onClick={onClose}>Done</button>}>
        <p role="status"><strong>The bundle is made.</strong> Your browser saves it as <Rec text={made.name} className="mono small" />. Whoever gets it verifies it, without this server, by</p>
        <Command text={made.command} />
        <p className="soft">{made.hasKey ? "The key in it is the log’s, as this server tells it" : "The key is the log’s: a line of ledger/vkey"}. It proves something to whoever knows it from elsewhere: send it by another way than the bundle, or let them compare it with the copy that they keep.</p>
      </Dialog>
    );
  }
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
