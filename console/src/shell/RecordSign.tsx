import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { api, take, type Schema } from "../api/client";
import { plainLine } from "../lib/text";
import { span } from "../lib/time";
import { count, short } from "../lib/units";
import { isGone } from "../api/problem";
import { Icon } from "../ui/icons";
import { When } from "../ui/text";

const LOOK_MS = 10_000;
/** How often a server that is gone is looked for. */
const GONE_MS = 3_000;

/** How the record stands and what is open, looked at every ten seconds. */
export function usePulse() {
  return useQuery({
    queryKey: ["pulse"],
    queryFn: ({ signal }) => take(api.GET("/api/pulse", { signal })),
    refetchInterval: (query) => (query.state.status === "error" ? GONE_MS : LOOK_MS),
    // Whether the server answers is what this is for.
    retry: false,
  });
}

export type RecordState = Schema<"RecordState">;

export type Standing = { readonly tone: "good" | "medium" | "critical"; readonly word: string; readonly says: string };

/** Seconds behind which a record that is not sealed is worth a word. */
const LATE_S = 120;

/** What there is to say of the record, the worst first. */
export function standingOf(record: RecordState): Standing {
  const { progress, checkpoint, stopped, gaps, failing } = record;
  if (stopped) return { tone: "critical", word: "Recording stopped", says: stopped };
  const unsealed = progress.recorded - progress.sealed;
  if (unsealed > 0 && (checkpoint?.age_s ?? 0) > LATE_S) {
    return { tone: "medium", word: "Sealing is late", says: `${count(unsealed)} records are not under a checkpoint; the newest is ${span((checkpoint?.age_s ?? 0) * 1000)} old` };
  }
  if (gaps > 0) return { tone: "medium", word: `${count(gaps)} known ${gaps === 1 ? "gap" : "gaps"}`, says: "The record says itself what is missing; Integrity lists it" };
  if (failing.length > 0) return { tone: "medium", word: "A service does not answer", says: failing.map((each) => each.who).join(", ") };
  return { tone: "good", word: "Recording", says: `${count(progress.recorded)} recorded, ${count(progress.sealed)} sealed, ${count(progress.detected)} examined, no known gap` };
}

/** Whether the record is whole, in a word. */
export function RecordSign() {
  const { data, error } = usePulse();
  if (error) return <Link to="/integrity" className="record-state" title="The server does not answer"><span className="dot critical" /><span className="word">Not connected</span></Link>;
  if (!data) return null;
  const standing = standingOf(data.record);
  return (
    <Link to="/integrity" className="record-state" title={plainLine(standing.says)}>
      <span className={`dot ${standing.tone}`} /><span className="word">{standing.word}</span>
      <span className="word faint num small">{short(data.record.progress.recorded)}</span>
    </Link>
  );
}

/** Says that the server is gone, since when, and that nothing is to be done here. */
export function Gone() {
  const { error, dataUpdatedAt } = usePulse();
  if (!error || !isGone(error)) return null;
  return (
    <div className="gone" role="alert">
      <Icon name="warning" />
      <span className="grow"><strong>The server does not answer.</strong> {dataUpdatedAt > 0 ? <>What is shown is as it was <When time={new Date(dataUpdatedAt).toISOString()} how="ago" />. </> : null}Is <code>watchkeeper serve</code> running, and can this browser reach it? The console goes on by itself when it is back.</span>
    </div>
  );
}

/** How many detections are open. */
export function OpenCount() {
  const { data } = usePulse();
  if (!data) return null;
  const { critical, high, medium, low, informational } = data.open;
  const open = critical + high + medium + low + informational;
  if (open === 0) return null;
  return <span className={`badge num ${critical > 0 ? "critical" : high > 0 ? "high" : ""}`} title={`${data.truncated ? "at least " : ""}${count(open)} open: ${count(critical)} critical, ${count(high)} high${data.truncated ? "; older detections were not looked at" : ""}`}>{short(open)}{data.truncated ? "+" : ""}</span>;
}
