// Lists that come page by page, newest first. Whoever reads one keeps it as it is: its range of time, its rows and its place. What has come in
// since is told, and shown when they ask for it, or when they are at the top again with nothing open.

import { useInfiniteQuery, useQuery, useQueryClient, type InfiniteData, type UseInfiniteQueryResult } from "@tanstack/react-query";
import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { useRange } from "./at";
import { useNow } from "./clock";

export interface Page<Row> {
  readonly rows: readonly Row[];
  readonly next?: string | null | undefined;
  /** Whether the server did not look at everything. */
  readonly truncated?: boolean;
}

/** A range of time as the API takes it. */
export interface Bounds {
  readonly since?: string;
  readonly until?: string;
}

/** What is asked for beside the filter. */
export interface Part extends Bounds {
  readonly limit: number;
  readonly cursor?: string;
}

/** How long pages that nobody looks at are kept: whoever comes back in that time finds the list as it was. */
const KEPT_MS = 60_000;
/** Rows of a page. */
const PAGE = 200;
/** Most new rows that are counted. */
const NEWS_MAX = 50;
/** After how long a list that is kept as it was says of when it is. */
const OLD_MS = 60_000;
/** Rows that fill a view of a list: until there are so many, it is asked to look further back by itself. */
const FULL = 40;

/** A value that was kept, and what it is of. */
export interface Kept<T> {
  readonly of: string;
  readonly value: T;
}

/** The value of now, or the one that is kept: that as long as it is held and of the same thing. */
export function keep<T>(kept: Kept<T>, of: string, now: T, isHeld: boolean): Kept<T> {
  if (kept.of === of && (isHeld || kept.value === now)) return kept;
  return { of, value: now };
}

/** How many rows of the newest page nobody has been shown; whether there may be more of them behind it. */
export function newsIn<Row>(page: readonly Row[], isKnown: (row: Row) => boolean): { readonly count: number; readonly isMore: boolean } {
  const count = page.reduce((sum, row) => sum + (isKnown(row) ? 0 : 1), 0);
  return { count, isMore: count > 0 && count === page.length && count >= NEWS_MAX };
}

/** Whether pages that ended early are to be gone on with: there is more, and what has come does not fill a view. */
export const isShort = (rows: number, hasNext: boolean): boolean => hasNext && rows < FULL;

/** The first page alone of a list: what is asked for anew is then one page, and not each that has come, one behind the other. */
const firstOf = <Row>(data: InfiniteData<Page<Row>> | undefined) => data && { pages: data.pages.slice(0, 1), pageParams: data.pageParams.slice(0, 1) };

/** The bounds of the range of the address, kept while the list of which they are is held. `of` names that list and its filter. */
export function useKept(of: string, now: Bounds, isHeld: boolean): { readonly bounds: Bounds; readonly follow: () => void } {
  const [kept, setKept] = useState<Kept<Bounds>>({ of, value: now });
  const held = keep(kept, of, now, isHeld);
  if (held !== kept) setKept(held);
  return { bounds: held.value, follow: () => setKept({ of, value: now }) };
}

/** When what is shown was asked for, where it is held since some time, and more may have come; milliseconds. */
export function useAsOf(isHeld: boolean, updatedAt: number): number | null {
  const clock = useNow();
  return isHeld && updatedAt > 0 && clock - updatedAt > OLD_MS ? updatedAt : null;
}

/** How a list stands to what has come in since. */
export interface Standing {
  /** What has come in since, where the list is kept as it was. */
  readonly news: { readonly count: number; readonly isMore: boolean };
  /** When what is shown was asked for, where that is some time ago and more may have come; milliseconds. */
  readonly asOf: number | null;
  /** Shows what has come in since. */
  readonly refresh: () => void;
}

export interface List<Row> extends Standing {
  readonly rows: readonly Row[];
  /** Whether there is nothing but what the filter leaves out by itself: see `orElse`. */
  readonly isLeftOutAlone: boolean;
  readonly result: UseInfiniteQueryResult<InfiniteData<Page<Row>>>;
  /** Whether nothing fits so far, and it is asked to look further back. */
  readonly isLooking: boolean;
  /** Whether the server did not look at everything. */
  readonly isPartial: boolean;
  /** The time of the oldest row that has come, where it looks further back. */
  readonly lookedTo: string | null;
  /** What the table of the list takes. */
  readonly table: { readonly anew: string; readonly onScrolled: (isScrolled: boolean) => void; readonly more: (() => void) | undefined; readonly isBusy: boolean };
}

