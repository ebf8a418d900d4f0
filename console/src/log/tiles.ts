// C2SP tlog-tiles: where hashes lie, and nodes read from there.

import { parseCheckpoint } from "./note";
import { nodeHash, type Hash } from "./tree";

/** Hashes of a full tile, and the height of a tile. */
export const TILE_WIDTH = 256;
const TILE_HEIGHT = 8;
const HASH_BYTES = 32;

/** Why a tile cannot be read. */
export class TileError extends Error {}

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

/** Reads a tree of `size` leaves from its tiles. Tiles are kept: a tree's right edge is asked for again and again. */
export class Tiles {
  private readonly kept = new Map<string, Promise<Hash[]>>();

  constructor(private readonly fetch: Fetch, readonly size: number) {}

  /** The hashes of a tile. */
  tile(level: number, index: number): Promise<Hash[]> {
    const path = tilePath(level, index, this.size);
    let tile = this.kept.get(path);
    if (!tile) {
      tile = this.load(level, index);
      this.kept.set(path, tile);
    }
    return tile;
  }

  private async load(level: number, index: number): Promise<Hash[]> {
    const path = tilePath(level, index, this.size);
    const width = tileWidth(level, index, this.size);
    const bytes = await this.file(level, index);
    if (bytes.length < width * HASH_BYTES || bytes.length % HASH_BYTES !== 0) throw new TileError(`${path} has ${bytes.length} bytes, and should have ${width * HASH_BYTES}`);
    return Array.from({ length: width }, (_, index) => bytes.slice(index * HASH_BYTES, (index + 1) * HASH_BYTES));
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
