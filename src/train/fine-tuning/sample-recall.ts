/**
 * The references that fine-tuning samples see: of each chunk of 64 tokens the five that its text recalls, nearly as when the
 * model answers (paper 3.1; `recall-queries.ts` says what differs).
 *
 * Pretraining (paper 4.1) finds one reference for each chunk and lets it see those of the four chunks before it too, which
 * is five at a fifth of the cost, in documents of thousands of tokens. Chats are short: most have one to three chunks, of which the
 * first would see a single reference, while an answer is always given with five. So here each chunk has its own five. It costs less than
 * it seems: an answer's chunks ask with what was said before it, and find the same.
 *
 * No sample gets a reference that gives it away: an overlap (Eq. 6) above 0.9 with the sample is refused, and the next
 * one is looked at.
 */
import type { MemoryBank } from '../../bank/bank.ts';
import { Memory3Error } from '../../errors.ts';
import { recalledMemories } from '../../generate/recall.ts';
import type { Tokenizer } from '../../model/tokenizer.ts';
import { bodyTokens } from '../../retrieval/chunks.ts';
import type { Embedder } from '../../retrieval/embedder.ts';
import { type SearchMode, search } from '../../retrieval/search.ts';
import { overlapExceeds } from '../data/overlap.ts';
import type { ChunkReference, ReferenceCounts } from '../data/references.ts';
import type { TrainingSample } from './chat-examples.ts';
import { recallQueries } from './recall-queries.ts';

/** What each chunk of a sample sees, best first. */
export type ChunkReferences = readonly (readonly ChunkReference[])[];

/** Finds references for samples, the same for the same samples. */
export interface SampleRecall {
  /**
   * @param samples one, or several that begin with the same prompt and see the same: two answers between which the model learns
   *   to prefer. Those of a chunk are those of the longest sample's.
   * @returns the references of each chunk of the longest sample
   */
  recall(samples: readonly TrainingSample[]): Promise<ChunkReferences>;
}

export interface SampleRecallParts {
  readonly bank: Pick<MemoryBank, 'reference' | 'searchVectors' | 'searchWords'>;
  readonly embedder: Pick<Embedder, 'embedQueries'>;
  readonly tokenizer: Tokenizer;
  /** Longest body, 128 less the header's tokens. */
  readonly maxTokens: number;
}

export interface SampleRecallOptions {
  /** References of each chunk; default 5. */
  readonly references?: number;
  /** 'hybrid' by default. */
  readonly search?: SearchMode;
  /** A reference that overlaps more with a sample is refused; default 0.9. */
  readonly maxOverlap?: number;
}

/** How many more candidates are looked at than are wanted, for those that the guard refuses. */
const spareCandidates = 5;

/** Recalls from a bank that was made with this embedder, by whatever model: its texts are read anew. */
export class BankRecall implements SampleRecall {
  readonly #parts: SampleRecallParts;
  readonly #options: Required<SampleRecallOptions>;
  readonly #counts = { found: 0, none: 0, refused: 0 };

  constructor(parts: SampleRecallParts, options: SampleRecallOptions = {}) {
    this.#parts = parts;
    this.#options = { references: recalledMemories, search: 'hybrid', maxOverlap: 0.9, ...options };
  }

  /** Of all samples so far: chunks with references, chunks without, references that the guard refused. */
  get counts(): ReferenceCounts {
    return { ...this.#counts };
  }

  /** @throws Memory3Error "mismatch" for a reference too long for this model; what the embedder and the bank throw. */
  async recall(samples: readonly TrainingSample[]): Promise<ChunkReferences> {
    const { tokenizer, embedder } = this.#parts;
    const longest = samples.reduce((a, b) => (b.tokens.length > a.tokens.length ? b : a));
    const queries = recallQueries(longest, tokenizer);
    // Neighbouring chunks often ask with the same text.
    const texts = [...new Set(queries)].filter((text) => text !== '');
    const vectors = texts.length === 0 ? [] : await embedder.embedQueries(texts);
    const judged = new Map<number, ChunkReference | null>();
    const found = new Map(
      texts.map((text, i) => [text, this.#find(text, vectors[i] as Float32Array, samples, judged)] as const),
    );
    const chunks = queries.map((query) => found.get(query) ?? []);
    for (const references of chunks) this.#counts[references.length > 0 ? 'found' : 'none']++;
    this.#counts.refused += judged
      .values()
      .filter((verdict) => verdict === null)
      .toArray().length;
    return chunks;
  }

  #find(
    text: string,
    vector: Float32Array,
    samples: readonly TrainingSample[],
    judged: Map<number, ChunkReference | null>,
  ): ChunkReference[] {
    const { references: wanted, search: mode } = this.#options;
    const hits = search(this.#parts.bank, { text, vector }, { mode, count: wanted + spareCandidates });
    const chosen: ChunkReference[] = [];
    for (const { referenceId } of hits) {
      if (chosen.length === wanted) break;
      const verdict = judged.has(referenceId) ? judged.get(referenceId) : this.#judge(referenceId, samples);
      judged.set(referenceId, verdict ?? null);
      if (verdict) chosen.push(verdict);
    }
    return chosen;
  }

  /** @returns null if it gives one of the samples away */
  #judge(id: number, samples: readonly TrainingSample[]): ChunkReference | null {
    const { bank, tokenizer, maxTokens } = this.#parts;
    const { text, documentName } = bank.reference(id);
    const tokens = bodyTokens(tokenizer, text);
    if (tokens.length > maxTokens) {
      throw new Memory3Error(
        'mismatch',
        `Reference ${id} of the bank (${documentName}) has ${tokens.length} tokens for this model; ${maxTokens} fit into a memory.`,
        { remedy: 'Fill a bank with this model: memory3 add --model ... --bank ...' },
      );
    }
    const leaks = samples.some((sample) => overlapExceeds(sample.tokens, tokens, this.#options.maxOverlap));
    return leaks ? null : { id, tokens };
  }
}
