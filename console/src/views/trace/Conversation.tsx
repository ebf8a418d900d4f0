import { useMemo } from "react";
import { duration } from "../../lib/time";
import { score } from "../../lib/units";
import { plainLine, type Mark } from "../../lib/text";
import { Icon, KIND_ICON } from "../../ui/icons";
import { Badge } from "../../ui/parts";
import { Rec, RecBlock, When, type Found } from "../../ui/text";
import { conversation, type Trace, type TraceDetection, type TraceEvent, type TracePiece } from "./data";

const ROLES: Readonly<Record<string, string>> = { system: "System", user: "User", assistant: "Model", tool: "Tool", document: "Document" };
const PARTS: Readonly<Record<string, string>> = {
  tool_call: "calls", tool_result: "answers", reasoning: "thinks", document: "document", query: "asks for", tool_definition: "tool offered", command: "runs", body: "body", media: "media",
};

/** A score from which on a text is worth a look. */
const WORTH_A_LOOK = 0.4;
/** A finding from which on its text is marked, not only underlined. */
const STRONG = 0.65;

/** What was said and done, each text once, with what was found in it marked. */
export function Conversation({ trace, steps, chosen, detection, onChoose }: {
  trace: Trace; steps: ReadonlyMap<string, number>; chosen: string | null; detection: TraceDetection | undefined; onChoose: (event: string) => void;
}) {
  const shown = useMemo(() => conversation(trace.events), [trace]);
  const isMarked = shown.some(({ pieces }) => pieces.some((piece) => piece.text && piece.findings.length > 0));
  return (
    <>
    {isMarked ? <p className="talk-legend small soft"><span><mark className="found">marked</mark> inspection found it, or the detection rests on it</span><span><mark className="found weak">underlined</mark> a weak sign, below {score(STRONG)}</span><span>Numbers are scores: 0 is harmless, 1 is certain.</span></p> : null}
    <ol className="talk">
      {shown.map(({ event, pieces }) => (
        <li key={event.event_id} id={`event-${event.event_id}`} className={classes(event, steps, chosen)}>
          <button type="button" className="talk-head" onClick={() => onChoose(event.event_id)} aria-pressed={chosen === event.event_id}>
            {steps.has(event.event_id) ? <b className="step-no" title="Step of the detection that is chosen">{steps.get(event.event_id)}</b> : <Icon name={KIND_ICON[event.kind] ?? "info"} />}
            <Rec isName text={event.name} className="cut" />
            {event.status === "error" ? <Badge tone="critical">error</Badge> : null}
            <span className="end row small faint num">
              {event.score !== null && event.score !== undefined && event.score >= WORTH_A_LOOK ? <span className="c-high" title="The highest score that inspection gave a text of this event: 0 is harmless, 1 is certain">inspection {score(event.score)}</span> : null}
              {event.duration_ms ? <span title="How long it took">{duration(event.duration_ms)}</span> : null}
              <When time={event.time} />
            </span>
          </button>
          {event.error ? <div className="c-critical small"><Rec text={event.error} max={500} /></div> : null}
          {pieces.map((piece, index) => <Piece key={index} piece={piece} event={event} detection={detection} />)}
          {event.history > 0 ? <div className="small faint">and {event.history} pieces that came before</div> : null}
        </li>
      ))}
    </ol>
    </>
  );
}

function classes(event: TraceEvent, steps: ReadonlyMap<string, number>, chosen: string | null): string {
  return ["talk-event", steps.has(event.event_id) ? "on-path" : "", chosen === event.event_id ? "chosen" : "", event.pieces.length === 0 ? "bare" : ""].filter(Boolean).join(" ");
}

function Piece({ piece, event, detection }: { piece: TracePiece; event: TraceEvent; detection: TraceDetection | undefined }) {
  const marks = useMemo(() => marksOf(piece, event, detection), [piece, event, detection]);
  const found = useMemo(() => grouped(piece), [piece]);
  const said = PARTS[piece.part];
  return (
    <div className={`piece ${piece.role}`}>
      <div className="piece-who">
        <span className="strong">{ROLES[piece.role] ?? <Rec text={piece.role} />}</span>
        {said ? <span>{said}</span> : null}
        <Rec text={piece.name} className="mono" />
        {piece.failed ? <Badge tone="critical">failed</Badge> : null}
        {found.length > 0 ? <span className="row-wrap end">{found.map((each) => <Badge key={each.key} tone={each.score >= 0.8 ? "high" : "medium"} square title={plainLine(`Inspection found this, with a score of ${score(each.score)} (0 is harmless, 1 is certain): ${each.rules.join(", ")}`)}>{each.says} <span className="num">{score(each.score)}</span></Badge>)}</span> : null}
      </div>
      {piece.text === null || piece.text === undefined
        ? <div className="veiled"><Icon name="veil" />{piece.content_id ? "not shown" : "erased, or never recorded"}</div>
        : piece.text === "" ? <div className="faint small">empty</div> : <RecBlock text={piece.text} marks={marks} className={piece.part === "text" ? "" : "mono"} />}
      {piece.cut && piece.text !== null && piece.text !== undefined ? <div className="small c-medium">Longer than what is shown; the journal has all of it.</div> : null}
    </div>
  );
}

/** Findings of a piece by risk, with the highest score of each. */
function grouped(piece: TracePiece): { key: string; says: string; score: number; rules: string[] }[] {
  const by = new Map<string, { key: string; says: string; score: number; rules: string[] }>();
  for (const finding of piece.findings) {
    const key = finding.technique ?? finding.risk;
    const one = by.get(key) ?? { key, says: finding.risk.replaceAll("_", " "), score: 0, rules: [] };
    one.score = Math.max(one.score, finding.score);
    one.rules.push(finding.rule);
    by.set(key, one);
  }
  return [...by.values()].filter((each) => each.score >= 0.3).toSorted((a, b) => b.score - a.score);
}

interface EvidencePart {
  readonly event?: string;
  readonly content?: string;
  readonly what?: string;
  readonly start?: number;
  readonly end?: number;
}

/** What is marked in a text: what inspection found, and what the detection that is chosen rests on. */
function marksOf(piece: TracePiece, event: TraceEvent, detection: TraceDetection | undefined): Mark<Found>[] {
  const marks = piece.findings.map((finding): Mark<Found> => ({ start: finding.start, end: finding.end, of: { says: `${finding.rule} ${score(finding.score)}`, isWeak: finding.score < STRONG } }));
  const evidence = Array.isArray(detection?.evidence) ? (detection.evidence as EvidencePart[]) : [];
  for (const part of evidence) {
    if (part.content === piece.content_id && (part.event === undefined || part.event === event.event_id) && part.start !== undefined && part.end !== undefined) {
      marks.push({ start: part.start, end: part.end, of: { says: part.what ?? "evidence", isWeak: false } });
    }
  }
  return marks;
}
