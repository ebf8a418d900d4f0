// How much a risk is, by what the detector of risk makes of it: at 60 somebody is told of as a risk, at 160 as a grave one, and
// below 30 as none any more.

import type { Severity } from "../ui/parts";

export interface Band {
  readonly severity: Severity;
  readonly from: number;
}

/** The bands of risk, the worst first. */
export const BANDS: readonly Band[] = [
  { severity: "critical", from: 160 },
  { severity: "high", from: 60 },
  { severity: "medium", from: 30 },
  { severity: "low", from: 1 },
];

/** The band of a risk; none where there is as good as none. */
export const bandOf = (risk: number): Severity | null => BANDS.find(({ from }) => risk >= from)?.severity ?? null;

/** How far the bar of a risk reaches, in percent: to its end at the gravest band. */
export const reachOf = (risk: number): number => Math.max(0, Math.min(100, (risk / (BANDS[0]?.from ?? 1)) * 100));
