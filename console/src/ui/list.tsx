import type { List, Standing } from "../lib/list";
import { usePrefs } from "../lib/prefs";
import { shortTime } from "../lib/time";
import { count } from "../lib/units";
import { useNow } from "../lib/clock";
import { Icon } from "./icons";
import { Loading } from "./parts";
import { When } from "./text";

/** Says that the server did not look at everything: what is shown, and what would show the rest. One sentence for all views. */
export function Cut({ of, what, so, then }: {
  of: boolean | undefined;
  /** What is shown: `the newest groups`. */
  what: string;
  /** What follows from it: `counts are too low`. */
  so?: string;
  /** What shows the others: `choose a shorter range of time`. */
  then: string;
}) {
  if (!of) return null;
  return (
    <div className="notice warn partial" role="status">
      <Icon name="warning" />
      <span className="grow">These are {what}; there is more than was looked at{so === undefined ? "" : `, and ${so}`}. To see the rest, {then}.</span>
    </div>
  );
}

/** What has come in since a list is kept as it was, and the way to it. */
export function News({ of }: { of: Standing }) {
  const { news, asOf, refresh } = of;
  const { zone } = usePrefs();
  const now = useNow();
  const says = news.count > 0 ? `${count(news.count)}${news.isMore ? "+" : ""} new` : asOf === null ? null : `As of ${shortTime(new Date(asOf).toISOString(), zone, now).slice(0, 5)}`;
  return (
    <span role="status" className="news">
      {says === null ? null : <button type="button" className={news.count > 0 ? "btn tiny accent" : "btn tiny"} title="Shows what has come in since, from the top" onClick={refresh}><Icon name="refresh" />{says}<span className="unseen">: refresh the list</span></button>}
    </span>
  );
}

/** Stands for a list of which no row has come, while it is looked further back. */
export function Looking({ of }: { of: List<unknown> }) {
  const { isLooking, lookedTo } = of;
  return (
    <>
      {isLooking ? <p className="looking" role="status">{lookedTo === null ? "Nothing fits so far. Looking further back…" : <>Looked back to <When time={lookedTo} how="second" />, and nothing fits. Looking further back…</>}</p> : null}
      <Loading lines={12} />
    </>
  );
}

/** What stands under the last row that has come: that more comes, how far back it was looked, or that this is all. */
export function Foot({ of, all }: { of: List<unknown>; all: string }) {
  const { result, lookedTo } = of;
  if (!result.hasNextPage) return all;
  return lookedTo === null ? "More as you scroll…" : <span role="status">Looked back to <When time={lookedTo} how="second" />. Looking further back…</span>;
}
