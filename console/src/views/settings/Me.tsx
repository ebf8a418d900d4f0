import { useSessionQuery, useSignOut } from "../../api/session";
import { setPrefs, usePrefs } from "../../lib/prefs";
import { span, zoneName } from "../../lib/time";
import { Badge, Choice, Panel } from "../../ui/parts";
import { Rec, When } from "../../ui/text";
import { forget, remembered } from "../integrity/verification";
import { count } from "../../lib/units";
import { useState } from "react";

const SAYS: Readonly<Record<string, string>> = {
  "record.read": "read the record without what was said", "content.read": "read what was said; each reading is recorded", triage: "triage detections and suppress",
  administer: "administer", "events.send": "send events",
};

/** Who is signed in, and how the page looks. */
export function Me() {
  const { data: session } = useSessionQuery();
  const { theme, density, zone, singleKeys } = usePrefs();
  const signOut = useSignOut();
  const [seen, setSeen] = useState(remembered);
  if (!session) return null;
  return (
    <>
      <Panel title="You" end={<button type="button" className="btn tiny" onClick={() => void signOut()}>Sign out</button>}>
        <dl className="facts">
          <dt>{session.person ? "Name" : "Key"}</dt><dd><Rec text={session.key_name} className="strong" /> <Rec text={session.person?.email ?? session.key_id} className="mono small faint" /></dd>
          {session.person ? <><dt>Signed in by</dt><dd className="mono small"><Rec text={session.person.provider} max={200} /></dd></> : null}
          <dt>Role</dt><dd><Badge tone="accent">{session.role}</Badge></dd>
          <dt>You may</dt><dd><ul className="bullets">{session.permissions.map((each) => <li key={each}>{SAYS[each] ?? each}</li>)}</ul></dd>
          <dt>Sign-in ends</dt><dd>{session.expires ? <When time={session.expires} how="second" /> : "–"}{session.idle_timeout_s ? <span className="faint">, or {span(session.idle_timeout_s * 1000)} after you last asked for something</span> : null}</dd>
          {session.key_expires ? <><dt>Key ends</dt><dd><When time={session.key_expires} how="second" /></dd></> : null}
          {session.session ? <><dt>In the record</dt><dd><Rec text={session.session} className="mono small" /></dd></> : null}
          <dt>Server</dt><dd><span className="mono small">{session.version}</span> <a href="/licences.txt" className="small">licences of what this page is made of</a></dd>
        </dl>
      </Panel>
      <Panel title="This page">
        <dl className="facts">
          <dt>Theme</dt><dd><Choice label="Theme" value={theme} options={[{ value: "system", says: "System" }, { value: "light", says: "Light" }, { value: "dark", says: "Dark" }]} onChoose={(theme) => setPrefs({ theme })} /></dd>
          <dt>Rows</dt><dd><Choice label="Rows" value={density} options={[{ value: "normal", says: "Roomy" }, { value: "compact", says: "Compact" }]} onChoose={(density) => setPrefs({ density })} /></dd>
          <dt>Single-key shortcuts</dt><dd><Choice label="Single-key shortcuts" value={singleKeys ? "on" : "off"} options={[{ value: "on", says: "On" }, { value: "off", says: "Off" }]} onChoose={(value) => setPrefs({ singleKeys: value === "on" })} /> <span className="faint">off: a letter alone does nothing; Ctrl K, Enter, Escape and the arrow keys work as before</span></dd>
          <dt>Times in</dt><dd>{zoneName(zone)} <span className="faint">(the bar above changes it)</span></dd>
          <dt>Verified last</dt><dd>{seen ? <><span className="num">{count(seen.size)}</span> records, <When time={seen.at} how="ago" /> <button type="button" className="btn tiny" onClick={() => { forget(); setSeen(null); }}>Forget it</button></> : <span className="faint">this browser has verified nothing yet</span>}</dd>
        </dl>
      </Panel>
    </>
  );
}
