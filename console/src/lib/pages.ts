import type { InfiniteData, UseInfiniteQueryResult } from "@tanstack/react-query";
import { useEffect, useMemo } from "react";

interface Page<Row> {
  readonly rows: readonly Row[];
  readonly next?: string | null | undefined;
}

/** How long pages that nobody looks at are kept: whoever comes back in that time finds the list as it was. */
const KEPT_MS = 60_000;

const isOfOnePage = (query: { readonly state: { readonly data?: { readonly pages: readonly unknown[] } | undefined } }) => (query.state.data?.pages.length ?? 0) <= 1;

/** A list of which somebody has asked for more is not asked for anew by itself: that would be each of its pages, one behind the other. */
export const LIST = { refetchOnWindowFocus: isOfOnePage, refetchOnReconnect: isOfOnePage, refetchOnMount: isOfOnePage, gcTime: KEPT_MS } as const;

/**
 * The rows of all pages that have come. The server ends a page early where it looked at much and found little: as long as there is no row
 * to show, it is asked to look further back, and `isLooking` says so. That nothing fits is only known at the end.
 */
export function useRows<Row>(list: UseInfiniteQueryResult<InfiniteData<Page<Row>>>): { rows: readonly Row[]; isLooking: boolean } {
  const { data, hasNextPage, isFetching, isError, fetchNextPage } = list;
  const rows = useMemo(() => data?.pages.flatMap((page) => page.rows) ?? [], [data]);
  const isLooking = rows.length === 0 && hasNextPage;
  useEffect(() => {
    if (isLooking && !isFetching && !isError) void fetchNextPage();
  }, [isLooking, isFetching, isError, fetchNextPage]);
  return { rows, isLooking };
}
