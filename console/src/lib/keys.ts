// Every key that the console takes for itself. Views bind them by name; the list of keys (`?`), what stands on buttons and the guide's table
// (docs/guides/console.md, held by a test) come from here.

export interface Key {
  /** `j`, `?`, `Escape`, `Mod+k`, or two one after another: `g d`. */
  readonly keys: string;
  /** Where it works. */
  readonly group: string;
  /** What it does. */
  readonly says: string;
  /** Whether it works while one types, too. */
  readonly whileTyping?: boolean;
}

export const KEYS = {
  find: { keys: "Mod+k", group: "Everywhere", says: "find and go anywhere", whileTyping: true },
  findToo: { keys: "/", group: "Everywhere", says: "the same" },
  help: { keys: "?", group: "Everywhere", says: "this list" },
  next: { keys: "j", group: "Lists", says: "next row" },
  previous: { keys: "k", group: "Lists", says: "row before" },
  open: { keys: "Enter", group: "Lists", says: "open the row" },
  acknowledge: { keys: "a", group: "Detections", says: "acknowledge" },
  close: { keys: "c", group: "Detections", says: "close, with the verdict" },
  take: { keys: "i", group: "Detections", says: "take it: I look at it" },
  assign: { keys: "t", group: "Detections", says: "give it to somebody" },
  suppress: { keys: "s", group: "Detections", says: "suppress similar detections" },
  tick: { keys: "x", group: "Detections", says: "tick the row: a, c, i and t then act on what is ticked" },
  follow: { keys: "f", group: "Detections", says: "follow the trace" },
  export: { keys: "e", group: "Detections", says: "export what is in the list" },
  leave: { keys: "Escape", group: "Detections", says: "close what is open" },
  reveal: { keys: "r", group: "Contents", says: "reveal, with a reason" },
  conversation: { keys: "1", group: "Trace", says: "conversation" },
  waterfall: { keys: "2", group: "Trace", says: "waterfall" },
  flow: { keys: "3", group: "Trace", says: "flow" },
  nextDetection: { keys: "n", group: "Trace", says: "next detection" },
  unchoose: { keys: "Escape", group: "Trace", says: "choose nothing" },
  hold: { keys: " ", group: "Live", says: "hold, or go on" },
  goOn: { keys: "Escape", group: "Live", says: "go on" },
} as const satisfies Readonly<Record<string, Key>>;

export type KeyName = keyof typeof KEYS;

/** The key that leads to a view. */
export const keyTo = (place: { readonly key: string; readonly name: string }): Key => ({ keys: `g ${place.key}`, group: "Go to", says: place.name });

/** Keys as they are called: `Mod` is another one on a Mac. */
export const keyText = (keys: string, isMac: boolean): string =>
  keys.replace("Mod+k", isMac ? "⌘ K" : "Ctrl K").replace("Escape", "Esc").replace(/^ $/, "Space");
