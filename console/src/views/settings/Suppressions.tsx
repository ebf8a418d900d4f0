import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { api, take } from "../../api/client";
import { useMay } from "../../api/session";
import { count } from "../../lib/units";
import { Cut } from "../../ui/list";
import { Badge, Empty, Loading, Panel, Problem, useSay } from "../../ui/parts";
import { Rec, When } from "../../ui/text";

/** What is suppressed, by whom, why and until when. */
export function SuppressionList() {
  const mayTriage = useMay("triage");
  const queries = useQueryClient();
  const say = useSay();
  const { data, error, isPending, refetch } = useQuery({ queryKey: ["suppressions"], queryFn: ({ signal }) => take(api.GET("/api/suppressions", { signal })) });
  const end = useMutation({
    mutationFn: (id: string) => take(api.DELETE("/api/suppressions/{id}", { params: { path: { id } } })),
    onSuccess: () => { say("Ended. What it covered stays marked"); return queries.invalidateQueries({ queryKey: ["suppressions"] }); },
    onError: (error) => say(error.message, "bad"),
  });
  return (
    <Panel title="Suppressions" flush>
      {error ? <Problem error={error} retry={() => void refetch()} /> : isPending ? <Loading /> : data.rows.length === 0 ? (
        <Empty icon="mute" title="Nothing is suppressed">An analyst suppresses detections similar to the one that is open in Detections: with an owner, a reason and an end.</Empty>
      ) : (
        <div className="panel-body scroll-x">
          <Cut of={data.truncated} what="counts of the newest detections" so="what is said to be covered is too low" then="follow a rule to its detections" />
          <p className="panel-body soft small">What one covers is detected and recorded as ever, marked, and left out of what is open, from when it was made until it ends. What it covered stays marked then.</p>
          <table className="plain-table">
            <thead><tr><th>Rule</th><th>About</th><th>Why</th><th>Owner</th><th>Until</th><th className="right">Covered</th><th><span className="unseen">Actions</span></th></tr></thead>
            <tbody>
              {data.rows.map((row) => (
                <tr key={row.id}>
                  <td><Link to="/detections" search={{ rule: row.rule, state: "all", suppressed: "yes", range: "any" } as never} className="mono small"><Rec text={row.rule} max={60} /></Link></td>
                  <td>{row.entity ? <>{row.entity.kind} <Rec text={row.entity.name} className="strong" /></> : "anybody"}</td>
                  <td><Rec text={row.reason} max={200} /></td><td><Rec text={row.owner} /></td>
                  <td className="nowrap">{row.is_over ? <Badge>over</Badge> : null} <When time={row.expires} how="second" /></td>
                  <td className="num right">{row.detections === null || row.detections === undefined ? "–" : count(row.detections)}</td>
                  <td className="right">{mayTriage && !row.is_over ? <button type="button" className="btn tiny" disabled={end.isPending} onClick={() => end.mutate(row.id)}>End it<span className="unseen">: <Rec text={row.rule} /> {row.entity ? <Rec text={row.entity.name} /> : "anybody"}</span></button> : null}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Panel>
  );
}
