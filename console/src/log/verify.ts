// What the reader's own machine checks: signature, tree, leaves, and that the log is the one that it saw before. All of it is computed
// here from the public files; the server is asked for bytes and believed in nothing. What it alone says (how much retention let go of, which
// keys are the log's) is told as its word.

import { base64, checkSignatures, ED25519, parseCheckpoint, parseVerifierKey, sameRoot, toBase64, type Checked, type Checkpoint, type VerifierKey } from "./note";
import { agreesWithWebCrypto, equal } from "./sha256";
import { parseLeaf, type Leaf } from "./leaf";
import { fold, ForgedTile, TILE_WIDTH, Tiles, tileWidth, type Fetch } from "./tiles";
import { consistencyProof, Frontier, inclusionProof, leafHash, rootByInclusion, rootsByConsistency, type Hash } from "./tree";

/** A checkpoint that this browser verified before. */
export interface Remembered {
  readonly origin: string;
  readonly size: number;
  /** Base64. */
  readonly root: string;
  /** RFC 3339. */
  readonly at: string;
  /** Fingerprint of the key that signed it. */
  readonly key: string | null;
  /** The first leaf that the log still had, by the server's word. */
  readonly minimum: number | null;
}

export type StepName = "signature" | "key" | "edge" | "consistency" | "retention" | "tree" | "record";

/** A step of a verification, as it stands. */
export interface Step {
  readonly name: StepName;
  /**
   * `changed`: other than this browser saw it before, which has a reason that it cannot know. `unreadable`: what it needs could not be
   * fetched, or has not the form that it should have.
   */
  readonly state: "passed" | "failed" | "skipped" | "changed" | "unreadable";
  readonly says: string;
}

/**
 * What was proved. `intact`: all of it, with every leaf. `pruned`: the root, and the leaves that retention left. `root`: the root alone, and the
 * record that was asked for. `key`: another key signs than before. `unproved`: a record that was asked for is not proved. `empty`: there is nothing
 * to prove. `failed`: something is wrong, or could not be read.
 */
export type Verdict = "intact" | "pruned" | "root" | "key" | "unproved" | "empty" | "failed";

export interface Verified {
  readonly checkpoint: { readonly origin: string; readonly size: number; readonly root: string };
  readonly signatures: readonly Checked[];
  readonly steps: readonly Step[];
  readonly verdict: Verdict;
  /** Every leaf of the tree was hashed, and whatever was asked was proved. */
  readonly isIntact: boolean;
  /** Leaves whose hashes were computed from their bytes. */
  readonly leaves: number;
  /** Fingerprint of the log's key that signed. */
  readonly key: string | null;
  /** The first leaf that the log has, by the server's word. */
  readonly minimum: number;
  /** The record that was asked about. */
  readonly record: { readonly seq: number; readonly leaf: Leaf | null; readonly proof: readonly string[] } | null;
}

export interface Options {
  /** Verifier keys that the server calls the log's. */
  readonly logKeys: readonly string[];
  readonly remembered: Remembered | null;
  /** Whether every leaf is fetched, or the right edge of the tree alone. */
  readonly whole: boolean;
  /** A record whose inclusion is to be shown. */
  readonly record: number | null;
  /** The first leaf that the log still has. */
  readonly minimum: number;
  readonly progress?: (leaves: number, of: number) => void;
}

const number = (of: number) => of.toLocaleString("en-US");
/** `12,345 records`. */
const records = (size: number) => `${number(size)} ${size === 1 ? "record" : "records"}`;

/** Bundles of entries that are asked for at once. */
const AT_ONCE = 8;

