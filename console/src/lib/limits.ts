// How long a text may be that the server takes.

import { hasVisible } from "./text";

/** Bytes of a reason. */
export const REASON_BYTES_MAX = 1_024;

const encoder = new TextEncoder();

/** How long a text is as the server counts: in bytes of UTF-8. */
export const bytesIn = (text: string): number => encoder.encode(text).length;

/** Whether it is a reason: there is something to read in it, and the server takes it. */
export const isReason = (text: string): boolean => hasVisible(text) && bytesIn(text.trim()) <= REASON_BYTES_MAX;
