/**
 * Recall: a chunk's text in, its explicit memories out (paper 3.1).
 *
 * The text is embedded and searched for in the bank; each hit's memory comes from the RAM cache, else from the bank, else
 * (cold start) it is written now by the model. A memory written now is used at once; it is stored too if the bank can be
 * written to, otherwise it stays in the RAM cache and is counted.
 */
import { LRUCache } from 'lru-cache';
import type { MemoryBank, StoredReference } from '../bank/bank.ts';
import { Memory3Error } from '../errors.ts';
import { parseMemory, type StoredMemory } from '../memory/format.ts';
import type { LanguageModel } from '../memory/model.ts';
import type { MemoryProfile } from '../memory/profile.ts';
import { writeMemories } from '../memory/writer.ts';
import type { Embedder } from '../retrieval/embedder.ts';
import { type SearchMode, search } from '../retrieval/search.ts';

/** Memories recalled for each chunk (paper 3.1). */
export const recalledMemories = 5;

/** Where a memory came from; 'written': by the model, now; 'unstored': written, but the bank could not take it. */
export type MemorySource = 'cache' | 'bank' | 'written' | 'unstored';

export interface RecalledMemory {
  readonly reference: StoredReference;
  readonly score: number;
  readonly source: MemorySource;
  readonly memory: StoredMemory;
}

/** Where the time of one recall went, milliseconds. */
export interface RecallTimes {
  readonly embed: number;
  readonly search: number;
  /** Reading and decoding memories, and writing cold ones. */
  readonly load: number;
}

export interface Recall {
  readonly query: string;
  /** Best first; fewer than asked for where the bank has fewer. */
  readonly memories: readonly RecalledMemory[];
  readonly times: RecallTimes;
}

export interface RecallOptions {
  /** 'hybrid' by default. */
  readonly search?: SearchMode;
  /** Size of the RAM cache in bytes; 0 turns it off. Default 64 MB. */
  readonly cacheBytes?: number;
}

export interface RecallCounts {
  readonly cacheHits: number;
  readonly cacheMisses: number;
  /** Cold references written while answering. */
  readonly written: number;
  /** Of those, how many could not be stored: somebody else was writing, or the bank's folder or disk did not let it. */
  readonly notStored: number;
}

export const noCounts: RecallCounts = { cacheHits: 0, cacheMisses: 0, written: 0, notStored: 0 };

/** What recalled memories add to earlier counts. */
export function countSources(memories: readonly RecalledMemory[], earlier: RecallCounts): RecallCounts {
  const from = (...sources: MemorySource[]) => memories.filter(({ source }) => sources.includes(source)).length;
  return {
    cacheHits: earlier.cacheHits + from('cache'),
    cacheMisses: earlier.cacheMisses + from('bank', 'written', 'unstored'),
    written: earlier.written + from('written', 'unstored'),
    notStored: earlier.notStored + from('unstored'),
  };
}

/** What recall works with. */
export interface RecallParts {
  readonly model: LanguageModel;
  readonly profile: MemoryProfile;
  readonly bank: MemoryBank;
  readonly embedder: Embedder;
  /** Token ids of "Repeat the reference:", for reconstruction scores. */
  readonly repeatPrompt: readonly number[];
}

/** Recalls memories from one bank for one model; holds the RAM cache. */
export class MemoryRecall {
  readonly #parts: RecallParts;
  readonly #search: SearchMode;
  readonly #cache: LRUCache<number, Uint8Array> | undefined;
  #counts = noCounts;

  constructor(parts: RecallParts, options: RecallOptions = {}) {
    this.#parts = parts;
    this.#search = options.search ?? 'hybrid';
    const maxSize = options.cacheBytes ?? 64 * 2 ** 20;
    if (maxSize > 0) this.#cache = new LRUCache({ maxSize, sizeCalculation: (bytes) => bytes.length });
  }

  /** References in the bank at this moment. */
  get references(): number {
    return this.#parts.bank.stats().references;
  }

  /** Since it was opened. */
  get counts(): RecallCounts {
    return this.#counts;
  }

  /** Searches the bank for references that fit a text, without loading their memories. */
  async find(query: string, count: number): Promise<{ hits: FoundReference[]; times: Omit<RecallTimes, 'load'> }> {
    const { bank, embedder } = this.#parts;
    const started = performance.now();
    const [vector] = await embedder.embedQueries([query]);
    const embedded = performance.now();
    // What is found must still be there when it is read.
    const hits = bank.snapshot(() =>
      search(bank, { text: query, vector: vector as Float32Array }, { mode: this.#search, count }).map(
        ({ referenceId, score }) => ({ reference: bank.reference(referenceId), score }),
      ),
    );
    return { hits, times: { embed: embedded - started, search: performance.now() - embedded } };
  }

  /** Finds references that fit a text and loads or writes their memories. */
  async recall(query: string, count: number): Promise<Recall> {
    const { hits, times } = await this.find(query, count);
    const started = performance.now();
    const memories = await this.load(hits);
    return { query, memories, times: { ...times, load: performance.now() - started } };
  }

  /** Loads or writes the memories of references that were found, also of those that were removed since. */
  async load(hits: readonly FoundReference[]): Promise<RecalledMemory[]> {
    const loaded = new Map<number, { bytes: Uint8Array; source: MemorySource }>();
    for (const { reference } of hits) {
      const stored = this.#load(reference.id);
      if (stored !== undefined) loaded.set(reference.id, stored);
    }
    await this.#writeCold(
      hits.map(({ reference }) => reference).filter(({ id }) => !loaded.has(id)),
      loaded,
    );
    const memories = hits.map(({ reference, score }): RecalledMemory => {
      const { bytes, source } = loaded.get(reference.id) as { bytes: Uint8Array; source: MemorySource };
      return { reference, score, source, memory: parseMemory(bytes) };
    });
    this.#counts = countSources(memories, this.#counts);
    return memories;
  }

  #load(id: number): { bytes: Uint8Array; source: MemorySource } | undefined {
    const cached = this.#cache?.get(id);
    if (cached !== undefined) return { bytes: cached, source: 'cache' };
    const bytes = this.#stored(id);
    if (bytes === undefined) return undefined;
    this.#cache?.set(id, bytes);
    return { bytes, source: 'bank' };
  }

  #stored(id: number): Uint8Array | undefined {
    try {
      return this.#parts.bank.memory(id);
    } catch (error) {
      // Somebody removed the reference after it was found. Its text is at hand, so it is written as a cold one is.
      if (error instanceof Memory3Error && error.code === 'not-found') return undefined;
      throw error;
    }
  }

  async #writeCold(cold: readonly StoredReference[], loaded: Map<number, { bytes: Uint8Array; source: MemorySource }>) {
    if (cold.length === 0) return;
    const { model, profile, bank, repeatPrompt } = this.#parts;
    const written = await writeMemories(model, profile, cold, repeatPrompt);
    const memories = cold.map(({ id }, index) => ({ referenceId: id, bytes: written[index] as Uint8Array }));
    const source = bank.tryPutMemories(memories) ? 'written' : 'unstored';
    for (const { referenceId, bytes } of memories) {
      this.#cache?.set(referenceId, bytes);
      loaded.set(referenceId, { bytes, source });
    }
  }
}

/** A reference that was found for a text, with its search score. */
export interface FoundReference {
  readonly reference: StoredReference;
  readonly score: number;
}

/** Whatever recalls like it: with a filter of its own, for instance. */
export type Recaller = Pick<MemoryRecall, keyof MemoryRecall>;
