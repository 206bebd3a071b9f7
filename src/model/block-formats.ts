/**
 * llama.cpp's block formats, taken apart into the codes, scales and offsets of a `BlockMatrix` (see weights.ts).
 *
 * Each format stores a block of consecutive columns as a few half-precision numbers and packed integers q. Written with
 * codes around the middle of their range, so that what is left for `offsets` is small:
 *
 *   format  block bytes  in the file                                weight               scale    offset
 *   Q4_0      32   18    d, 16 x 2 nibbles                          d (q - 8)            d        -
 *   Q4_1      32   20    d, m, 16 x 2 nibbles                       d q + m              d        m + 8 d
 *   Q5_0      32   22    d, 32 fifth bits, 16 x 2 nibbles           d (q - 16)           d        -
 *   Q5_1      32   24    d, m, 32 fifth bits, 16 x 2 nibbles        d q + m              d        m + 16 d
 *   Q8_0      32   34    d, 32 signed bytes                         d q                  d        -
 *   Q4_K     256  144    d, e, 8 x (6-bit s, 6-bit t), nibbles      d s q - e t          d s      8 d s - e t
 *   Q5_K     256  176    the same, 256 fifth bits                   d s q - e t          d s      16 d s - e t
 *   Q6_K     256  210    128 nibble pairs, 64 x 4 bit pairs,        d s (q - 32)         d s      -
 *                        16 signed bytes s, d
 *
 * The nibbles of a 32-block are its first half (low) and second half (high); those of a 256-block go through groups of 64 columns,
 * low nibbles for the first 32. A `BlockMatrix` has neighbouring columns in one byte, so nibbles are paired anew.
 */
import { halfToFloat } from '../half.ts';

/** One format: its blocks in the file, the shape of what comes out, and the loop between them. */
export interface BlockFormat {
  /** Columns and bytes of a block in the file. */
  readonly fileBlock: number;
  readonly fileBytes: number;
  readonly bits: 4 | 8;
  readonly blockSize: 16 | 32;
  readonly hasOffsets: boolean;
  /** Decodes `blocks` file blocks; `offsets` is empty where the format has none. */
  readonly decode: (
    bytes: Uint8Array,
    blocks: number,
    codes: Uint8Array,
    scales: Float32Array,
    offsets: Float32Array,
  ) => void;
}

/** The formats that run, by their name in a GGUF file. */
export const blockFormats: ReadonlyMap<string, BlockFormat> = new Map<string, BlockFormat>([
  ['Q4_0', { fileBlock: 32, fileBytes: 18, bits: 4, blockSize: 32, hasOffsets: false, decode: decodeQ4_0 }],
  ['Q4_1', { fileBlock: 32, fileBytes: 20, bits: 4, blockSize: 32, hasOffsets: true, decode: decodeQ4_1 }],
  ['Q5_0', { fileBlock: 32, fileBytes: 22, bits: 8, blockSize: 32, hasOffsets: false, decode: decodeQ5_0 }],
  ['Q5_1', { fileBlock: 32, fileBytes: 24, bits: 8, blockSize: 32, hasOffsets: true, decode: decodeQ5_1 }],
  ['Q8_0', { fileBlock: 32, fileBytes: 34, bits: 8, blockSize: 32, hasOffsets: false, decode: decodeQ8_0 }],
  ['Q4_K', { fileBlock: 256, fileBytes: 144, bits: 4, blockSize: 32, hasOffsets: true, decode: decodeQ4_K }],
  ['Q5_K', { fileBlock: 256, fileBytes: 176, bits: 8, blockSize: 32, hasOffsets: true, decode: decodeQ5_K }],
  ['Q6_K', { fileBlock: 256, fileBytes: 210, bits: 8, blockSize: 16, hasOffsets: false, decode: decodeQ6_K }],
]);

function decodeQ4_0(bytes: Uint8Array, blocks: number, codes: Uint8Array, scales: Float32Array): void {
  for (let block = 0, at = 0; block < blocks; block++, at += 18) {
    scales[block] = half(bytes, at);
    pairNibbles(bytes, at + 2, 8, codes, block * 16);
  }
}

function decodeQ4_1(
  bytes: Uint8Array,
  blocks: number,
  codes: Uint8Array,
  scales: Float32Array,
  offsets: Float32Array,
): void {
  for (let block = 0, at = 0; block < blocks; block++, at += 20) {
    const scale = half(bytes, at);
    scales[block] = scale;
    offsets[block] = half(bytes, at + 2) + 8 * scale;
    pairNibbles(bytes, at + 4, 8, codes, block * 16);
  }
}

function decodeQ5_0(bytes: Uint8Array, blocks: number, codes: Uint8Array, scales: Float32Array): void {
  for (let block = 0, at = 0; block < blocks; block++, at += 22) {
    scales[block] = half(bytes, at);
    joinFifthBits(bytes, at + 2, codes, block * 32);
  }
}

function decodeQ5_1(
  bytes: Uint8Array,
  blocks: number,
  codes: Uint8Array,
  scales: Float32Array,
  offsets: Float32Array,
): void {
  for (let block = 0, at = 0; block < blocks; block++, at += 24) {
    const scale = half(bytes, at);
    scales[block] = scale;
    offsets[block] = half(bytes, at + 2) + 16 * scale;
    joinFifthBits(bytes, at + 4, codes, block * 32);
  }
}

