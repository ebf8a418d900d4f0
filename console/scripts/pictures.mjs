// Keeps the pictures that the tests made of a company's day (`e2e/pictures.spec.ts`) for the README: as PNG of 256 colours, which
// text and flat areas lose nothing by. Exits with 1 where a picture is missing or too large.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { crc32, deflateSync, inflateSync } from "node:zlib";

const MAX_BYTES = 150 * 1024;
const NAMES = ["overview", "detections", "trace", "flow", "integrity"].flatMap((name) => [`${name}-light`, `${name}-dark`]);
const from = new URL("../e2e/out/", import.meta.url);
const to = new URL("../../docs/pictures/", import.meta.url);

/** The pixels of a PNG as Chromium writes it: 8 bits, RGB or RGBA, not interlaced. */
function decode(file) {
  const data = [];
  let header;
  for (let at = 8; at < file.length;) {
    const length = file.readUInt32BE(at);
    const kind = file.toString("latin1", at + 4, at + 8);
    const body = file.subarray(at + 8, at + 8 + length);
    if (kind === "IHDR") header = { width: body.readUInt32BE(0), height: body.readUInt32BE(4), channels: { 2: 3, 6: 4 }[body[9]], isPlain: body[8] === 8 && body[12] === 0 };
    if (kind === "IDAT") data.push(body);
    at += length + 12;
  }
  const { width, height, channels, isPlain } = header;
  if (!channels || !isPlain) throw new Error("not a PNG of 8 bits, RGB or RGBA");
  const lines = inflateSync(Buffer.concat(data));
  const stride = width * channels;
  const pixels = Buffer.alloc(stride * height);
  for (let y = 0; y < height; y += 1) {
    const filter = lines[y * (stride + 1)];
    for (let x = 0; x < stride; x += 1) {
      const left = x >= channels ? pixels[y * stride + x - channels] : 0;
      const up = y > 0 ? pixels[(y - 1) * stride + x] : 0;
      const corner = x >= channels && y > 0 ? pixels[(y - 1) * stride + x - channels] : 0;
      const guess = left + up - corner;
      const [a, b, c] = [Math.abs(guess - left), Math.abs(guess - up), Math.abs(guess - corner)];
      const paeth = a <= b && a <= c ? left : b <= c ? up : corner;
      pixels[y * stride + x] = lines[y * (stride + 1) + 1 + x] + [0, left, up, (left + up) >> 1, paeth][filter];
    }
  }
  return { width, height, channels, pixels };
}

/** The colours that matter: those of most pixels, and of the rest those that are far from them. */
function paletteOf(counts) {
  const left = [...counts].toSorted(([, a], [, b]) => b - a).map(([color]) => color);
  const chosen = [];
  for (const apart of [40, 20, 10, 4, 0]) {
    for (const color of left) {
      if (chosen.length >= 256) return chosen;
      if (!chosen.includes(color) && chosen.every((other) => distance(color, other) > apart * apart)) chosen.push(color);
    }
  }
  return chosen;
}

const distance = (a, b) => ((a >> 16) - (b >> 16)) ** 2 + (((a >> 8) & 255) - ((b >> 8) & 255)) ** 2 + ((a & 255) - (b & 255)) ** 2;

function chunk(kind, body) {
  const framed = Buffer.concat([Buffer.alloc(4), Buffer.from(kind, "latin1"), body, Buffer.alloc(4)]);
  framed.writeUInt32BE(body.length, 0);
  framed.writeUInt32BE(crc32(framed.subarray(4, -4)), framed.length - 4);
  return framed;
}

function encode({ width, height, channels, pixels }) {
  const counts = new Map();
  const colors = new Uint32Array(width * height);
  for (let at = 0; at < colors.length; at += 1) {
    colors[at] = (pixels[at * channels] << 16) | (pixels[at * channels + 1] << 8) | pixels[at * channels + 2];
    counts.set(colors[at], (counts.get(colors[at]) ?? 0) + 1);
  }
  const palette = paletteOf(counts);
  const nearest = new Map([...counts.keys()].map((color) => [color, palette.reduce((best, other, at) => (distance(color, other) < distance(color, palette[best]) ? at : best), 0)]));
  const lines = Buffer.alloc((width + 1) * height);
  for (let y = 0; y < height; y += 1) for (let x = 0; x < width; x += 1) lines[y * (width + 1) + 1 + x] = nearest.get(colors[y * width + x]);
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 3, 0, 0, 0], 8);
  return Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]), chunk("IHDR", header), chunk("PLTE", Buffer.from(palette.flatMap((color) => [color >> 16, (color >> 8) & 255, color & 255]))),
    chunk("IDAT", deflateSync(lines, { level: 9, memLevel: 9 })), chunk("IEND", Buffer.alloc(0)),
  ]);
}

mkdirSync(to, { recursive: true });
let faults = 0;
for (const name of NAMES) {
  const picture = encode(decode(readFileSync(new URL(`readme-${name}.png`, from))));
  writeFileSync(new URL(`${name}.png`, to), picture);
  console.log(`${name}.png ${(picture.length / 1024).toFixed(0)} KiB`);
  if (picture.length > MAX_BYTES) {
    faults += 1;
    console.error(`${name}.png is over ${MAX_BYTES / 1024} KiB`);
  }
}
process.exit(faults > 0 ? 1 : 0);
