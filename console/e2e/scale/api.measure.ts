// The server's lists alone, with each filter: what of the console's times is the server's.

import { test } from "@playwright/test";
import { APPLICATIONS, MODELS, TOOLS, USERS } from "./company";
import { rowsOf } from "./fill";
import { scale, target } from "./probe";
import { tell } from "./results";

const TIMES = 30;
/** A page of the console. */
const LIMIT = 200;
/** The goal of a filter in the console; a list alone must do with less. */
const GOAL = 300;
/** Seconds after which the server has closed what it reads with. */
const REST_MS = 12_000;

type Ask = Readonly<Record<string, string>>;

interface List {
  readonly path: string;
  readonly name: string;
  /** What is asked for the nth time. */
  readonly of: (n: number) => Ask;
}

const pick = <T>(from: readonly T[], n: number): T => from[(n * 37) % from.length] as T;

test("lists of the API", async () => {
  const { since } = scale().filled;
  const sessions = (await rowsOf(target(), "SELECT session_id FROM detections WHERE session_id IS NOT NULL ORDER BY time DESC LIMIT 30")).map(([id]) => String(id));
  const rules = scale().filled.by_rule.map(([rule]) => rule);
  const middle = new Date((Date.parse(since) + Date.parse(scale().filled.until)) / 2).toISOString();
  const list = (path: string, name: string, of: (n: number) => Ask = () => ({})): List => ({ path, name, of });
  const lists: readonly List[] = [
    list("/api/detections", "none"),
    list("/api/detections", "state=open", () => ({ state: "open" })),
    list("/api/detections", "state=closed", () => ({ state: "closed" })),
    list("/api/detections", "severity", (n) => ({ severity: pick(["low", "medium", "high", "critical"], n) })),
    list("/api/detections", "rule", (n) => ({ rule: pick(rules, n) })),
    list("/api/detections", "user", (n) => ({ user: pick(USERS, n) })),
    list("/api/detections", "session", (n) => ({ session: pick(sessions, n) })),
    list("/api/detections", "application", (n) => ({ application: pick(APPLICATIONS, n) })),
    list("/api/detections", "technique", () => ({ technique: "AML.T0056" })),
    list("/api/detections", "q", (n) => ({ q: pick(USERS, n).slice(0, 6) })),
    list("/api/detections", "q that nothing has", () => ({ q: "nobody has this" })),
    list("/api/detections", "until the middle", () => ({ until: middle })),
    list("/api/detections/groups", "by correlation", () => ({ by: "correlation" })),
    list("/api/detections/groups", "by rule", () => ({ by: "rule" })),
    list("/api/events", "none"),
    list("/api/events", "kind", (n) => ({ kind: pick(["model_call", "tool_call", "retrieval", "detection", "gap", "agent_step", "guardrail"], n) })),
    list("/api/events", "status=error", () => ({ status: "error" })),
    list("/api/events", "status=ok", () => ({ status: "ok" })),
    list("/api/events", "user", (n) => ({ user: pick(USERS, n) })),
    list("/api/events", "agent", (n) => ({ agent: pick(APPLICATIONS, n).replace("-desk", "-agent") })),
    list("/api/events", "model", (n) => ({ model: pick(MODELS, n) })),
    list("/api/events", "tool", (n) => ({ tool: pick(TOOLS, n) })),
    list("/api/events", "session", (n) => ({ session: pick(sessions, n) })),
    list("/api/events", "risk", () => ({ risk: "prompt_injection" })),
    list("/api/events", "score from 0.4", () => ({ score: "0.4" })),
    list("/api/events", "tool and status=error", (n) => ({ tool: pick(TOOLS, n), status: "error" })),
    list("/api/events", "model and kind", (n) => ({ model: pick(MODELS, n), kind: "tool_call" })),
    list("/api/events", "until the middle", () => ({ until: middle })),
    list("/api/sessions", "none"),
    list("/api/sessions", "severity", (n) => ({ severity: pick(["low", "medium", "high", "critical"], n) })),
    list("/api/sessions", "user", (n) => ({ user: pick(USERS, n) })),
    list("/api/sessions", "application", (n) => ({ application: pick(APPLICATIONS, n) })),
    list("/api/sessions", "agent", (n) => ({ agent: pick(APPLICATIONS, n).replace("-desk", "-agent") })),
    list("/api/sessions", "q", (n) => ({ q: pick(sessions, n).slice(-6) })),
    list("/api/sessions", "until the middle", () => ({ until: middle })),
    list("/api/entities", "none"),
    list("/api/entities", "type", (n) => ({ type: pick(["user", "agent", "application", "tool", "model"], n) })),
    list("/api/entities", "q", (n) => ({ q: pick(USERS, n).slice(0, 6) })),
    list("/api/overview", "of the day"),
    list("/api/overview", "what the frame asks", () => ({ since: new Date(Date.now() - 900_000).toISOString(), bucket: "900" })),
    list("/api/tokens", "by user", () => ({ by: "user" })),
    list("/api/tokens", "by model", () => ({ by: "model" })),
    list("/api/models", "of the day"),
    list("/api/rules", "of 30 days"),
  ];
  const { key, console: address } = target();
  const ask = async ({ path, of }: List, n: number) => {
    const takesNone = path === "/api/entities" || path === "/api/rules";
    const takesLimit = ["/api/detections", "/api/events", "/api/sessions", "/api/entities"].includes(path);
    const query = new URLSearchParams({ ...(takesNone ? {} : { since }), ...(takesLimit ? { limit: String(LIMIT) } : {}), ...of(n) });
    const began = performance.now();
    const response = await fetch(`${address}${path}?${query}`, { headers: { authorization: `Bearer ${key}` } });
    const text = await response.text();
    const took = performance.now() - began;
    if (!response.ok) throw new Error(`${path}?${query}: ${response.status} ${text}`);
    return { took, text };
  };
  for (const each of lists) {
    await ask(each, TIMES);
    const times: number[] = [];
    let rows = 0;
    let early = 0;
    for (let n = 0; n < TIMES; n += 1) {
      const { took, text } = await ask(each, n);
      times.push(took);
      const page = JSON.parse(text) as { rows?: unknown[]; next?: unknown };
      rows += page.rows?.length ?? 0;
      if (page.next && (page.rows?.length ?? 0) < LIMIT) early += 1;
    }
    const notes = [rows > 0 ? `${Math.round(rows / TIMES)} rows` : "", early > 0 ? `${early} of ${TIMES} pages ended early` : ""].filter(Boolean).join(", ");
    tell("api", `${each.path} ${each.name}`, times, { goal: GOAL, notes });
  }
  // Nobody has asked for a while: the server opens the record anew.
  for (const each of lists.filter(({ path, name }) => (name === "none" && path !== "/api/entities") || name === "of the day" && path === "/api/overview")) {
    const times: number[] = [];
    for (let n = 0; n < 3; n += 1) {
      await new Promise((resolve) => setTimeout(resolve, REST_MS));
      times.push((await ask(each, n)).took);
    }
    tell("api", `${each.path} ${each.name}, first after a rest`, times, { goal: GOAL });
  }
});
