import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, take, type Schema } from "../../api/client";
import { useSessionQuery } from "../../api/session";
import { Command, Dialog, Loading, Panel, Problem, Badge, useSay } from "../../ui/parts";
import { Rec, When } from "../../ui/text";

type Role = Schema<"Role">;
type Key = Schema<"KeyRow">;
const ROLES: readonly { role: Role; says: string }[] = [
  { role: "analyst", says: "reads the record and what was said, triages" },
  { role: "auditor", says: "reads the record without what was said, verifies" },
  { role: "sensor", says: "sends events, reads nothing" },
  { role: "admin", says: "everything, keys included" },
];
const LIFETIMES = [[30, "30 days"], [90, "90 days"], [365, "a year"], [0, "no end"]] as const;

/** Keys: who may do what. */
export function KeysOfUsers() {
  const queries = useQueryClient();
  const say = useSay();
  const { data: session } = useSessionQuery();
  const { data, error, isPending, refetch } = useQuery({ queryKey: ["keys"], queryFn: ({ signal }) => take(api.GET("/api/keys", { signal })) });
  const [isMaking, setMaking] = useState(false);
  const [ending, setEnding] = useState<Key | null>(null);
  const end = useMutation({
    mutationFn: (id: string) => take(api.DELETE("/api/keys/{id}", { params: { path: { id } } })),
    onSuccess: () => { setEnding(null); say("The key has ended"); return queries.invalidateQueries({ queryKey: ["keys"] }); },
  });
  return (
    <>
      <Panel title="Keys" end={<button type="button" className="btn tiny primary" onClick={() => setMaking(true)}>New key</button>} flush>
        {error ? <Problem error={error} retry={() => void refetch()} /> : isPending ? <Loading /> : (
          <div className="panel-body scroll-x">
            <table className="plain-table">
              <thead><tr><th>Name</th><th>Role</th><th>Id</th><th>Made</th><th>Ends</th><th><span className="unseen">Actions</span></th></tr></thead>
              <tbody>
                {data.map((key) => (
                  <tr key={key.id}>
                    <td><Rec text={key.name} className="strong" /> {key.id === session?.key_id ? <Badge tone="accent">you</Badge> : null}</td>
                    <td>{key.role}</td><td className="mono small nowrap"><Rec text={key.id} /></td><td className="nowrap"><When time={key.created} how="second" /></td><td>{key.expires ? <When time={key.expires} how="second" /> : <span className="faint">never</span>}</td>
                    <td className="right"><button type="button" className="btn tiny danger" disabled={key.id === session?.key_id} onClick={() => setEnding(key)}>End it<span className="unseen">: <Rec text={key.name} /></span></button></td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </Panel>
      <Panel title="Roles"><dl className="facts">{ROLES.map(({ role, says }) => <div key={role} className="key-line"><dt>{role}</dt><dd>{says}</dd></div>)}</dl></Panel>
      {isMaking ? <NewKey onDone={() => { setMaking(false); void queries.invalidateQueries({ queryKey: ["keys"] }); }} /> : null}
      {ending ? (
        <Dialog title="End the key" onClose={() => setEnding(null)} foot={<><button type="button" className="btn" onClick={() => setEnding(null)}>Cancel</button><button type="button" className="btn danger" disabled={end.isPending} onClick={() => end.mutate(ending.id)}>End it now</button></>}>
          <p>Whoever holds <strong><Rec text={ending.name} /></strong> can do nothing with it from now on, and is signed out. It cannot be undone. It is recorded.</p>
          {end.error ? <Problem error={end.error} /> : null}
        </Dialog>
      ) : null}
    </>
  );
}

function NewKey({ onDone }: { onDone: () => void }) {
  const [name, setName] = useState("");
  const [role, setRole] = useState<Role>("analyst");
  const [days, setDays] = useState(90);
  const make = useMutation({ mutationFn: () => take(api.POST("/api/keys", { body: { name: name.trim(), role, ...(days > 0 ? { lifetime_s: days * 86_400 } : {}) } })) });
  const [isWarned, setWarned] = useState(false);
  if (make.data) {
    return (
      <Dialog key="made" title="The key" isFirm onClose={() => setWarned(true)} foot={<button type="button" className="btn primary" onClick={onDone}>I have kept it</button>}>
        <p>It is shown this once and kept nowhere. Whoever uses it acts in the role <strong>{make.data.role}</strong>.</p>
        <Command text={make.data.key} />
        {isWarned ? <p className="notice warn" role="alert">Have you kept it? When this is closed nobody can show it again: “I have kept it” closes it.</p> : null}
      </Dialog>
    );
  }
  return (
    <Dialog key="new" title="New key" onClose={onDone} foot={<><button type="button" className="btn" onClick={onDone}>Cancel</button><button type="submit" form="new-key" className="btn primary" disabled={name.trim() === "" || make.isPending}>Make it</button></>}>
      <form id="new-key" className="stack-wide" onSubmit={(event) => { event.preventDefault(); if (name.trim()) make.mutate(); }}>
        <div className="field"><label htmlFor="key-name">For whom or what</label><input id="key-name" className="input" value={name} maxLength={200} autoFocus={true} onChange={(event) => setName(event.target.value)} /></div>
        <fieldset className="verdicts"><legend className="label">Role</legend>
          {ROLES.map((each) => <label key={each.role} className="verdict"><input type="radio" name="role" checked={role === each.role} onChange={() => setRole(each.role)} /><span><span className="strong">{each.role}</span> <span className="faint">{each.says}</span></span></label>)}
        </fieldset>
        <div className="field"><label htmlFor="key-days">Ends after</label><select id="key-days" className="input" value={days} onChange={(event) => setDays(Number(event.target.value))}>{LIFETIMES.map(([value, says]) => <option key={value} value={value}>{says}</option>)}</select></div>
        {make.error ? <Problem error={make.error} /> : null}
      </form>
    </Dialog>
  );
}
