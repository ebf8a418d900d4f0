import { useState } from "react";
import { nameOfPerson, useEndSessions, usePeople, useProvider, type Person } from "../../api/people";
import { counted } from "../../lib/units";
import { Badge, Dialog, Empty, Loading, Panel, Problem, useSay } from "../../ui/parts";
import { Rec, When } from "../../ui/text";

/** People who sign in by OpenID Connect: who they are, what they may do, whether they are signed in. */
export function People() {
  const { data, error, isPending, refetch } = usePeople();
  const { data: provider } = useProvider();
  const say = useSay();
  const end = useEndSessions();
  const [ending, setEnding] = useState<Person | null>(null);
  const rows = data?.rows ?? [];
  return (
    <>
      <Panel title="People" end={provider ? <span className="hint">Signed in by <Rec text={provider.name} max={60} /></span> : null} flush>
        {error ? <Problem error={error} retry={() => void refetch()} /> : isPending ? <Loading /> : rows.length === 0 ? (
          <Empty icon="user" title="Nobody has signed in this way yet">
            {provider ? "Whoever signs in with the provider stands here, with the role that the provider’s groups give." : <>People sign in by OpenID Connect when the configuration names a provider: <code>[oidc]</code>.</>}
          </Empty>
        ) : (
          <div className="panel-body scroll-x">
            <table className="plain-table">
              <thead><tr><th>Name</th><th>Role</th><th>Signed in last</th><th>First</th><th className="right">Sign-ins</th><th><span className="unseen">Actions</span></th></tr></thead>
              <tbody>
                {rows.map((each) => (
                  <tr key={each.subject}>
                    <td><Rec text={nameOfPerson(each)} className="strong" /><div className="small faint"><Rec text={each.name && each.email ? each.email : each.subject} max={80} /></div></td>
                    <td><Badge>{each.role}</Badge></td>
                    <td className="nowrap"><When time={each.last_signed_in} how="second" /></td>
                    <td className="nowrap soft"><When time={each.first_signed_in} how="second" /></td>
                    <td className="num right">{each.sessions === 0 ? <span className="faint">none</span> : each.sessions}</td>
                    <td className="right"><button type="button" className="btn tiny danger" disabled={each.sessions === 0} onClick={() => setEnding(each)}>Sign out</button></td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </Panel>
      {ending ? (
        <Dialog title="Sign them out" onClose={() => setEnding(null)} foot={
          <>
            <button type="button" className="btn" onClick={() => setEnding(null)}>Cancel</button>
            <button type="button" className="btn danger" disabled={end.isPending} onClick={() => end.mutate(ending.subject, { onSuccess: () => { setEnding(null); say("Signed out everywhere"); } })}>Sign them out</button>
          </>
        }>
          <p>{counted(ending.sessions, "sign-in")} of <strong><Rec text={nameOfPerson(ending)} /></strong> {ending.sessions === 1 ? "ends" : "end"} now. Whether they may come back is the provider’s to say. It is recorded.</p>
          {end.error ? <Problem error={end.error} /> : null}
        </Dialog>
      ) : null}
    </>
  );
}
