import { useId } from "react";
import { bytesIn, REASON_BYTES_MAX } from "../lib/limits";
import { count } from "../lib/units";

export { isReason } from "../lib/limits";

/** Why something is done: a field that says when it is longer than the server takes. */
export function Reason({ label, value, onChange, lines = 1 }: { label: string; value: string; onChange: (text: string) => void; lines?: 1 | 3 }) {
  const id = useId();
  const over = bytesIn(value.trim()) - REASON_BYTES_MAX;
  const field = { id, className: "input", value, maxLength: REASON_BYTES_MAX, "aria-invalid": over > 0, "aria-describedby": over > 0 ? `${id}-over` : undefined };
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      {lines === 1 ? <input {...field} onChange={(event) => onChange(event.target.value)} /> : <textarea {...field} rows={lines} onChange={(event) => onChange(event.target.value)} />}
      {over > 0 ? <span className="hint c-critical" id={`${id}-over`}>{count(over)} bytes longer than the server takes ({count(REASON_BYTES_MAX)}).</span> : null}
    </div>
  );
}
