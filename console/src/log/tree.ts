// The Merkle tree of RFC 6962, section 2.1: hashes, roots, proofs of inclusion and of consistency. Sizes are numbers: exact to 2^53.

import { sha256 } from "./sha256";

export type Hash = Uint8Array<ArrayBuffer>;

const LEAF = new Uint8Array([0]);
const NODE = new Uint8Array([1]);

/** The hash of a leaf. */
export const leafHash = (leaf: Uint8Array): Hash => sha256(LEAF, leaf);

/** The hash of a node above two. */
export const nodeHash = (left: Uint8Array, right: Uint8Array): Hash => sha256(NODE, left, right);

/** The root of no leaf. */
export const emptyRoot = (): Hash => sha256();

/** A tree that grows by leaves, or by whole subtrees, and keeps only its right edge. */
export class Frontier {
  /** Roots of the full subtrees from left to right, each with its height. */
  private readonly parts: { height: number; hash: Hash }[] = [];
  private leaves = 0;

  /** How many leaves there are. */
  get size(): number {
    return this.leaves;
  }

  /** Takes the root of a full subtree of 2^height leaves. It must begin where such a subtree can. */
  append(hash: Hash, height = 0): void {
    if (this.leaves % 2 ** height !== 0) throw new RangeError("a subtree begins where it is full");
    let made = { height, hash };
    for (let last = this.parts.at(-1); last && last.height === made.height; last = this.parts.at(-1)) {
      this.parts.pop();
      made = { height: made.height + 1, hash: nodeHash(last.hash, made.hash) };
    }
    this.parts.push(made);
    this.leaves += 2 ** height;
  }

  root(): Hash {
    const [last, ...before] = this.parts.toReversed();
    return last ? before.reduce((right, left) => nodeHash(left.hash, right), last.hash) : emptyRoot();
  }
}

/** Gives the hash of the subtree of 2^height leaves at this place among those of its height. */
export type NodeReader = (height: number, index: number) => Promise<Hash>;

/** The root of the leaves from `from` (a multiple of a power of two that is no less than their count) to `to`. */
async function rangeRoot(read: NodeReader, from: number, to: number): Promise<Hash> {
  const count = to - from;
  const height = Math.floor(Math.log2(count));
  if (2 ** height === count && from % count === 0) return read(height, from / count);
  const split = splitOf(count);
  return nodeHash(await rangeRoot(read, from, from + split), await rangeRoot(read, from + split, to));
}

/** The largest power of two below `count`. */
function splitOf(count: number): number {
  let split = 1;
  while (split * 2 < count) split *= 2;
  return split;
}

/** The root of the first `size` leaves, from nodes. */
export async function rootOf(read: NodeReader, size: number): Promise<Hash> {
  return size === 0 ? emptyRoot() : rangeRoot(read, 0, size);
}

/** The proof that leaf `index` is in the tree of `size` (RFC 6962, section 2.1.1), from nodes. */
export async function inclusionProof(read: NodeReader, index: number, size: number): Promise<Hash[]> {
  if (!(index >= 0 && index < size)) throw new RangeError("no leaf of this tree");
  const path: Hash[] = [];
  let [from, to] = [0, size];
  while (to - from > 1) {
    const middle = from + splitOf(to - from);
    if (index < middle) {
      path.unshift(await rangeRoot(read, middle, to));
      to = middle;
    } else {
      path.unshift(await rangeRoot(read, from, middle));
      from = middle;
    }
  }
  return path;
}

/** The root that a proof of inclusion leads to (RFC 9162, section 2.1.3.2), or nothing where it has not the right length. */
export function rootByInclusion(leaf: Hash, index: number, size: number, proof: readonly Hash[]): Hash | null {
  if (!(index >= 0 && index < size)) return null;
  let node = index;
  let last = size - 1;
  let hash = leaf;
  for (const sibling of proof) {
    if (last === 0) return null;
    if (node % 2 === 1 || node === last) {
      hash = nodeHash(sibling, hash);
      while (node % 2 === 0 && node !== 0) {
        node = Math.floor(node / 2);
        last = Math.floor(last / 2);
      }
    } else hash = nodeHash(hash, sibling);
    node = Math.floor(node / 2);
    last = Math.floor(last / 2);
  }
  return last === 0 ? hash : null;
}

/** The proof that the tree of `size` begins with the one of its first `first` leaves (RFC 9162, section 2.1.4.1), from nodes. */
export async function consistencyProof(read: NodeReader, first: number, size: number): Promise<Hash[]> {
  if (!(first > 0 && first <= size)) throw new RangeError("no beginning of this tree");
  const path: Hash[] = [];
  let [from, to] = [0, size];
  // Whether what is left of the first tree is the whole of it: then its root is known and stands in no proof.
  let isFirst = true;
  while (first < to) {
    const middle = from + splitOf(to - from);
    if (first <= middle) {
      path.unshift(await rangeRoot(read, middle, to));
      to = middle;
    } else {
      path.unshift(await rangeRoot(read, from, middle));
      from = middle;
      isFirst = false;
    }
  }
  if (!isFirst) path.unshift(await rangeRoot(read, from, to));
  return path;
}

/**
 * The roots of both trees that a proof of consistency leads to (RFC 9162, section 2.1.4.2), from the same nodes; nothing where it has not
 * the right length. `firstRoot` is what the first tree's root is said to be: a proof leaves it out where it is a node of the second tree.
 */
export function rootsByConsistency(first: number, size: number, firstRoot: Hash, proof: readonly Hash[]): { first: Hash; second: Hash } | null {
  if (!(first > 0 && first <= size)) return null;
  if (first === size) return proof.length === 0 ? { first: firstRoot, second: firstRoot } : null;
  const isPower = 2 ** Math.floor(Math.log2(first)) === first;
  const [start, ...rest] = isPower ? [firstRoot, ...proof] : proof;
  if (!start) return null;
  let at = { node: first - 1, last: size - 1 };
  const above = ({ node, last }: typeof at) => ({ node: Math.floor(node / 2), last: Math.floor(last / 2) });
  while (at.node % 2 === 1) at = above(at);
  let roots = { first: start, second: start };
  for (const hash of rest) {
    if (at.last === 0) return null;
    if (at.node % 2 === 1 || at.node === at.last) {
      roots = { first: nodeHash(hash, roots.first), second: nodeHash(hash, roots.second) };
      while (at.node % 2 === 0 && at.node !== 0) at = above(at);
    } else roots = { ...roots, second: nodeHash(roots.second, hash) };
    at = above(at);
  }
  return at.last === 0 ? roots : null;
}
