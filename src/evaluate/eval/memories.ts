/**
 * Explicit memories for measuring: of the model's own profile from the bank; of others, and of items' own passages, written
 * when they are needed.
 *
 * Each is written alone: how a batch is padded changes the last bits of what comes out, and a run that is resumed forms
 * other batches of missing memories than one that was not.
 */
import { LRUCache } from 'lru-cache';
import type { MemoryBank } from '../../bank/bank.ts';
import { parseMemory, type StoredMemory } from '../../memory/format.ts';
import type { LanguageModel } from '../../memory/model.ts';
import type { MemoryProfile } from '../../memory/profile.ts';
import { summaryTokensFor, writeMemories } from '../../memory/writer.ts';
import type { Mode } from './modes.ts';
import type { GivenReference } from './references.ts';

export interface MemoryParts {
  readonly model: LanguageModel;
  readonly profile: MemoryProfile;
  /** Null where nothing is recalled. */
  readonly bank: MemoryBank | null;
  readonly repeatPrompt: readonly number[];
}

const cacheBytes = 256 * 2 ** 20;

/** Loads or writes memories, and keeps those used last. */
export class EvaluationMemories {
  readonly #parts: MemoryParts;
  readonly #cache = new LRUCache<string, Uint8Array>({ maxSize: cacheBytes, sizeCalculation: ({ length }) => length });

  constructor(parts: MemoryParts) {
    this.#parts = parts;
  }

  /** The profile of a mode. @throws Memory3Error "usage" for summary tokens of another number than the model has */
  profileOf({ profile: changes }: Mode): MemoryProfile {
    const profile = { ...this.#parts.profile, ...changes };
    summaryTokensFor(this.#parts.model, profile);
    return profile;
  }

  /** The memories of references, in order. */
  async load(mode: Mode, references: readonly GivenReference[]): Promise<StoredMemory[]> {
    const memories: StoredMemory[] = [];
    for (const reference of references) memories.push(parseMemory(await this.#bytes(mode, reference)));
    return memories;
  }

  async #bytes(mode: Mode, reference: GivenReference): Promise<Uint8Array> {
    const profile = this.profileOf(mode);
    const { model, bank, repeatPrompt } = this.#parts;
    const { keptTokens, storage } = this.#parts.profile;
    const isBanks = profile.keptTokens === keptTokens && profile.storage === storage;
    const id = isBanks ? reference.id : null;
    // Passages have no id, but are what they say.
    const key = [profile.keptTokens, profile.storage, reference.id ?? reference.tokens].join(' ');
    const known = this.#cache.get(key) ?? (id === null ? undefined : bank?.memory(id));
    if (known !== undefined) return this.#remember(key, known);
    const [written] = await writeMemories(model, profile, [reference], repeatPrompt);
    const bytes = written as Uint8Array;
    if (id !== null) bank?.tryPutMemories([{ referenceId: id, bytes }]);
    return this.#remember(key, bytes);
  }

  #remember(key: string, bytes: Uint8Array): Uint8Array {
    this.#cache.set(key, bytes);
    return bytes;
  }
}
