// C2SP signed-note and tlog-checkpoint: reading them, and checking Ed25519 signatures with WebCrypto.

import { equal, sha256 } from "./sha256";
import type { Hash } from "./tree";

/** Why a note or a key cannot be read. */
export class NoteError extends Error {}

/** Signature types of signed-note and tlog-cosignature. */
export const ED25519 = 0x01;
export const COSIGNATURE = 0x04;
export const ML_DSA_44 = 0x06;

export interface Signature {
  readonly name: string;
  /** Eight hexadecimal digits. */
  readonly keyId: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

export interface VerifierKey {
  readonly name: string;
  readonly keyId: string;
  readonly type: number;
  readonly key: Uint8Array<ArrayBuffer>;
  /** `fingerprint` of its text. */
  readonly fingerprint: string;
}

export interface Checkpoint {
  readonly origin: string;
  readonly size: number;
  readonly root: Hash;
  /** What is signed, with its last line break. */
  readonly text: string;
  readonly signatures: readonly Signature[];
}

/** Bytes of standard base64 in its one right form. */
export function base64(text: string, what: string): Uint8Array<ArrayBuffer> {
  if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text)) throw new NoteError(`${what}: not base64`);
  const bytes = Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
  if (btoa(String.fromCharCode(...bytes)) !== text) throw new NoteError(`${what}: base64 with unused bits`);
  return bytes;
}

/** Lower-case hexadecimal. */
export const hex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

/** Bytes as standard base64. */
export const toBase64 = (bytes: Uint8Array): string => btoa(String.fromCharCode(...bytes));

const encoder = new TextEncoder();

/** What tells a verifier key from every other: SHA-256 of its text. The eight digits of its id are too few against who wants to. */
export const fingerprint = (vkey: string): string => hex(sha256(encoder.encode(vkey.trim())));

/** Reads a verifier key, `NAME+ID+KEY`, and checks that the id is the key's. */
export function parseVerifierKey(text: string): VerifierKey {
  const match = /^([^\s+]{1,255})\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(text.trim());
  if (!match) throw new NoteError("a verifier key is NAME+ID+KEY");
  const [, name = "", keyId = "", encoded = ""] = match;
  const bytes = base64(encoded, "verifier key");
  const [type] = bytes;
  if (type === undefined) throw new NoteError("verifier key: empty");
  if (hex(sha256(encoder.encode(`${name}\n`), bytes).slice(0, 4)) !== keyId) throw new NoteError(`the id of the key ${name} is not that key's`);
  return { name, keyId, type, key: bytes.slice(1), fingerprint: fingerprint(text) };
}

/** By what a verifier key verifies, in words. */
export function schemeOf(vkey: string): "Ed25519" | "ML-DSA-44" | "unknown" {
  try {
    const { type } = parseVerifierKey(vkey);
    return type === ED25519 ? "Ed25519" : type === ML_DSA_44 ? "ML-DSA-44" : "unknown";
  } catch {
    return "unknown";
  }
}

/** Reads a signed checkpoint. */
export function parseCheckpoint(note: string): Checkpoint {
  const split = note.indexOf("\n\n— ");
  if (split < 0) throw new NoteError("checkpoint: no signature");
  const text = note.slice(0, split + 1);
  const [origin = "", size = "", root = "", ...extensions] = text.slice(0, -1).split("\n");
  if (origin === "") throw new NoteError("checkpoint: no origin");
  if (!/^(0|[1-9]\d{0,15})$/.test(size) || !Number.isSafeInteger(Number(size))) throw new NoteError("checkpoint: no size");
  if (extensions.length > 0) throw new NoteError("checkpoint: lines that are not known");
  const hash = base64(root, "checkpoint: root");
  if (hash.length !== 32) throw new NoteError("checkpoint: the root has 32 bytes");
  const lines = note.slice(split + 2).split("\n");
  if (lines.pop() !== "") throw new NoteError("checkpoint: cut at its end");
  const signatures = lines.map((line) => {
    const match = /^— ([^\s+]+) (\S+)$/.exec(line);
    const bytes = base64(match?.[2] ?? "-", "checkpoint: signature");
    if (!match?.[1] || bytes.length < 5) throw new NoteError("checkpoint: a line that is no signature");
    return { name: match[1], keyId: hex(bytes.slice(0, 4)), bytes: bytes.slice(4) };
  });
  return { origin, size: Number(size), root: hash, text, signatures };
}

/** What came of checking a signature. `unknown`: by nobody whose key is here. `unchecked`: this browser cannot. */
export type Outcome = "valid" | "invalid" | "unknown" | "unchecked";

export interface Checked {
  readonly name: string;
  readonly keyId: string;
  readonly scheme: "Ed25519" | "Ed25519 cosignature" | "ML-DSA-44" | "unknown";
  readonly outcome: Outcome;
  /** `fingerprint` of the key that was looked at; none where nobody's is here. */
  readonly key: string | null;
  /** When a witness says that it saw the checkpoint: RFC 3339. */
  readonly at?: string;
}

async function verifyEd25519(key: Uint8Array<ArrayBuffer>, signature: Uint8Array<ArrayBuffer>, text: Uint8Array<ArrayBuffer>): Promise<Outcome> {
  if (signature.length !== 64 || key.length !== 32) return "invalid";
  try {
    const imported = await crypto.subtle.importKey("raw", key, { name: "Ed25519" }, false, ["verify"]);
    return (await crypto.subtle.verify({ name: "Ed25519" }, imported, signature, text)) ? "valid" : "invalid";
  } catch (error) {
    // Older browsers have no Ed25519. A key that is no point of the curve is another matter.
    return error instanceof DOMException && error.name === "NotSupportedError" ? "unchecked" : "invalid";
  }
}

/** Checks each signature of a checkpoint against the keys. */
export async function checkSignatures(checkpoint: Checkpoint, keys: readonly VerifierKey[]): Promise<Checked[]> {
  return Promise.all(checkpoint.signatures.map(async (signature): Promise<Checked> => {
    const { name, keyId, bytes } = signature;
    const key = keys.find((key) => key.name === name && key.keyId === keyId);
    if (!key) return { name, keyId, scheme: "unknown", outcome: "unknown", key: null };
    const by = { name, keyId, key: key.fingerprint };
    if (key.type === ED25519) {
      return { ...by, scheme: "Ed25519", outcome: await verifyEd25519(key.key, bytes, encoder.encode(checkpoint.text)) };
    }
    if (key.type === COSIGNATURE && bytes.length === 72) {
      const time = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0);
      const text = encoder.encode(`cosignature/v1\ntime ${time}\n${checkpoint.text}`);
      const outcome = await verifyEd25519(key.key, bytes.slice(8), text);
      return { ...by, scheme: "Ed25519 cosignature", outcome, at: new Date(Number(time) * 1000).toISOString() };
    }
    return { ...by, scheme: key.type === ML_DSA_44 ? "ML-DSA-44" : "unknown", outcome: "unchecked" };
  }));
}

/** Whether two roots are the same. */
export const sameRoot = (a: Hash, b: Hash): boolean => equal(a, b);
