import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, take, type Schema } from "../../api/client";
import { useMay } from "../../api/session";
import { count } from "../../lib/units";
import { Dialog, Empty, Loading, Panel, Problem, useSay } from "../../ui/parts";
import { isReason, Reason } from "../../ui/reason";
import { Rec, When } from "../../ui/text";

const days = (value: number | null | undefined) => (value === null || value === undefined ? "no limit" : `${count(value)} d`);

/** What a hold covers, as it is shown: its times are those of RFC 3339. */
type Scope = { readonly [Part in "user" | "session" | "application" | "from" | "to"]?: string | null };
type Hold = Pick<Schema<"Hold">, "name"> & { readonly scope: Scope };

/** What a hold keeps. */
function Covers({ scope }: { scope: Scope }) {
  const named = (["user", "session", "application"] as const).flatMap((kind) => (scope[kind] ? [[kind, scope[kind]] as const] : []));
  const { from, to } = scope;
  const isTimed = Boolean(from) || Boolean(to);
  if (named.length === 0 && !isTimed) return <strong>every record</strong>;
  return (
    <span className="stack-tight">
      {named.map(([kind, name]) => <span key={kind}><span className="soft">the {kind}</span> <Rec text={name} className="strong" max={120} /></span>)}
      {isTimed ? <span className="nowrap"><span className="soft">received</span>{from ? <> from <When time={from} how="second" /></> : null}{to ? <> until <When time={to} how="second" /></> : null}</span> : null}
    </span>
  );
}

/** How long what is kept, and what must not go. */
export function Retention() {
  const mayAdminister = useMay("administer");
  const queries = useQueryClient();
  const say = useSay();
  const [isPlacing, setPlacing] = useState(false);
  const [releasing, setReleasing] = useState<Hold | null>(null);
  const [reason, setReason] = useState("");
  const { data, error, isPending, refetch } = useQuery({ queryKey: ["retention"], queryFn: ({ signal }) => take(api.GET("/api/retention", { signal })) });
  const release = useMutation({
    mutationFn: (name: string) => take(api.DELETE("/api/holds/{name}", { params: { path: { name }, query: { reason: reason.trim() } } })),
    onSuccess: () => { setReleasing(null); setReason(""); say("The hold is released"); return queries.invalidateQueries({ queryKey: ["retention"] }); },
  });
  if (error) return <Problem error={error} retry={() => void refetch()} />;
  if (isPending) return <Loading lines={10} />;
  return (
    <>
      <Panel title="Legal holds" end={mayAdminister ? <button type="button" className="btn tiny primary" onClick={() => setPlacing(true)}>Place a hold</button> : null} flush>
        {data.holds.length === 0 ? <Empty icon="integrity" title="No hold stands">A hold keeps what it covers from retention and erasure until it is released.</Empty> : (
          <div className="panel-body scroll-x">
            <table className="plain-table">
              <thead><tr><th>Name</th><th>Covers</th><th>Why</th><th>Placed by</th><th>Since</th><th><span className="unseen">Actions</span></th></tr></thead>
              <tbody>{data.holds.map((hold) => (
                <tr key={hold.name}><td><Rec text={hold.name} className="strong" /></td><td><Covers scope={hold.scope} /></td><td><Rec text={hold.reason} max={300} /></td><td>{hold.placed_by ? <Rec text={hold.placed_by} max={80} /> : <span className="faint">–</span>}</td><td><When time={hold.placed} how="second" /></td>
                  <td className="right">{mayAdminister ? <button type="button" className="btn tiny" onClick={() => setReleasing(hold)}>Release<span className="unseen">: <Rec text={hold.name} /></span></button> : null}</td></tr>
              ))}</tbody>
            </table>
          </div>
        )}
      </Panel>
      <Panel title="Classes" flush>
        <div className="panel-body scroll-x">
          <table className="plain-table">
            <thead><tr><th>Class</th><th>Basis</th><th className="right">At least</th><th className="right">At most</th><th className="right">In the hot store</th><th>Erasure</th></tr></thead>
            <tbody>{data.classes.map((each) => (
              <tr key={each.name}><td className="class-name"><Rec text={each.title} className="strong" /> <Rec text={each.name} className="mono small faint nowrap" /></td><td className="soft"><Rec text={each.basis} max={300} /></td><td className="num right nowrap">{each.min_days === 0 ? <span className="faint">none</span> : days(each.min_days)}</td><td className="num right nowrap">{days(each.max_days)}</td><td className="num right nowrap">{days(each.hot_days)}</td><td className="soft nowrap">{String(each.erasure).replaceAll("_", " ")}</td></tr>
            ))}</tbody>
          </table>
        </div>
      </Panel>
      {isPlacing ? <Place onDone={() => { setPlacing(false); void queries.invalidateQueries({ queryKey: ["retention"] }); }} /> : null}
      {releasing !== null ? (
        <Dialog title="Release the hold" onClose={() => setReleasing(null)} foot={<><button type="button" className="btn" onClick={() => setReleasing(null)}>Cancel</button><button type="button" className="btn danger" disabled={!isReason(reason) || release.isPending} onClick={() => release.mutate(releasing.name)}>Release it</button></>}>
          <dl className="facts"><dt>Hold</dt><dd><Rec text={releasing.name} className="strong" /></dd><dt>Covers</dt><dd><Covers scope={releasing.scope} /></dd></dl>
          <p>What it covers may go from now on, when its class says so.</p>
          <Reason label="Why" value={reason} onChange={setReason} />
          {release.error ? <Problem error={release.error} /> : null}
        </Dialog>
      ) : null}
    </>
  );
}

const scopeOf = (kind: "user" | "session" | "application", name: string) => ({ user: null, session: null, application: null, from: null, to: null, [kind]: name });

function Place({ onDone }: { onDone: () => void }) {
  const [name, setName] = useState("");
  const [reason, setReason] = useState("");
  const [scope, setScope] = useState<"user" | "session" | "application" | "all">("user");
  const [value, setValue] = useState("");
  const isReady = name.trim() !== "" && isReason(reason) && (scope === "all" || value.trim() !== "");
  const place = useMutation({
    mutationFn: () => take(api.POST("/api/holds", { body: { name: name.trim(), reason: reason.trim(), ...(scope === "all" ? {} : { scope: scopeOf(scope, value.trim()) }) } })),
    onSuccess: onDone,
  });
  return (
    <Dialog title="Place a legal hold" onClose={onDone} foot={<><button type="button" className="btn" onClick={onDone}>Cancel</button><button type="button" className="btn primary" disabled={!isReady || place.isPending} onClick={() => place.mutate()}>Place it</button></>}>
      <div className="field"><label htmlFor="hold-name">Name of the case</label><input id="hold-name" className="input" value={name} maxLength={200} onChange={(event) => setName(event.target.value)} /></div>
      <div className="field"><label htmlFor="hold-scope">Covers</label>
        <div className="row">
          <select id="hold-scope" className="input" value={scope} onChange={(event) => setScope(event.target.value as typeof scope)}><option value="user">the user</option><option value="session">the session</option><option value="application">the application</option><option value="all">everything</option></select>
          {scope === "all" ? null : <input className="input" aria-label={`Which ${scope}`} value={value} onChange={(event) => setValue(event.target.value)} />}
        </div>
      </div>
      <Reason label="Why" value={reason} onChange={setReason} lines={3} />
      {place.error ? <Problem error={place.error} /> : null}
    </Dialog>
  );
}
