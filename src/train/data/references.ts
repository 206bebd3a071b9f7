/**
 * Which reference each chunk of a training sequence gets (paper 4.1): the best one that the project's own search finds for
 * the chunk's text and that does not give the sequence away.
 *
 * The knowledge corpus may hold the very texts that are trained on, and then the best hit is what the model should
 * predict. So a candidate whose overlap with the whole sequence (Eq. 6, `overlap.ts`) exceeds 0.9 is refused and the next
 * one is looked at; a chunk without an acceptable candidate has no reference. All three are counted.
 */
import type { MemoryBank } from '../../bank/bank.ts';
import { Memory3Error } from '../../errors.ts';
import { chunkTokens } from '../../memory/profile.ts';
import type { Tokenizer } from '../../model/tokenizer.ts';
import type { Embedder } from '../../retrieval/embedder.ts';
import { type SearchMode, search } from '../../retrieval/search.ts';
import { overlapExceeds, type Tokens } from './overlap.ts';

export interface ReferenceParts {
  readonly bank: Pick<MemoryBank, 'documents' | 'identity' | 'reference' | 'searchVectors' | 'searchWords'>;
  readonly embedder: Pick<Embedder, 'embedQueries'>;
  /** Of the sequences and of the bank's references alike. */
  readonly tokenizer: Pick<Tokenizer, 'decode'>;
}

export interface ReferenceOptions {
  /** 'hybrid' by default. */
  readonly search?: SearchMode;
  /** Hits that are looked at for each chunk; default 10. */
  readonly candidates?: number;
  /** A reference that overlaps more with the sequence is refused; default 0.9. */
  readonly maxOverlap?: number;
}

export const defaultReferenceOptions: Required<ReferenceOptions> = {
  search: 'hybrid',
  candidates: 10,
  maxOverlap: 0.9,
};

export interface ChunkReference {
  /** Its id in the bank. */
  readonly id: number;
  /** Body token ids, header not included. */
  readonly tokens: Tokens;
}

/** What one chunk got. */
export interface ChunkChoice {
  readonly reference: ChunkReference | null;
  /** Better candidates that the leakage guard refused. */
  readonly refused: number;
}

export interface ReferenceCounts {
  /** Chunks with a reference. */
  readonly found: number;
  /** Chunks without one. */
  readonly none: number;
  /** Candidates that the leakage guard refused. */
  readonly refused: number;
}

/**
 * Finds a reference for every chunk of 64 tokens.
 * @param sequence token ids, a whole number of chunks
 * @throws Memory3Error "usage" if it is none, and what the embedder and the bank throw.
 */
export async function findReferences(
  { bank, embedder, tokenizer }: ReferenceParts,
  sequence: Tokens,
  options: ReferenceOptions = {},
): Promise<ChunkChoice[]> {
  const { search: mode, candidates, maxOverlap } = { ...defaultReferenceOptions, ...options };
  if (sequence.length % chunkTokens !== 0) {
    throw new Memory3Error(
      'usage',
      `A sequence of ${sequence.length} tokens is no whole number of chunks of ${chunkTokens}.`,
    );
  }
  const tokens = Array.from(sequence);
  const texts = Array.from({ length: tokens.length / chunkTokens }, (_, chunk) =>
    tokenizer.decode(tokens.slice(chunk * chunkTokens, (chunk + 1) * chunkTokens)),
  );
  const vectors = await embedder.embedQueries(texts);
  /** Neighbouring chunks find many of the same references. */
  const judged = new Map<number, ChunkReference | 'refused'>();
  const judge = (id: number): ChunkReference | 'refused' => {
    const known = judged.get(id);
    if (known !== undefined) return known;
    const reference = bank.reference(id);
    const verdict = overlapExceeds(sequence, reference.tokens, maxOverlap)
      ? 'refused'
      : { id, tokens: reference.tokens };
    judged.set(id, verdict);
    return verdict;
  };
  return texts.map((text, chunk) => {
    let refused = 0;
    if (text.trim() === '') return { reference: null, refused };
    const vector = vectors[chunk] as Float32Array;
    for (const { referenceId } of search(bank, { text, vector }, { mode, count: candidates })) {
      const verdict = judge(referenceId);
      if (verdict !== 'refused') return { reference: verdict, refused };
      refused++;
    }
    return { reference: null, refused };
  });
}

export function countChoices(choices: readonly ChunkChoice[]): ReferenceCounts {
  const found = choices.filter(({ reference }) => reference !== null).length;
  const refused = choices.reduce((sum, choice) => sum + choice.refused, 0);
  return { found, none: choices.length - found, refused };
}

export function addCounts(a: ReferenceCounts, b: ReferenceCounts): ReferenceCounts {
  return { found: a.found + b.found, none: a.none + b.none, refused: a.refused + b.refused };
}
