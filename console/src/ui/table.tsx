import { useVirtualizer } from "@tanstack/react-virtual";
import { memo, useCallback, useEffect, useMemo, useRef, useState, type ReactNode } from "react";
import { useRange } from "../lib/at";
import { usePrefs } from "../lib/prefs";
import { onRelease, pickedOf, type Pressed } from "../lib/press";
import { ROW_PX, rowsMax } from "../lib/rows";
import { bind, useShortcuts } from "../lib/shortcuts";
import { DAY_MS, lengthOf } from "../lib/time";
import { count } from "../lib/units";
import { Dated } from "./text";

export interface Column<Row> {
  readonly name: string;
  /** A track of a CSS grid: `8rem`, `minmax(10rem, 2fr)`. */
  readonly width: string;
  readonly head: ReactNode;
  readonly cell: (row: Row) => ReactNode;
  readonly isRight?: boolean;
  /** Pixels of the table from which on there is room for it. */
  readonly from?: number;
  /** Pixels of the table from which on another column stands for it. */
  readonly until?: number;
}

/** Rows that are kept beyond what is in sight. */
const OVERSCAN = 12;
/** The same where all of them change several times a second. */
const OVERSCAN_STREAM = 3;
/** How near the end of what is there the next page is asked for. */
const NEAR_END = 30;

/** A table of as many rows as there are: only those in sight are in the page. j, k and Enter go through it. */
export function DataTable<Row>({ label, rows: incoming, columns: all, rowKey, active, onActive, onOpen, more, foot, rowClass, keys = true, isBusy = false, isStream = false, anew, onScrolled }: {
  label: string;
  rows: readonly Row[];
  columns: readonly Column<Row>[];
  rowKey: (row: Row) => string;
  /** The key of the row that is chosen. */
  active?: string | null;
  onActive?: (row: Row) => void;
  onOpen?: (row: Row) => void;
  /** Asks for the rows behind the last one. */
  more?: (() => void) | undefined;
  foot?: ReactNode;
  rowClass?: (row: Row) => string;
  keys?: boolean;
  /** Whether the rows are those of what was asked before, and others are on their way. */
  isBusy?: boolean;
  /** Whether rows come in at the top all the time: then each line of the page stays, and what is written in it changes. To take lines out and put
      others in costs a browser several times as much. */
  isStream?: boolean;
  /** What the rows are of: where that changes, the table begins at its first row. */
  anew?: string;
  /** Told whether somebody has scrolled down. */
  onScrolled?: (isScrolled: boolean) => void;
}) {
  const body = useRef<HTMLDivElement>(null);
  // What comes in at the top would put another row under a pointer that is down: nothing is drawn until it is up.
  const [held, setHeld] = useState<readonly Row[] | null>(null);
  const every = held ?? incoming;
  const newest = useRef(incoming);
  newest.current = incoming;
  const hold = useCallback(() => setHeld((before) => before ?? newest.current), []);
  const isHeld = held !== null;
  useEffect(() => (isHeld ? onRelease(() => setHeld(null)) : undefined), [isHeld]);
  const [width, setWidth] = useState(Infinity);
  useEffect(() => {
    const host = body.current;
    if (!host) return undefined;
    const resized = new ResizeObserver(() => setWidth(host.clientWidth));
    resized.observe(host);
    return () => resized.disconnect();
  }, []);
  const columns = useMemo(() => all.filter((column) => (column.from ?? 0) <= width && width < (column.until ?? Infinity)), [all, width]);
  const { density } = usePrefs();
  const height = ROW_PX[density];
  // A browser draws nothing beyond some height: what there is no room for is said, and not asked for.
  const room = rowsMax(density);
  const isFull = every.length >= room;
  const rows = useMemo(() => (every.length > room ? every.slice(0, room) : every), [every, room]);
  const virtual = useVirtualizer({ count: rows.length, getScrollElement: () => body.current, estimateSize: () => height, overscan: isStream ? OVERSCAN_STREAM : OVERSCAN });
  useEffect(() => virtual.measure(), [height, virtual]);
  const began = useRef(anew);
  useEffect(() => {
    if (began.current === anew) return;
    began.current = anew;
    virtual.scrollToOffset(0);
  }, [anew, virtual]);
  useEffect(() => () => onScrolled?.(false), [onScrolled]);

  const items = virtual.getVirtualItems();
  const last = items.at(-1)?.index ?? -1;
  useEffect(() => {
    if (more && !isFull && last >= rows.length - NEAR_END) more();
  }, [more, last, rows.length, isFull]);

  // Of a hundred thousand rows that is a millisecond, and they are drawn anew with each frame in which somebody scrolls.
  const key = useRef(rowKey);
  key.current = rowKey;
  const at = useMemo(() => (active === null || active === undefined ? -1 : rows.findIndex((row) => key.current(row) === active)), [rows, active]);
  const tracks = columns.map((column) => column.width).join(" ");
  // The row that is chosen may leave the list, as what was acknowledged does: the next row takes its place, and keys go on there.
  const [place, setPlace] = useState<{ of: string; at: number } | null>(null);
  if (at >= 0 && active && (place?.of !== active || place.at !== at)) setPlace({ of: active, at });
  const left = at < 0 && place !== null && place.of === active ? place.at : null;
  const isLeft = left !== null;
  useEffect(() => {
    if (isLeft && isNowhere()) body.current?.focus({ preventScroll: true });
  }, [isLeft, rows]);

  const go = useCallback((to: number) => {
    const index = Math.max(0, Math.min(rows.length - 1, to));
    const row = rows[index];
    if (!row) return;
    virtual.scrollToIndex(index, { align: "auto" });
    onActive?.(row);
    requestAnimationFrame(() => body.current?.querySelector<HTMLElement>(`[data-row="${index}"]`)?.focus({ preventScroll: true }));
  }, [rows, virtual, onActive]);

  const open = () => {
    const row = rows[at];
    if (row) (onOpen ?? onActive)?.(row);
  };
  const canMove = keys && onActive !== undefined;
  useShortcuts(canMove ? [
    bind("next", () => go(left ?? at + 1)),
    bind("previous", () => go(left === null ? Math.max(at, 1) - 1 : left - 1)),
    bind("open", open),
  ] : []);

  const { range } = useRange();
  const isDated = lengthOf(range, Date.now()) > DAY_MS;

  return (
    <Dated value={isDated}>
    <div className="table" role="grid" aria-label={label} aria-rowcount={rows.length + 1} aria-colcount={columns.length} aria-busy={isBusy}>
      <div className="t-head" role="row" aria-rowindex={1} style={{ gridTemplateColumns: tracks }}>
        {columns.map((column) => <div key={column.name} role="columnheader" className={column.isRight ? "right" : undefined}>{column.head}</div>)}
      </div>
      {/* The keys of a grid, which its rows take one by one. */}
      {/* oxlint-disable-next-line jsx-a11y/no-noninteractive-element-interactions */}
      <div className="t-body" ref={body} role="rowgroup" tabIndex={rows.length > 0 && at < 0 ? 0 : -1}
        onScroll={onScrolled ? (event) => onScrolled(event.currentTarget.scrollTop > height / 2) : undefined}
        onKeyDown={(event) => {
          const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 20, PageUp: -20, Home: -Infinity, End: Infinity }[event.key];
          if (step === undefined || !onActive) return;
          event.preventDefault();
          go(left === null ? at + step : step > 0 ? left + step - 1 : left + step);
        }}>
        <div className="t-inner" style={{ height: virtual.getTotalSize() }}>
          {items.map((item) => {
            const row = rows[item.index];
            if (row === undefined) return null;
            const isActive = item.index === at;
            return (
              <RowLine key={isStream ? item.index : rowKey(row)} row={row} columns={columns} tracks={tracks} index={item.index} start={item.start} isActive={isActive}
                isChosen={onActive ? isActive : undefined} pick={onOpen ?? onActive} press={isStream ? hold : undefined} more={rowClass?.(row) ?? ""} />
            );
          })}
        </div>
        {isFull ? <div className="t-foot">A browser shows {count(room)} rows and no more: a filter, or a shorter range of time, leads to the others.</div> : foot ? <div className="t-foot">{foot}</div> : null}
      </div>
    </div>
    </Dated>
  );
}

