import { createContext, memo, useContext, useMemo, useState } from "react";
import { usePrefs } from "../lib/prefs";
import { useNow } from "../lib/clock";
import { ago, shortTime, timestamp, zoneName } from "../lib/time";
import { count } from "../lib/units";
import { head, markedRuns, partsOf, plainLine, runs, type Mark, type Run } from "../lib/text";

function Shown({ run }: { run: Run }) {
  return run.kind === "plain" ? <>{run.text}</> : <span className={run.kind} title={run.title}>{run.label}</span>;
}

/** A text of the record in one line: a name, an id, a title. Never markup, never a link, never out of its place. */
export const Rec = memo(function Rec({ text, max = 300, className, isName = false }: {
  text: string | null | undefined; max?: number; className?: string;
  /** Whether it is a name or an address: where there is no room for all of it, its middle is left out, and not its end. */
  isName?: boolean;
}) {
  const parts = useMemo(() => {
    const { text: begin, rest } = head(text ?? "", max);
    return { runs: runs(begin, "line"), rest };
  }, [text, max]);
  if (text === null || text === undefined || text === "") return null;
  const [only] = parts.runs;
  const cut = isName && parts.rest === 0 && parts.runs.length === 1 && only?.kind === "plain" ? partsOf(only.text) : null;
  if (only?.kind === "plain" && cut !== null) {
    return (
      <bdi className={className ? `rec middle ${className}` : "rec middle"} title={plainLine(text, 500)}>
        <span className="whole">{only.text}</span>
        <span className="seen" aria-hidden="true">
          {cut.host === "" ? null : <span className="host" data-part={cut.host} />}<span className="begin" data-part={cut.begin} /><span className="end" data-part={cut.end} />
        </span>
      </bdi>
    );
  }
  return (
    <bdi className={className ? `rec ${className}` : "rec"} title={text.length > 24 ? plainLine(text, 500) : undefined}>
      {parts.runs.map((run, index) => <Shown key={index} run={run} />)}
      {parts.rest > 0 ? "…" : null}
    </bdi>
  );
});

/** What was found in a stretch of a text. */
export interface Found {
  readonly says: string;
  /** Worth a hint, and no alarm. */
  readonly isWeak: boolean;
}

const NO_MARKS: readonly Mark<Found>[] = [];

/** Code points of a text that are shown at once; more on request. */
const BLOCK_MAX = 6_000;

/** A text of the record as it was said, with what was found in it marked. */
export function RecBlock({ text, marks = NO_MARKS, className }: { text: string; marks?: readonly Mark<Found>[]; className?: string }) {
  const [max, setMax] = useState(BLOCK_MAX);
  const { parts, rest } = useMemo(() => {
    const begin = head(text, max);
    return { parts: markedRuns(begin.text, "block", marks), rest: begin.rest };
  }, [text, max, marks]);
  return (
    <div className={className ? `rec-block ${className}` : "rec-block"}>
      <bdi>
        {parts.map(({ run, marks }, index) => {
          if (marks.length === 0) return <Shown key={index} run={run} />;
          return (
            <mark key={index} className={marks.some((mark) => !mark.isWeak) ? "found" : "found weak"} title={plainLine(marks.map((mark) => mark.says).join(", "))}>
              <Shown run={run} />
            </mark>
          );
        })}
      </bdi>
      {rest > 0 ? (
        <button type="button" className="btn tiny" onClick={() => setMax(max * 4)}>
          {count(rest)} more characters
        </button>
      ) : null}
    </div>
  );
}

/** Whether short times have their day with them, too: in lists of more than a day. */
export const Dated = createContext(false);

/** A time of the record: short, the whole in its title. */
export function When({ time, how = "short" }: { time: string | null | undefined; how?: "short" | "second" | "full" | "ago" }) {
  const { zone } = usePrefs();
  const now = useNow();
  const isDated = useContext(Dated);
  if (!time) return <span className="faint">–</span>;
  const full = `${timestamp(time, zone, 6)} ${zoneName(zone)}`;
  const text = how === "full" ? timestamp(time, zone) : how === "second" ? timestamp(time, zone, 0) : how === "ago" ? ago(time, now) : shortTime(time, zone, now, isDated);
  return <time className="num nowrap" dateTime={time} title={full}>{text}</time>;
}
