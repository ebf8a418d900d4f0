// How many rows a table may have.

/** Pixels of a row. */
export const ROW_PX = { normal: 34, compact: 28 } as const;

/** Pixels that every browser lays out: Firefox ends near 17.9 million, Chromium and Safari near 33.5 million. */
export const HEIGHT_PX_MAX = 16_000_000;

/** Rows that a table has room for. */
export const rowsMax = (density: keyof typeof ROW_PX): number => Math.floor(HEIGHT_PX_MAX / ROW_PX[density]);
