/**
 * From a corpus and its references to batches (paper 4.1).
 *
 * A sequence of L tokens is read behind the document-start token, so that each of its tokens is predicted once:
 *
 *   place        0        1        ...      L - 1
 *   reads        start    token 0  ...      token L - 2
 *   predicts     token 0  token 1  ...      token L - 1
 *
 * Chunk c are the places that predict tokens 64 c ... 64 c + 63. It sees the references of chunks c, c - 1, ..., c - 4, one
 * each; a reference that several of them found is seen once, and one that several chunks of a batch found is read once.
 * Without references the places are positions 0 ... L - 1, with them positions 128 ... 128 + L - 1 (`batch.ts`).
 */
import type { TrainingBatch, TrainingSequence } from '../batch.ts';
import type { ReferenceFile } from '../data/reference-file.ts';
import type { ChunkChoice } from '../data/references.ts';
import type { TokenFile } from '../data/token-file.ts';

/** Chunks whose references are seen: a chunk's own and the four before it. */
const seenChunks = 5;

/** The sequences of a corpus, and what their chunks found; null where nothing was looked for. */
export interface SequenceSource {
  readonly tokens: Pick<TokenFile, 'count' | 'documentStart' | 'sequence'>;
  readonly references: Pick<ReferenceFile, 'choices'> | null;
}

/**
 * Sequences as one batch.
 * @param indices of sequences
 * @param withReferences false: as an ordinary language model
 */
export function sequenceBatch(
  { tokens, references }: SequenceSource,
  indices: readonly number[],
  withReferences: boolean,
): TrainingBatch {
  const bodies = new BodyList();
  const sequences = indices.map((index): TrainingSequence => {
    const sequence = tokens.sequence(index);
    const found =
      withReferences && references !== null ? references.choices(index).map((choice) => bodies.place(choice)) : [];
    return {
      tokens: [tokens.documentStart, ...sequence],
      weights: [0, ...Array.from(sequence, () => 1)],
      chunks: found.map((_, chunk) => seenBy(found, chunk)),
    };
  });
  return { references: bodies.tokens, sequences };
}

/** Places of the references that a chunk sees, its own first. */
function seenBy(found: readonly (number | null)[], chunk: number): number[] {
  const latest = found.slice(Math.max(0, chunk - seenChunks + 1), chunk + 1).reverse();
  return [...new Set(latest.filter((place) => place !== null))];
}

/** The references of a batch, each once. */
class BodyList {
  readonly tokens: number[][] = [];
  readonly #places = new Map<number, number>();

  /** @returns the reference's place in the batch, or null if there is none */
  place({ reference }: ChunkChoice): number | null {
    if (reference === null) return null;
    const known = this.#places.get(reference.id);
    if (known !== undefined) return known;
    const place = this.tokens.length;
    this.tokens.push(Array.from(reference.tokens));
    this.#places.set(reference.id, place);
    return place;
  }
}
