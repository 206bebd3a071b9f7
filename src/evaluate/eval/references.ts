/**
 * The references of an item: the same for every mode, found once.
 *
 * A reference that overlaps the item by more than a threshold (paper 4.1, Eq. 6: 2/3 in evaluation, Table 23 also shows 0.8
 * and none) would give the answer away: it is left out, the next best one takes its place, and it is counted.
 */
import type { StoredReference } from '../../bank/bank.ts';
import type { MemoryRecall } from '../../generate/recall.ts';
import { chunkTokens } from '../../memory/profile.ts';
import type { Tokenizer } from '../../model/tokenizer.ts';
import { overlapExceeds } from '../../train/data/overlap.ts';

/** The paper's threshold. */
export const defaultOverlap = 2 / 3;

/** What an item gets. */
export interface ItemReferences {
  /** Best first; fewer than asked for where the bank has no more. */
  readonly references: readonly StoredReference[];
  /** How many better ones were left out because of their overlap. */
  readonly leftOut: number;
}

/** What references are looked for, and what they must not repeat. */
export interface Sought {
  /** Its last 64 tokens are the query. */
  readonly query: string;
  /** Everything that the item says. */
  readonly text: string;
}

export interface FinderOptions {
  /** Most references that any mode asks for. */
  readonly most: number;
  /** Greatest overlap; null: no filter. */
  readonly overlap: number | null;
}

/** Hits in order, each with whether it overlaps too much. */
type Judged = readonly { readonly reference: StoredReference; readonly overlaps: boolean }[];

/** More hits than are asked for at first, so that a few may be left out. */
const spare = 8;

/** Finds the references of items and remembers those of one task. */
export class ReferenceFinder {
  readonly #recall: Pick<MemoryRecall, 'find'>;
  readonly #tokenizer: Pick<Tokenizer, 'encode' | 'decode'>;
  readonly #options: FinderOptions;
  readonly #found = new Map<string, Judged>();

  constructor(
    recall: Pick<MemoryRecall, 'find'>,
    tokenizer: Pick<Tokenizer, 'encode' | 'decode'>,
    options: FinderOptions,
  ) {
    this.#recall = recall;
    this.#tokenizer = tokenizer;
    this.#options = options;
  }

  /** Forgets what was found: the next task's items are others. */
  forget(): void {
    this.#found.clear();
  }

  /**
   * The best `count` references of an item, without those that overlap it.
   * @param id names the item among those of its task
   */
  async find(id: string, sought: Sought, count: number): Promise<ItemReferences> {
    const judged = this.#found.get(id) ?? (await this.#judge(sought));
    this.#found.set(id, judged);
    const references: StoredReference[] = [];
    let leftOut = 0;
    for (const { reference, overlaps } of judged) {
      if (references.length === count) break;
      if (overlaps) leftOut++;
      else references.push(reference);
    }
    return { references, leftOut };
  }

  async #judge({ query, text }: Sought): Promise<Judged> {
    const { most, overlap } = this.#options;
    const words = this.#tokenizer.decode(this.#tokenizer.encode(query).slice(-chunkTokens)).trim();
    const tokens = this.#tokenizer.encode(text);
    for (let wanted = overlap === null ? most : most + spare; ; wanted *= 2) {
      const { hits } = await this.#recall.find(words, wanted);
      const judged = hits.map(({ reference }) => ({
        reference,
        overlaps: overlap !== null && overlapExceeds(tokens, reference.tokens, overlap),
      }));
      if (hits.length < wanted || judged.filter(({ overlaps }) => !overlaps).length >= most) return judged;
    }
  }
}
