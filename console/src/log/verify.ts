// What the reader's own machine checks: signature, tree, leaves, and that the log is the one that it saw before. All of it is computed
// here from the public files; the server is asked for bytes and believed in nothing.

import { base64, checkSignatures, parseCheckpoint, parseVerifierKey, sameRoot, toBase64, type Checked, type Checkpoint } from "./note";
import { agreesWithWebCrypto } from "./sha256";
import { parseLeaf, type Leaf } from "./leaf";
import { fold, TILE_WIDTH, Tiles, tileWidth, type Fetch } from "./tiles";
import { Frontier, inclusionProof, leafHash, rootByInclusion, rootOf, type Hash } from "./tree";
import { equal } from "./sha256";

/** A checkpoint that this browser verified before. */
export interface Remembered {
  readonly origin: string;
  readonly size: number;
  /** Base64. */
  readonly root: string;
  /** RFC 3339. */
  readonly at: string;
}

export type StepName = "signature" | "edge" | "consistency" | "tree" | "record";

/** A step of a verification, as it stands. */
export interface Step {
  readonly name: StepName;
  /** `unreadable`: what it needs could not be fetched, or has not the form that it should have. */
  readonly state: "passed" | "failed" | "skipped" | "unreadable";
  readonly says: string;
}

export interface Verified {
  readonly checkpoint: { readonly origin: string; readonly size: number; readonly root: string };
  readonly signatures: readonly Checked[];
  readonly steps: readonly Step[];
  readonly isIntact: boolean;
  /** Leaves whose hashes were computed from their bytes. */
  readonly leaves: number;
  /** The record that was asked about. */
  readonly record: { readonly leaf: Leaf | null; readonly proof: readonly string[] } | null;
}

export interface Options {
  /** Verifier keys of the log, and of its witnesses. */
  readonly logKeys: readonly string[];
  readonly witnessKeys: readonly string[];
  readonly remembered: Remembered | null;
  /** Whether every leaf is fetched, or the right edge of the tree alone. */
  readonly whole: boolean;
  /** A record whose inclusion is to be shown. */
  readonly record: number | null;
  /** The first leaf that the log still has. */
  readonly minimum: number;
  readonly progress?: (leaves: number, of: number) => void;
}

/** `12,345 records`. */
const records = (size: number) => `${size.toLocaleString("en-US")} ${size === 1 ? "record" : "records"}`;

/** Bundles of entries that are asked for at once. */
const AT_ONCE = 8;

/** Verifies what `fetch` gives. Throws only where the checkpoint cannot be read; what is wrong is a step that did not pass. */
export async function verify(fetch: Fetch, options: Options): Promise<Verified> {
  if (!(await agreesWithWebCrypto())) throw new Error("SHA-256 of the console does not agree with this browser's own");
  const checkpoint = parseCheckpoint(new TextDecoder("utf-8", { fatal: true }).decode(await fetch("checkpoint")));
  const tiles = new Tiles(fetch, checkpoint.size);
  const steps: Step[] = [];

  const signatures = await checkSignatures(checkpoint, [...options.logKeys, ...options.witnessKeys].map(parseVerifierKey));
  steps.push(signatureStep(checkpoint, signatures, options.logKeys));

  steps.push(await readable("edge", () => edgeStep(tiles, checkpoint)));
  steps.push(await readable("consistency", () => consistencyStep(tiles, checkpoint, options.remembered)));
  let leaves = 0;
  if (options.whole) {
    steps.push(await readable("tree", async () => {
      const { step, count } = await wholeStep(tiles, checkpoint, options);
      leaves = count;
      return step;
    }));
  }
  let record: Verified["record"] = null;
  const { record: seq } = options;
  if (seq !== null) {
    steps.push(await readable("record", async () => {
      const { step, found } = await recordStep(tiles, checkpoint, seq, options.minimum);
      record = found;
      return step;
    }));
  }
  return {
    checkpoint: { origin: checkpoint.origin, size: checkpoint.size, root: toBase64(checkpoint.root) },
    signatures,
    steps,
    isIntact: steps.every((step) => step.state === "passed" || step.state === "skipped") && steps[0]?.state === "passed",
    leaves,
    record,
  };
}

async function readable(name: StepName, step: () => Promise<Step>): Promise<Step> {
  try {
    return await step();
  } catch (error) {
    return { name, state: "unreadable", says: `Could not be checked: ${error instanceof Error ? error.message : String(error)}` };
  }
}

async function edgeStep(tiles: Tiles, checkpoint: Checkpoint): Promise<Step> {
  const root = await rootOf(tiles.node, checkpoint.size);
  return sameRoot(root, checkpoint.root)
    ? { name: "edge", state: "passed", says: `The tree's nodes give the root that was signed, ${toBase64(checkpoint.root)}.` }
    : { name: "edge", state: "failed", says: `The tree's nodes give the root ${toBase64(root)}; ${toBase64(checkpoint.root)} was signed.` };
}

function signatureStep(checkpoint: Checkpoint, signatures: readonly Checked[], logKeys: readonly string[]): Step {
  const own = new Set(logKeys.map((text) => parseVerifierKey(text)).map((key) => `${key.name} ${key.keyId}`));
  const byLog = signatures.filter((signature) => own.has(`${signature.name} ${signature.keyId}`));
  const bad = signatures.filter((signature) => signature.outcome === "invalid");
  if (bad.length > 0) {
    return { name: "signature", state: "failed", says: `The signature of ${bad.map((each) => `${each.name} (${each.scheme})`).join(", ")} is not valid.` };
  }
  const valid = byLog.filter((signature) => signature.outcome === "valid");
  if (valid.length > 0) {
    return { name: "signature", state: "passed", says: `The checkpoint over ${records(checkpoint.size)} is signed by ${checkpoint.origin} (${valid.map((each) => each.scheme).join(", ")}).` };
  }
  if (byLog.some((signature) => signature.outcome === "unchecked")) {
    return { name: "signature", state: "skipped", says: "This browser cannot check Ed25519 signatures. `watchkeeper verify` can." };
  }
  return { name: "signature", state: "failed", says: "No key of the log has signed the checkpoint." };
}

