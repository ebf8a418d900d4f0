// What the address of each view may hold, beside the range of time. Whatever else stands there is passed over. Names that strangers gave
// are parameters and no part of the path: a path with a dot or a slash in it would be another thing to servers and proxies.

/** The views that are about a range of time, and which it is where the address names none. */
export const RANGES: Readonly<Record<string, string>> = { "/": "24h", "/detections": "7d", "/sessions": "24h", "/search": "24h", "/models": "24h", "/tokens": "7d" };

/** Those of them that are lists, page by page: they may be of any time. A chart of all years would show nothing. */
export const OF_ANY_TIME: ReadonlySet<string> = new Set(["/detections", "/sessions", "/search"]);

export const LIVE = ["kind", "user", "agent", "application", "model", "tool", "session", "status", "risk", "own"] as const;
export const DETECTIONS = ["id", "state", "severity", "rule", "technique", "user", "session", "application", "agent", "tool", "grade", "assignee", "correlation", "q", "suppressed", "group"] as const;
export const SESSIONS = ["q", "user", "application", "agent", "severity", "id", "own"] as const;
export const TRACE = ["id", "view", "event", "detection"] as const;
export const SEARCH = ["mode", "q", "sql", "kind", "user", "agent", "application", "model", "tool", "session", "trace", "status", "risk", "score", "id", "own"] as const;
export const ENTITIES = ["type", "q", "id"] as const;
export const ENTITY = ["kind", "name"] as const;
export const TOKENS = ["by"] as const;
export const COVERAGE = ["technique", "only"] as const;
export const INTEGRITY = ["record"] as const;
export const SETTINGS = ["tab", "rule"] as const;