function decodeQ8_0(bytes: Uint8Array, blocks: number, codes: Uint8Array, scales: Float32Array): void {
  for (let block = 0, at = 0; block < blocks; block++, at += 34) {
    scales[block] = half(bytes, at);
    // Flipping the sign bit adds 128 to a signed byte.
    for (let i = 0; i < 32; i++) codes[block * 32 + i] = (bytes[at + 2 + i] as number) ^ 0x80;
  }
}

function decodeQ4_K(
  bytes: Uint8Array,
  blocks: number,
  codes: Uint8Array,
  scales: Float32Array,
  offsets: Float32Array,
): void {
  for (let block = 0, at = 0; block < blocks; block++, at += 144) {
    subScales(bytes, at, 8, block * 8, scales, offsets);
    for (let group = 0; group < 4; group++) {
      pairNibbles(bytes, at + 16 + group * 32, 16, codes, block * 128 + group * 32);
    }
  }
}

function decodeQ5_K(
  bytes: Uint8Array,
  blocks: number,
  codes: Uint8Array,
  scales: Float32Array,
  offsets: Float32Array,
): void {
  for (let block = 0, at = 0; block < blocks; block++, at += 176) {
    subScales(bytes, at, 16, block * 8, scales, offsets);
    for (let group = 0; group < 4; group++) {
      const to = block * 256 + group * 64;
      for (let i = 0; i < 32; i++) {
        const fifths = (bytes[at + 16 + i] as number) >> (2 * group);
        const nibbles = bytes[at + 48 + group * 32 + i] as number;
        codes[to + i] = ((nibbles & 15) | ((fifths & 1) << 4)) + 112;
        codes[to + 32 + i] = ((nibbles >> 4) | ((fifths & 2) << 3)) + 112;
      }
    }
  }
}

function decodeQ6_K(bytes: Uint8Array, blocks: number, codes: Uint8Array, scales: Float32Array): void {
  for (let block = 0, at = 0; block < blocks; block++, at += 210) {
    const scale = half(bytes, at + 208);
    for (let i = 0; i < 16; i++) scales[block * 16 + i] = scale * (((bytes[at + 192 + i] as number) << 24) >> 24);
    for (let part = 0; part < 2; part++) {
      const low = at + part * 64;
      const high = at + 128 + part * 32;
      const to = block * 256 + part * 128;
      for (let i = 0; i < 32; i++) {
        const first = bytes[low + i] as number;
        const second = bytes[low + 32 + i] as number;
        const pairs = bytes[high + i] as number;
        codes[to + i] = ((first & 15) | ((pairs & 3) << 4)) + 96;
        codes[to + 32 + i] = ((second & 15) | ((pairs & 12) << 2)) + 96;
        codes[to + 64 + i] = ((first >> 4) | (pairs & 48)) + 96;
        codes[to + 96 + i] = ((second >> 4) | ((pairs & 192) >> 2)) + 96;
      }
    }
  }
}

function half(bytes: Uint8Array, at: number): number {
  return halfToFloat[(bytes[at] as number) | ((bytes[at + 1] as number) << 8)] as number;
}

/** `2 pairs` bytes whose low nibbles are one run of columns and whose high nibbles the next, to neighbours in a byte. */
function pairNibbles(bytes: Uint8Array, from: number, pairs: number, codes: Uint8Array, to: number): void {
  for (let i = 0; i < pairs; i++) {
    const even = bytes[from + 2 * i] as number;
    const odd = bytes[from + 2 * i + 1] as number;
    codes[to + i] = (even & 15) | ((odd & 15) << 4);
    codes[to + pairs + i] = (even >> 4) | (odd & 0xf0);
  }
}

/** Q5_0 and Q5_1: 32 fifth bits, then 16 bytes of nibbles; q becomes q - 16 + 128. */
function joinFifthBits(bytes: Uint8Array, from: number, codes: Uint8Array, to: number): void {
  for (let i = 0; i < 16; i++) {
    const nibbles = bytes[from + 4 + i] as number;
    const lowFifth = ((bytes[from + (i >> 3)] as number) >> (i & 7)) & 1;
    const highFifth = ((bytes[from + 2 + (i >> 3)] as number) >> (i & 7)) & 1;
    codes[to + i] = ((nibbles & 15) | (lowFifth << 4)) + 112;
    codes[to + 16 + i] = ((nibbles >> 4) | (highFifth << 4)) + 112;
  }
}

/**
 * Q4_K and Q5_K: d and e, then eight pairs of 6-bit numbers in 12 bytes: the first four pairs are the low 6 bits of bytes 0-3 (s) and
 * 4-7 (t), the others have their low 4 bits in bytes 8-11 and their high 2 bits on top of the first four.
 */
function subScales(
  bytes: Uint8Array,
  at: number,
  middle: number,
  to: number,
  scales: Float32Array,
  offsets: Float32Array,
): void {
  const d = half(bytes, at);
  const e = half(bytes, at + 2);
  for (let i = 0; i < 4; i++) {
    const s = bytes[at + 4 + i] as number;
    const t = bytes[at + 8 + i] as number;
    const rest = bytes[at + 12 + i] as number;
    const lowScale = d * (s & 63);
    const highScale = d * ((rest & 15) | ((s & 192) >> 2));
    scales[to + i] = lowScale;
    offsets[to + i] = middle * lowScale - e * (t & 63);
    scales[to + 4 + i] = highScale;
    offsets[to + 4 + i] = middle * highScale - e * ((rest >> 4) | ((t & 192) >> 2));
  }
}