/** A list of the API. */
export function useList<Row, Filter extends object>({ name, filter, ask, keyOf, timeOf, isOpen, everyMs, isRanged = true, orElse }: {
  /** The beginning of its key among the queries. */
  name: readonly string[];
  filter: Filter;
  ask: (query: Filter & Part, signal: AbortSignal) => Promise<Page<Row>>;
  keyOf: (row: Row) => string;
  /** The time by which it is sorted; none where it is sorted by something else. */
  timeOf?: (row: Row) => string;
  /** Whether a row is open or ticked. */
  isOpen: boolean;
  /** How often it is looked whether more has come. */
  everyMs?: number;
  /** Whether the range of time of the address is its own. */
  isRanged?: boolean;
  /** The filter without what it leaves out by itself: where nothing fits, it is looked whether that leaves out all there is. */
  orElse?: Filter | undefined;
}): List<Row> {
  const queries = useQueryClient();
  const { bounds: bounded, text } = useRange();
  const now: Bounds = isRanged ? bounded : EVER;
  const of = JSON.stringify([filter, isRanged ? text : ""]);
  const [isScrolled, setScrolled] = useState(false);
  const isHeld = isOpen || isScrolled;
  const { bounds, follow } = useKept(of, now, isHeld);
  const isOpenEnded = bounds.until === undefined;

  const keyFor = (bounds: Bounds) => [...name, { ...filter, ...bounds }];
  const result = useInfiniteQuery({
    queryKey: keyFor(bounds),
    queryFn: ({ signal, pageParam }) => ask({ ...filter, ...bounds, limit: PAGE, ...(pageParam === null ? {} : { cursor: pageParam }) }, signal),
    initialPageParam: null as string | null,
    getNextPageParam: (page: Page<Row>) => page.next ?? null,
    placeholderData: (before) => before,
    gcTime: KEPT_MS,
    // A list of which somebody has asked for more is not asked for anew by itself: that would be each of its pages, one behind the other.
    ...ofOnePage(isHeld),
    refetchInterval: (query) => (isHeld || !isOpenEnded || everyMs === undefined || (query.state.data?.pages.length ?? 0) > 1 ? false : everyMs),
  });
  const { data, hasNextPage, isFetching, isFetchingNextPage, isError, isPlaceholderData, fetchNextPage, dataUpdatedAt } = result;

  const own = useRef({ keyOf, timeOf });
  own.current = { keyOf, timeOf };
  const all = useMemo(() => data?.pages.flatMap((page) => page.rows) ?? [], [data]);
  const isUnfilled = isShort(all.length, hasNextPage);
  useEffect(() => {
    if (isUnfilled && !isFetching && !isError) void fetchNextPage();
  }, [isUnfilled, isFetching, isError, fetchNextPage]);
  const oldest = all.at(-1);

  // Every row that was shown: what left the list, as what was acknowledged does, is not new when it is seen again.
  const known = useRef({ of, keys: new Set<string>() });
  if (known.current.of !== of) known.current = { of, keys: new Set() };
  useEffect(() => {
    if (!isPlaceholderData) for (const row of all) known.current.keys.add(own.current.keyOf(row));
  }, [all, isPlaceholderData, of]);
  const isWatched = isHeld && isOpenEnded && everyMs !== undefined;
  const newest = useQuery({
    queryKey: [...name, "news", { ...filter, ...bounds }],
    queryFn: ({ signal }) => ask({ ...filter, ...bounds, limit: NEWS_MAX }, signal),
    enabled: isWatched && data !== undefined,
    // It begins with what is shown, so that the first look is one interval later.
    initialData: { rows: [] },
    initialDataUpdatedAt: () => Date.now(),
    staleTime: everyMs ?? Infinity,
    gcTime: 0,
    refetchInterval: everyMs ?? false,
  });
  const news = isWatched ? newsIn(newest.data.rows, (row) => known.current.keys.has(keyOf(row))) : NO_NEWS;
  const asOf = useAsOf(isHeld && isOpenEnded, dataUpdatedAt);
  const isNothing = data !== undefined && all.length === 0 && !hasNextPage;
  const others = useQuery({
    queryKey: [...name, "others", { ...orElse, ...bounds }],
    queryFn: ({ signal }) => ask({ ...filter, ...orElse, ...bounds, limit: 1 }, signal),
    enabled: isNothing && orElse !== undefined,
    // Bounds move on each minute: what was said of the ones before stands until there is an answer.
    placeholderData: (before) => before,
    refetchInterval: everyMs ?? false,
  });

  // Who is at the top again has the first page, which is asked for anew by itself.
  const key = useRef(keyFor(bounds));
  key.current = keyFor(bounds);
  const wasHeld = useRef(false);
  useEffect(() => {
    if (wasHeld.current && !isHeld) {
      queries.setQueryData<InfiniteData<Page<Row>>>(key.current, (data) => ((data?.pages[0]?.rows.length ?? 0) >= FULL ? firstOf(data) : data));
    }
    wasHeld.current = isHeld;
  }, [isHeld, queries]);

  const [times, setTimes] = useState(0);
  const refresh = () => {
    follow();
    setTimes((before) => before + 1);
    queries.setQueryData<InfiniteData<Page<Row>>>(keyFor(now), firstOf);
    void queries.invalidateQueries({ queryKey: keyFor(now), exact: true });
  };
  const fetchMore = useCallback(() => { void fetchNextPage(); }, [fetchNextPage]);
  return {
    rows: all,
    isLeftOutAlone: isNothing && orElse !== undefined && (others.data?.rows.length ?? 0) > 0,
    result,
    isLooking: (all.length === 0 && hasNextPage) || (isNothing && orElse !== undefined && others.isPending),
    isPartial: data?.pages.some((page) => page.truncated === true) ?? false,
    lookedTo: (isUnfilled || isFetchingNextPage) && oldest !== undefined && timeOf ? timeOf(oldest) : null,
    news,
    asOf,
    refresh,
    table: { anew: `${of} ${times}`, onScrolled: setScrolled, more: hasNextPage && !isFetchingNextPage ? fetchMore : undefined, isBusy: isPlaceholderData },
  };
}

const EVER: Bounds = {};
/** Nothing has come in. */
export const NO_NEWS = { count: 0, isMore: false } as const;

function ofOnePage(isHeld: boolean) {
  const may = (query: { readonly state: { readonly data?: { readonly pages: readonly unknown[] } | undefined } }) => !isHeld && (query.state.data?.pages.length ?? 0) <= 1;
  return { refetchOnWindowFocus: may, refetchOnReconnect: may, refetchOnMount: may };
}
