import { Link } from "@tanstack/react-router";
import { useEffect, useMemo } from "react";
import { ApiProblem } from "../../api/problem";
import { useMay } from "../../api/session";
import { useAt } from "../../lib/at";
import { bind, useShortcuts } from "../../lib/shortcuts";
import { duration } from "../../lib/time";
import { count, counted } from "../../lib/units";
import { Icon } from "../../ui/icons";
import { Cut } from "../../ui/list";
import { Choice, Empty, Grade, Loading, Problem, Sev, SEVERITIES } from "../../ui/parts";
import { Reveal } from "../../ui/reveal";
import { useReason } from "../../lib/reasons";
import { Rec, When } from "../../ui/text";
import { Conversation } from "./Conversation";
import { EventFacts } from "./EventFacts";
import { Bundle } from "./Bundle";
import { Flow } from "./Flow";
import { Waterfall } from "./Waterfall";
import { extent, stepsOf, useTrace, type Name, type Trace, type TraceDetection } from "./data";

const VIEWS = [
  { value: "conversation", says: <><Icon name="sessions" />Conversation</> },
  { value: "waterfall", says: <><Icon name="waterfall" />Waterfall</> },
  { value: "flow", says: <><Icon name="flow" />Flow</> },
] as const;
type View = (typeof VIEWS)[number]["value"];

/** One trace or session: what was said and done, what was found in it, and the path from its source to where it went. */
export function TraceView() {
  const [at, change] = useAt<Name>();
  const id = at.id ?? "";
  const [reason, setReason] = useReason(`trace ${id}`);
  const mayRead = useMay("content.read");
  const { data, error, isPending, refetch } = useTrace(id, mayRead ? reason : null);
  const view = (VIEWS.some((each) => each.value === at.view) ? at.view : "conversation") as View;
  const detections = useMemo(() => sorted(data?.detections ?? []), [data]);
  const chosen = detections.find((each) => each.detection_id === at.detection);
  const steps = useMemo(() => stepsOf(chosen, data?.events ?? []), [chosen, data]);
  const event = data?.events.find((each) => each.event_id === at.event);
  useShortcuts([
    bind("conversation", () => change({ view: undefined })),
    bind("waterfall", () => change({ view: "waterfall" })),
    bind("flow", () => change({ view: "flow" })),
    bind("nextDetection", () => {
      const next = detections[(detections.findIndex((each) => each.detection_id === at.detection) + 1) % Math.max(detections.length, 1)];
      if (next) change({ detection: next.detection_id });
    }),
    bind("unchoose", () => change({ event: undefined, detection: undefined })),
  ]);

  // Where one is led: the first step of the detection that is chosen.
  const first = [...steps.keys()][0];
  const isThere = data !== undefined;
  useEffect(() => {
    const to = at.event ?? first;
    if (to) document.getElementById(`event-${to}`)?.scrollIntoView({ block: "center", behavior: "instant" });
  }, [at.event, first, view, isThere]);

  if (id === "") return <div className="page"><Empty icon="sessions" title="Which one?">Sessions lists them; the address of this view names one.</Empty></div>;
  if (error instanceof ApiProblem && error.status === 404) return <NotHere />;
  if (error) return <div className="page"><Problem error={error} retry={() => void refetch()} /></div>;
  if (isPending) return <div className="page"><Loading lines={12} /></div>;
  if (data.events.length === 0) {
    return <NotHere />;
  }
  const isWithheld = data.events.some((each) => each.pieces.some((piece) => piece.text === null || piece.text === undefined));
  const choose = (event: string) => change({ event });
  return (
    <div className="page full trace">
      <Head trace={data} id={id} end={
        <>
          <Bundle id={id} trace={data} />
          <Choice label="View" value={view} options={VIEWS} onChoose={(value) => change({ view: value === "conversation" ? undefined : value })} />
        </>
      } />
      <Cut of={data.truncated} what={`the first ${counted(data.events.length, "event")} of it`} then="search the events of this session, in a range of time" />
      {isWithheld && (reason === null || !mayRead) ? <Reveal what="what was said" mayRead={mayRead} onReveal={setReason} /> : null}
      <div className="fill trace-body">
        <div className="trace-main">
          {view === "conversation" ? <Conversation trace={data} steps={steps} chosen={at.event ?? null} detection={chosen} onChoose={choose} />
            : view === "waterfall" ? <Waterfall trace={data} steps={steps} chosen={at.event ?? null} onChoose={choose} />
              : <Flow trace={data} detection={chosen} chosen={at.event ?? null} onChoose={choose} />}
        </div>
        <aside className="trace-side" aria-label="What was found">
          <section className="panel">
            <header><h2>Detections</h2><span className="faint num">{count(detections.length)}</span></header>
            {detections.length === 0 ? <p className="panel-body faint">None in this trace.</p> : (
              <ul className="trace-detections">
                {detections.map((each) => (
                  <li key={each.detection_id}>
                    <button type="button" aria-pressed={each === chosen} onClick={() => change({ detection: each === chosen ? undefined : each.detection_id, event: undefined })}>
                      <span className="row"><Sev of={each.severity} /><Grade of={each.grade} /></span>
                      <Rec text={each.title} className="strong" />
                    </button>
                    {each === chosen ? <Path trace={data} detection={each} steps={steps} onChoose={choose} /> : null}
                  </li>
                ))}
              </ul>
            )}
          </section>
          {event ? <EventFacts event={event} onClose={() => change({ event: undefined })} /> : null}
        </aside>
      </div>
    </div>
  );
}

