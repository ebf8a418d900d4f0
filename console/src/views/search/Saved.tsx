import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { api, take, type Schema } from "../../api/client";
import { useMay } from "../../api/session";
import { ask } from "../../lib/asked";
import { useAt } from "../../lib/at";
import { plainLine } from "../../lib/text";
import { Icon } from "../../ui/icons";
import { Menu, useSay } from "../../ui/parts";
import { Rec } from "../../ui/text";
import { SEARCH as NAMES } from "../names";
import type { Name } from "./Search";

/** One's own search is run when it is chosen; what another keeps is shown, and waits. */
function choose({ is_own: isOwn, query }: Schema<"SavedSearch">): void {
  const { sql, q } = query as { readonly sql?: unknown; readonly q?: unknown };
  if (isOwn && typeof sql === "string") ask("sql", sql);
  if (isOwn && typeof q === "string") ask("words", q);
}

/** Searches that are kept, one's own and those that others share. */
export function Saved({ mode }: { mode: "events" | "text" | "sql" }) {
  const [at] = useAt<Name | "range">();
  const mayKeep = useMay("triage");
  const navigate = useNavigate();
  const queries = useQueryClient();
  const say = useSay();
  const [name, setName] = useState("");
  const [isShared, setShared] = useState(false);
  const { data } = useQuery({ queryKey: ["searches"], queryFn: ({ signal }) => take(api.GET("/api/searches", { signal })), staleTime: 30_000 });
  const changed = () => queries.invalidateQueries({ queryKey: ["searches"] });
  const keep = useMutation({
    mutationFn: () => {
      const query = Object.fromEntries([...NAMES, "range" as const].filter((each) => each !== "id" && at[each]).map((each) => [each, at[each]]));
      return take(api.POST("/api/searches", { body: { name: name.trim(), view: mode, query: query as Record<string, never>, shared: isShared } }));
    },
    onSuccess: () => { setName(""); say("Kept"); return changed(); },
    onError: (error) => say(error.message, "bad"),
  });
  const remove = useMutation({
    mutationFn: (id: string) => take(api.DELETE("/api/searches/{id}", { params: { path: { id } } })),
    onSuccess: changed,
    onError: (error) => say(error.message, "bad"),
  });
  const rows = data?.rows.filter((row) => ["events", "text", "sql"].includes(row.view)) ?? [];
  return (
    <Menu button={<><Icon name="note" />Kept searches</>}>
      {(close) => (
        <>
          {rows.length === 0 ? <div className="menu-title">None is kept yet</div> : null}
          {rows.map((row) => (
            <div key={row.id} className="row">
              <button type="button" className="menu-item" onClick={() => { close(); choose(row); void navigate({ to: "/search", search: row.query as never }); }}>
                <span className="grow cut"><Rec text={row.name} /></span><span className="small faint">{row.is_own ? row.view : <Rec text={row.owner_name ?? row.owner} max={20} />}{row.shared ? " · shared" : ""}</span>
              </button>
              {row.is_own ? <button type="button" className="btn plain tiny icon" aria-label={plainLine(`Remove the search ${row.name}`)} onClick={() => remove.mutate(row.id)}><Icon name="trash" /></button> : null}
            </div>
          ))}
          {mayKeep ? (
            <>
              <hr />
              <form className="stack between" onSubmit={(event) => { event.preventDefault(); if (name.trim()) keep.mutate(); }}>
                <div className="field"><label htmlFor="keep">Keep this search as</label><input id="keep" className="input" value={name} maxLength={200} onChange={(event) => setName(event.target.value)} /></div>
                <div className="row"><label className="row small"><input type="checkbox" checked={isShared} onChange={(event) => setShared(event.target.checked)} />Others see it, too</label><button type="submit" className="btn tiny primary end" disabled={name.trim() === "" || keep.isPending}>Keep</button></div>
              </form>
            </>
          ) : null}
        </>
      )}
    </Menu>
  );
}
