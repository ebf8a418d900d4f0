import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { api, take } from "../../api/client";
import { ask, useAsked } from "../../lib/asked";
import { useAt } from "../../lib/at";
import { counted } from "../../lib/units";
import { Icon } from "../../ui/icons";
import { Badge, Empty, Loading, Problem, useDraft } from "../../ui/parts";
import { RecBlock, Rec, When } from "../../ui/text";
import type { Name } from "./Search";

const MOST = 200;

/** What was said, by its words. */
export function Texts() {
  const [at, change] = useAt<Name>();
  const [typed, setTyped] = useDraft(at.q ?? "");
  const isAsked = useAsked("words", at.q);
  const { data, error, isPending, isFetching, refetch } = useQuery({
    queryKey: ["search", at.q],
    queryFn: ({ signal }) => take(api.GET("/api/search", { signal, params: { query: { q: at.q ?? "", limit: MOST } } })),
    enabled: Boolean(at.q) && isAsked,
    // Each search is recorded: it is not repeated by itself.
    staleTime: Infinity,
    refetchOnWindowFocus: false,
  });
  const search = () => {
    const words = typed.trim();
    ask("words", words);
    if (words !== at.q) change({ q: words }, { push: true });
  };
  return (
    <>
      <form className="search-bar" role="search" onSubmit={(event) => { event.preventDefault(); search(); }}>
        <input className="input" type="search" aria-label="Words" placeholder="Words that were said; “a whole phrase” between double quotes" value={typed} onChange={(event) => setTyped(event.target.value)} />
        <button type="submit" className="btn primary" disabled={typed.trim() === "" || isFetching}><Icon name="search" />Search</button>
      </form>
      <div className="fill hits">
        {!at.q ? <Empty icon="search" title="Search what was said">In prompts, answers, tool arguments and results, documents. What you look for is recorded, with your key.</Empty>
          : !isAsked ? <Empty icon="search" title="Not searched yet">These words came with the address. A search is recorded as yours: read them, and then search.</Empty>
          : error ? <Problem error={error} retry={() => void refetch()} /> : isPending ? <Loading lines={8} />
            : data.length === 0 ? <Empty icon="search" title="Nobody said that">Words are matched whole. A star at the end of a word matches its beginning: <code>inject*</code></Empty> : (
              <>
                <p className="small faint" role="status">{counted(data.length, "hit")}{data.length === MOST ? ", the newest" : ""}</p>
                {data.map((hit, index) => (
                  <Link key={index} to="/trace" search={{ id: hit.session_id ?? hit.trace_id ?? hit.event_id, event: hit.event_id } as never} className="hit">
                    <span className="row small faint"><Badge square>{hit.role}</Badge>{hit.part === "text" ? null : hit.part.replaceAll("_", " ")}<Rec text={hit.session_id} className="mono" /><span className="end"><When time={hit.time} how="full" /></span></span>
                    <RecBlock text={hit.snippet} />
                  </Link>
                ))}
              </>
            )}
      </div>
    </>
  );
}