function NotHere() {
  return (
    <div className="page"><Empty icon="sessions" title="Nothing is recorded under this id" command="watchkeeper restore --help">
      Sessions, traces and events are found by their ids. It may be older than the hot store, or it was erased. Days that are archived alone are brought back:
    </Empty></div>
  );
}

function sorted(detections: readonly TraceDetection[]): TraceDetection[] {
  const rank = (each: TraceDetection) => SEVERITIES.indexOf(each.severity as (typeof SEVERITIES)[number]);
  return detections.toSorted((a, b) => rank(a) - rank(b) || b.time.localeCompare(a.time));
}

function Head({ trace, id, end }: { trace: Trace; id: string; end: React.ReactNode }) {
  const { from, to, isMeasured } = extent(trace.events);
  const unique = (of: (event: Trace["events"][number]) => string | null | undefined) => [...new Set(trace.events.flatMap((event) => of(event) ?? []))];
  const agents = unique((event) => event.agent);
  const [application] = unique((event) => event.application);
  const tokens = trace.events.reduce((sum, event) => sum + (event.input_tokens ?? 0) + (event.output_tokens ?? 0), 0);
  const [user] = trace.users;
  return (
    <div className="page-head">
      <div>
        <div className="small faint">{trace.id_kind === "session" ? "Session" : trace.id_kind === "trace" ? "Trace" : "Trace of an event"}</div>
        <h1 className="mono-title"><Rec text={id} max={80} /></h1>
        <div className="trace-facts">
          {user ? <span><Icon name="user" /><Link to="/entity" search={{ kind: "user", name: user } as never}><Rec text={user} /></Link></span> : null}
          {application ? <span><Icon name="columns" /><Link to="/entity" search={{ kind: "application", name: application } as never}><Rec text={application} /></Link></span> : null}
          {agents.slice(0, 3).map((agent) => <span key={agent}><Icon name="models" /><Link to="/entity" search={{ kind: "agent", name: agent } as never}><Rec text={agent} /></Link></span>)}
          <span><Icon name="clock" /><When time={trace.events[0]?.time} how="full" /></span>
          <span className="num" title={isMeasured ? undefined : "No event says how long it took"}>{isMeasured ? duration(to - from) : "–"}</span>
          <span className="num">{counted(trace.events.length, "event")}</span>
          {tokens > 0 ? <span className="num">{counted(tokens, "token")}</span> : null}
        </div>
      </div>
      <div className="row-wrap">{end}</div>
    </div>
  );
}

/** The path of an attack in words, step by step. */
function Path({ trace, detection, steps, onChoose }: { trace: Trace; detection: TraceDetection; steps: ReadonlyMap<string, number>; onChoose: (event: string) => void }) {
  const edges = trace.edges.filter((edge) => edge.detection_id === detection.detection_id);
  const destination = edges.find((edge) => edge.destination);
  return (
    <div className="path">
      <ol>
        {[...steps].map(([id, at]) => {
          const event = trace.events.find((each) => each.event_id === id);
          const isSource = edges.some((edge) => edge.edge === "told" && edge.from_event === id);
          return (
            <li key={id}>
              <button type="button" onClick={() => onChoose(id)}>
                <b className={isSource ? "source" : ""}>{at}</b>
                <span className="grow cut"><Rec isName text={event?.tool ?? event?.name} /></span>
                <span className="small faint">{isSource ? "source" : event?.kind.replace("_", " ")}</span>
              </button>
            </li>
          );
        })}
        {destination ? <li><div className="path-end"><b className="end-of">→</b><span className="grow"><Rec text={destination.destination} max={4000} className="small" /></span></div></li> : null}
      </ol>
      <Link to="/detections" search={{ id: detection.detection_id, state: "all" } as never} className="small">Open the detection</Link>
    </div>
  );
}
