/**
 * From full precision back to blocks: the way in which merged matrices stay as small and as fast as the file's.
 *
 * A block of 32 (or 16) columns is stored as w = scale * q + minimum with q = 0 .. 15 (4 bits with offsets), or as
 * w = scale * q with q = -8 .. 7 (4 bits) or -127 .. 127 (8 bits). Wanted are the numbers that make the sum of squared
 * errors small. Were the codes fixed, the best line would have a closed form,
 *
 *   scale = (n Swq - Sw Sq) / (n Sqq - Sq²),   minimum = (Sw - scale Sq) / n,   error = Sww - minimum Sw - scale Swq
 *   without a minimum:   scale = Swq / Sqq,    error = Sww - scale Swq
 *
 * (Sw, Sq, Swq, ... sums over the block), and were the line fixed, the nearest codes would be best. So a few lines are
 * tried, around the one from the least to the largest value: each gives codes, the codes their best line, and the sums
 * alone its error. The best line wins, and every value takes the code nearest to it. With 8 bits there is nothing to win:
 * the scale is the one that just holds the largest magnitude.
 */
import { Memory3Error } from '../errors.ts';
import type { BlockMatrix } from './weights.ts';

/** How a matrix's blocks are stored. */
export interface BlockForm {
  readonly bits: 4 | 8;
  readonly blockSize: 16 | 32;
  readonly hasOffsets: boolean;
}

/** The form of a matrix's blocks. */
export function formOf({ bits, blockSize, offsets }: BlockMatrix): BlockForm {
  return { bits, blockSize, hasOffsets: offsets !== null };
}

/** How many steps the values' range is divided into: 15 just holds it, with more the extremes are cut off, with fewer codes stay unused. */
const stepsTried = [14.2, 15, 15.8, 16.7, 17.6] as const;
/** Without a minimum: which code the value of largest magnitude becomes. -8 is the code with the largest. */
const extremesTried = [-8, -7.4, -8.6, -9.2, 7] as const;

/**
 * Quantises a matrix.
 * @param data `[rows, columns]`, finite
 * @throws Memory3Error "usage" if blocks do not divide the columns.
 */
export function quantiseMatrix(
  data: Float32Array,
  [rows, columns]: readonly [rows: number, columns: number],
  form: BlockForm,
): BlockMatrix {
  const { bits, blockSize, hasOffsets } = form;
  if (columns % blockSize !== 0 || data.length !== rows * columns) {
    throw new Memory3Error('usage', `[${rows}, ${columns}] cannot be cut into blocks of ${blockSize} columns.`);
  }
  const blocks = data.length / blockSize;
  const codes = new Uint8Array((data.length * bits) / 8);
  const scales = new Float32Array(blocks);
  const offsets = hasOffsets ? new Float32Array(blocks) : null;
  if (bits === 8) quantise8(data, blockSize, codes, scales, offsets);
  else if (offsets === null) quantise4Symmetric(data, blockSize, codes, scales);
  else quantise4(data, blockSize, codes, scales, offsets);
  return { kind: 'blocks', shape: [rows, columns], bits, blockSize, codes, scales, offsets };
}

/** 4 bits with a minimum. What is stored counts codes from 8, so its offset is minimum + 8 * scale. */
function quantise4(
  data: Float32Array,
  blockSize: number,
  codes: Uint8Array,
  scales: Float32Array,
  offsets: Float32Array,
): void {
  const values = new Float64Array(blockSize);
  for (let block = 0, at = 0; block < scales.length; block++, at += blockSize) {
    let least = Number.POSITIVE_INFINITY;
    let largest = Number.NEGATIVE_INFINITY;
    let sumW = 0;
    let sumWW = 0;
    for (let i = 0; i < blockSize; i++) {
      const w = data[at + i] as number;
      values[i] = w;
      if (w < least) least = w;
      if (w > largest) largest = w;
      sumW += w;
      sumWW += w * w;
    }
    let scale = 0;
    let minimum = least;
    let lowestError = Number.POSITIVE_INFINITY;
    for (const steps of stepsTried) {
      if (least === largest) break;
      const inverse = steps / (largest - least);
      // The range's middle becomes 7.5, the middle of the codes; the half more rounds.
      const start = 8 - ((largest + least) / 2) * inverse;
      let sumQ = 0;
      let sumQQ = 0;
      let sumWQ = 0;
      for (let i = 0; i < blockSize; i++) {
        const w = values[i] as number;
        const q = clampedCode(w * inverse + start);
        sumQ += q;
        sumQQ += q * q;
        sumWQ += w * q;
      }
      const fittedScale = (blockSize * sumWQ - sumW * sumQ) / (blockSize * sumQQ - sumQ * sumQ);
      const fittedMinimum = (sumW - fittedScale * sumQ) / blockSize;
      const error = sumWW - fittedMinimum * sumW - fittedScale * sumWQ;
      if (error < lowestError) {
        lowestError = error;
        scale = fittedScale;
        minimum = fittedMinimum;
      }
    }
    scales[block] = scale;
    offsets[block] = minimum + 8 * scale;
    const inverse = scale === 0 ? 0 : 1 / scale;
    packNearest(values, inverse, 0.5 - minimum * inverse, codes, at);
  }
}

