import { memo, useMemo, useState } from "react";
import { usePrefs } from "../lib/prefs";
import { useNow } from "../lib/clock";
import { ago, shortTime, timestamp, zoneName } from "../lib/time";
import { count } from "../lib/units";
import { head, markedRuns, plainLine, runs, type Mark, type Run } from "../lib/text";

function Shown({ run }: { run: Run }) {
  return run.kind === "plain" ? <>{run.text}</> : <span className="sign" title={run.title}>{run.label}</span>;
}

/** A text of the record in one line: a name, an id, a title. Never markup, never a link, never out of its place. */
export const Rec = memo(function Rec({ text, max = 300, className }: { text: string | null | undefined; max?: number; className?: string }) {
  const parts = useMemo(() => {
    const { text: begin, rest } = head(text ?? "", max);
    return { runs: runs(begin, "line"), rest };
  }, [text, max]);
  if (text === null || text === undefined || text === "") return null;
  return (
    <bdi className={className ? `rec ${className}` : "rec"} title={text.length > 24 ? plainLine(text, 500) : undefined}>
      {parts.runs.map((run, index) => <Shown key={index} run={run} />)}
      {parts.rest > 0 ? "…" : null}
    </bdi>
  );
});

/** Code points of a text that are shown at once; more on request. */
const BLOCK_MAX = 6_000;

/** A text of the record as it was said, with what was found in it marked. */
export function RecBlock<T extends string>({ text, marks = [], chosen, onMark, className }: {
  text: string;
  marks?: readonly Mark<T>[];
  chosen?: T | null;
  onMark?: (of: T) => void;
  className?: string;
}) {
  const [max, setMax] = useState(BLOCK_MAX);
  const { parts, rest } = useMemo(() => {
    const begin = head(text, max);
    return { parts: markedRuns(begin.text, "block", marks), rest: begin.rest };
  }, [text, max, marks]);
  return (
    <div className={className ? `rec-block ${className}` : "rec-block"}>
      <bdi>
        {parts.map(({ run, marks }, index) => {
          const [of] = marks;
          if (of === undefined) return <Shown key={index} run={run} />;
          const isChosen = chosen !== null && chosen !== undefined && marks.includes(chosen);
          return (
            // A mark can be clicked; the list beside the text has the same as buttons.
            // oxlint-disable-next-line jsx-a11y/click-events-have-key-events, jsx-a11y/no-noninteractive-element-interactions
            <mark key={index} className={isChosen ? "found chosen" : "found"} title={marks.join(", ")} onClick={onMark && (() => onMark(of))}>
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

/** A time of the record: short, the whole in its title. */
export function When({ time, how = "short" }: { time: string | null | undefined; how?: "short" | "full" | "ago" }) {
  const { zone } = usePrefs();
  const now = useNow();
  if (!time) return <span className="faint">–</span>;
  const full = `${timestamp(time, zone, 6)} ${zoneName(zone)}`;
  const text = how === "full" ? timestamp(time, zone) : how === "ago" ? ago(time, now) : shortTime(time, zone, now);
  return <time className="num nowrap" dateTime={time} title={full}>{text}</time>;
}
