import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { api, take, type Schema } from "../../api/client";
import { useList, type Bounds } from "../../lib/list";
import { DETECTIONS } from "../names";

export type Detection = Schema<"DetectionRow">;
export type DetectionDetail = Schema<"DetectionDetail">;
export type State = Schema<"State">;
export type Verdict = Schema<"Verdict">;

export type Name = (typeof DETECTIONS)[number];
export type Filter = { readonly [P in Exclude<Name, "id" | "group">]?: string | undefined };

/** Whether a detector of the program made it, and no rule that a file holds. */
export const isDetector = (rule: string | null | undefined): boolean => /^(?:flow-|risk-threshold$|alert-budget$)/.test(rule ?? "");

const FRESH_MS = 15_000;

/** What the address filters by: nothing else that stands there goes to the server. */
export const filterOf = (at: { readonly [P in Name]?: string | undefined }): Filter =>
  Object.fromEntries(DETECTIONS.filter((name) => name !== "id" && name !== "group" && at[name]).map((name) => [name, at[name]]));

/** A filter as the API takes it. */
export function queryOf(filter: Filter) {
  const { state, suppressed, severity, grade, ...rest } = filter;
  return {
    ...rest,
    // An address holds any text; the server refuses a word that is none.
    ...(severity ? { severity: severity as Schema<"Severity"> } : {}),
    ...(grade ? { grade: grade as Schema<"Grade"> } : {}),
    ...(state === "all" ? {} : { state: state ?? "open" }),
    ...(suppressed === "yes" ? { suppressed: true } : {}),
  };
}

const idOf = (row: Detection) => row.detection_id;
const timeOf = (row: Detection) => row.observed;

export const useDetections = (filter: Filter, isOpen: boolean) =>
  useList({
    name: ["detections", "list"], filter: queryOf(filter), isOpen, everyMs: FRESH_MS, keyOf: idOf, timeOf,
    ask: (query, signal) => take(api.GET("/api/detections", { signal, params: { query } })),
  });

export function useGroups(filter: Filter, bounds: Bounds, by: "correlation" | "rule", isHeld: boolean) {
  const query = { ...queryOf(filter), ...bounds, by };
  return useQuery({
    queryKey: ["detections", "groups", query],
    queryFn: ({ signal }) => take(api.GET("/api/detections/groups", { signal, params: { query } })),
    refetchInterval: isHeld ? false : FRESH_MS,
    refetchOnWindowFocus: !isHeld,
    placeholderData: (before) => before,
  });
}

/** Everything that is known of one. With a reason, what was said, too: that is recorded. */
export function useDetection(id: string, reason: string | null) {
  return useQuery({
    queryKey: ["detections", "one", id, reason],
    queryFn: ({ signal }) => take(api.GET("/api/detections/{id}", { signal, params: { path: { id }, query: reason === null ? {} : { texts: true, reason } } })),
    // What was revealed is not asked for again by itself: each reading is recorded.
    staleTime: reason === null ? 10_000 : Infinity,
    refetchOnWindowFocus: false,
    placeholderData: (before) => (before?.detection_id === id ? before : undefined),
  });
}

export function useSimilar(id: string) {
  return useQuery({
    queryKey: ["detections", "similar", id],
    queryFn: ({ signal }) => take(api.GET("/api/detections/{id}/similar", { signal, params: { path: { id } } })),
    staleTime: 60_000,
  });
}

export interface Triage {
  readonly ids: readonly string[];
  readonly state?: State;
  readonly assignee?: string;
  readonly reason?: Verdict;
  readonly note?: string;
}

/** Changes what people have made of detections. The server's answer is what is shown. */
export function useTriage() {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: ({ ids, ...change }: Triage) => take(api.POST("/api/detections/triage", { body: { ids: [...ids], ...change } })),
    onSuccess: () => Promise.all([queries.invalidateQueries({ queryKey: ["detections"] }), queries.invalidateQueries({ queryKey: ["pulse"] }), queries.invalidateQueries({ queryKey: ["overview"] })]),
  });
}

export function useSuppress() {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: (body: Schema<"SuppressionRequest">) => take(api.POST("/api/suppressions", { body })),
    onSuccess: () => Promise.all([queries.invalidateQueries({ queryKey: ["detections"] }), queries.invalidateQueries({ queryKey: ["suppressions"] }), queries.invalidateQueries({ queryKey: ["pulse"] })]),
  });
}

export const VERDICTS: readonly { readonly value: Verdict; readonly says: string; readonly means: string }[] = [
  { value: "true_positive", says: "True positive", means: "it was what the rule says" },
  { value: "false_positive", says: "False positive", means: "it was not" },
  { value: "benign", says: "Benign", means: "it was, and it is allowed" },
  { value: "test", says: "Test", means: "somebody tried it out" },
  { value: "duplicate", says: "Duplicate", means: "another detection tells of the same" },
  { value: "insufficient_data", says: "Not enough to say", means: "nothing more can be said" },
  { value: "other", says: "Other", means: "the note says what" },
];