/** Verifies what `fetch` gives. Throws only where the checkpoint cannot be read; what is wrong is a step that did not pass. */
export async function verify(fetch: Fetch, options: Options): Promise<Verified> {
  if (!(await agreesWithWebCrypto())) throw new Error("SHA-256 of the console does not agree with this browser's own");
  const checkpoint = parseCheckpoint(new TextDecoder("utf-8", { fatal: true }).decode(await fetch("checkpoint")));
  const tiles = new Tiles(fetch, checkpoint.size, checkpoint.root);
  const steps: Step[] = [];
  const { record: seq, remembered: seen } = options;
  const minimum = Math.min(Math.max(0, options.minimum), checkpoint.size);

  const keys = options.logKeys.map(parseVerifierKey);
  const signatures = await checkSignatures(checkpoint, keys);
  const { step: signature, by } = signatureStep(checkpoint, signatures, keys);
  steps.push(signature);
  const { step: key, signer } = keyStep(by, seen);
  if (key) steps.push(key);

  steps.push(await readable("edge", () => edgeStep(tiles, checkpoint)));
  steps.push(await readable("consistency", () => consistencyStep(tiles, checkpoint, seen)));
  const retention = retentionStep(minimum, seen);
  if (retention) steps.push(retention);
  let leaves = 0;
  if (options.whole) {
    steps.push(await readable("tree", async () => {
      const { step, count } = await wholeStep(tiles, checkpoint, minimum, options.progress);
      leaves = count;
      return step;
    }));
  }
  let record: Verified["record"] = null;
  if (seq !== null) {
    steps.push(await readable("record", async () => {
      const { step, found } = await recordStep(tiles, checkpoint, seq, minimum);
      record = found;
      return step;
    }));
  }
  const verdict = verdictOf(steps, { size: checkpoint.size, leaves, isWhole: options.whole, isRecord: seq !== null });
  return {
    checkpoint: { origin: checkpoint.origin, size: checkpoint.size, root: toBase64(checkpoint.root) },
    signatures, steps, verdict, isIntact: verdict === "intact", leaves, key: signer, minimum, record,
  };
}

/** What the steps prove together. */
function verdictOf(steps: readonly Step[], of: { size: number; leaves: number; isWhole: boolean; isRecord: boolean }): Verdict {
  const state = (name: StepName) => steps.find((step) => step.name === name)?.state;
  if (state("signature") !== "passed" || state("edge") !== "passed" || steps.some((step) => step.state === "failed" || step.state === "unreadable")) return "failed";
  if (state("key") === "changed") return "key";
  if (of.isRecord && state("record") !== "passed") return "unproved";
  if (of.size === 0) return "empty";
  if (!of.isWhole) return "root";
  return of.leaves === of.size ? "intact" : "pruned";
}

async function readable(name: StepName, step: () => Promise<Step>): Promise<Step> {
  try {
    return await step();
  } catch (error) {
    const says = error instanceof Error ? error.message : String(error);
    return error instanceof ForgedTile ? { name, state: "failed", says: `Not proved: ${says}.` } : { name, state: "unreadable", says: `Could not be checked: ${says}` };
  }
}

async function edgeStep(tiles: Tiles, checkpoint: Checkpoint): Promise<Step> {
  const root = await tiles.edgeRoot();
  return sameRoot(root, checkpoint.root)
    ? { name: "edge", state: "passed", says: `The tree's nodes give the root that was signed, ${toBase64(checkpoint.root)}.` }
    : { name: "edge", state: "failed", says: `The tree's nodes give the root ${toBase64(root)}; ${toBase64(checkpoint.root)} was signed.` };
}

/** A checkpoint is the log's where an Ed25519 key of the log's own name has signed it; witnesses sign beside that, and not in its place. */
function signatureStep(checkpoint: Checkpoint, signatures: readonly Checked[], keys: readonly VerifierKey[]): { step: Step; by: Checked[] } {
  const name = "signature";
  const bad = signatures.filter((signature) => signature.outcome === "invalid");
  if (bad.length > 0) {
    return { step: { name, state: "failed", says: `The signature of ${bad.map((each) => `${each.name} (${each.scheme})`).join(", ")} is not valid.` }, by: [] };
  }
  const own = new Set(keys.filter((key) => key.type === ED25519 && key.name === checkpoint.origin).map((key) => key.fingerprint));
  const byLog = signatures.filter((signature) => signature.key !== null && own.has(signature.key));
  const by = byLog.filter((signature) => signature.outcome === "valid");
  if (by.length > 0) {
    return { step: { name, state: "passed", says: `The checkpoint over ${records(checkpoint.size)} is signed by ${checkpoint.origin} (Ed25519).` }, by };
  }
  if (byLog.some((signature) => signature.outcome === "unchecked")) {
    return { step: { name, state: "skipped", says: "This browser cannot check Ed25519 signatures. `watchkeeper verify` can." }, by: [] };
  }
  if (keys.length > 0 && !keys.some((key) => key.name === checkpoint.origin)) {
    return { step: { name, state: "failed", says: `The checkpoint is of the log ${checkpoint.origin}; no key that the server tells is that log's.` }, by: [] };
  }
  return { step: { name, state: "failed", says: "No Ed25519 key of the log has signed the checkpoint." }, by: [] };
}