/** That the tree of today begins with the one that this browser saw. */
async function consistencyStep(tiles: Tiles, checkpoint: Checkpoint, seen: Remembered | null): Promise<Step> {
  const name = "consistency";
  if (!seen) return { name, state: "skipped", says: "This browser sees this log for the first time. The next verification compares with this one." };
  if (seen.origin !== checkpoint.origin) {
    return { name, state: "failed", says: `At this address stood the log ${seen.origin} before; now it is ${checkpoint.origin}.` };
  }
  if (seen.size > checkpoint.size) {
    return { name, state: "failed", says: `The log had ${records(seen.size)} on ${seen.at}; now it has ${records(checkpoint.size)}. It was rolled back.` };
  }
  const root = await rootOf(tiles.node, seen.size);
  return sameRoot(root, base64(seen.root, "remembered root"))
    ? { name, state: "passed", says: `It begins with the ${records(seen.size)} that this browser saw on ${seen.at}, unchanged.` }
    : { name, state: "failed", says: `Its first ${records(seen.size)} are others than those that this browser saw on ${seen.at}.` };
}

/** Every leaf hashed from its bytes, every tile of the lowest level compared, the root computed from them. */
async function wholeStep(tiles: Tiles, checkpoint: Checkpoint, options: Options): Promise<{ step: Step; count: number }> {
  const name = "tree";
  const frontier = new Frontier();
  // Pruning goes by whole bundles; what is left of it is the hash of each.
  const pruned = Math.floor(options.minimum / TILE_WIDTH);
  for (let bundle = 0; bundle < pruned; bundle += 1) frontier.append(await tiles.node(8, bundle), 8);
  const bundles = Math.ceil(checkpoint.size / TILE_WIDTH);
  let count = 0;
  for (let from = pruned; from < bundles; from += AT_ONCE) {
    const indices = Array.from({ length: Math.min(AT_ONCE, bundles - from) }, (_, offset) => from + offset);
    const read = await Promise.all(indices.map(async (index) => ({ index, entries: await tiles.entries(index), hashes: await tiles.tile(0, index) })));
    for (const { index, entries, hashes } of read) {
      const computed = entries.map(leafHash);
      const wrong = computed.findIndex((hash, at) => !equal(hash, hashes[at] as Hash));
      if (wrong >= 0) {
        return { step: { name, state: "failed", says: `Record ${index * TILE_WIDTH + wrong} has another hash than the one in its tile.` }, count };
      }
      const displaced = entries.findIndex((entry, at) => parseLeaf(entry)?.seq !== index * TILE_WIDTH + at);
      if (displaced >= 0) {
        return { step: { name, state: "failed", says: `The leaf at ${index * TILE_WIDTH + displaced} is not that record's.` }, count };
      }
      if (computed.length === TILE_WIDTH) frontier.append(fold(computed), 8);
      else for (const hash of computed) frontier.append(hash);
      count += entries.length;
    }
    options.progress?.(count, checkpoint.size - pruned * TILE_WIDTH);
  }
  const isSame = sameRoot(frontier.root(), checkpoint.root) && frontier.size === checkpoint.size;
  const without = pruned > 0 ? ` The first ${records(pruned * TILE_WIDTH)} were let go of by retention; their hashes are in it.` : "";
  const step: Step = isSame
    ? { name, state: "passed", says: `The leaves of ${records(count)} were hashed here and give the signed root.${without}` }
    : { name, state: "failed", says: `The leaves give the root ${toBase64(frontier.root())}; ${toBase64(checkpoint.root)} was signed.` };
  return { step, count };
}

async function recordStep(tiles: Tiles, checkpoint: Checkpoint, seq: number, minimum: number): Promise<{ step: Step; found: Verified["record"] }> {
  const name = "record";
  if (seq >= checkpoint.size) {
    return { step: { name, state: "skipped", says: `Record ${seq} is not under the newest checkpoint yet: that has ${checkpoint.size}.` }, found: null };
  }
  const bundle = Math.floor(seq / TILE_WIDTH);
  if (seq < minimum || tileWidth("entries", bundle, checkpoint.size) === 0) {
    return { step: { name, state: "skipped", says: `The leaf of record ${seq} was let go of by retention.` }, found: null };
  }
  const entry = (await tiles.entries(bundle))[seq % TILE_WIDTH];
  if (!entry) return { step: { name, state: "failed", says: `The log has no leaf ${seq}.` }, found: null };
  const proof = await inclusionProof(tiles.node, seq, checkpoint.size);
  const root = rootByInclusion(leafHash(entry), seq, checkpoint.size, proof);
  const leaf = parseLeaf(entry);
  const isIn = root !== null && sameRoot(root, checkpoint.root) && leaf?.seq === seq;
  return {
    step: isIn ? { name, state: "passed", says: `Record ${seq} is leaf ${seq} of the signed tree: ${proof.length} hashes lead from it to the root.` }
      : { name, state: "failed", says: `Leaf ${seq} does not lead to the signed root.` },
    found: { leaf, proof: proof.map(toBase64) },
  };
}
