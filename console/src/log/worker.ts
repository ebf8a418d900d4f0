// Verification beside the page, so that it does not hold the page up.

import { verify, type Options, type Verified } from "./verify";

export type Request = Omit<Options, "progress">;
export type Answer =
  | { readonly kind: "progress"; readonly leaves: number; readonly of: number }
  | { readonly kind: "done"; readonly verified: Verified }
  | { readonly kind: "failed"; readonly says: string };

const tell = (answer: Answer) => postMessage(answer);

async function fetchFile(path: string): Promise<Uint8Array<ArrayBuffer>> {
  const response = await fetch(`/api/log/${path}`, { cache: "no-store" });
  if (!response.ok) throw new Error(`the server answers ${response.status} for ${path}`);
  return new Uint8Array(await response.arrayBuffer());
}

addEventListener("message", (event: MessageEvent<Request>) => {
  verify(fetchFile, { ...event.data, progress: (leaves, of) => tell({ kind: "progress", leaves, of }) }).then(
    (verified) => tell({ kind: "done", verified }),
    (error: unknown) => tell({ kind: "failed", says: error instanceof Error ? error.message : String(error) }),
  );
});
