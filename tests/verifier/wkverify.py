#!/usr/bin/env python3
"""A second verifier of Watchkeeper's ledger, disclosures and evidence bundles.

Written from docs/reference/record-format.md and evidence-bundle.md, and not from the program: so that the pages are enough,
and so that a fault of the program is not also a fault of its verifier. Python 3.11 and its standard library; ML-DSA-44 signatures
are verified where the package `cryptography` is installed, and passed over elsewhere.

    wkverify.py ledger DIR [RECORDS]   DIR/ledger; RECORDS: a disclosure of every record, one a line, in order; its leaf alone where it
                                       was dropped, and a line for several whose leaves were pruned, too
                                       (`watchkeeper evidence disclose --all`); incomplete where it does not tell of every sealed one
    wkverify.py public DIR             a log as it is published, or a copy of that; DIR/ledger of a pruned log, too
    wkverify.py bundle PATH [KEY]      an evidence bundle, a directory or a .tar.gz; KEY: a key of the log, from elsewhere
    wkverify.py disclosure FILE LOGID  a record shown in part, against its own leaf (hex log id)
    wkverify.py batch                  a JSON object for each case on standard input, an answer for each on standard output

Ends with 0 (intact), 1 (tampered: the first fault is named) or 3 (incomplete; or not proved: a bundle that nobody gave a key of
the log for, or one of another log).
"""

import base64
import hashlib
import hmac
import json
import os
import re
import struct
import sys
import tarfile

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey
except ImportError:
    MLDSA44PublicKey = None


class Fault(Exception):
    """The first thing that is wrong."""


def need(condition, what):
    if not condition:
        raise Fault(what)


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def mac(key, *parts):
    return hmac.new(key, b"".join(parts), hashlib.sha256).digest()


def u32(number):
    return struct.pack(">I", number)


def unbase64(text):
    """Base64 in its one right form."""
    try:
        data = base64.b64decode(text, validate=True)
    except (ValueError, TypeError):
        raise Fault("not base64") from None
    need(base64.b64encode(data).decode() == text, "base64 in another than its one form")
    return data


def unhex(text, length=None):
    need(isinstance(text, str) and re.fullmatch("([0-9a-f]{2})*", text, re.ASCII) is not None, "not lower-case hexadecimal")
    data = bytes.fromhex(text)
    need(length is None or len(data) == length, f"not {length} bytes in hexadecimal")
    return data


def unjson(data):
    """JSON without duplicate members, numbers that are none, or text that is no Unicode."""

    def members(pairs):
        need(len({key for key, _ in pairs}) == len(pairs), "JSON with a member twice")
        return dict(pairs)

    def constant(name):
        raise Fault(f"JSON with {name}")

    try:
        text = data.decode("utf-8") if isinstance(data, bytes) else data
        value = json.loads(text, object_pairs_hook=members, parse_constant=constant)
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        raise Fault("not JSON") from None
    return value


def is_number(value, bits):
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << bits


def only(value, *names):
    need(isinstance(value, dict) and sorted(value) == sorted(names), f"not an object with just the members {', '.join(names)}")


# --- Ed25519 by the strict rule of section 7: RFC 8032 without any library.

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
IDENTITY = (0, 1, 1, 0)