/** Whether the focus is lost: on nothing, or on what can no longer be pressed. */
function isNowhere(): boolean {
  const at = document.activeElement;
  return at === null || at === document.body || at.matches(":disabled");
}

/** Gives the focus back to a table when what had it is gone. */
export function backToTable(label: string): void {
  requestAnimationFrame(() => requestAnimationFrame(() => {
    if (!isNowhere() || document.querySelector("dialog[open]")) return;
    const grid = document.querySelector(`[role="grid"][aria-label="${CSS.escape(label)}"]`);
    (grid?.querySelector<HTMLElement>('[aria-selected="true"]') ?? grid?.querySelector<HTMLElement>(".t-body"))?.focus({ preventScroll: true });
  }));
}

/** A row. It is drawn anew when something of it changes, and not whenever somebody scrolls. */
const RowLine = memo(Line) as typeof Line;

function Line<Row>({ row, columns, tracks, index, start, isActive, isChosen, pick, press, more }: {
  row: Row;
  columns: readonly Column<Row>[];
  tracks: string;
  index: number;
  start: number;
  isActive: boolean;
  isChosen: boolean | undefined;
  pick: ((row: Row) => void) | undefined;
  /** Told that a pointer is down on it. */
  press: (() => void) | undefined;
  more: string;
}) {
  const pressed = useRef<Pressed<Row>>(null);
  const classes = ["t-row", pick ? "live" : "", isActive ? "selected" : "", more].filter(Boolean).join(" ");
  return (
    // Keys go through the grid: see above.
    // oxlint-disable-next-line jsx-a11y/click-events-have-key-events
    <div role="row" data-row={index} aria-rowindex={index + 2} aria-selected={isChosen} tabIndex={isActive ? 0 : -1} className={classes}
      style={{ transform: `translateY(${start}px)`, gridTemplateColumns: tracks }}
      onPointerDown={(event) => {
        pressed.current = { row };
        if (event.button === 0) press?.();
      }}
      onClick={(event) => {
        pick?.(pickedOf(pressed.current, row, event.detail));
        pressed.current = null;
      }}>
      {columns.map((column) => <div key={column.name} role="gridcell" className={column.isRight ? "right" : undefined}>{column.cell(row)}</div>)}
    </div>
  );
}
