/**
 * Hybrid search: the references nearest in meaning and those that share words, fused by rank.
 *
 * Cosine similarities and BM25 scores live on scales that cannot be added, ranks can: reciprocal rank fusion (Cormack,
 * Clarke and Büttcher, SIGIR 2009) gives a reference 1 / (k + rank) for each list that holds it, ranks counted from 1, and
 * sorts by the sum. k = 60, the authors' value, keeps the first of one list from outweighing a reference that both
 * lists hold.
 */
import type { MemoryBank, SearchHit } from '../bank/bank.ts';

export const searchModes = ['hybrid', 'vectors', 'words'] as const;
export type SearchMode = (typeof searchModes)[number];

/** k of reciprocal rank fusion. */
const rankConstant = 60;
/** What each list contributes to the fusion at least; references further down would hardly change the first few. */
const fusionCandidates = 50;

export interface SearchQuery {
  /** Needed for words. */
  readonly text: string;
  /** The embedded query, `[embedder dimensions]`, unit length. Needed for vectors. */
  readonly vector: Float32Array;
}

export interface SearchOptions {
  /** 'hybrid' by default. */
  readonly mode?: SearchMode;
  /** Most hits to return. */
  readonly count: number;
}

/** A place in one of the two lists. */
export interface ListPlace {
  /** From 1. */
  readonly rank: number;
  /** Cosine similarity, or BM25 (higher is better). */
  readonly score: number;
}

export interface Hit {
  readonly referenceId: number;
  /** Cosine similarity with 'vectors', BM25 with 'words', the sum of reciprocal ranks with 'hybrid'. */
  readonly score: number;
  /** Its place among the nearest vectors, null if it was not among the candidates. */
  readonly vectors: ListPlace | null;
  /** Its place among the best word matches, null if it was not among the candidates. */
  readonly words: ListPlace | null;
}

/**
 * The references of a bank that fit a query best, best first; fewer than `count` if the bank has fewer.
 *
 * @example search(bank, { text, vector }, { count: 5 })
 */
export function search(
  bank: Pick<MemoryBank, 'searchVectors' | 'searchWords'>,
  query: SearchQuery,
  { mode = 'hybrid', count }: SearchOptions,
): Hit[] {
  const candidates = mode === 'hybrid' ? Math.max(count, fusionCandidates) : count;
  const vectors = mode === 'words' ? [] : bank.searchVectors(query.vector, candidates);
  const words = mode === 'vectors' ? [] : bank.searchWords(query.text, candidates);
  const fused = fuse(vectors, words);
  if (mode === 'hybrid') return fused.slice(0, count);
  return fused.map((hit) => ({ ...hit, score: (hit.vectors ?? hit.words)?.score ?? 0 })).slice(0, count);
}

/** Merges two lists, best first; what ranks equally is ordered by reference id, so that equal banks answer equally. */
export function fuse(vectors: readonly SearchHit[], words: readonly SearchHit[]): Hit[] {
  const vectorPlaces = places(vectors);
  const wordPlaces = places(words);
  return [...new Set([...vectorPlaces.keys(), ...wordPlaces.keys()])]
    .map((referenceId) => {
      const vector = vectorPlaces.get(referenceId) ?? null;
      const word = wordPlaces.get(referenceId) ?? null;
      return { referenceId, score: reciprocal(vector) + reciprocal(word), vectors: vector, words: word };
    })
    .sort((a, b) => b.score - a.score || a.referenceId - b.referenceId);
}

/** Ranks of a list; equal scores share the better rank. */
function places(hits: readonly SearchHit[]): Map<number, ListPlace> {
  let rank = 0;
  return new Map(
    hits.map(({ referenceId, score }, index) => {
      if (score !== hits[index - 1]?.score) rank = index + 1;
      return [referenceId, { rank, score }];
    }),
  );
}

function reciprocal(place: ListPlace | null): number {
  return place === null ? 0 : 1 / (rankConstant + place.rank);
}
