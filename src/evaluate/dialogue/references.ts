/** Recall for one dialogue: what overlaps its questions is left out (paper 4.1, Eq. 6), and the next best takes its place. */
import type { Recaller } from '../../generate/recall.ts';
import { overlapExceeds } from '../../train/data/overlap.ts';

export interface FilteredRecall extends Recaller {
  /** References that were left out so far, each counted once. */
  readonly leftOut: number;
}

/** More hits than are asked for at first, so that a few may be left out. */
const spare = 8;

/**
 * @param tokens of what the dialogue's references must not repeat
 * @param overlap the greatest allowed; null: no filter
 */
export function withoutOverlaps(recall: Recaller, tokens: readonly number[], overlap: number | null): FilteredRecall {
  const leftOut = new Set<number>();
  const overlaps = (reference: readonly number[]) => overlap !== null && overlapExceeds(tokens, reference, overlap);
  const find: Recaller['find'] = async (query, count) => {
    for (let wanted = overlap === null ? count : count + spare; ; wanted *= 2) {
      const { hits, times } = await recall.find(query, wanted);
      const kept: typeof hits = [];
      const repeating: number[] = [];
      for (const hit of hits) {
        if (kept.length === count) break;
        if (overlaps(hit.reference.tokens)) repeating.push(hit.reference.id);
        else kept.push(hit);
      }
      if (kept.length < count && hits.length === wanted) continue;
      for (const id of repeating) leftOut.add(id);
      return { hits: kept, times };
    }
  };
  return {
    find,
    load: (hits) => recall.load(hits),
    async recall(query, count) {
      const { hits, times } = await find(query, count);
      const started = performance.now();
      const memories = await recall.load(hits);
      return { query, memories, times: { ...times, load: performance.now() - started } };
    },
    get references() {
      return recall.references;
    },
    get counts() {
      return recall.counts;
    },
    get leftOut() {
      return leftOut.size;
    },
  };
}
