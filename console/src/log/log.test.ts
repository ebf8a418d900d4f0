import { createHash, generateKeyPairSync, sign } from "node:crypto";
import { describe, expect, test } from "vitest";
import { base64, checkSignatures, fingerprint, hex, NoteError, parseCheckpoint, parseVerifierKey, schemeOf, toBase64 } from "./note";
import { agreesWithWebCrypto, equal, sha256 } from "./sha256";
import { groups, TILE_WIDTH, tilePath, Tiles, type Fetch } from "./tiles";
import { consistencyProof, emptyRoot, Frontier, inclusionProof, leafHash, nodeHash, rootByInclusion, rootOf, rootsByConsistency, type Hash } from "./tree";
import { verify, type Options, type Remembered } from "./verify";

const bytes = (text: string) => Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));

describe("SHA-256", () => {
  test("agrees with node's on every length around a block", () => {
    for (let length = 0; length < 200; length += 1) {
      const text = Uint8Array.from({ length }, (_, index) => index ^ length);
      expect(hex(sha256(text))).toBe(createHash("sha256").update(text).digest("hex"));
      expect(hex(sha256(text.slice(0, 7), text.slice(7)))).toBe(hex(sha256(text)));
    }
  });
  test("and with WebCrypto's", async () => expect(await agreesWithWebCrypto()).toBe(true));
});

