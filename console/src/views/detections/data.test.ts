import { expect, test } from "vitest";
import { isDetector } from "./data";

test("detectors of the program are told from rules of files", () => {
  for (const id of ["flow-indirect-injection", "flow-destination", "risk-threshold", "alert-budget"]) expect(isDetector(id), id).toBe(true);
  for (const id of ["workflow-x", "risk-threshold-of-mine", "4f1c0b0e-8a4e-4c56-9a3e-1b1d7f0a9e11", "", null, undefined]) expect(isDetector(id), String(id)).toBe(false);
});
