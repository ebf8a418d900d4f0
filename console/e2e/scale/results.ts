// What was measured: kept as JSON as it comes, so that a run that ends early has told what it knows, and printed as one table.

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, loadavg, totalmem } from "node:os";
import { dirname } from "node:path";
import type { Filled } from "./fill";

/** Where it is kept: `SCALE_OUT` keeps a run beside another one. */
const file = process.env["SCALE_OUT"] ?? new URL("../out/scale.json", import.meta.url).pathname;

export interface Figure {
  readonly part: string;
  readonly what: string;
  readonly unit: "ms" | "count" | "share" | "ratio" | "MiB";
  readonly runs: number;
  readonly median: number;
  readonly p95?: number;
  readonly worst: number;
  /** What is to be reached, by the worst of all runs. */
  readonly goal?: number;
  /** Load average of the last minute when it was measured. */
  readonly load: number;
  readonly notes?: string;
}

interface Run {
  environment: Record<string, unknown>;
  figures: Figure[];
}

const read = (): Run => (existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as Run) : { environment: {}, figures: [] });
const write = (run: Run) => {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify(run, null, 1)}\n`);
};

/** Share of all processors that work, over some seconds in which nothing is measured. */
async function busy(ms: number): Promise<number> {
  const times = () => cpus().reduce(([idle, all], { times }) => [idle + times.idle, all + times.idle + times.user + times.nice + times.sys + times.irq] as [number, number], [0, 0] as [number, number]);
  const [idle, all] = times();
  await new Promise((resolve) => setTimeout(resolve, ms));
  const [idleThen, allThen] = times();
  return 1 - (idleThen - idle) / Math.max(allThen - all, 1);
}

/** Begins a run. */
export async function environment(of: { version: string; embedded: boolean; filled: Filled }): Promise<void> {
  const chromium = process.env["CHROMIUM"] ?? "/usr/bin/chromium";
  write({
    environment: {
      at: new Date().toISOString(),
      processors: cpus().length,
      processor: cpus()[0]?.model,
      memory_gib: Math.round(totalmem() / 2 ** 30),
      node: process.version,
      chromium: execFileSync(chromium, ["--version"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim(),
      watchkeeper: of.version,
      console: of.embedded ? "in the program" : "beside the program, through a proxy of Node.js",
      busy_before: Math.round((await busy(5_000)) * 100) / 100,
      load_before: loadavg()[0],
      record: of.filled,
    },
    figures: [],
  });
}

const round = (value: number) => (Math.abs(value) >= 100 ? Math.round(value) : Math.round(value * 10) / 10);

/** The value that a share of all values does not exceed. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1))] ?? Number.NaN;
}

/** Keeps what was measured. */
export function tell(part: string, what: string, values: readonly number[], more: { unit?: Figure["unit"]; goal?: number; notes?: string } = {}): void {
  if (values.length === 0 || values.some((value) => !Number.isFinite(value))) throw new Error(`${part}, ${what}: nothing was measured: ${JSON.stringify(values)}`);
  const { unit = "ms", goal, notes } = more;
  const exact = unit === "share" || unit === "ratio" ? (value: number) => Math.round(value * 1000) / 1000 : round;
  const run = read();
  run.figures.push({
    part, what, unit, runs: values.length,
    median: exact(quantile(values, 0.5)),
    ...(values.length >= 20 ? { p95: exact(quantile(values, 0.95)) } : {}),
    worst: exact(Math.max(...values)),
    ...(goal === undefined ? {} : { goal }),
    load: Math.round((loadavg()[0] ?? 0) * 100) / 100,
    ...(notes === undefined ? {} : { notes }),
  });
  write(run);
}

/** Everything that was measured, as a table. */
export function table(): string {
  const { environment, figures } = read();
  const head = ["part", "what", "unit", "runs", "median", "p95", "worst", "goal", "", "load", ""];
  const rows = figures.map((figure) => [
    figure.part, figure.what, figure.unit, figure.runs, figure.median, figure.p95 ?? "", figure.worst, figure.goal ?? "",
    figure.goal === undefined ? "" : figure.worst <= figure.goal ? "held" : figure.median <= figure.goal ? "held by the median" : "MISSED",
    figure.load, figure.notes ?? "",
  ].map(String));
  const widths = head.map((name, at) => Math.max(name.length, ...rows.map((row) => (row[at] ?? "").length)));
  const line = (row: readonly string[]) => row.map((cell, at) => (at >= 3 && at <= 7 ? cell.padStart(widths[at] ?? 0) : cell.padEnd(widths[at] ?? 0))).join("  ").trimEnd();
  return [JSON.stringify(environment), "", line(head), ...rows.map(line)].join("\n");
}
