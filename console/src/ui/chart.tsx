import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { useEffect, useRef, useSyncExternalStore } from "react";
import { usePrefs } from "../lib/prefs";
import { short } from "../lib/units";
import { alone } from "./alone";
import { timestamp, zoneName, type Zone } from "../lib/time";

export interface Series {
  readonly label: string;
  /** A colour of `tokens.css`. */
  readonly token: string;
  readonly values: readonly (number | null)[];
}

const dark = typeof matchMedia === "function" ? matchMedia("(prefers-color-scheme: dark)") : null;
const useSystemTheme = () => useSyncExternalStore(
  (listener) => {
    dark?.addEventListener("change", listener);
    return () => dark?.removeEventListener("change", listener);
  },
  () => dark?.matches ?? false,
);

/** A token as the canvas takes it. */
function color(of: HTMLElement, token: string, alpha = 1): string {
  const probe = document.createElement("span");
  probe.style.color = alpha === 1 ? `var(--${token})` : `color-mix(in oklab, var(--${token}) ${alpha * 100}%, transparent)`;
  of.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

/** Figures over time: bars on each other, or lines. A stretch that is drawn over it becomes the range of time. */
export function TimeChart({ times, series, how, height = 160, format = short, onRange, label }: {
  /** RFC 3339: where each bucket begins. */
  times: readonly string[];
  series: readonly Series[];
  how: "bars" | "lines";
  height?: number;
  format?: (value: number) => string;
  onRange?: (since: string, until: string) => void;
  label: string;
}) {
  const box = useRef<HTMLDivElement>(null);
  const { theme, zone } = usePrefs();
  const isDark = useSystemTheme();
  const hasRange = onRange !== undefined;
  const told = useRef(onRange);
  told.current = onRange;

  useEffect(() => {
    const host = box.current;
    if (!host || times.length === 0) return undefined;
    const xs = times.map((time) => Date.parse(time) / 1000);
    const step = xs.length > 1 ? (xs[1] ?? 0) - (xs[0] ?? 0) : 60;
    const values = series.map((each) => each.values.map((value) => value));
    if (how === "bars") {
      for (let at = 1; at < values.length; at += 1) {
        values[at] = (values[at] ?? []).map((value, index) => (value ?? 0) + (values[at - 1]?.[index] ?? 0));
      }
    }
    const bars = uPlot.paths.bars?.({ size: [0.82, 26], align: 1, radius: 0.08 });
    const order = series.map((_, index) => index);
    // The tallest of what stands on each other is drawn first.
    if (how === "bars") order.reverse();
    const [ink, line] = [color(host, "ink-faint"), color(host, "line")];
    const font = `11px ${getComputedStyle(document.body).fontFamily}`;
    const plot = new uPlot({
      width: host.clientWidth,
      height,
      ...(zone === "local" ? {} : { tzDate: (seconds: number) => uPlot.tzDate(new Date(seconds * 1000), zoneName(zone)) }),
      cursor: { y: false, drag: { x: hasRange, y: false, setScale: false }, points: { show: how === "lines" } },
      legend: { show: false },
      padding: [8, 20, 0, 0],
      scales: { x: { range: () => (how === "lines" && xs.length === 1 ? [(xs[0] ?? 0) - step, (xs[0] ?? 0) + step] : [xs[0] ?? 0, (xs.at(-1) ?? 0) + step]) }, y: { range: (_, __, max) => [0, Math.max(max * 1.08, 1e-9)] } },
      axes: [
        { stroke: ink, font, grid: { show: false }, ticks: { stroke: line, size: 4 }, size: 26, gap: 4, space: 64, values: (_, splits, __, ___, step) => splits.map((at) => axisTime(new Date(at * 1000).toISOString(), zone, step)) },
        { stroke: ink, font, grid: { stroke: line, width: 1 }, ticks: { show: false }, size: 46, gap: 4, space: 34, values: (_, splits) => splits.map((value) => format(value)) },
      ],
      series: [{}, ...order.map((index) => {
        const { label, token } = series[index] as Series;
        return how === "bars"
          ? { label, fill: color(host, token), stroke: color(host, token), width: 0, points: { show: false }, ...(bars ? { paths: bars } : {}) }
          : { label, stroke: color(host, token), width: 1.75, points: { show: false, size: 7, fill: color(host, token), filter: (plot: uPlot, at: number) => alone(plot.data[at] ?? []) }, fill: index === 0 ? color(host, token, 0.1) : "transparent" };
      })],
      hooks: {
        setSelect: [(plot) => {
          if (plot.select.width < 4) return;
          const at = (px: number) => new Date(Math.round(plot.posToVal(px, "x")) * 1000).toISOString();
          told.current?.(at(plot.select.left), at(plot.select.left + plot.select.width));
        }],
        setCursor: [(plot) => tip(plot, series, format, zone)],
      },
    }, [xs, ...order.map((index) => values[index] ?? [])] as uPlot.AlignedData, host);
    const resized = new ResizeObserver(() => plot.setSize({ width: host.clientWidth, height }));
    resized.observe(host);
    return () => {
      resized.disconnect();
      plot.destroy();
    };
  }, [times, series, how, height, format, theme, isDark, zone, hasRange]);

  return <div className="chart" ref={box} role="img" aria-label={label} />;
}

const DAY_S = 86_400;

/** A time at an axis: the clock, or the day where it begins or where steps are days. */
function axisTime(time: string, zone: Zone, step: number): string {
  const [day = "", clock = ""] = timestamp(time, zone, 0).split(" ");
  return step >= DAY_S || clock === "00:00:00" ? day.slice(5) : step < 60 ? clock : clock.slice(0, 5);
}

/** What the values are where the pointer is. */
function tip(plot: uPlot, series: readonly Series[], format: (value: number) => string, zone: Zone): void {
  let box = plot.over.querySelector<HTMLElement>(".u-tip");
  if (!box) {
    box = document.createElement("div");
    box.className = "u-tip";
    plot.over.append(box);
  }
  const { idx, left } = plot.cursor;
  box.hidden = idx === null || idx === undefined || (left ?? -1) < 0;
  if (idx === null || idx === undefined || box.hidden) return;
  const at = new Date((plot.data[0][idx] ?? 0) * 1000).toISOString();
  const rows = series.flatMap((each) => {
    const value = each.values[idx];
    return value === null || value === undefined || value === 0 ? [] : [`${each.label}  ${format(value)}`];
  });
  box.textContent = [timestamp(at, zone, 0), ...(rows.length > 0 ? rows : ["nothing"])].join("\n");
  const isRight = (left ?? 0) > plot.over.clientWidth / 2;
  box.style.left = isRight ? "" : `${(left ?? 0) + 10}px`;
  box.style.right = isRight ? `${plot.over.clientWidth - (left ?? 0) + 10}px` : "";
}

export function Legend({ series }: { series: readonly { label: string; token: string }[] }) {
  return (
    <div className="legend">
      {series.map((each) => <span key={each.label}><i style={{ background: `var(--${each.token})` }} />{/^p\d/.test(each.label) ? each.label : each.label.charAt(0).toUpperCase() + each.label.slice(1)}</span>)}
    </div>
  );
}

/** A small line without axes. */
export function Spark({ values, label }: { values: readonly number[]; label: string }) {
  const max = Math.max(...values, 1e-9);
  const points = values.map((value, index) => `${(index / Math.max(values.length - 1, 1)) * 100},${(28 - (value / max) * 26).toFixed(2)}`);
  if (values.length < 2) return <span className="faint">–</span>;
  return (
    <svg className="spark" viewBox="0 0 100 30" preserveAspectRatio="none" role="img" aria-label={label}>
      <path className="area" d={`M0,30 L${points.join(" L")} L100,30 Z`} />
      <path d={`M${points.join(" L")}`} />
    </svg>
  );
}