// The vectors of the Certificate Transparency reference implementation (merkletree, Apache-2.0): eight leaves and their roots.
const LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"].map(bytes);
const ROOTS = [
  "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
  "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
  "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
  "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
  "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
  "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
  "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
  "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

function nodesOf(hashes: readonly Hash[]) {
  return (height: number, index: number): Promise<Hash> => {
    const frontier = new Frontier();
    for (const hash of hashes.slice(index * 2 ** height, (index + 1) * 2 ** height)) frontier.append(hash);
    return Promise.resolve(frontier.root());
  };
}

describe("the tree", () => {
  const hashes = LEAVES.map(leafHash);

  test("of no leaf", () => expect(hex(emptyRoot())).toBe("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"));

  test("has the roots of the vectors", async () => {
    for (const [index, root] of ROOTS.entries()) {
      const frontier = new Frontier();
      for (const hash of hashes.slice(0, index + 1)) frontier.append(hash);
      expect(hex(frontier.root())).toBe(root);
      expect(hex(await rootOf(nodesOf(hashes), index + 1))).toBe(root);
    }
  });

  test("has the proof of the vectors", async () => {
    const proof = await inclusionProof(nodesOf(hashes), 5, 8);
    expect(proof.map(hex)).toEqual([
      "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
      "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
      "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]);
  });

  test("every leaf of every size is proved, and by no other proof", async () => {
    const many = Array.from({ length: 40 }, (_, index) => leafHash(Uint8Array.of(index)));
    for (let size = 1; size <= many.length; size += 1) {
      const root = await rootOf(nodesOf(many), size);
      for (let index = 0; index < size; index += 1) {
        const proof = await inclusionProof(nodesOf(many), index, size);
        const of = (leaf: number, at: number, path: Hash[]) => rootByInclusion(many[leaf] as Hash, at, size, path);
        expect(equal(of(index, index, proof) ?? emptyRoot(), root)).toBe(true);
        const other = of((index + 1) % many.length, index, proof);
        expect(other !== null && equal(other, root)).toBe(false);
        expect(of(index, index, [...proof, root])).toBeNull();
        if (proof.length > 0) expect(of(index, index, proof.slice(1))).toBeNull();
      }
    }
  });

  test("has the proofs of consistency of the vectors", async () => {
    const of = async (first: number, size: number) => (await consistencyProof(nodesOf(hashes), first, size)).map(hex);
    expect(await of(1, 1)).toEqual([]);
    expect(await of(1, 8)).toEqual([
      "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
      "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
      "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ]);
    expect(await of(6, 8)).toEqual([
      "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
      "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
      "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]);
    expect(await of(2, 5)).toEqual(["5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e", "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"]);
  });

  test("every beginning of every size is proved, and no other one is", async () => {
    const many = Array.from({ length: 40 }, (_, index) => leafHash(Uint8Array.of(index)));
    for (let size = 1; size <= many.length; size += 1) {
      const second = await rootOf(nodesOf(many), size);
      for (let first = 1; first <= size; first += 1) {
        const root = await rootOf(nodesOf(many), first);
        const proof = await consistencyProof(nodesOf(many), first, size);
        const isProof = (root: Hash, path: Hash[]) => {
          const roots = rootsByConsistency(first, size, root, path);
          return roots !== null && equal(roots.first, root) && equal(roots.second, second);
        };
        expect(isProof(root, proof)).toBe(true);
        expect(isProof(emptyRoot(), proof)).toBe(false);
        expect(isProof(root, [...proof, second])).toBe(false);
        if (proof.length > 0) expect(isProof(root, proof.slice(1))).toBe(false);
        for (const index of proof.keys()) expect(isProof(root, proof.with(index, emptyRoot()))).toBe(false);
      }
    }
    expect(rootsByConsistency(0, 5, emptyRoot(), [])).toBeNull();
    expect(rootsByConsistency(6, 5, emptyRoot(), [])).toBeNull();
  });

  test("a subtree is taken where it may stand", () => {
    const frontier = new Frontier();
    frontier.append(emptyRoot());
    expect(() => frontier.append(emptyRoot(), 1)).toThrow(RangeError);
  });
});

test("tiles have the names of tlog-tiles", () => {
  expect(groups(1_234_067)).toBe("x001/x234/067");
  expect(groups(0)).toBe("000");
  expect(tilePath(0, 0, 41)).toBe("tile/0/000.p/41");
  expect(tilePath(0, 0, 256)).toBe("tile/0/000");
  expect(tilePath(1, 0, 70_000)).toBe("tile/1/000");
  expect(tilePath(1, 1, 70_000)).toBe("tile/1/001.p/17");
  expect(tilePath("entries", 273, 70_000)).toBe("tile/entries/273.p/112");
});

const newKeys = () => generateKeyPairSync("ed25519");

/** What a browser remembers of a log. */
const seenOf = (made: { name: string; vkey: string }, size: number, root: string): Remembered => ({ origin: made.name, size, root, at: "2026-11-22T00:00:00Z", key: fingerprint(made.vkey), minimum: 0 });

/** A log of our own, with the key, tiles and entries that a server would serve. */
function log(size: number, { seed = 0, keys = generateKeyPairSync("ed25519"), rewritten, origin = "log.example/1" }: { seed?: number; keys?: ReturnType<typeof newKeys>; rewritten?: number; origin?: string } = {}) {
  const { privateKey, publicKey } = keys;
  const raw = new Uint8Array(publicKey.export({ format: "der", type: "spki" })).slice(-32);
  const name = "log.example/1";
  const keyId = sha256(new TextEncoder().encode(`${name}\n`), Uint8Array.of(1), raw).slice(0, 4);
  const vkey = `${name}+${hex(keyId)}+${toBase64(Uint8Array.of(1, ...raw))}`;
  const leaves = Array.from({ length: size }, (_, seq) => {
    const leaf = new Uint8Array(102);
    leaf.set(new TextEncoder().encode("wkleaf/1"));
    const view = new DataView(leaf.buffer);
    view.setBigUint64(24, BigInt(seq));
    view.setBigUint64(32, 1_795_362_728_836_409_387n);
    view.setUint16(48, 1);
    view.setUint32(86, seq === rewritten ? seed + 1 : seed);
    return leaf;
  });
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  let row: Hash[] = leaves.map(leafHash);
  const frontier = new Frontier();
  row.forEach((hash) => frontier.append(hash));
  for (let level = 0; row.length > 0; level += 1) {
    for (let tile = 0; tile * TILE_WIDTH < row.length; tile += 1) {
      files.set(tilePath(level, tile, size), concat(row.slice(tile * TILE_WIDTH, (tile + 1) * TILE_WIDTH)));
    }
    const above: Hash[] = [];
    for (let tile = 0; (tile + 1) * TILE_WIDTH <= row.length; tile += 1) {
      let hashes = row.slice(tile * TILE_WIDTH, (tile + 1) * TILE_WIDTH);
      while (hashes.length > 1) hashes = hashes.flatMap((hash, at) => (at % 2 === 0 ? [nodeHash(hash, hashes[at + 1] as Hash)] : []));
      above.push(hashes[0] as Hash);
    }
    row = above;
  }
  for (let tile = 0; tile * TILE_WIDTH < size; tile += 1) {
    files.set(tilePath("entries", tile, size), concat(leaves.slice(tile * TILE_WIDTH, (tile + 1) * TILE_WIDTH).flatMap((leaf) => [Uint8Array.of(0, 102), leaf])));
  }
  const text = `${origin}\n${size}\n${toBase64(frontier.root())}\n`;
  const signature = toBase64(Uint8Array.of(...keyId, ...sign(null, new TextEncoder().encode(text), privateKey)));
  files.set("checkpoint", new TextEncoder().encode(`${text}\n— ${name} ${signature}\n`));
  const fetch: Fetch = (path) => {
    const file = files.get(path);
    return file ? Promise.resolve(file) : Promise.reject(new Error(`no ${path}`));
  };
  const options: Options = { logKeys: [vkey], remembered: null, whole: true, record: null, minimum: 0 };
  return { files, fetch, options, vkey, root: toBase64(frontier.root()), name };
}

function concat(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  parts.reduce((at, part) => (all.set(part, at), at + part.length), 0);
  return all;
}

const outcome = async (made: ReturnType<typeof log>, more: Partial<Options> = {}) => {
  const { isIntact, verdict, leaves, steps } = await verify(made.fetch, { ...made.options, ...more });
  expect(isIntact).toBe(verdict === "intact");
  return { verdict, leaves, steps: Object.fromEntries(steps.map((step) => [step.name, step.state])) };
};

describe("a log is verified", () => {
  test.each([1, 2, 255, 256, 257, 1000, 65_536 + 300])("of %i records, whole", async (size) => {
    expect(await outcome(log(size), { record: size - 1 })).toEqual({
      verdict: "intact", leaves: size, steps: { signature: "passed", key: "skipped", edge: "passed", consistency: "skipped", tree: "passed", record: "passed" },
    });
  });

  test("and with the one that was seen before", async () => {
    const made = log(600);
    const tiles = new Tiles(made.fetch, 600, base64(made.root, "root"));
    const seen = async (size: number) => seenOf(made, size, toBase64(await rootOf(tiles.node, size)));
    for (const size of [1, 255, 256, 300, 599, 600]) {
      expect((await outcome(made, { remembered: await seen(size) })).steps["consistency"]).toBe("passed");
    }
    expect((await outcome(made, { remembered: { ...(await seen(300)), size: 301 } })).verdict).toBe("failed");
    expect((await outcome(made, { remembered: { ...(await seen(300)), size: 601 } })).steps["consistency"]).toBe("failed");
    expect((await outcome(made, { remembered: { ...(await seen(300)), origin: "other" } })).steps["consistency"]).toBe("failed");
  });

  test("a bit that was changed is found, wherever it stands", async () => {
    const size = 700;
    const whole = log(size);
    for (const path of whole.files.keys()) {
      if (path === "checkpoint") continue;
      const made = log(size);
      const file = made.files.get(path) ?? new Uint8Array();
      // Not in the length of an entry: that is another error.
      file[file.length - 1] = (file[file.length - 1] ?? 0) ^ 1;
      expect((await outcome(made)).verdict, path).toBe("failed");
    }
  });

  test("another history under the same key's name is refused", async () => {
    const [made, other] = [log(10), log(10, { seed: 1 })];
    expect((await outcome({ ...made, options: other.options })).steps["signature"]).toBe("failed");
    const mixed = new Map(other.files);
    mixed.set("checkpoint", made.files.get("checkpoint") ?? new Uint8Array());
    const fetch: Fetch = (path) => Promise.resolve(mixed.get(path) ?? new Uint8Array());
    expect((await outcome({ ...made, fetch })).steps).toMatchObject({ signature: "passed", edge: "failed", tree: "failed" });
  });

  test("a signature that does not fit is refused", async () => {
    const made = log(3);
    const note = new TextDecoder().decode(made.files.get("checkpoint"));
    made.files.set("checkpoint", new TextEncoder().encode(note.replace("\n3\n", "\n2\n")));
    expect((await outcome(made, { record: 1 }))).toEqual({
      verdict: "failed", leaves: 0, steps: { signature: "failed", edge: "unreadable", consistency: "skipped", tree: "unreadable", record: "unreadable" },
    });
  });

  test("that grows meanwhile: partial tiles of before are gone", async () => {
    const [made, grown] = [log(300), log(420)];
    let asked = 0;
    // The same leaves; the key of a log of the tests is its own, so that the older checkpoint stays the one that is verified.
    const fetch: Fetch = (path) => {
      asked += path === "checkpoint" ? 1 : 0;
      const file = path === "checkpoint" ? (asked === 1 ? made : grown).files.get(path) : grown.files.get(path);
      return file ? Promise.resolve(file) : Promise.reject(new Error(`no ${path}`));
    };
    expect(await outcome({ ...made, fetch }, { record: 299 })).toMatchObject({ verdict: "intact", steps: { edge: "passed", tree: "passed", record: "passed" } });
  });

  const prune = (made: ReturnType<typeof log>, size: number, tiles: number) => {
    for (let tile = 0; tile < tiles; tile += 1) {
      made.files.delete(tilePath("entries", tile, size));
      made.files.delete(tilePath(0, tile, size));
    }
    return made;
  };

  test("of a pruned log what is left, and that it is not the whole", async () => {
    const made = prune(log(600), 600, 2);
    expect(await outcome(made, { minimum: 512 })).toMatchObject({ verdict: "pruned", leaves: 88, steps: { tree: "passed", retention: "skipped" } });
    expect(await outcome(made, { minimum: 512, record: 599 })).toMatchObject({ verdict: "pruned", steps: { record: "passed" } });
    expect(await outcome(made, { minimum: 512, record: 270 })).toMatchObject({ verdict: "unproved", steps: { record: "skipped" } });
    // Without the claim the leaves are missing.
    expect(await outcome(made)).toMatchObject({ verdict: "failed", steps: { tree: "unreadable" } });
  });

  test("and what the server says of retention is compared, too", async () => {
    const made = prune(log(600), 600, 2);
    const seen = seenOf(made, 600, made.root);
    expect(await outcome(made, { minimum: 512, remembered: seen })).toMatchObject({ verdict: "pruned", steps: { retention: "changed" } });
    expect(await outcome(made, { minimum: 512, remembered: { ...seen, minimum: 512 } })).toMatchObject({ verdict: "pruned", steps: { retention: "skipped" } });
  });

  test("a server that says everything was let go of has no leaf verified", async () => {
    expect(await outcome(log(512), { minimum: 512 })).toMatchObject({ verdict: "pruned", leaves: 0 });
    expect(await outcome(log(600), { minimum: 1e15 })).toMatchObject({ leaves: 88 });
  });

  test("a leaf that is there is proved, whatever the server says of retention", async () => {
    expect(await outcome(log(600), { minimum: 512, record: 270, whole: false })).toMatchObject({ verdict: "root", steps: { record: "passed" } });
  });

  test("the root alone is not the whole", async () => {
    expect(await outcome(log(600), { whole: false })).toMatchObject({ verdict: "root", leaves: 0 });
    expect(await outcome(log(600), { whole: false, record: 3 })).toMatchObject({ verdict: "root", steps: { record: "passed" } });
  });

  test("a record that was asked for and is not there is not proved", async () => {
    for (const whole of [true, false]) expect(await outcome(log(600), { record: 999_999, whole })).toMatchObject({ verdict: "unproved", steps: { record: "skipped" } });
  });

  test("a log of no record proves nothing", async () => {
    expect(await outcome(log(0))).toMatchObject({ verdict: "empty", leaves: 0 });
    const made = log(0);
    expect((await outcome(made, { remembered: seenOf(made, 10, made.root) })).verdict).toBe("failed");
  });

  test("a key of another name than the log's is none of its keys", async () => {
    expect(await outcome(log(10, { origin: "other.example/2" }))).toMatchObject({ verdict: "failed", steps: { signature: "failed" } });
  });

  test("a witness does not sign in the log's place", async () => {
    const made = log(10);
    const { privateKey, publicKey } = newKeys();
    const raw = new Uint8Array(publicKey.export({ format: "der", type: "spki" })).slice(-32);
    const encode = (text: string) => new TextEncoder().encode(text);
    const keyId = sha256(encode(`${made.name}\n`), Uint8Array.of(4), raw).slice(0, 4);
    const vkey = `${made.name}+${hex(keyId)}+${toBase64(Uint8Array.of(4, ...raw))}`;
    const text = `${made.name}\n10\n${made.root}\n`;
    const time = new Uint8Array(8);
    new DataView(time.buffer).setBigUint64(0, 1_795_362_728n);
    const signature = sign(null, encode(`cosignature/v1\ntime 1795362728\n${text}`), privateKey);
    made.files.set("checkpoint", encode(`${text}\n— ${made.name} ${toBase64(Uint8Array.of(...keyId, ...time, ...signature))}\n`));
    const { signatures } = await verify(made.fetch, { ...made.options, logKeys: [vkey] });
    expect(signatures).toMatchObject([{ scheme: "Ed25519 cosignature", outcome: "valid" }]);
    expect(await outcome(made, { logKeys: [vkey] })).toMatchObject({ verdict: "failed", steps: { signature: "failed" } });
    expect(await outcome(made, { logKeys: [made.vkey, vkey] })).toMatchObject({ verdict: "failed", steps: { signature: "failed" } });
  });

  test("another key than before is said, also under the same name", async () => {
    const [made, other] = [log(10), log(10)];
    const seen = seenOf(other, 10, made.root);
    expect(await outcome(made, { remembered: seen })).toMatchObject({ verdict: "key", steps: { signature: "passed", key: "changed", consistency: "passed" } });
    expect(await outcome(made, { remembered: seenOf(made, 10, made.root) })).toMatchObject({ verdict: "intact", steps: { key: "passed" } });
    // What an earlier console remembered had no key.
    expect(await outcome(made, { remembered: { ...seen, key: null } })).toMatchObject({ verdict: "intact", steps: { key: "skipped" } });
  });

  test("a key that signs beside the known one is not taken up by itself", async () => {
    const [made, other] = [log(10), log(10)];
    const [, second = ""] = new TextDecoder().decode(other.files.get("checkpoint")).split("\n\n");
    made.files.set("checkpoint", new TextEncoder().encode(new TextDecoder().decode(made.files.get("checkpoint")) + second));
    const { key, verdict } = await verify(made.fetch, { ...made.options, logKeys: [other.vkey, made.vkey], remembered: seenOf(made, 10, made.root) });
    expect([key, verdict]).toEqual([fingerprint(made.vkey), "intact"]);
  });

  test("a tile of another length is refused", async () => {
    const made = log(300);
    made.files.set(tilePath(0, 0, 300), new Uint8Array(TILE_WIDTH * 32 + 32));
    expect(await outcome(made)).toMatchObject({ verdict: "failed" });
  });
});

describe("a log that was rewritten by who holds its key", () => {
  // What this browser saw, and the log of now with one tile of the history that was, so that the root of then comes out.
  const rewritten = async (before: number, now: number, record: number, old: readonly string[], whole: boolean) => {
    const keys = newKeys();
    const [was, made] = [log(now, { keys }), log(now, { keys, rewritten: record })];
    const root = await rootOf(new Tiles(was.fetch, now, base64(was.root, "root")).node, before);
    for (const path of old) made.files.set(path, was.files.get(path) ?? new Uint8Array());
    return outcome(made, { whole, remembered: seenOf(made, before, toBase64(root)) });
  };

  test("is found where an old tile of leaves' hashes is served", async () => {
    expect(await rewritten(300, 600, 270, [tilePath(0, 1, 600)], false)).toMatchObject({ verdict: "failed", steps: { edge: "passed", consistency: "failed" } });
  });

  test("is found where an old tile of a higher level is served", async () => {
    expect(await rewritten(65_000, 66_000, 5, [tilePath(1, 0, 66_000)], true)).toMatchObject({ verdict: "failed", steps: { edge: "passed", consistency: "failed" } });
  }, 120_000);

  test("is found where every tile is of the history of now", async () => {
    expect(await rewritten(300, 600, 270, [], true)).toMatchObject({ verdict: "failed", steps: { edge: "passed", consistency: "failed", tree: "passed" } });
  });
});

describe("notes", () => {
  test("the vector of signed-note", async () => {
    // From the C2SP specification, signed-note.
    expect(schemeOf("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")).toBe("Ed25519");
    expect(schemeOf("no key at all")).toBe("unknown");
    const key = parseVerifierKey("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW");
    const text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
    const signed = Uint8Array.from(atob("x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="), (char) => char.charCodeAt(0));
    const signature = { name: "PeterNeumann", keyId: "c74f20a3", bytes: signed.slice(4) };
    const checkpoint = { origin: "", size: 0, root: emptyRoot(), text, signatures: [signature] };
    expect(await checkSignatures(checkpoint, [key])).toMatchObject([{ outcome: "valid" }]);
    expect(await checkSignatures({ ...checkpoint, text: text.replace("I", "i") }, [key])).toMatchObject([{ outcome: "invalid" }]);
  });

  test.each(["", "a", "log\n1\n", "log\n01\nAAAA\n\n— log AAAAAAAA\n", "log\n-1\nx\n\n— log AAAAAAAA\n"])("%j is none", (note) => {
    expect(() => parseCheckpoint(note)).toThrow(NoteError);
  });

  test("a key under another key's id is refused", () => {
    expect(() => parseVerifierKey("PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")).toThrow("not that key's");
  });
});
