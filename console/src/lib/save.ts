/** The day, as names of files have it: `2026-11-22` (UTC). */
export const day = (now: Date = new Date()): string => now.toISOString().slice(0, 10);

/** The moment, for files of which there are several in a day and none may take the place of another: `2026-11-22-091503-120` (UTC). */
export const moment = (now: Date = new Date()): string => `${day(now)}-${now.toISOString().slice(11, 23).replace(/:/g, "").replace(".", "-")}`;

/** The longest that a part of a name may be: ids and names of cases are what strangers wrote. */
const PART_MAX = 80;

/** A name of a file that every system takes, and no shell reads as anything else: `evidence-SESSION-2026-11-22.tar.gz`. */
export function fileName(parts: readonly string[], ending: string): string {
  const safe = parts.map((part) => part.normalize("NFKC").replace(/[^A-Za-z0-9_.]+/g, "-").slice(0, PART_MAX).replace(/^[-.]+|[-.]+$/g, "")).filter(Boolean);
  return `${safe.join("-") || "file"}.${ending}`;
}

/** Lets the browser save a text of ours as a file. */
export function saveText(name: string, type: string, text: string): void {
  saveBlob(name, new Blob([text], { type }));
}

/** Lets the browser save what the server gave as a file. */
export function saveBlob(name: string, blob: Blob): void {
  const address = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
