// The graph of a trace: what happened one after the other, and over it how content flowed from its source to a call and on.

import dagre from "@dagrejs/dagre";
import type { Trace, TraceDetection, TraceEdge } from "./data";

export interface Node {
  readonly id: string;
  readonly kind: "event" | "destination";
  /** Of a destination: its address. */
  readonly name: string;
  x: number;
  y: number;
  readonly height: number;
}

export interface Link {
  readonly from: string;
  readonly to: string;
  /** `next`: it happened then. Else what content flow calls the edge. */
  readonly kind: string;
  readonly shared: string;
  readonly detections: ReadonlySet<string>;
  points: readonly { readonly x: number; readonly y: number }[];
}

export interface Graph {
  readonly nodes: readonly Node[];
  readonly links: readonly Link[];
  readonly width: number;
  readonly height: number;
  /** Events that are not drawn. */
  readonly left_out: number;
}

export const NODE = { width: 224, height: 68 } as const;
/** Characters of a destination that are drawn; the words below the graph have all of them. */
export const DESTINATION_MAX = 300;
/** Widths that surely fit a line of a destination, of a letter each, and the pixels of one line. */
const LINE = { length: 18, height: 18 } as const;
/** The width of a character that is no plain letter: of another script, or a sign with a name. */
const WIDE = 3;
/** Pixels of a destination beside its address. */
const AROUND_ADDRESS = 38;

/** The height of a destination, which is read whole: where data went is not to be guessed from a part of its address. */
export function heightOf(address: string): number {
  let length = 0;
  for (const char of address.slice(0, DESTINATION_MAX)) length += char >= " " && char <= "~" ? 1 : WIDE;
  return Math.max(NODE.height, AROUND_ADDRESS + LINE.height * Math.ceil(length / LINE.length));
}
/** Events that are all drawn; of longer traces only those that content flow speaks of, and their neighbours. */
const EVENTS_MAX = 36;

/** What an edge ends at: an event, or a place outside. */
const target = (edge: TraceEdge): string | null => (edge.destination ? `to ${edge.destination}` : (edge.to_event ?? null));

/** The event in which the tool of an edge ran, where the detection rests on it, too. */
function ranOf(trace: Trace, edge: TraceEdge): string | null {
  const rests = new Set(trace.detections.find((each) => each.detection_id === edge.detection_id)?.events);
  return trace.events.find((event) => event.kind === "tool_call" && event.tool === edge.tool && rests.has(event.event_id) && event.event_id !== edge.from_event)?.event_id ?? null;
}

/** Lays the graph out: all of the trace, or what one detection is about. */
export function graphOf(trace: Trace, only: TraceDetection | null, direction: "LR" | "TB"): Graph {
  const events = trace.events.filter((event) => event.kind !== "detection");
  const flows = new Map<string, { from: string; to: string; kind: string; shared: string; detections: Set<string> }>();
  const spoken = new Set<string>();
  const flow = (from: string, to: string, kind: string, shared: string, detection: string) => {
    if (from === to) return;
    spoken.add(from).add(to);
    const key = `${from} ${to} ${kind}`;
    const one = flows.get(key) ?? { from, to, kind, shared, detections: new Set<string>() };
    one.detections.add(detection);
    flows.set(key, one);
  };
  for (const edge of trace.edges) {
    if (only && edge.detection_id !== only.detection_id) continue;
    // What went out left from the call that is at its beginning, or at its end.
    const from = edge.destination ? (edge.from_event ?? edge.to_event) : edge.from_event;
    const to = target(edge);
    if (!from || !to) continue;
    const run = edge.destination ? ranOf(trace, edge) : null;
    if (run) {
      // The model asked for the call; the tool that ran it is where it went out.
      flow(from, run, "called", "", edge.detection_id);
      flow(run, to, edge.edge, edge.shared_value ?? "", edge.detection_id);
    } else flow(from, to, edge.edge, edge.shared_value ?? "", edge.detection_id);
  }
  const acting = events.filter((event) => event.kind !== "agent_step" || event.pieces.length > 0 || spoken.has(event.event_id));
  const rests = new Set(only?.events ?? []);
  const drawn = only ? events.filter((event) => rests.has(event.event_id) || spoken.has(event.event_id)) : acting.length <= EVENTS_MAX ? acting : acting.filter((event, at) =>
    spoken.has(event.event_id) || spoken.has(acting[at - 1]?.event_id ?? "") || spoken.has(acting[at + 1]?.event_id ?? "")).slice(0, EVENTS_MAX * 2);
  const known = new Set(drawn.map((event) => event.event_id));

  const layout = new dagre.graphlib.Graph({ multigraph: true });
  layout.setGraph({ rankdir: direction, nodesep: 34, ranksep: 46, marginx: 16, marginy: 16 });
  layout.setDefaultEdgeLabel(() => ({}));
  const nodes: Node[] = drawn.map((event) => ({ id: event.event_id, kind: "event", name: "", x: 0, y: 0, height: NODE.height }));
  for (const flow of flows.values()) {
    if (flow.to.startsWith("to ") && known.has(flow.from) && !nodes.some((node) => node.id === flow.to)) {
      nodes.push({ id: flow.to, kind: "destination", name: flow.to.slice(3), x: 0, y: 0, height: heightOf(flow.to.slice(3)) });
      known.add(flow.to);
    }
  }
  for (const node of nodes) layout.setNode(node.id, { width: NODE.width, height: node.height });
  const links: Link[] = [];
  drawn.forEach((event, at) => {
    const next = drawn[at + 1];
    const isTold = next && [...flows.values()].some((flow) => flow.from === event.event_id && flow.to === next.event_id);
    if (next && !isTold) links.push({ from: event.event_id, to: next.event_id, kind: "next", shared: "", detections: new Set(), points: [] });
  });
  for (const flow of flows.values()) if (known.has(flow.from) && known.has(flow.to)) links.push({ ...flow, points: [] });
  links.forEach((link, at) => layout.setEdge(link.from, link.to, { weight: link.kind === "next" ? 3 : 1, minlen: 1 }, String(at)));
  dagre.layout(layout);
  for (const node of nodes) {
    const at = layout.node(node.id) as { x: number; y: number };
    [node.x, node.y] = [at.x, at.y];
  }
  links.forEach((link, at) => {
    link.points = (layout.edge({ v: link.from, w: link.to, name: String(at) }) as { points: { x: number; y: number }[] }).points;
  });
  const { width = 0, height = 0 } = layout.graph() as { width?: number; height?: number };
  return { nodes, links, width, height, left_out: Math.max(0, acting.length - drawn.length) };
}

/** A smooth line through points. */
export function curve(points: readonly { readonly x: number; readonly y: number }[]): string {
  const [first, ...rest] = points;
  if (!first) return "";
  let path = `M${first.x},${first.y}`;
  for (let at = 0; at < rest.length; at += 1) {
    const point = rest[at];
    const next = rest[at + 1];
    if (!point) break;
    if (next) path += ` Q${point.x},${point.y} ${(point.x + next.x) / 2},${(point.y + next.y) / 2}`;
    else path += ` L${point.x},${point.y}`;
  }
  return path;
}
