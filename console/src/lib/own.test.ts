import { describe, expect, test } from "vitest";
import { isOwnEvent, isOwnSession, leavesOutOwn } from "./own";

const read = { kind: "data_access", application: "watchkeeper", agent: null, model: null, tool: null, risks: [] };

describe("what is Watchkeeper's own", () => {
  test("is administration alone", () => {
    for (const kind of ["admin", "session", "data_access"]) expect(isOwnEvent({ ...read, kind }), kind).toBe(true);
    for (const kind of ["detection", "gap", "model_call", "tool_call", "response_action", "evaluation"]) expect(isOwnEvent({ ...read, kind }), kind).toBe(false);
  });
  test("is not what an agent does under its name, nor what something was found in", () => {
    expect(isOwnEvent({ ...read, agent: "mail-assistant" })).toBe(false);
    expect(isOwnEvent({ ...read, tool: "read_file" })).toBe(false);
    expect(isOwnEvent({ ...read, risks: ["prompt_injection"] })).toBe(false);
    expect(isOwnEvent({ ...read, application: "crm" })).toBe(false);
  });
  test("is a session in which nothing was called and nothing found", () => {
    const session = { application: "watchkeeper", agents: [], model_calls: 0, tool_calls: 0, detections: 0 };
    expect(isOwnSession(session)).toBe(true);
    for (const more of [{ model_calls: 1 }, { tool_calls: 1 }, { detections: 1 }, { agents: ["a"] }, { application: "crm" }]) expect(isOwnSession({ ...session, ...more })).toBe(false);
  });
});

test("it is left out unless it is asked for", () => {
  expect(leavesOutOwn({})).toBe(true);
  expect(leavesOutOwn({ kind: "tool_call" })).toBe(true);
  for (const asked of [{ own: "yes" }, { kind: "admin" }, { application: "watchkeeper" }, { session: "console-1" }, { trace: "1" }]) expect(leavesOutOwn(asked)).toBe(false);
});
