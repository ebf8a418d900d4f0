import { Link } from "@tanstack/react-router";
import { duration } from "../../lib/time";
import { count, counted, score, tokensTold } from "../../lib/units";
import { Icon } from "../../ui/icons";
import { Badge, Copy } from "../../ui/parts";
import { Rec, When } from "../../ui/text";
import type { TraceEvent } from "./data";

/** What is known of one event, beside what was said in it. */
export function EventFacts({ event, onClose }: { event: TraceEvent; onClose: () => void }) {
  const attributes = Object.entries((event.attributes ?? {}) as Record<string, unknown>);
  const told = (tokens: number | null | undefined) => (tokens === null || tokens === undefined ? "–" : count(tokens));
  return (
    <section className="panel">
      <header>
        <h2><Rec text={event.name} max={4000} /></h2>
        <button type="button" className="btn plain tiny icon end" aria-label="Close the event" onClick={onClose}><Icon name="close" /></button>
      </header>
      <div className="panel-body stack-wide">
        <dl className="facts">
          <dt>Kind</dt><dd>{event.kind.replaceAll("_", " ")} {event.phase === "complete" ? "" : <span className="faint">({event.phase})</span>}</dd>
          <dt>When</dt><dd><When time={event.time} how="full" /></dd>
          {event.duration_ms ? <><dt>Took</dt><dd className="num">{duration(event.duration_ms)}</dd></> : null}
          <dt>Status</dt><dd>{event.status === "error" ? <Badge tone="critical">error</Badge> : event.status}{event.error ? <> <Rec text={event.error} max={400} /></> : null}</dd>
          {event.agent ? <><dt>Agent</dt><dd><Rec text={event.agent} /></dd></> : null}
          {event.model ? <><dt>Model</dt><dd><Rec text={event.model} /></dd></> : null}
          {event.tool ? <><dt>Tool</dt><dd className="mono"><Rec text={event.tool} /></dd></> : null}
          {tokensTold(event) !== null ? <><dt>Tokens</dt><dd className="num">{told(event.input_tokens)} read, {told(event.output_tokens)} written</dd></> : event.kind === "model_call" ? <><dt>Tokens</dt><dd className="faint">not told</dd></> : null}
          <dt>Score</dt><dd className="num">{event.score === null || event.score === undefined ? <span className="faint">nothing was inspected</span> : <>{score(event.score)} <span className="faint">{event.verdict}</span></>}</dd>
          {event.trace_id ? <><dt>Trace</dt><dd><Link to="/trace" search={{ id: event.trace_id } as never} className="mono small"><Rec text={event.trace_id} /></Link></dd></> : null}
          {event.span_id ? <><dt>Span</dt><dd className="mono small"><Rec text={event.span_id} /></dd></> : null}
          <dt>Event</dt><dd className="mono small">{event.event_id} <Copy text={event.event_id} what="id" /></dd>
        </dl>
        <Link to="/integrity" search={{ record: String(event.seq) } as never} className="btn"><Icon name="seal" />Verify record {event.seq}</Link>
        {attributes.length > 0 ? (
          <details>
            <summary className="soft">{counted(attributes.length, "attribute")}</summary>
            <dl className="attributes">
              {attributes.map(([name, value]) => <div key={name}><dt className="mono"><Rec text={name} /></dt><dd><Rec text={typeof value === "string" ? value : JSON.stringify(value)} max={800} /></dd></div>)}
            </dl>
          </details>
        ) : null}
      </div>
    </section>
  );
}
