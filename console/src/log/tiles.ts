// C2SP tlog-tiles: where hashes lie, and nodes read from there. No hash of a tile is taken before its tile was led to the signed root: a tile
// where the tree ends in it by the root itself, a full one by the hash that the tile above has for it.

import { parseCheckpoint } from "./note";
import { equal } from "./sha256";
import { emptyRoot, nodeHash, type Hash } from "./tree";

/** Hashes of a full tile, and the height of a tile. */
export const TILE_WIDTH = 256;
const TILE_HEIGHT = 8;
const HASH_BYTES = 32;

/** Why a tile cannot be read. */
export class TileError extends Error {}

/** A tile that is not of the tree whose root was signed. */
export class ForgedTile extends TileError {}

/** `x001/x234/067` */
export function groups(index: number): string {
  const digits = String(index).padStart(Math.ceil(String(index).length / 3) * 3, "0");
  const parts = digits.match(/\d{3}/g) ?? [];
  return parts.map((part, at) => (at < parts.length - 1 ? `x${part}` : part)).join("/");
}

/** The path of a tile in a tree of `size` leaves: a partial one where the tree ends in it. */
export function tilePath(level: number | "entries", index: number, size: number): string {
  const width = tileWidth(level, index, size);
  return `tile/${level}/${groups(index)}${width < TILE_WIDTH ? `.p/${width}` : ""}`;
}

/** How many hashes the tile has in a tree of `size` leaves; 0 where it is beyond. */
export function tileWidth(level: number | "entries", index: number, size: number): number {
  const hashes = Math.floor(size / TILE_WIDTH ** (level === "entries" ? 0 : level));
  return Math.max(0, Math.min(TILE_WIDTH, hashes - index * TILE_WIDTH));
}

/** Fetches what lies at a path below the log. */
export type Fetch = (path: string) => Promise<Uint8Array<ArrayBuffer>>;

/** Tiles of leaves' hashes that are kept: a proof reads one of them several times, a whole verification each once. */
const LEAF_TILES_KEPT = 4;

/** Reads the tree of `size` leaves that has this root. */
export class Tiles {
  /** Tiles above the lowest level, of which there is one for 65,536 leaves, and those where the tree ends. */
  private readonly kept = new Map<string, Promise<Hash[]>>();
  private readonly leafTiles = new Map<number, Promise<Hash[]>>();
  private edge: Promise<Hash> | null = null;

  constructor(private readonly fetch: Fetch, readonly size: number, readonly root: Hash) {}

  /** The root that the tree's right edge gives: all hashes of the tiles that are not full. */
  edgeRoot(): Promise<Hash> {
    this.edge ??= this.readEdge();
    return this.edge;
  }

  private async readEdge(): Promise<Hash> {
    let root: Hash | null = null;
    for (let level = 0; TILE_WIDTH ** level <= this.size; level += 1) {
      const hashes = Math.floor(this.size / TILE_WIDTH ** level);
      if (hashes % TILE_WIDTH === 0) continue;
      const tile = await this.edgeTile(level, Math.floor(hashes / TILE_WIDTH));
      // From the right: the smallest full subtree first.
      let end = tile.length;
      for (let width = 1; end > 0; width *= 2) {
        if (Math.floor(end / width) % 2 === 0) continue;
        const subtree = fold(tile.slice(end - width, end));
        root = root === null ? subtree : nodeHash(subtree, root);
        end -= width;
      }
    }
    return root ?? emptyRoot();
  }

  /** Whether the right edge leads to the signed root. */
  async isBound(): Promise<boolean> {
    return equal(await this.edgeRoot(), this.root);
  }

  /** The hashes of a tile of the signed tree. */
  tile(level: number, index: number): Promise<Hash[]> {
    if (tileWidth(level, index, this.size) < TILE_WIDTH) return this.boundEdgeTile(level, index);
    const path = tilePath(level, index, this.size);
    if (level > 0) {
      let tile = this.kept.get(path);
      if (!tile) {
        tile = this.boundTile(level, index);
        this.kept.set(path, tile);
      }
      return tile;
    }
    let tile = this.leafTiles.get(index);
    if (!tile) {
      tile = this.boundTile(level, index);
      const [oldest] = this.leafTiles.keys();
      if (this.leafTiles.size >= LEAF_TILES_KEPT && oldest !== undefined) this.leafTiles.delete(oldest);
      this.leafTiles.set(index, tile);
    }
    return tile;
  }

