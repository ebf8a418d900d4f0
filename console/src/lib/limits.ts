// How long a text may be that the server takes.

/** Bytes of a reason. */
export const REASON_BYTES_MAX = 1_024;

const encoder = new TextEncoder();

/** How long a text is as the server counts: in bytes of UTF-8. */
export const bytesIn = (text: string): number => encoder.encode(text).length;

/** Whether the server takes it as a reason. */
export const isReason = (text: string): boolean => text.trim() !== "" && bytesIn(text.trim()) <= REASON_BYTES_MAX;
