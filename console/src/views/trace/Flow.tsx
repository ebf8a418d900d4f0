import { useEffect, useMemo, useRef, useState } from "react";
import { counted } from "../../lib/units";
import { Icon, KIND_ICON } from "../../ui/icons";
import { Choice, Empty } from "../../ui/parts";
import { Rec, When } from "../../ui/text";
import { curve, DESTINATION_MAX, graphOf, NODE } from "./graph";
import type { Trace, TraceDetection } from "./data";

const ZOOM_MIN = 0.45;
/** Larger than this no graph is drawn by itself. */
const ZOOM_FIT = 1.2;

const SAYS: Readonly<Record<string, string>> = { told: "told it to", called: "called", kept: "wrote it down", recalled: "came back", carried: "carried its words", went_to: "went to" };

/** Pixels around the graph. */
const AROUND = 34;

function fitOf(graph: { readonly width: number; readonly height: number }, room: { readonly width: number; readonly height: number } | null): number {
  return room ? Math.min(ZOOM_FIT, (room.width - AROUND) / graph.width, (room.height - AROUND) / graph.height) : 1;
}

/** How content flowed: from the text that asked for it to the call that followed, and to where that went. */
export function Flow({ trace, detection: picked, chosen, onChoose }: { trace: Trace; detection: TraceDetection | undefined; chosen: string | null; onChoose: (event: string) => void }) {
  const hasEdges = (of: TraceDetection) => trace.edges.some((edge) => edge.detection_id === of.detection_id);
  // Where none is picked, the path of the worst that has one.
  const detection = picked ?? worst(trace.detections.filter(hasEdges));
  const hasPath = detection !== undefined && hasEdges(detection);
  const [isAll, setAll] = useState(false);
  const only = hasPath && !isAll ? detection : null;
  const canvas = useRef<HTMLDivElement>(null);
  const [room, setRoom] = useState<{ width: number; height: number } | null>(null);
  useEffect(() => {
    const host = canvas.current;
    if (!host) return undefined;
    const resized = new ResizeObserver(() => setRoom({ width: host.clientWidth, height: host.clientHeight }));
    resized.observe(host);
    return () => resized.disconnect();
  }, []);
  const [chosenZoom, setZoom] = useState<number | null>(null);
  // Across or down: whichever is larger in the room that there is.
  const both = useMemo(() => [graphOf(trace, only, "LR"), graphOf(trace, only, "TB")] as const, [trace, only]);
  const fits = both.map((each) => fitOf(each, room));
  const graph = (fits[1] ?? 0) > (fits[0] ?? 0) ? both[1] : both[0];
  const fit = Math.max(ZOOM_MIN, ...fits);
  const zoom = chosenZoom ?? fit;
  const flows = graph.links.filter((link) => link.kind !== "next");
  const isOn = (link: (typeof flows)[number]) => !detection || link.detections.has(detection.detection_id);
  const path = new Set(flows.filter(isOn).flatMap((link) => [link.from, link.to]));
  const sources = new Set(flows.filter((link) => isOn(link) && link.kind === "told").map((link) => link.from));
  return (
    <section className="panel flow" aria-label="Flow of content">
      <div className="flow-bar">
        <div className="legend">
          <span><i className="k-source" />source</span><span><i className="k-path" />followed it</span><span><i className="k-out" />where it went</span><span><i className="k-next" />then</span>
        </div>
        <span className="end row">
          {graph.left_out > 0 ? <span className="faint small">{counted(graph.left_out, "event")} not drawn</span> : null}
          {hasPath ? <Choice label="What is drawn" value={isAll ? "all" : "path"} options={[{ value: "path", says: "The path" }, { value: "all", says: "All of it" }]} onChoose={(value) => { setAll(value === "all"); setZoom(null); }} /> : null}
          <button type="button" className="btn tiny icon" aria-label="Smaller" onClick={() => setZoom(Math.max(ZOOM_MIN, zoom - 0.15))}>−</button>
          <button type="button" className="btn tiny icon" aria-label="Larger" onClick={() => setZoom(Math.min(2, zoom + 0.15))}>+</button>
        </span>
      </div>
      {flows.length === 0 ? <Empty icon="flow" title="No untrusted text was followed here">What happened is drawn in its order. A path appears when a call follows a text that came from a tool, a document or another agent.</Empty> : null}
      <div className="flow-canvas" ref={canvas} tabIndex={0} role="group" aria-label="Graph; the path is told in words beside it">
        <svg width={graph.width * zoom} height={graph.height * zoom} viewBox={`0 0 ${graph.width} ${graph.height}`}>
          <defs>
            {["next", "on", "off"].map((kind) => (
              <marker key={kind} id={`arrow-${kind}`} viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto-start-reverse"><path d="M0,.8 L7,4 L0,7.2 z" className={`arrow ${kind}`} /></marker>
            ))}
          </defs>
          {graph.links.map((link, at) => {
            const kind = link.kind === "next" ? "next" : isOn(link) ? "on" : "off";
            return <path key={at} d={curve(link.points)} className={`edge ${kind} ${link.kind}`} markerEnd={`url(#arrow-${kind})`}><title>{SAYS[link.kind] ?? "then"}</title></path>;
          })}
          {graph.nodes.map((node) => {
            const event = trace.events.find((each) => each.event_id === node.id);
            const classes = ["node", node.kind, path.has(node.id) ? "on" : "", sources.has(node.id) ? "source" : "", chosen === node.id ? "chosen" : ""].filter(Boolean).join(" ");
            return (
              <foreignObject key={node.id} x={node.x - NODE.width / 2} y={node.y - node.height / 2} width={NODE.width} height={node.height}>
                {event ? (
                  <button type="button" className={classes} onClick={() => onChoose(event.event_id)}>
                    <span className="row"><Icon name={KIND_ICON[event.kind] ?? "info"} /><span className="cut strong"><Rec isName text={event.tool ?? event.name} /></span></span>
                    <span className="row small faint"><span className="cut">{sources.has(node.id) ? "source" : event.kind.replaceAll("_", " ")}</span><span className="end"><When time={event.time} /></span></span>
                  </button>
                ) : (
                  <div className={classes}><span className="row"><Icon name="out" /><span className="strong">went to</span></span><span className="small"><Rec text={node.name} max={DESTINATION_MAX} /></span></div>
                )}
              </foreignObject>
            );
          })}
        </svg>
      </div>
      <ul className="flow-words">
        {flows.filter(isOn).map((link, at) => (
          <li key={at}>
            <Rec text={name(trace, link.from)} className="strong" /> <span className="faint">{SAYS[link.kind] ?? link.kind}</span> <Rec text={link.to.startsWith("to ") ? link.to.slice(3) : name(trace, link.to)} max={4000} className="strong" />
            {link.shared ? <div className="small">both have <Rec text={link.shared} className="mono" max={200} /></div> : null}
          </li>
        ))}
      </ul>
    </section>
  );
}

/** The gravest; of several the one that got furthest. */
function worst(of: readonly TraceDetection[]): TraceDetection | undefined {
  const weight = (each: TraceDetection) => 10 * ["informational", "low", "medium", "high", "critical"].indexOf(each.severity ?? "") + ["seen", "acted_on", "reached"].indexOf(each.grade ?? "");
  return of.reduce<TraceDetection | undefined>((best, each) => (best && weight(best) >= weight(each) ? best : each), undefined);
}

function name(trace: Trace, id: string): string {
  const event = trace.events.find((each) => each.event_id === id);
  return event?.tool ?? event?.name ?? id;
}
