/**
 * Packs samples into sequences of one length, so that short ones do not cost the computation of long ones.
 *
 *   tokens      a a a a a b b b _      two samples and padding
 *   segment     0 0 0 0 0 1 1 1 -1
 *
 * Positions restart in each sample (`batch.ts`), and a token sees only tokens of its own segment up to itself, so a packed sample
 * computes what it would alone. First-fit decreasing (Johnson 1973) over a window of samples: the longest first, each into the first
 * sequence that has room. That needs at most 11/9 of the least number of sequences. A window bounds what is held of a stream.
 *
 * With an alignment, samples start at multiples of it: training with memories reads sequences in chunks of 64 tokens,
 * and a chunk then belongs to one sample.
 */
import { z } from 'zod';
import { checkOptions } from '../../errors.ts';

const packingOptionsSchema = z
  .strictObject({
    /** Tokens in a sequence. */
    length: z.int().min(2),
    /** Samples that are packed together. */
    window: z.int().min(1).default(1024),
    /** Samples start at multiples of this. */
    alignment: z.int().min(1).default(1),
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
  /** Index into `segments` of each token, -1 for padding. */
  readonly segment: Int32Array<ArrayBuffer>;
  readonly weights: Float32Array<ArrayBuffer>;
  readonly segments: readonly Segment[];
}

/** A window of samples, packed. */
export interface PackedWindow {
  readonly sequences: readonly PackedSequence[];
  /** Numbers of samples longer than a sequence. */
  readonly leftOut: readonly number[];
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

interface Piece extends PackableSample {
  readonly sample: number;
}

function packWindow(samples: readonly PackableSample[], firstNumber: number, options: CheckedOptions): PackedWindow {
  const { length, alignment } = options;
  const pieces: Piece[] = [];
  const leftOut: number[] = [];
  for (const [index, { tokens, weights }] of samples.entries()) {
    const sample = firstNumber + index;
    if (weights.length !== tokens.length || tokens.length === 0 || weights[0] !== 0) {
      throw new Error(
        `sample ${sample} has ${tokens.length} tokens, ${weights.length} weights, the first ${weights[0]}`,
      );
    }
    if (tokens.length > length) leftOut.push(sample);
    else pieces.push({ sample, tokens, weights });
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
  return { sequences: bins.map((bin) => sequenceOf(bin.pieces, options)), leftOut };
}

function sequenceOf(pieces: readonly Piece[], { length, alignment, paddingToken }: CheckedOptions): PackedSequence {
  const tokens = new Int32Array(length).fill(paddingToken);
  const segment = new Int32Array(length).fill(-1);
  const weights = new Float32Array(length);
  const segments: Segment[] = [];
  let start = 0;
  for (const [index, piece] of pieces.entries()) {
    const count = piece.tokens.length;
    tokens.set(piece.tokens, start);
    weights.set(piece.weights, start);
    segment.fill(index, start, start + count);
    segments.push({ sample: piece.sample, start, length: count });
    start += Math.ceil(count / alignment) * alignment;
  }
  return { tokens, segment, weights, segments };
}