  private async boundEdgeTile(level: number, index: number): Promise<Hash[]> {
    if (!(await this.isBound())) throw new ForgedTile("the tree's right edge does not lead to the root that was signed");
    return this.edgeTile(level, index);
  }

  private edgeTile(level: number, index: number): Promise<Hash[]> {
    const path = tilePath(level, index, this.size);
    let tile = this.kept.get(path);
    if (!tile) {
      tile = this.hashes(level, index);
      this.kept.set(path, tile);
    }
    return tile;
  }

  private async boundTile(level: number, index: number): Promise<Hash[]> {
    const above = await this.tile(level + 1, Math.floor(index / TILE_WIDTH));
    const tile = await this.hashes(level, index);
    if (!equal(fold(tile), above[index % TILE_WIDTH] ?? emptyRoot())) {
      throw new ForgedTile(`${tilePath(level, index, this.size)} is not of the tree that was signed: the tile above it has another hash for it`);
    }
    return tile;
  }

  /** The hashes that a tile says, led to nothing. */
  async hashes(level: number, index: number): Promise<Hash[]> {
    const path = tilePath(level, index, this.size);
    const width = tileWidth(level, index, this.size);
    if (width === 0) throw new TileError(`${path} is beyond the tree`);
    const bytes = await this.file(level, index);
    if (bytes.length < width * HASH_BYTES || bytes.length > TILE_WIDTH * HASH_BYTES || bytes.length % HASH_BYTES !== 0) {
      throw new TileError(`${path} has ${bytes.length} bytes, and should have ${width * HASH_BYTES}`);
    }
    return Array.from({ length: width }, (_, at) => bytes.subarray(at * HASH_BYTES, (at + 1) * HASH_BYTES));
  }

  /** The tile, or the wider one that took its place: a log that has grown keeps no partial tiles of its earlier sizes. */
  private async file(level: number | "entries", index: number): Promise<Uint8Array<ArrayBuffer>> {
    try {
      return await this.fetch(tilePath(level, index, this.size));
    } catch (error) {
      if (tileWidth(level, index, this.size) === TILE_WIDTH) throw error;
      const { size } = parseCheckpoint(new TextDecoder().decode(await this.fetch("checkpoint")));
      if (size <= this.size) throw error;
      return this.fetch(tilePath(level, index, size));
    }
  }

  /** The hash of the full subtree of 2^height leaves at `index` among those of its height. */
  readonly node = async (height: number, index: number): Promise<Hash> => {
    const level = Math.floor(height / TILE_HEIGHT);
    const within = 2 ** (height - level * TILE_HEIGHT);
    const first = index * within;
    const tile = await this.tile(level, Math.floor(first / TILE_WIDTH));
    const at = first % TILE_WIDTH;
    return fold(tile.slice(at, at + within));
  };

  /** The leaves of a bundle of entries. */
  async entries(index: number): Promise<Uint8Array<ArrayBuffer>[]> {
    const path = tilePath("entries", index, this.size);
    const width = tileWidth("entries", index, this.size);
    const bytes = await this.file("entries", index);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const leaves: Uint8Array<ArrayBuffer>[] = [];
    let at = 0;
    while (at < bytes.length && leaves.length < width) {
      const length = at + 2 <= bytes.length ? view.getUint16(at) : Infinity;
      if (at + 2 + length > bytes.length) throw new TileError(`${path} is cut`);
      leaves.push(bytes.slice(at + 2, at + 2 + length));
      at += 2 + length;
    }
    if (leaves.length !== width) throw new TileError(`${path} has ${leaves.length} entries, and should have ${width}`);
    return leaves;
  }
}

/** The root over hashes of a full subtree: a power of two of them. */
export function fold(hashes: readonly Hash[]): Hash {
  let row = [...hashes];
  while (row.length > 1) {
    const above: Hash[] = [];
    for (let i = 0; i + 1 < row.length; i += 2) above.push(nodeHash(row[i] as Hash, row[i + 1] as Hash));
    if (row.length % 2 === 1) throw new TileError("no full subtree");
    row = above;
  }
  const [root] = row;
  if (!root) throw new TileError("a tile ends before the subtree that it should hold");
  return root;
}