/** That the key is the one that this browser saw. A further key that signs beside it, as in a rotation, is not taken up by itself. */
function keyStep(by: readonly Checked[], seen: Remembered | null): { step: Step | null; signer: string | null } {
  const name = "key";
  const [first] = by;
  if (!first?.key) return { step: null, signer: null };
  if (!seen?.key) {
    return { step: { name, state: "skipped", says: `This browser sees this key for the first time, and has it from this server. SHA-256 of the verifier key: ${first.key}. Compare it with the copy that you keep.` }, signer: first.key };
  }
  if (by.some((each) => each.key === seen.key)) {
    return { step: { name, state: "passed", says: `Signed with the key that this browser saw on ${seen.at}, ${seen.key}.` }, signer: seen.key };
  }
  return {
    step: { name, state: "changed", says: `Another key signs than on ${seen.at}. Before: ${seen.key}. Now: ${first.key}. If nobody rotated the log's key, this is another log under its name: \`watchkeeper verify\` with the key that you keep follows a rotation.` },
    signer: first.key,
  };
}

/** That the tree of today begins with the one that this browser saw: both roots from the same nodes (RFC 9162, section 2.1.4). */
async function consistencyStep(tiles: Tiles, checkpoint: Checkpoint, seen: Remembered | null): Promise<Step> {
  const name = "consistency";
  if (!seen) return { name, state: "skipped", says: "This browser sees this log for the first time. The next verification compares with this one." };
  if (seen.origin !== checkpoint.origin) {
    return { name, state: "failed", says: `At this address stood the log ${seen.origin} before; now it is ${checkpoint.origin}.` };
  }
  if (seen.size > checkpoint.size) {
    return { name, state: "failed", says: `The log had ${records(seen.size)} on ${seen.at}; now it has ${records(checkpoint.size)}. It was rolled back.` };
  }
  if (seen.size === 0) return { name, state: "skipped", says: "This browser saw this log when it was empty." };
  const before = base64(seen.root, "remembered root");
  const proof = await consistencyProof(tiles.node, seen.size, checkpoint.size);
  const roots = rootsByConsistency(seen.size, checkpoint.size, before, proof);
  return roots !== null && sameRoot(roots.first, before) && sameRoot(roots.second, checkpoint.root)
    ? { name, state: "passed", says: proof.length === 0 ? `It has the root that this browser saw on ${seen.at}.` : `It begins with the ${records(seen.size)} that this browser saw on ${seen.at}, unchanged: ${proof.length} hashes lead to both roots.` }
    : { name, state: "failed", says: `Its first ${records(seen.size)} are others than those that this browser saw on ${seen.at}.` };
}

/** What retention let go of: the server's word, which is compared with its earlier one. */
function retentionStep(minimum: number, seen: Remembered | null): Step | null {
  const name = "retention";
  const before = seen?.minimum ?? null;
  if (minimum === 0) return null;
  const says = `By the server's word, retention let go of the leaves of the first ${records(minimum)}. Their hashes are in the tree; what they were cannot be shown.`;
  if (before !== null && minimum > before) {
    return { name, state: "changed", says: `${says} On ${seen?.at ?? ""} it said that of ${before === 0 ? "none" : `the first ${number(before)}`}.` };
  }
  return { name, state: "skipped", says };
}

