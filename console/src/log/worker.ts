// Verification beside the page, so that it does not hold the page up.

import { verify, type Options, type Verified } from "./verify";

export type Request = Omit<Options, "progress">;
export type Answer =
  | { readonly kind: "progress"; readonly leaves: number; readonly of: number }
  | { readonly kind: "done"; readonly verified: Verified }
  | { readonly kind: "failed"; readonly says: string };

const tell = (answer: Answer) => postMessage(answer);

/** Bytes of a file of a log at most: a tile has 8 KiB, a bundle of entries 26 KiB, a checkpoint with its signatures less. */
const FILE_MAX = 1_048_576;

async function fetchFile(path: string): Promise<Uint8Array<ArrayBuffer>> {
  const response = await fetch(`/api/log/${path}`, { cache: "no-store" });
  if (!response.ok || !response.body) throw new Error(`the server answers ${response.status} for ${path}`);
  const parts: Uint8Array[] = [];
  let length = 0;
  const reader = response.body.getReader();
  for (let { done, value } = await reader.read(); !done && value; { done, value } = await reader.read()) {
    length += value.length;
    if (length > FILE_MAX) {
      void reader.cancel();
      throw new Error(`${path} has more than ${FILE_MAX} bytes, which no file of a log has`);
    }
    parts.push(value);
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

addEventListener("message", (event: MessageEvent<Request>) => {
  verify(fetchFile, { ...event.data, progress: (leaves, of) => tell({ kind: "progress", leaves, of }) }).then(
    (verified) => tell({ kind: "done", verified }),
    (error: unknown) => tell({ kind: "failed", says: error instanceof Error ? error.message : String(error) }),
  );
});