/** 4 bits without a minimum. */
function quantise4Symmetric(data: Float32Array, blockSize: number, codes: Uint8Array, scales: Float32Array): void {
  const values = new Float64Array(blockSize);
  for (let block = 0, at = 0; block < scales.length; block++, at += blockSize) {
    let extreme = 0;
    for (let i = 0; i < blockSize; i++) {
      const w = data[at + i] as number;
      values[i] = w;
      if (Math.abs(w) > Math.abs(extreme)) extreme = w;
    }
    let scale = 0;
    let mostExplained = 0;
    for (const code of extremesTried) {
      if (extreme === 0) break;
      const inverse = code / extreme;
      let sumQQ = 0;
      let sumWQ = 0;
      for (let i = 0; i < blockSize; i++) {
        const w = values[i] as number;
        const q = clampedCode(w * inverse + 8.5) - 8;
        sumQQ += q * q;
        sumWQ += w * q;
      }
      // The error is the same sum of squares minus this.
      const explained = (sumWQ * sumWQ) / sumQQ;
      if (explained > mostExplained) {
        mostExplained = explained;
        scale = sumWQ / sumQQ;
      }
    }
    scales[block] = scale;
    packNearest(values, scale === 0 ? 0 : 1 / scale, 8.5, codes, at);
  }
}

/** 8 bits: the range of each block from end to end, around zero where the form has no offsets. */
function quantise8(
  data: Float32Array,
  blockSize: number,
  codes: Uint8Array,
  scales: Float32Array,
  offsets: Float32Array | null,
): void {
  for (let block = 0, at = 0; block < scales.length; block++, at += blockSize) {
    let least = Number.POSITIVE_INFINITY;
    let largest = Number.NEGATIVE_INFINITY;
    for (let i = at; i < at + blockSize; i++) {
      const w = data[i] as number;
      if (w < least) least = w;
      if (w > largest) largest = w;
    }
    // Stored codes count from 128, which is 0 where there is no offset.
    const scale = offsets === null ? Math.max(largest, -least) / 127 : (largest - least) / 255;
    const inverse = scale === 0 ? 0 : 1 / scale;
    let start = 128.5;
    scales[block] = scale;
    if (offsets !== null) {
      offsets[block] = least + 128 * scale;
      start = 0.5 - least * inverse;
    }
    for (let i = at; i < at + blockSize; i++) codes[i] = ((data[i] as number) * inverse + start) | 0;
  }
}

/** Writes the codes floor(w * inverse + start) of one block, two to a byte, the even column in the low nibble. */
function packNearest(values: Float64Array, inverse: number, start: number, codes: Uint8Array, at: number): void {
  for (let i = 0; i < values.length; i += 2) {
    const even = clampedCode((values[i] as number) * inverse + start);
    const odd = clampedCode((values[i + 1] as number) * inverse + start);
    codes[(at + i) >> 1] = even | (odd << 4);
  }
}

/** Cutting a number below 1 off towards zero gives 0 where its floor would be negative: the same after the clamp. */
function clampedCode(x: number): number {
  const code = x | 0;
  if (code > 15) return 15;
  return Math.max(code, 0);
}
