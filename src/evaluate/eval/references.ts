/**
 * The references of an item: recalled from the bank, the same for every mode and found once; or pieces of its own passage.
 *
 * A reference that overlaps the item by more than a threshold (paper 4.1, Eq. 6: 2/3 in evaluation, Table 23 also shows 0.8
 * and none) would give the answer away: it is left out, the next best one takes its place, and it is counted. What is an
 * item's own is not compared: it is meant to have the answer.
 */
import type { StoredReference } from '../../bank/bank.ts';
import type { MemoryRecall } from '../../generate/recall.ts';
import { type BodyProfile, chunkTokens, longestBody } from '../../memory/profile.ts';
import type { Tokenizer } from '../../model/tokenizer.ts';
import { cutIntoChunks } from '../../retrieval/chunks.ts';
import { overlapExceeds } from '../../train/data/overlap.ts';

/** The paper's threshold. */
export const defaultOverlap = 2 / 3;

/** A reference as an item reads it. */
export interface GivenReference {
  /** In the bank; null for a piece of an item's own passage. */
  readonly id: number | null;
  readonly text: string;
  /** Body token ids. */
  readonly tokens: readonly number[];
}

/** Pieces of an item's own passages. */
export interface GoldReferences {
  readonly references: readonly GivenReference[];
  /** How many more pieces there are. */
  readonly leftOut: number;
}

/**
 * Cuts an item's own passages as the bank cuts documents, and gives the first `count` pieces.
 * @example goldReferences(['Bees dance.'], tokenizer, profile, 5).references[0]?.text // 'Bees dance.'
 */
export function goldReferences(
  passages: readonly string[],
  tokenizer: Tokenizer,
  profile: BodyProfile,
  count: number,
): GoldReferences {
  const maxTokens = longestBody(profile);
  const pieces = passages.flatMap((passage) => [...cutIntoChunks(passage, tokenizer, { maxTokens })]);
  const references = pieces.slice(0, count).map(({ text, tokens }) => ({ id: null, text, tokens }));
  return { references, leftOut: pieces.length - references.length };
}

/** What an item gets from the bank. */
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
