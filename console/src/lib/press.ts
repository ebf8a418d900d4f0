// What a press means where the rows under it change: the one on which it began.

/** The row on which a pointer went down. */
export type Pressed<Row> = { readonly row: Row } | null;

/** The row that a click is for: that on which the pointer went down, whatever its line shows since. A click that no pointer made (`detail` is 0: by a
    key, or by assistive technology) is for what the line shows, and for no press that ended elsewhere. */
export const pickedOf = <Row>(pressed: Pressed<Row>, shown: Row, detail: number): Row => (pressed !== null && detail > 0 ? pressed.row : shown);

/** The part of a window that tells of the end of a press. */
type Host = Pick<EventTarget, "addEventListener" | "removeEventListener">;

const ENDS = ["pointerup", "pointercancel", "dragend", "blur"] as const;

/** Calls when the pointer is up again or was taken away, behind the click that this makes; gives what stops waiting. */
export function onRelease(done: () => void, host: Host = window): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const up = () => { timer ??= setTimeout(done); };
  for (const end of ENDS) host.addEventListener(end, up);
  return () => {
    clearTimeout(timer);
    for (const end of ENDS) host.removeEventListener(end, up);
  };
}
