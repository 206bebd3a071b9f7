/**
 * Packs samples into sequences of one length, so that short ones do not cost the computation of long ones.
 *
 *   tokens      a a a a a b b b _      two samples and padding
 *   positions   0 1 2 3 4 0 1 2 0
 *   segment     0 0 0 0 0 1 1 1 -1
 *
 * Positions restart in each sample, and a token sees only tokens of its own segment up to itself, so a packed sample computes what
 * it would alone. First-fit decreasing (Johnson 1973) over a window of samples: the longest first, each into the first
 * sequence that has room. That needs at most 11/9 of the least number of sequences. A window bounds what is held of a stream.
 *
 * With an alignment, samples start at multiples of it: training with memories reads sequences in chunks of 64 tokens,
 * and a chunk then belongs to one sample.
 */
import { z } from 'zod';
import { checkOptions } from '../../errors.ts';

export const packingOptionsSchema = z
  .strictObject({
    /** Tokens in a sequence. */
    length: z.int().min(2),
    /** Samples that are packed together. */
    window: z.int().min(1).default(1024),
    /** Samples start at multiples of this. */
    alignment: z.int().min(1).default(1),
    /** What becomes of a sample longer than a sequence: it is left out, or its first tokens are kept. Both are counted. */
    tooLong: z.enum(['leave-out', 'cut']).default('leave-out'),
    /** Stands behind the last sample; it is seen by nothing and has no loss, so any token will do. */
    paddingToken: z.int().min(0).default(0),
  })
  .refine(({ length, alignment }) => length % alignment === 0, 'the length must be a multiple of the alignment');
export type PackingOptions = z.input<typeof packingOptionsSchema>;

/** The part of a sample that packing looks at. */
export interface PackableSample {
  readonly tokens: Int32Array;
  /** Of each token's prediction from those before it; that of the first is 0. */
  readonly weights: Float32Array;
}

/** Where a sample lies in a sequence. */
export interface Segment {
  /** Number of the sample, counted from 0 over everything that was given. */
  readonly sample: number;
  readonly start: number;
  readonly length: number;
}

export interface PackedSequence {
  readonly tokens: Int32Array<ArrayBuffer>;
  /** From 0 in each sample; the trainer adds what the memories take. */
  readonly positions: Int32Array<ArrayBuffer>;
  /** Index into `segments` of each token, -1 for padding. */
  readonly segment: Int32Array<ArrayBuffer>;
  readonly weights: Float32Array<ArrayBuffer>;
  readonly segments: readonly Segment[];
}

/** A window of samples, packed. */
export interface PackedWindow {
  readonly sequences: readonly PackedSequence[];
  /** Numbers of samples that were too long, or had no loss left after they were cut. */
  readonly leftOut: readonly number[];
  /** Numbers of samples that were cut and kept. */
  readonly cut: readonly number[];
}

/**
 * Packs a stream window by window; the same samples in the same order are packed the same way.
 * @throws Memory3Error "usage" for options out of bounds.
 * @example
 * for await (const { sequences, leftOut } of packSamples(samples, { length: 2048 })) ...
 */
export async function* packSamples<Sample extends PackableSample>(
  samples: AsyncIterable<Sample> | Iterable<Sample>,
  options: PackingOptions,
): AsyncGenerator<PackedWindow, void> {
  const checked = checkOptions(packingOptionsSchema, options);
  let window: Sample[] = [];
  let packed = 0;
  for await (const sample of samples) {
    if (window.push(sample) < checked.window) continue;
    yield packWindow(window, packed, checked);
    packed += window.length;
    window = [];
  }
  if (window.length > 0) yield packWindow(window, packed, checked);
}

type CheckedOptions = z.output<typeof packingOptionsSchema>;

interface Piece {
  readonly sample: number;
  readonly tokens: Int32Array;
  readonly weights: Float32Array;
}

function packWindow(samples: readonly PackableSample[], firstNumber: number, options: CheckedOptions): PackedWindow {
  const { length, alignment, tooLong } = options;
  const pieces: Piece[] = [];
  const leftOut: number[] = [];
  const cut: number[] = [];
  for (const [index, { tokens, weights }] of samples.entries()) {
    const sample = firstNumber + index;
    if (weights.length !== tokens.length || tokens.length === 0 || weights[0] !== 0) {
      throw new Error(
        `sample ${sample} has ${tokens.length} tokens, ${weights.length} weights, the first ${weights[0]}`,
      );
    }
    const isLong = tokens.length > length;
    const kept = weights.subarray(0, length);
    if (isLong && (tooLong === 'leave-out' || kept.every((weight) => weight === 0))) {
      leftOut.push(sample);
      continue;
    }
    if (isLong) cut.push(sample);
    pieces.push({ sample, tokens: tokens.subarray(0, length), weights: kept });
  }
  pieces.sort((a, b) => b.tokens.length - a.tokens.length || a.sample - b.sample);
  const bins: { free: number; readonly pieces: Piece[] }[] = [];
  for (const piece of pieces) {
    let bin = bins.find(({ free }) => free >= piece.tokens.length);
    if (bin === undefined) {
      bin = { free: length, pieces: [] };
      bins.push(bin);
    }
    bin.pieces.push(piece);
    bin.free -= Math.ceil(piece.tokens.length / alignment) * alignment;
  }
  return { sequences: bins.map((bin) => sequenceOf(bin.pieces, options)), leftOut, cut };
}

function sequenceOf(pieces: readonly Piece[], { length, alignment, paddingToken }: CheckedOptions): PackedSequence {
  const tokens = new Int32Array(length).fill(paddingToken);
  const positions = new Int32Array(length);
  const segment = new Int32Array(length).fill(-1);
  const weights = new Float32Array(length);
  const segments: Segment[] = [];
  let start = 0;
  for (const [index, piece] of pieces.entries()) {
    const count = piece.tokens.length;
    tokens.set(piece.tokens, start);
    weights.set(piece.weights, start);
    segment.fill(index, start, start + count);
    for (let i = 0; i < count; i++) positions[start + i] = i;
    segments.push({ sample: piece.sample, start, length: count });
    start += Math.ceil(count / alignment) * alignment;
  }
  return { tokens, positions, segment, weights, segments };
}
