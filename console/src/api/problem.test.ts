import { describe, expect, it } from "vitest";
import { ApiProblem, isGone, isWorthAsking, mayRetry, problemOf, roleFor } from "./problem";

describe("what an error says", () => {
  it("names the role that a request takes", () => {
    expect(roleFor("GET", "/api/keys")).toBe("admin");
    expect(roleFor("DELETE", "/api/holds/case-7?reason=settled")).toBe("admin");
    expect(roleFor("POST", "/api/detections/triage")).toBe("analyst");
    expect(roleFor("POST", "/api/query")).toBe("analyst");
    expect(roleFor("GET", "/api/query/schema")).toBe("auditor");
    expect(roleFor("GET", "/api/trace/1?texts=true&reason=why")).toBe("analyst");
    expect(roleFor("GET", "/api/sessions?user=ada")).toBe("auditor");
    expect(roleFor("POST", "/api/session")).toBeNull();
    expect(problemOf(new ApiProblem(401, "this key is not known")).title).toBe("Not signed in");
    expect(problemOf(new ApiProblem(403, "a key with the role auditor may not do this", null, true, "analyst")).says).toMatch(/takes the role analyst/);
  });

  it("tells a server that is gone from one that refuses", () => {
    expect(isGone(new TypeError("Failed to fetch"))).toBe(true);
    expect(isGone(new ApiProblem(502, "Bad Gateway", null, false))).toBe(true);
    expect(isGone(new ApiProblem(503, "the journal is full", 5))).toBe(false);
    expect(isGone(new ApiProblem(403, "no"))).toBe(false);
    expect(problemOf(new TypeError("Failed to fetch")).says).toContain("watchkeeper serve");
    expect(problemOf(new ApiProblem(503, "the journal is full", 5)).says).toContain("Try again in 5 s");
  });

  it("asks again only where the answer may change", () => {
    expect([400, 403, 404, 410].map((status) => isWorthAsking(new ApiProblem(status, "")))).toEqual([false, false, false, false]);
    expect(isWorthAsking(new ApiProblem(503, ""))).toBe(true);
    expect(mayRetry(new ApiProblem(429, ""))).toBe(true);
    expect(mayRetry(new ApiProblem(403, ""))).toBe(false);
  });
});