/** Every leaf hashed from its bytes, every tile of the lowest level compared, the root computed from them. */
async function wholeStep(tiles: Tiles, checkpoint: Checkpoint, minimum: number, progress: Options["progress"]): Promise<{ step: Step; count: number }> {
  const name = "tree";
  const frontier = new Frontier();
  // Pruning goes by whole bundles; what is left of it is the hash of each.
  const pruned = Math.floor(minimum / TILE_WIDTH);
  for (let bundle = 0; bundle < pruned; bundle += 1) frontier.append(await tiles.node(8, bundle), 8);
  const bundles = Math.ceil(checkpoint.size / TILE_WIDTH);
  // Where the edge is wrong already, the leaves alone say which root is theirs.
  const isBound = await tiles.isBound();
  let count = 0;
  const failed = (says: string) => ({ step: { name, state: "failed", says } as const, count });
  for (let from = pruned; from < bundles; from += AT_ONCE) {
    const indices = Array.from({ length: Math.min(AT_ONCE, bundles - from) }, (_, offset) => from + offset);
    const read = await Promise.all(indices.map(async (index) => ({ index, entries: await tiles.entries(index), hashes: await tiles.hashes(0, index) })));
    for (const { index, entries, hashes } of read) {
      const computed = entries.map(leafHash);
      const wrong = computed.findIndex((hash, at) => !equal(hash, hashes[at] as Hash));
      if (wrong >= 0) return failed(`Record ${index * TILE_WIDTH + wrong} has another hash than the one in its tile.`);
      const displaced = entries.findIndex((entry, at) => parseLeaf(entry)?.seq !== index * TILE_WIDTH + at);
      if (displaced >= 0) return failed(`The leaf at ${index * TILE_WIDTH + displaced} is not that record's.`);
      if (computed.length === TILE_WIDTH) {
        const subtree = fold(computed);
        if (isBound && !equal(subtree, await tiles.node(8, index))) return failed(`Records ${index * TILE_WIDTH} to ${(index + 1) * TILE_WIDTH - 1} are others than those of the signed tree.`);
        frontier.append(subtree, 8);
      } else for (const hash of computed) frontier.append(hash);
      count += entries.length;
    }
    progress?.(count, checkpoint.size - pruned * TILE_WIDTH);
  }
  const isSame = sameRoot(frontier.root(), checkpoint.root) && frontier.size === checkpoint.size;
  if (!isSame) return failed(`The leaves give the root ${toBase64(frontier.root())}; ${toBase64(checkpoint.root)} was signed.`);
  const without = pruned > 0 ? ` Of the first ${records(pruned * TILE_WIDTH)} there are hashes alone.` : "";
  return { step: { name, state: "passed", says: `${number(count)} of ${checkpoint.size === 1 ? "1 leaf" : `${number(checkpoint.size)} leaves`} were hashed here and give the signed root.${without}` }, count };
}

async function recordStep(tiles: Tiles, checkpoint: Checkpoint, seq: number, minimum: number): Promise<{ step: Step; found: Verified["record"] }> {
  const name = "record";
  if (seq >= checkpoint.size) {
    return { step: { name, state: "skipped", says: `Record ${seq} is not under the newest checkpoint, which has ${records(checkpoint.size)}: it is not sealed yet, or there is none.` }, found: null };
  }
  const bundle = Math.floor(seq / TILE_WIDTH);
  let entries: readonly Uint8Array[];
  try {
    entries = await tiles.entries(bundle);
  } catch (error) {
    // Pruning goes by whole bundles.
    if (seq < minimum) return { step: { name, state: "skipped", says: `The leaf of record ${seq} is not there any more: by the server's word retention let go of it. That it stood in the log is not proved.` }, found: null };
    throw error;
  }
  const entry = entries[seq % TILE_WIDTH];
  if (!entry || tileWidth("entries", bundle, checkpoint.size) === 0) return { step: { name, state: "failed", says: `The log has no leaf ${seq}.` }, found: null };
  const proof = await inclusionProof(tiles.node, seq, checkpoint.size);
  const root = rootByInclusion(leafHash(entry), seq, checkpoint.size, proof);
  const leaf = parseLeaf(entry);
  const isIn = root !== null && sameRoot(root, checkpoint.root) && leaf?.seq === seq;
  return {
    step: isIn ? { name, state: "passed", says: `Record ${seq} is leaf ${seq} of the signed tree: ${proof.length} hashes lead from it to the root.` }
      : { name, state: "failed", says: `Leaf ${seq} does not lead to the signed root.` },
    found: { seq, leaf, proof: proof.map(toBase64) },
  };
}
