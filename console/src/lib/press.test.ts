import { describe, expect, test, vi } from "vitest";
import { onRelease, pickedOf } from "./press";

describe("a click is for", () => {
  test("the row on which the pointer went down, whatever its line shows since", () => expect(pickedOf({ row: "pressed" }, "came since", 1)).toBe("pressed"));
  test("the row that is shown, where no pointer made it", () => {
    expect(pickedOf(null, "shown", 1)).toBe("shown");
    expect(pickedOf({ row: "pressed, and let go elsewhere" }, "shown", 0)).toBe("shown");
  });
});

describe("a press ends", () => {
  test.each(["pointerup", "pointercancel", "dragend", "blur"])("by %s, once, behind the click", (name) => {
    vi.useFakeTimers();
    const host = new EventTarget();
    const done = vi.fn();
    onRelease(done, host);
    host.dispatchEvent(new Event(name));
    expect(done).not.toHaveBeenCalled();
    host.dispatchEvent(new Event(name));
    vi.runAllTimers();
    expect(done).toHaveBeenCalledTimes(1);
    vi.useRealTimers();
  });
  test("and nothing is told of one that nobody waits for any more", () => {
    vi.useFakeTimers();
    const host = new EventTarget();
    const done = vi.fn();
    const stop = onRelease(done, host);
    host.dispatchEvent(new Event("pointerup"));
    stop();
    vi.runAllTimers();
    expect(done).not.toHaveBeenCalled();
    vi.useRealTimers();
  });
});
