/**
 * The arithmetic around an embedder's graph: texts to windows of tokens, windows to padded batches, token vectors to one
 * unit vector.
 *
 * A text that is longer than the model's input is cut into windows of nearly equal length; its vector is the mean of the
 * windows' unit vectors, weighted by their tokens. Nothing of a text is left out.
 */
import type { TensorData } from '../runtime/device.ts';
import type { EmbedderCard } from './embedder-cards.ts';

/** A piece of a text that fits the model. */
export interface TokenWindow {
  /** Which text it belongs to. */
  readonly text: number;
  /** Special tokens included. */
  readonly tokens: readonly number[];
}

/** Cuts token ids, special tokens not included, into the fewest windows of nearly equal length. */
export function cutWindows(tokens: readonly number[], limit: number): number[][] {
  const count = Math.max(1, Math.ceil(tokens.length / limit));
  return Array.from({ length: count }, (_, index) =>
    tokens.slice(Math.floor((index * tokens.length) / count), Math.floor(((index + 1) * tokens.length) / count)),
  );
}

/** Groups windows of similar length, so that little is padded: shortest first, at most `rows` in a batch. */
export function batchWindows(windows: readonly TokenWindow[], rows: number): TokenWindow[][] {
  const sorted = windows.toSorted((a, b) => a.tokens.length - b.tokens.length);
  return Array.from({ length: Math.ceil(sorted.length / rows) }, (_, index) =>
    sorted.slice(index * rows, (index + 1) * rows),
  );
}

/** A batch as the graph's inputs, each `[batch, longest window]`. */
export function batchInputs(
  batch: readonly TokenWindow[],
  padToken: number,
  card: Pick<EmbedderCard, 'tokenTypes'>,
): Record<string, TensorData> {
  const length = Math.max(...batch.map(({ tokens }) => tokens.length));
  const shape = [batch.length, length];
  const ids = new BigInt64Array(batch.length * length).fill(BigInt(padToken));
  const mask = new BigInt64Array(batch.length * length);
  for (const [row, { tokens }] of batch.entries()) {
    for (const [column, token] of tokens.entries()) ids[row * length + column] = BigInt(token);
    mask.fill(1n, row * length, row * length + tokens.length);
  }
  return {
    input_ids: { type: 'int64', shape, data: ids },
    attention_mask: { type: 'int64', shape, data: mask },
    ...(card.tokenTypes ? { token_type_ids: { type: 'int64', shape, data: new BigInt64Array(ids.length) } } : {}),
  };
}

/**
 * One unit vector from a window's token vectors.
 *
 * @param hidden `[batch, length, dimensions]`; the window is row `row` and has `tokens` tokens before its padding.
 */
export function pool(
  hidden: Float32Array,
  [, length, dimensions]: readonly [batch: number, length: number, dimensions: number],
  row: number,
  tokens: number,
  pooling: EmbedderCard['pooling'],
): Float32Array {
  const sum = new Float64Array(dimensions);
  const taken = pooling === 'cls' ? 1 : tokens;
  for (let token = 0; token < taken; token++) {
    const start = (row * length + token) * dimensions;
    for (let index = 0; index < dimensions; index++)
      sum[index] = (sum[index] as number) + (hidden[start + index] as number);
  }
  return unit(sum);
}

/** The direction of the weighted mean of unit vectors. A single vector is returned as it is. */
export function meanDirection(vectors: readonly Float32Array[], weights: readonly number[]): Float32Array {
  const [first] = vectors;
  if (first === undefined) throw new RangeError('there is no mean of no vectors');
  if (vectors.length === 1) return first;
  const sum = new Float64Array(first.length);
  for (const [which, vector] of vectors.entries()) {
    const weight = weights[which] as number;
    for (const [index, value] of vector.entries()) sum[index] = (sum[index] as number) + weight * value;
  }
  return unit(sum);
}

function unit(vector: Float64Array): Float32Array {
  const norm = Math.hypot(...vector);
  return Float32Array.from(vector, (value) => (norm === 0 ? 0 : value / norm));
}
