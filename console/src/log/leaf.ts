// The leaf of a record (docs/reference/record-format.md, section 4): 102 bytes that tell nothing of anybody.

import { hex } from "./note";

const LEAF_BYTES = 102;
const KINDS = [
  "", "model_call", "guardrail", "retrieval", "tool_call", "agent_step", "installation", "data_access", "system_prompt", "external_call",
  "admin", "session", "evaluation", "detection", "response_action", "gap",
] as const;

export interface Leaf {
  readonly logId: string;
  readonly seq: number;
  /** RFC 3339 with microseconds. */
  readonly time: string;
  readonly observed: string;
  readonly kind: string;
  readonly fields: number;
  readonly fieldRoot: string;
}

/** Nanoseconds since 1970 as RFC 3339 with microseconds. */
function time(ns: bigint): string {
  const micros = ns / 1000n;
  return new Date(Number(micros / 1000n)).toISOString().replace("Z", `${String(micros % 1000n).padStart(3, "0")}Z`);
}

/** Reads a leaf; nothing where it has another form. */
export function parseLeaf(bytes: Uint8Array): Leaf | null {
  if (bytes.length !== LEAF_BYTES || new TextDecoder().decode(bytes.slice(0, 8)) !== "wkleaf/1") return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return {
    logId: hex(bytes.slice(8, 24)),
    seq: Number(view.getBigUint64(24)),
    time: time(view.getBigUint64(32)),
    observed: time(view.getBigUint64(40)),
    kind: KINDS[view.getUint16(48)] || `kind ${view.getUint16(48)}`,
    fields: view.getUint32(50),
    fieldRoot: hex(bytes.slice(54, 86)),
  };
}