def add(one, two):
    a, b = (one[1] - one[0]) * (two[1] - two[0]) % P, (one[1] + one[0]) * (two[1] + two[0]) % P
    c, d = 2 * one[3] * two[3] * D % P, 2 * one[2] * two[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def times(scalar, point):
    result = IDENTITY
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point = add(point, point)
        scalar >>= 1
    return result


def same(one, two):
    return (one[0] * two[2] - two[0] * one[2]) % P == 0 and (one[1] * two[2] - two[1] * one[2]) % P == 0


def point_of(data):
    """The point of an encoding in canonical form, unless it is of small order."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    point = (x, y, 1, x * y % P)
    return None if same(times(8, point), IDENTITY) else point


BASE = point_of((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def ed25519(key, message, signature):
    if len(signature) != 64:
        return False
    a, r, s = point_of(key), point_of(signature[:32]), int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= ORDER:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % ORDER
    return same(times(s, BASE), add(r, times(k, a)))


# --- Keys and notes (sections 6 and 7).

LENGTHS = {1: 32, 4: 32, 6: 1312}


class Key:
    def __init__(self, text):
        match = re.fullmatch("([^\0- +]+)\\+([0-9a-f]{8})\\+([A-Za-z0-9+/=]+)", text)
        need(match is not None, "not a verifier key")
        self.text, self.name, data = text, match[1], unbase64(match[3])
        need(len(self.name.encode()) <= 255 and not any(c.isspace() for c in self.name), "a key with a name that is none")
        self.type, self.public = data[0] if data else 0, data[1:]
        need(LENGTHS.get(self.type) == len(self.public), "a key of an unknown type or length")
        need(self.type == 6 or point_of(self.public) is not None, "a weak key")
        self.id = sha256(self.name.encode(), b"\n", data)[:4]
        need(self.id.hex() == match[2], "a key with another id than it should have")
        self.log_id = sha256(text.encode())[:16]

    def signed(self, text, signature):
        if self.type == 1:
            return ed25519(self.public, text, signature)
        if len(signature) < 8:
            return False
        time, signature = struct.unpack(">Q", signature[:8])[0], signature[8:]
        checkpoint = Checkpoint(text.decode(), extended=True)
        if time >= 1 << 63:
            return False
        if self.type == 4:
            return ed25519(self.public, b"cosignature/v1\ntime %d\n" % time + text, signature)
        if MLDSA44PublicKey is None:
            return True
        name, origin = self.name.encode(), checkpoint.origin.encode()
        need(len(origin) < 256, "an origin of more than 255 bytes")
        message = b"subtree/v1\n\0" + bytes([len(name)]) + name + struct.pack(">Q", time) + bytes([len(origin)]) + origin
        message += struct.pack(">QQ", 0, checkpoint.size) + checkpoint.root
        try:
            MLDSA44PublicKey.from_public_bytes(self.public).verify(signature, message)
        except InvalidSignature:
            return False
        return True


class Note:
    def __init__(self, data):
        need(len(data) <= 512 * 1024, "a note that is too long")
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            raise Fault("a note that is not UTF-8") from None
        need(not any(c < " " and c != "\n" for c in text), "a note with control characters")
        blank = text.rfind("\n\n")
        need(blank >= 0 and text.endswith("\n") and len(text) > blank + 2, "a note without signatures")
        self.text, self.signatures = text[: blank + 1].encode(), []
        for line in text[blank + 2 : -1].split("\n"):
            match = re.fullmatch("\u2014 ([^ +]+) ([A-Za-z0-9+/=]+)", line)
            need(match is not None, "a line that is no signature")
            data = unbase64(match[2])
            need(len(data) >= 5, "a signature that is too short")
            need(len(match[1].encode()) <= 255 and not any(c.isspace() for c in match[1]), "a signature by no name")
            self.signatures.append((match[1], data[:4], data[4:]))
        need(len(self.signatures) <= 128, "a note with more than 128 signatures")

    def by(self, key):
        return [signature for name, key_id, signature in self.signatures if (name, key_id) == (key.name, key.id)]

    def verify(self, key):
        signatures = self.by(key)
        need(signatures, f"a note that {key.name} {key.id.hex()} did not sign")
        for signature in signatures:
            need(key.signed(self.text, signature), f"a wrong signature by {key.name} {key.id.hex()}")


class Checkpoint:
    def __init__(self, text, extended=False):
        match = re.fullmatch("([^\n]+)\n(0|[1-9][0-9]*)\n([A-Za-z0-9+/=]+)\n((?:[^\n]+\n)*)", text)
        need(match is not None and (extended or not match[4]), "not a checkpoint")
        self.origin, self.size, self.root = match[1], int(match[2]), unbase64(match[3])
        need(len(self.root) == 32 and self.size < 1 << 64, "not a checkpoint")


class Chain:
    """The public keys of a log over its life: (keys, from, last)."""

    def __init__(self, first, rotations):
        need(first.endswith(b"\n"), "vkey: not lines of text")
        try:
            keys = [Key(line) for line in first.decode("utf-8")[:-1].split("\n")]
            rotations = rotations.decode("utf-8")
        except UnicodeDecodeError:
            raise Fault("keys that are not text") from None
        self.origin = keys[0].name
        self.check_pair(keys)
        self.generations, self.statements = [[keys, 0, None]], []
        paragraphs = rotations.split("\n\n")
        need(not rotations or paragraphs.pop() == "", "keys: not whole")
        need(not rotations or len(paragraphs) % 3 == 0, "keys: not three paragraphs for each rotation")
        for at in range(0, len(paragraphs) if rotations else 0, 3):
            self.rotate(paragraphs[at] + "\n", paragraphs[at + 1] + "\n\n" + paragraphs[at + 2] + "\n")
        self.first = keys[0]

    def check_pair(self, keys):
        need([key.type for key in keys] in ([1], [1, 6]), "keys of other types than 0x01 and 0x06")
        need(all(key.name == self.origin for key in keys) and len(self.origin.encode()) <= 250, "keys of another name")

    def rotate(self, statement, note):
        number = len(self.generations)
        match = re.fullmatch("watchkeeper/keys/1\n(\\d+)\nfrom (\\d+)\nlast (\\d+)\n((?:[^\n]+\n){1,2})", statement, re.ASCII)
        need(match is not None and all(str(int(text)) == text for text in match.groups()[:3]), f"rotation {number}: not a statement")
        count, start, last = (int(text) for text in match.groups()[:3])
        keys = [Key(line) for line in match[4].splitlines()]
        self.check_pair(keys)
        known = [key for generation in self.generations for key in generation[0]]
        need(not any(key.public == old.public or key.id == old.id for key in keys for old in known), "a key that comes twice")
        before = max(self.generations[-1][1], self.generations[-2][2] if number > 1 else 0) if number > 1 else 0
        need(count == number and start > before and last + 1 >= start and last < 1 << 64, f"rotation {number}: wrong sizes")
        signers = self.generations[-1][0] + keys
        self.generations[-1][2] = last
        self.generations.append([keys, start, None])
        self.statements.append(sha256(b"\0", statement.encode()))
        note = Note(note.encode())
        root = base64.b64encode(root_of(self.statements)).decode()
        need(note.text == f"{self.origin}/keys\n{number}\n{root}\n".encode(), f"rotation {number}: another checkpoint")
        need([entry[:2] for entry in note.signatures] == [(key.name, key.id) for key in signers], "other signers")
        for key in signers:
            note.verify(key)

    def open(self, data, exact=None):
        """A checkpoint of the log; `exact`: the types of key that sign it, in order and alone."""
        note = Note(data)
        checkpoint = Checkpoint(note.text.decode(), extended=exact is None)
        need(checkpoint.origin == self.origin, "a checkpoint of another log")
        types = exact or (1, 6)
        due = [
            key
            for keys, start, last in self.generations
            if start <= checkpoint.size and (last is None or checkpoint.size <= last)
            for key in keys
            if key.type in types
        ]
        others = [key for keys, _, _ in self.generations for key in keys if key.type in types and key not in due]
        for key in others:
            need(not note.by(key), f"a checkpoint of {checkpoint.size} records that a retired key signed, {key.id.hex()}")
        for key in due:
            note.verify(key)
        if exact:
            need([entry[:2] for entry in note.signatures] == [(key.name, key.id) for key in due], "other signatures")
        return checkpoint, note


# --- The tree (RFC 6962, section 2.1).


def node(left, right):
    return sha256(b"\1", left, right)


def root_of(hashes):
    stack = []
    for count, leaf in enumerate(hashes):
        while count & 1:
            leaf, count = node(stack.pop(), leaf), count >> 1
        stack.append(leaf)
    if not stack:
        return sha256()
    root = stack.pop()
    while stack:
        root = node(stack.pop(), root)
    return root


def included(leaf, index, size, path, root):
    """RFC 9162, section 2.1.3.2."""
    if index >= size:
        return False
    first, last, found = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if first & 1 or first == last:
            found = node(sibling, found)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            found = node(found, sibling)
        first, last = first >> 1, last >> 1
    return last == 0 and found == root


def grown(old, old_root, size, root, path):
    """RFC 9162, section 2.1.4.2; `old` is 1 at least."""
    if old >= size:
        return old == size and not path and old_root == root
    path = list(path) if old & (old - 1) else [old_root, *path]
    if not path:
        return False
    first, last = old - 1, size - 1
    while first & 1:
        first, last = first >> 1, last >> 1
    was = now = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if first & 1 or first == last:
            was, now = node(sibling, was), node(sibling, now)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            now = node(now, sibling)
        first, last = first >> 1, last >> 1
    return last == 0 and was == old_root and now == root


# --- Leaves, fields and contents (sections 2 to 4).

KINDS = (
    "model_call guardrail retrieval tool_call agent_step installation data_access system_prompt external_call admin session evaluation "
    "detection response_action gap"
).split()


class Leaf:
    def __init__(self, data):
        need(len(data) == 102 and data[:8] == b"wkleaf/1", "not a leaf")
        self.log_id, self.hash = data[8:24], sha256(b"\0", data)
        self.seq, self.time, self.observed, self.kind, self.fields = struct.unpack(">QQQHI", data[24:54])
        self.root, self.blind = data[54:86], data[86:]


def field_hash(path, kind, value, salt):
    head = u32(len(path)) + path
    commitment = mac(salt, b"wkleaf/1 field", head, bytes([kind]), u32(len(value)), value)
    return sha256(b"\0", head, commitment)


TOKEN = re.compile(
    rb"<([A-Z][A-Z0-9_]{0,31}(?::[A-Z][A-Z0-9_]{0,31})?):[A-Za-z0-9.-]{1,16}:[a-z2-7]{32}(?:[@:][A-Za-z0-9.+_-]{1,64})?>"
)


def take_apart(text):
    """Template and tokens: (offset in the template, token)."""
    template, spans, copied = b"", [], 0
    for match in TOKEN.finditer(text):
        if len(match[0]) > 176:
            continue
        template += text[copied : match.start()]
        spans.append((len(template), match[0]))
        template += b"<" + match[1] + b":erased>"
        copied = match.end()
    return template + text[copied:], spans


def span_hash(salt, offset, token):
    return mac(salt, u32(offset), u32(len(token)), token)


def content_id(template_salt, spans, template):
    return sha256(b"wkc/2", template_salt, u32(len(spans)), *spans, template)


def id_of_text(salt, text):
    template, spans = take_apart(text)
    hashes = [span_hash(mac(salt, b"wkc/2 span", u32(j)), *span) for j, span in enumerate(spans)]
    return content_id(mac(salt, b"wkc/2 template")[:16], hashes, template)


class Content:
    """A content as section 11 writes it."""

    def __init__(self, value):
        need(isinstance(value, dict) and isinstance(value.get("id"), str), "a content without id")
        self.id = unhex(value["id"].lower(), 32)
        need(self.id != bytes(32), "an id of zeros")
        self.subject, self.length, self.spans, self.gone = None, None, None, set(value) == {"id"}
        if self.gone:
            self.intact = True
            return
        need(isinstance(value.get("subject"), str), "a content without subject")
        self.subject = unhex(value["subject"].lower(), 16)
        need(self.subject != bytes(16), "a subject of zeros")
        if set(value) == {"id", "subject", "salt", "text"}:
            need(isinstance(value["text"], str), "a text that is none")
            text = value["text"].encode()
            self.length, self.intact = len(text), id_of_text(unhex(value["salt"], 16), text) == self.id
            return
        only(value, "id", "subject", "template_salt", "template", "spans")
        need(isinstance(value["template"], str) and isinstance(value["spans"], list), "a template that is none")
        template, hashes, self.spans, whole, copied = value["template"].encode(), [], [], b"", 0
        for span in value["spans"]:
            if isinstance(span, dict) and set(span) == {"commitment"}:
                hashes.append(unhex(span["commitment"], 32))
                self.spans.append(False)
                continue
            only(span, "offset", "token", "salt")
            need(is_number(span["offset"], 32) and isinstance(span["token"], str), "a token that is none")
            token, offset = span["token"].encode(), span["offset"]
            hashes.append(span_hash(unhex(span["salt"], 32), offset, token))
            self.spans.append(True)
            placeholder = take_apart(token)[0]
            if offset >= copied and template[offset:].startswith(placeholder):
                whole, copied = whole + template[copied:offset] + token, offset + len(placeholder)
        if all(self.spans):
            self.length = len(whole) + len(template) - copied
        self.intact = content_id(unhex(value["template_salt"], 16), hashes, template) == self.id


def number_of(text):
    return int(text) if re.fullmatch("[ \t\r\n]*(0|[1-9][0-9]*)[ \t\r\n]*", text, re.ASCII) else None


class Disclosure:
    """Section 12. `verdicts` gives one for each part: disclosed, withheld, erased:N, tampered or unknown."""

    def __init__(self, data):
        value = unjson(data)
        only(value, "format", "leaf", "hashes", "fields", "contents", "withheld")
        need(value["format"] == "wkdisclosure/1", "a disclosure of another format")
        self.leaf_bytes = unhex(value["leaf"], 102)
        for name in ("hashes", "fields", "contents", "withheld"):
            need(isinstance(value[name], list), f"{name} that are no list")
        self.hashes = [unhex(text, 32) for text in value["hashes"]]
        self.fields = value["fields"]
        for field in self.fields:
            only(field, "index", "path", "type", "value", "salt")
            texts = isinstance(field["path"], str) and isinstance(field["value"], str)
            need(texts and is_number(field["index"], 32) and is_number(field["type"], 8), "a field that is none")
            field["salt"] = unhex(field["salt"], 32)
        self.contents = [Content(content) for content in value["contents"]]
        need(all(isinstance(what, str) for what in value["withheld"]), "withheld things that are no texts")
        self.withheld = set(value["withheld"])

    def open(self, path):
        return next((field for field in self.fields if field["path"] == path), None)

    def agrees(self, field, leaf):
        path, value, is_last = field["path"], field["value"], field["index"] + 1 == len(self.hashes)
        if path == "/time":
            return number_of(value) == leaf.time
        if path == "/observed":
            return number_of(value) == leaf.observed
        if path == "/kind":
            kind = safely(lambda: unjson(value))
            return kind in KINDS and KINDS.index(kind) + 1 == leaf.kind
        if path == "contents":
            return is_last and field["type"] == 2 and len(value) % 104 == 0
        return path.startswith("/") and field["type"] != 2 and not is_last

    def verdict_of(self, field, leaf):
        if not self.agrees(field, leaf):
            return False
        value = field["value"].encode() if field["type"] == 1 else safely(lambda: unhex(field["value"])) if field["type"] == 2 else None
        if value is None:
            return False
        return field_hash(field["path"].encode(), field["type"], value, field["salt"]) == self.hashes[field["index"]]

    def references(self, judged):
        """What the record brings and refers to: id to (subject, length), and in order the ids."""
        order, bound = [], {}

        def take(field, triples):
            for content, subject, length in triples:
                if content not in order:
                    order.append(content)
                if judged is not None and field["index"] < len(judged) and judged[field["index"]] == "disclosed":
                    bound[content] = (subject, length)

        brought, pieces = self.open("contents"), []
        if brought is not None:
            items = safely(lambda: unhex(brought["value"])) or b""
            items = [items[at : at + 52] for at in range(0, len(items) - 51, 52)]
            listed = [(item[:32], item[32:48], struct.unpack(">I", item[48:])[0]) for item in items]
            listed = [item for item in listed if item[0] != bytes(32) and item[1] != bytes(16)]
        for field in self.fields:
            if field["path"].startswith("/pieces/"):
                reference = safely(lambda: reference_of(unjson(field["value"])))
                if reference:
                    pieces.append((field, reference))
        if brought is not None:
            for item in listed:
                if item[0] not in order:
                    order.append(item[0])
        for field, reference in pieces:
            take(field, [reference])
        if brought is not None:
            take(brought, listed)
        return order, bound

    def verdicts(self, log_id, erasures):
        leaf = Leaf(self.leaf_bytes)
        need(leaf.log_id == log_id, "a record of another log")

        def absent(what, covering=()):
            for name in (what, *covering):
                key = (None if name.startswith("content/") else leaf.seq, name)
                if key in erasures:
                    return f"erased:{erasures[key]}"
            return "withheld" if what in self.withheld else "unknown"

        if len(self.hashes) == leaf.fields and root_of(self.hashes) == leaf.root:
            fields = [absent(f"field/{index}", ["event"]) for index in range(len(self.hashes))]
            indices, paths = set(), set()
            for field in self.fields:
                twice = field["index"] in indices or field["path"] in paths
                indices.add(field["index"])
                paths.add(field["path"])
                if field["index"] >= len(fields):
                    fields = ["tampered"] * len(fields)
                    break
                good = not twice and self.verdict_of(field, leaf)
                fields[field["index"]] = "disclosed" if good else "tampered"
        else:
            fields = ["tampered"] * max(1, len(self.hashes))
        parts = [(f"field/{index}", verdict) for index, verdict in enumerate(fields)]
        order, bound = self.references(fields)
        seen = set()
        for content in self.contents:
            name, twice = f"content/{content.id.hex()}", content.id in seen
            seen.add(content.id)
            if content.gone:
                parts.append((name, absent(name)))
                continue
            subject, length = bound.get(content.id, (None, None))
            if twice or subject != content.subject or content.length not in (None, length) or not content.intact:
                parts.append((name, "tampered"))
                continue
            parts.append((name, "disclosed"))
            for j, is_open in enumerate(content.spans or []):
                span = f"{name}/span/{j}"
                parts.append((span, "disclosed" if is_open else absent(span)))
        for content in order:
            if content not in seen:
                seen.add(content)
                name = f"content/{content.hex()}"
                parts.append((name, absent(name)))
        return leaf, parts


def reference_of(piece):
    reference = piece.get("content") if isinstance(piece, dict) else None
    if not isinstance(reference, dict) or not is_number(reference.get("bytes"), 32):
        return None
    content, subject = unhex(reference["id"].lower(), 32), unhex(reference["subject"].lower(), 16)
    return (content, subject, reference["bytes"]) if any(content) and any(subject) else None


def safely(what):
    try:
        return what()
    except (Fault, AttributeError, KeyError, TypeError):
        return None


# --- Tombstones (section 13).


def tombstone(shown, leaf, parts):
    fields = dict(parts)

    def text(path):
        field = shown.open(path)
        need(field is not None and fields.get(f"field/{field['index']}") == "disclosed", f"a tombstone that does not show {path}")
        return unjson(field["value"])

    source = text("/source")
    need(leaf.kind == 10 and text("/name") == "erasure.done", "a tombstone that is another event")
    need(isinstance(source, dict) and source.get("path") == "internal", "a tombstone that came in from outside")
    request = text("/attributes/watchkeeper.erasure.request")
    need(isinstance(request, str) and re.fullmatch("[A-Za-z0-9-]{1,64}", request, re.ASCII), "a tombstone without request")
    items = text("/attributes/watchkeeper.erasure.items")
    need(is_number(items, 64), "a tombstone without items")
    return items, unhex(text("/attributes/watchkeeper.erasure.root"), 32)


def cover(erasures, seq, item):
    only(item, "leaf", "path")
    need(is_number(item["leaf"], 64) and isinstance(item["path"], str), "an item that is none")
    if item["leaf"] < seq:
        path = item["path"]
        field = re.match("field/[^/]*", path)
        key = (None, path) if path.startswith("content/") else (item["leaf"], field[0] if field else path)
        erasures[key] = seq


# --- Bundles (evidence-bundle.md).

PAYLOAD_TYPE = "application/vnd.in-toto+json"
PLAIN = {"data/vkey", "data/keys", "data/checkpoint", "data/policy", "data/statement.dsse.json", "data/index.html", "data/certificate.md"}
TAGS = {"bagit.txt", "bag-info.txt", "manifest-sha256.txt", "tagmanifest-sha256.txt"}
NAME = re.compile("[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*){0,3}")


def check_policy(data, note):
    """C2SP tlog-policy: whether the witnesses that cosigned the note are the quorum. Lines of logs are read and not judged."""
    need(data.endswith(b"\n") and len(data) <= 1 << 20, "policy: not whole")
    lines, keys, members, used, quorum = data[:-1].split(b"\n"), [], {}, set(), None
    for line in lines:
        need(all(byte == 9 or 32 <= byte != 127 for byte in line), "policy: a control character")
        words = [word for word in re.split(rb"[ \t]", line) if word]
        if not words or words[0].startswith(b"#"):
            continue
        keyword, words = words[0], words[1:]
        if keyword in (b"log", b"witness"):
            is_log = keyword == b"log"
            need(len(words) - (not is_log) in (1, 2), f"policy: {keyword.decode()} with another number of words")
            try:
                key = Key(words[0 if is_log else 1].decode("utf-8"))
            except UnicodeDecodeError:
                raise Fault("policy: a key that is not UTF-8") from None
            need(key.type in ((1, 6) if is_log else (4, 6)), "policy: a key of another type")
            known = [one for kind, one in keys if kind == is_log]
            twice = any(one.public == key.public or (one.name, one.id) == (key.name, key.id) for one in known)
            need(not twice, "policy: a key twice")
            keys.append((is_log, key))
            if not is_log:
                need(words[0] != b"none" and words[0] not in members, "policy: a name twice")
                members[words[0]] = bool(note.by(key))
                if members[words[0]]:
                    note.verify(key)
        elif keyword == b"group":
            need(len(words) > 2, "policy: a group of nobody")
            name, threshold, names = words[0], words[1], words[2:]
            count = {b"any": 1, b"all": len(names)}.get(threshold)
            if count is None:
                need(re.fullmatch(rb"[1-9][0-9]*", threshold), "policy: a threshold that is none")
                count = int(threshold)
            need(1 <= count <= len(names), "policy: a threshold that cannot be")
            for one in names:
                need(one in members and one not in used, "policy: a member that is unknown or counts twice")
                used.add(one)
            need(name != b"none" and name not in members, "policy: a name twice")
            members[name] = sum(members[one] for one in names) >= count
        elif keyword == b"quorum":
            need(quorum is None and len(words) == 1 and (words[0] == b"none" or words[0] in members), "policy: a quorum that is none")
            quorum = words[0]
        else:
            raise Fault("policy: a line that is none")
    need(quorum is not None, "policy: no quorum")
    need(quorum == b"none" or members[quorum], "data/checkpoint: not cosigned as the policy asks")


def der(data):
    """The elements of DER: (tag, content)."""
    elements = []
    while data:
        need(len(data) > 1, "not DER")
        length, start = data[1], 2
        if length > 127:
            start += length - 128
            need(128 < length <= 132 and len(data) >= start, "not DER")
            length = int.from_bytes(data[2:start], "big")
        need(len(data) >= start + length, "not DER")
        elements.append((data[0], data[start : start + length]))
        data = data[start + length :]
    return elements


def stamped_hash(answer):
    """The SHA-256 in a time stamp (RFC 3161, section 2.4.2). Its signature is for other tools: `openssl ts -verify`."""
    try:
        response = der(der(answer)[0][1])
        need(der(response[0][1])[0] in ((2, b"\0"), (2, b"\1")), "a time stamp that was refused")
        signed = der(der(der(response[1][1])[1][1])[0][1])
        info = der(der(der(der(signed[2][1])[1][1])[0][1])[0][1])
        algorithm, imprint = der(info[2][1])
        need(der(algorithm[1])[0] == (6, bytes.fromhex("608648016503040201")), "a time stamp of another hash")
        return imprint[1]
    except (IndexError, ValueError):
        raise Fault("not a time stamp") from None


def timestamp(files, chain, checkpoint, size, suffixes):
    name = f"data/timestamps/{size}"
    need(suffixes == {"tsr", "checkpoint", "consistency"} and size > 0, f"{name}: not whole")
    note, lines = files[f"{name}.checkpoint"], files[f"{name}.consistency"]
    stamped, _ = chain.open(note, exact=(1,))
    need(stamped.size == size, f"{name}.checkpoint: of another size")
    try:
        lines = lines.decode("utf-8")
    except UnicodeDecodeError:
        raise Fault(f"{name}.consistency: not text") from None
    need(not lines or lines.endswith("\n"), f"{name}.consistency: not lines")
    path = [unbase64(line) for line in lines.split("\n")[:-1]]
    need(len(path) <= 128 and all(len(step) == 32 for step in path), f"{name}.consistency: a step that is no hash")
    good = grown(size, stamped.root, checkpoint.size, checkpoint.root, path)
    need(good, f"{name}.consistency: does not lead to the checkpoint")
    need(stamped_hash(files[f"{name}.tsr"]) == sha256(note), f"{name}.tsr: of another checkpoint")


def read_bag(path):
    files = {}

    def put(name, data):
        need(NAME.fullmatch(name) and len(name) <= 200 and name not in files, f"{name!r}: not a name of a file in a bundle, or twice")
        files[name] = data

    if os.path.isdir(path):
        for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
            stack = [(entry, entry.name)]
            while stack:
                entry, name = stack.pop()
                if entry.is_dir(follow_symlinks=False):
                    stack += [(below, f"{name}/{below.name}") for below in os.scandir(entry.path)]
                else:
                    need(entry.is_file(follow_symlinks=False), f"{name}: not a plain file")
                    with open(entry.path, "rb") as file:
                        put(name, file.read())
        return files
    roots = set()
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                root, _, name = member.name.partition("/")
                roots.add(root)
                need(member.isreg() and len(roots) == 1, "an archive of something else than plain files below one directory")
                put(name, archive.extractfile(member).read())
    except (tarfile.TarError, OSError, EOFError) as error:
        raise Fault(f"not an archive: {error}") from None
    return files


def manifest(files, lists):
    return "".join(f"{sha256(data).hex()}  {name}\n" for name, data in sorted(files.items()) if lists(name)).encode()


def bundle(path, trusted=None):
    files = read_bag(path)
    is_data = lambda name: name.startswith("data/")
    need(files.get("bagit.txt") == b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n", "bagit.txt: not BagIt 1.0")
    need("bag-info.txt" in files, "bag-info.txt: missing")
    tags = manifest(files, lambda name: not is_data(name) and name != "tagmanifest-sha256.txt")
    need(files.get("tagmanifest-sha256.txt") == tags, "tagmanifest-sha256.txt: does not list these files")
    need(files.get("manifest-sha256.txt") == manifest(files, is_data), "manifest-sha256.txt: does not list these files")
    groups = {"records": {}, "custody": {}, "tombstones": {}, "timestamps": {}}
    for name in files:
        if name in PLAIN | TAGS:
            continue
        match = re.fullmatch("data/timestamps/(0|[1-9][0-9]*)\\.(tsr|checkpoint|consistency)", name)
        if match:
            groups["timestamps"].setdefault(int(match[1]), set()).add(match[2])
            continue
        match = re.fullmatch("data/(records|custody|tombstones)/(0|[1-9][0-9]*)\\.(json|leaf|tlog-proof|members\\.jsonl)", name)
        need(match is not None and (match[3] != "members.jsonl" or match[1] == "tombstones"), f"{name}: does not belong here")
        groups[match[1]].setdefault(int(match[2]), set()).add(match[3])
    for name in ("data/vkey", "data/checkpoint", "data/statement.dsse.json"):
        need(name in files, f"{name}: missing")

    chain = Chain(files["data/vkey"], files.get("data/keys", b""))
    is_proved = any(key.text == trusted for keys, _, _ in chain.generations for key in keys)
    checkpoint, note = chain.open(files["data/checkpoint"])
    if "data/policy" in files:
        check_policy(files["data/policy"], note)
    for size in sorted(groups["timestamps"]):
        timestamp(files, chain, checkpoint, size, groups["timestamps"][size])
    predicate = statement(files, chain, checkpoint.size)
    log = (files, chain, checkpoint, note)

    erasures = {}
    for seq in sorted(groups["tombstones"]):
        shown, leaf, parts = record(log, "tombstones", seq, groups["tombstones"][seq], {})
        items, root = tombstone(shown, leaf, parts)
        members = files.get(f"data/tombstones/{seq}.members.jsonl")
        need(members is not None, f"data/tombstones/{seq}.members.jsonl: missing")
        for line in members.splitlines():
            member = unjson(line)
            only(member, "item", "index", "path")
            cover(erasures, seq, member["item"])
            item = member["item"]
            leaf_hash = sha256(b"\0", struct.pack(">Q", item["leaf"]), u32(len(item["path"].encode())), item["path"].encode())
            need(is_number(member["index"], 64) and isinstance(member["path"], list), "an item without proof")
            path = [unhex(text, 32) for text in member["path"]]
            need(included(leaf_hash, member["index"], items, path, root), f"tombstone {seq}: an item that is not in its list")
    missing = False
    for group in ("records", "custody"):
        for seq in sorted(groups[group]):
            _, _, parts = record(log, group, seq, groups[group][seq], erasures)
            missing = missing or any(verdict == "unknown" for _, verdict in parts)
    seqs = sorted(groups["records"])
    said = (predicate["records"], predicate["custody"], predicate["tombstones"], predicate["first"], predicate["last"])
    found = (len(seqs), len(groups["custody"]), len(groups["tombstones"]), *((seqs[0], seqs[-1]) if seqs else (None, None)))
    log_said = (predicate["origin"], predicate["logId"], predicate["treeSize"])
    need(said == found and log_said == (chain.origin, chain.first.log_id.hex(), checkpoint.size), "statement: says other numbers or another log")
    need(predicate["records"] <= predicate["recordsSelected"], "statement: more records than were selected")
    if not is_proved:
        return "not proved"
    in_part = predicate["records"] < predicate["recordsSelected"] or predicate["notSearched"] > 0
    return "incomplete" if missing or in_part else "intact"


def statement(files, chain, size):
    envelope = unjson(files["data/statement.dsse.json"])
    only(envelope, "payload", "payloadType", "signatures")
    canonical = json.dumps(envelope, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    need(canonical.encode() == files["data/statement.dsse.json"], "statement: not in canonical form")
    need(envelope["payloadType"] == PAYLOAD_TYPE and len(envelope["signatures"]) == 1, "statement: another type, or signatures")
    signature = envelope["signatures"][0]
    only(signature, "keyid", "sig")
    payload = unbase64(envelope["payload"])
    message = b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)
    keys = [key for keys, _, last in chain.generations if last is None or last >= size for key in keys if key.type == 1]
    named = [key for key in keys if f"{key.name}+{key.id.hex()}" == signature["keyid"]]
    need(any(ed25519(key.public, message, unbase64(signature["sig"])) for key in named), "statement: not signed by the log")
    value = unjson(payload)
    only(value, "_type", "subject", "predicateType", "predicate")
    types = (value["_type"], value["predicateType"])
    need(types == ("https://in-toto.io/Statement/v1", "urn:watchkeeper:evidence:1"), "statement: of another type")
    exempt = {"data/statement.dsse.json", "manifest-sha256.txt", "tagmanifest-sha256.txt"}
    expected = [{"name": name, "digest": {"sha256": sha256(files[name]).hex()}} for name in sorted(files) if name not in exempt]
    need(value["subject"] == expected, "statement: does not speak of these files")
    return value["predicate"]


def record(log, group, seq, suffixes, erasures):
    files, chain, checkpoint, note = log
    name = f"data/{group}/{seq}"
    need({"json", "leaf", "tlog-proof"} <= suffixes, f"{name}: not whole")
    shown = Disclosure(files[f"{name}.json"])
    need(files[f"{name}.leaf"] == shown.leaf_bytes, f"{name}.leaf: not the leaf of the record")
    leaf, parts = shown.verdicts(chain.first.log_id, erasures)
    try:
        proof = files[f"{name}.tlog-proof"].decode("utf-8")
    except UnicodeDecodeError:
        raise Fault(f"{name}.tlog-proof: not text") from None
    head, blank, rest = proof.partition("\n\n")
    lines = head.split("\n")
    need(blank and lines[0] == "c2sp.org/tlog-proof@v1", f"{name}.tlog-proof: not a proof")
    if len(lines) > 1 and lines[1].startswith("extra "):
        need(0 < len(unbase64(lines.pop(1)[6:])) <= 65536, "extra data")
    need(len(lines) > 1 and lines[1] == f"index {seq}" and leaf.seq == seq, f"{name}.tlog-proof: of another place")
    path = [unbase64(line) for line in lines[2:]]
    need(len(path) <= 64 and all(len(step) == 32 for step in path), f"{name}.tlog-proof: a step that is no hash")
    theirs = Note(rest.encode())
    need((theirs.text, theirs.signatures) == (note.text, note.signatures), f"{name}.tlog-proof: for another checkpoint")
    need(included(leaf.hash, seq, checkpoint.size, path, checkpoint.root), f"{name}.tlog-proof: does not lead to the root")
    for part, verdict in parts:
        need(verdict != "tampered", f"{name}.json: {part} is not what was recorded")
    return shown, leaf, parts


# --- A ledger's directory (sections 5 to 8).


def tile_name(kind, index, width):
    digits = [f"{index % 1000:03d}"]
    while index >= 1000:
        index //= 1000
        digits.insert(0, f"x{index % 1000:03d}")
    return f"tile/{kind}/{'/'.join(digits)}" + (f".p/{width}" if width < 256 else "")


def tiles_of(leaves):
    """Every tile of the tree over these leaves, by name: full ones, and the partial ones at its right edge."""
    tiles = {}
    for start in range(0, len(leaves), 256):
        part = leaves[start : start + 256]
        tiles[tile_name("entries", start // 256, len(part))] = b"".join(struct.pack(">H", len(leaf)) + leaf for leaf in part)
    level, hashes = 0, [sha256(b"\0", leaf) for leaf in leaves]
    while hashes:
        for start in range(0, len(hashes), 256):
            part = hashes[start : start + 256]
            tiles[tile_name(level, start // 256, len(part))] = b"".join(part)
        hashes = [root_of(hashes[start : start + 256]) for start in range(0, len(hashes) - 255, 256)]
        level += 1
    return tiles


def ledger(directory, records=None):
    root, files = os.path.join(directory, "ledger"), {}
    for parent, directories, names in os.walk(root):
        for name in directories + names:
            need(not os.path.islink(os.path.join(parent, name)), f"{name}: a link")
        for name in names:
            path = os.path.join(parent, name)
            with open(path, "rb") as file:
                files[os.path.relpath(path, root)] = file.read()
        below = os.path.relpath(parent, root)
        is_known = re.fullmatch("\\.|timestamps|tile|tile/(entries|[0-7])(/x\\d{3})*(/\\d{3}\\.p)?", below, re.ASCII)
        need(is_known, f"ledger/{below}: no directory of a ledger")
    need("vkey" in files, "ledger/vkey: missing")
    need(files.get("keys") != b"", "ledger/keys: empty")
    chain = Chain(files["vkey"], files.get("keys", b""))

    history, notes = [], files.get("checkpoints", b"")
    while notes:
        whole, blank, rest = notes.partition(b"\n\n")
        text, blank_too, rest = (whole + blank, *rest.partition(b"\n\n")[1:]) if blank else (whole, b"", b"")
        if not blank_too:
            # The beginning of a checkpoint, perhaps with zeros behind it: what a crash leaves.
            torn = notes.rstrip(b"\0")
            need(b"\0" not in torn and f"{chain.origin}\n".encode().startswith(torn[: len(chain.origin) + 1]), "ledger/checkpoints: damaged")
            break
        note = notes[: len(notes) - len(rest) - 1]
        checkpoint, _ = chain.open(note, exact=(1,))
        need(checkpoint.size > (history[-1][0].size if history else 0), "ledger/checkpoints: sizes do not grow")
        history.append((checkpoint, note))
        notes = rest
    published = None
    if "checkpoint" in files:
        published, note = chain.open(files["checkpoint"], exact=(1, 6))
        kept = [f"\u2014 {name} {base64.b64encode(key_id + by).decode()}\n" for name, key_id, by in note.signatures if len(by) == 64]
        kept = note.text + b"\n" + "".join(kept).encode()
        need(any(kept == entry for _, entry in history[-2:]), "ledger/checkpoint: not the newest of ledger/checkpoints")
    need(published or len(history) < 2, "ledger/checkpoint: missing")
    if "witnessed" in files:
        witnessed, _ = chain.open(files["witnessed"])
        known = any((one.size, one.root) == (witnessed.size, witnessed.root) for one, _ in history)
        need(known, "ledger/witnessed: not a checkpoint of the history")

    sealed = published.size if published else 0
    first = minimum(chain, files.get("minimum"), sealed)
    size = max([sealed] + [one.size for one, _ in history])
    shown, pruned, told = read_records(records, chain) if records else ({}, [], None)
    is_all = told is None or told >= sealed
    verdict = ("intact", None) if is_all else ("incomplete", f"the file does not tell of the records from {told} on, which are sealed")
    if first:
        pruned_ledger(files, chain, history, sealed, first, shown, pruned)
        return verdict
    need(not pruned, "the records' file tells of a pruned log, and this one is whole")
    leaves = []
    for seq in range(max(size, told or 0)):
        if seq in shown:
            leaves.append(shown[seq])
            continue
        index, width = seq // 256, min(256, size - seq // 256 * 256)
        data = files.get(tile_name("entries", index, width), b"")
        need(len(data) == 104 * width, f"ledger/{tile_name('entries', index, width)}: missing or of a wrong length")
        entry = data[seq % 256 * 104 :][:104]
        need(entry[:2] == b"\0\x66", "an entry of a wrong length")
        leaves.append(entry[2:])
    for seq, leaf in enumerate(leaves):
        leaf = Leaf(leaf)
        need(leaf.seq == seq and leaf.log_id == chain.first.log_id, f"leaf {seq}: of another place or log")
    hashes = [sha256(b"\0", leaf) for leaf in leaves]
    for checkpoint, _ in history:
        need(checkpoint.size <= len(leaves), f"the checkpoint of {checkpoint.size} signs more records than there are")
        need(root_of(hashes[: checkpoint.size]) == checkpoint.root, f"the checkpoint of {checkpoint.size} has another root")

    required = tiles_of(leaves[:sealed])
    possible = dict(required)
    for name, data in tiles_of(leaves).items():
        possible.setdefault(name, data)
    others = {"vkey", "keys", "checkpoint", "checkpoints", "witnessed", "minimum"}
    for name, data in files.items():
        if name in others or (name.endswith(".tmp") and (name[:-4] in others or re.match("tile/", name))):
            continue
        stamp = re.fullmatch("timestamps/(0|[1-9][0-9]*)\\.tsr(\\.tmp)?", name, re.ASCII)
        if stamp:
            if not stamp[2]:
                stamped = [entry for one, entry in history if one.size == int(stamp[1])]
                need(stamped and stamped_hash(data) == sha256(stamped[0]), f"ledger/{name}: not a time stamp of a checkpoint of that size")
            continue
        if name not in possible:
            match = re.fullmatch("tile/(entries|[0-7])/((?:x\\d{3}/)*\\d{3})\\.p/([1-9]\\d{0,2})", name, re.ASCII)
            need(match, f"ledger/{name}: does not belong here")
            index = int(match[2].replace("x", "").replace("/", ""))
            need(tile_name(match[1], index, int(match[3])) == name, f"ledger/{name}: does not belong here")
            # A part of a size in between, which an interrupted seal leaves.
            wider = [possible[wide] for wide in (tile_name(match[1], index, width) for width in range(int(match[3]), 257)) if wide in possible]
            item = 104 if match[1] == "entries" else 32
            need(wider and len(data) == int(match[3]) * item and wider[0].startswith(data), f"ledger/{name}: is changed")
            continue
        need(data == possible[name], f"ledger/{name}: is changed")
    for name in required:
        need(name in files, f"ledger/{name}: missing")
    return verdict


def read_records(path, chain):
    """What a file of disclosures tells: the leaf of each record, the stretches that were pruned, and one past the last record."""
    leaves, pruned, seq = {}, [], 0
    with open(path, "rb") as lines:
        for line in lines:
            if line.startswith(b'{"format":"wkpruned/1",'):
                gone = unjson(line)
                only(gone, "format", "first", "end")
                need(is_number(gone["first"], 64) and is_number(gone["end"], 64), f"record {seq}: not a stretch of records")
                need(gone["first"] == seq < gone["end"], f"record {seq}: another one stands in its place")
                pruned.append((seq, gone["end"]))
                seq = gone["end"]
                continue
            if line.startswith(b'{"format":"wkleaf/1",'):
                alone = unjson(line)
                only(alone, "format", "leaf")
                leaves[seq] = unhex(alone["leaf"], 102)
            else:
                shown = Disclosure(line)
                leaf, parts = shown.verdicts(chain.first.log_id, {})
                need(leaf.seq == seq, f"record {seq}: another one stands in its place")
                tampered = [part for part, verdict in parts if verdict == "tampered"]
                need(not tampered, f"record {seq}: {tampered} is not what was recorded")
                leaves[seq] = shown.leaf_bytes
            seq += 1
    return leaves, pruned, seq


def pruned_ledger(files, chain, history, size, first, shown, pruned):
    """A ledger without the leaves of records that were dropped (section 16)."""
    tree = Tree(files, chain, size, first)
    for checkpoint, _ in history:
        # The newest may not be published yet, and its tiles not whole.
        if first <= checkpoint.size <= size:
            need(tree.root_at(checkpoint.size) == checkpoint.root, f"the checkpoint of {checkpoint.size} has another root")
        need(checkpoint.size <= size or checkpoint is history[-1][0], f"the checkpoint of {checkpoint.size} is not published")
    for seq, leaf in shown.items():
        need(Leaf(leaf).seq == seq and Leaf(leaf).log_id == chain.first.log_id, f"leaf {seq}: of another place or log")
        need(seq >= size or tree.leaves.get(seq) == leaf, f"record {seq}: not the one that was sealed")
    for start, end in pruned:
        gone = end <= first and not any(seq in tree.leaves for seq in range(start, end))
        need(gone, f"records {start} to {end - 1}: not pruned, and not shown")
    others = {"vkey", "keys", "checkpoint", "checkpoints", "witnessed", "minimum"}
    for name, data in files.items():
        if name in others or (name.endswith(".tmp") and (name[:-4] in others or re.match("tile/|timestamps/", name))):
            continue
        stamp = re.fullmatch("timestamps/(0|[1-9][0-9]*)\\.tsr", name, re.ASCII)
        if stamp:
            stamped = [entry for one, entry in history if one.size == int(stamp[1])]
            need(stamped and stamped_hash(data) == sha256(stamped[0]), f"ledger/{name}: not a time stamp of a checkpoint of that size")
            continue
        match = re.fullmatch("tile/(entries|[0-7])/((?:x\\d{3}/)*\\d{3})(?:\\.p/([1-9]\\d{0,2}))?", name, re.ASCII)
        need(match, f"ledger/{name}: does not belong here")
        kind = match[1] if match[1] == "entries" else int(match[1])
        index, width = int(match[2].replace("x", "").replace("/", "")), int(match[3] or 256)
        need(tile_name(kind, index, width) == name, f"ledger/{name}: does not belong here")
        # What is longer than the tree was written before it was sealed, and proves nothing yet.
        known = tree.tile(kind, index, must=False) or []
        is_part = b"".join(known)[: len(data)] == data if width <= len(known) else index * 256 + width > tree.items(kind)
        need(is_part and len(data) == width * (104 if kind == "entries" else 32), f"ledger/{name}: is changed")


# --- A log where it is published, or a copy of that (sections 16 and 17).


def public(directory):
    files = {}
    for parent, _, names in os.walk(directory):
        for name in names:
            with open(os.path.join(parent, name), "rb") as file:
                files[os.path.relpath(os.path.join(parent, name), directory)] = file.read()
    need("vkey" in files and "checkpoint" in files, "vkey or checkpoint: missing")
    chain = Chain(files["vkey"], files.get("keys", b""))
    checkpoint, _ = chain.open(files["checkpoint"])
    size, first = checkpoint.size, minimum(chain, files.get("minimum"), checkpoint.size)

    tree = Tree(files, chain, size, first)

    def signs(one, name):
        need(one.size <= size and (one.size < first or tree.root_at(one.size) == one.root), f"{name}: another root")

    signs(checkpoint, "checkpoint")
    if "witnessed" in files:
        signs(chain.open(files["witnessed"])[0], "witnessed")
    for number in listed(files.get("timestamps/index", b"")):
        name = f"timestamps/{number}"
        need(f"{name}.checkpoint" in files and f"{name}.tsr" in files, f"{name}: missing")
        note = files[f"{name}.checkpoint"]
        stamped, _ = chain.open(note, exact=(1,))
        need(stamped.size == number and stamped_hash(files[f"{name}.tsr"]) == sha256(note), f"{name}: of another checkpoint")
        signs(stamped, name)
    for number in listed(files.get("heartbeats/index", b"")):
        name = f"heartbeats/{number}.json"
        need(name in files, f"{name}: missing")
        shown = Disclosure(files[name])
        leaf, parts = shown.verdicts(chain.first.log_id, {})
        need(leaf.seq == number and all(verdict == "disclosed" for _, verdict in parts), f"{name}: not the record that it says")
        need(number < first or tree.leaves.get(number) == shown.leaf_bytes, f"{name}: not the record that was sealed")
    return "intact"


class Tree:
    """The tree that a log's tiles have, where those below the first leaf may be missing (section 16)."""

    def __init__(self, files, chain, size, first):
        self.files, self.size, self.levels, self.leaves = files, size, [{}], {}
        for index in range((size + 255) // 256):
            must = index * 256 >= first
            entries, hashes = self.tile("entries", index, must), self.tile(0, index, must)
            for at, entry in enumerate(entries or []):
                seq, leaf = index * 256 + at, entry[2:]
                need(entry[:2] == b"\0\x66" and Leaf(leaf).seq == seq and Leaf(leaf).log_id == chain.first.log_id, f"leaf {seq}: of another place or log")
                need(hashes is None or hashes[at] == sha256(b"\0", leaf), f"leaf {seq}: not the one of its tile")
                self.leaves[seq] = leaf
            if entries and not hashes:
                hashes = [sha256(b"\0", entry[2:]) for entry in entries]
            self.levels[0].update({index * 256 + at: one for at, one in enumerate(hashes or [])})
        while self.items(len(self.levels)):
            level, items = len(self.levels), self.items(len(self.levels))
            tiles = range((items + 255) // 256)
            self.levels.append({index * 256 + at: one for index in tiles for at, one in enumerate(self.tile(level, index))})
            for item in range(items):
                below = [self.levels[level - 1].get(item * 256 + at) for at in range(256)]
                known = all(below) or (level == 1 and not any(below) and item * 256 < first)
                need(known and (not any(below) or root_of(below) == self.levels[level][item]), f"tile {level}, item {item}: not the root of what is below it")

    def items(self, kind):
        return self.size if kind == "entries" else self.size >> 8 * kind

    def tile(self, kind, index, must=True):
        """The items of a tile, as it is at this size."""
        width, each = min(256, self.items(kind) - index * 256), 104 if kind == "entries" else 32
        if width <= 0:
            return None
        data = self.files.get(tile_name(kind, index, width))
        if data is None and width < 256:
            data = self.files.get(tile_name(kind, index, 256), b"")[: width * each]
        if data is None and not must:
            return None
        need(data is not None and len(data) == width * each, f"{tile_name(kind, index, width)}: missing or of a wrong length")
        return [data[at : at + each] for at in range(0, len(data), each)]

    def root_at(self, count):
        """The root of the first records, from the perfect subtrees that the tiles have."""
        roots = []
        for level in reversed(range(len(self.levels))):
            items = count >> 8 * level
            edge = [self.levels[level].get(at) for at in range(items // 256 * 256, items)]
            need(all(edge), f"nothing is known of the tree of {count} records")
            for bit in reversed(range(8)):
                if len(edge) >> bit & 1 and edge:
                    roots.append(root_of(edge[: 1 << bit]))
                    edge = edge[1 << bit :]
        root = roots.pop()
        while roots:
            root = node(roots.pop(), root)
        return root


def minimum(chain, data, size):
    """The first leaf: where the log was pruned, else 0."""
    if data is None:
        return 0
    note = Note(data)
    match = re.fullmatch(b"watchkeeper/minimum/1\n([^\n]+)\n(0|[1-9][0-9]*)\n", note.text)
    need(match is not None and match[1].decode() == chain.origin and int(match[2]) <= size, "minimum: not this log's")
    may = [keys[0] for keys, _, last in chain.generations if last is None or size <= last]
    signer = [key for key in may if note.by(key)]
    need(signer, "minimum: nobody signed it who may")
    note.verify(signer[0])
    return int(match[2]) // 256 * 256


def listed(data):
    numbers = [int(line) for line in data.decode().splitlines()]
    need(numbers == sorted(set(numbers), reverse=True), "an index that is not in order")
    return numbers


# --- The command line.


def answer(kind, *arguments):
    """(verdict, fault or parts)"""
    try:
        if kind == "ledger":
            return ledger(*arguments)
        if kind == "bundle":
            return bundle(*arguments), None
        if kind == "public":
            return public(*arguments), None
        with open(arguments[0], "rb") as file:
            _, parts = Disclosure(file.read()).verdicts(unhex(arguments[1], 16), {})
        return ("tampered" if any(verdict == "tampered" for _, verdict in parts) else "intact"), parts
    except Fault as fault:
        return "tampered", str(fault)


def main(arguments):
    if arguments == ["batch"]:
        for line in sys.stdin:
            verdict, what = answer(*json.loads(line))
            print(json.dumps([verdict, what]), flush=True)
        return 0
    if len(arguments) < 2 or arguments[0] not in ("ledger", "public", "bundle", "disclosure"):
        print(__doc__, file=sys.stderr)
        return 2
    verdict, what = answer(*arguments)
    for line in what if isinstance(what, list) else [what] if what else []:
        print(line if isinstance(line, str) else ": ".join(line))
    print(verdict)
    return {"intact": 0, "tampered": 1, "incomplete": 3, "not proved": 3}[verdict]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
