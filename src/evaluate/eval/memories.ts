/**
 * Explicit memories for measuring: of the model's own profile from the bank; of others, and of items' own passages, written
 * when they are needed.
 *
 * A reference that is read becomes the memories of all modes at once: reading it is what takes the time. Each is read
 * alone: how a batch is padded changes the last bits of what comes out, and a run that is resumed forms other batches of
 * missing memories than one that was not.
 */
import { LRUCache } from 'lru-cache';
import type { MemoryBank } from '../../bank/bank.ts';
import { classifierFor } from '../../memory/answer-classifier.ts';
import { parseMemory, type StoredMemory } from '../../memory/format.ts';
import type { LanguageModel } from '../../memory/model.ts';
import type { MemoryProfile } from '../../memory/profile.ts';
import { type EncodedReference, encodeReferences, keepTokens, summaryTokensFor } from '../../memory/writer.ts';
import type { Mode } from './modes.ts';
import type { GivenReference } from './references.ts';

export interface MemoryParts {
  readonly model: LanguageModel;
  readonly profile: MemoryProfile;
  /** Those that memories will be loaded for. */
  readonly modes: readonly Mode[];
  /** Null where nothing is recalled. */
  readonly bank: MemoryBank | null;
  readonly repeatPrompt: readonly number[];
}

const cacheBytes = 256 * 2 ** 20;

/** Loads or writes memories, and keeps those used last. */
export class EvaluationMemories {
  readonly #parts: MemoryParts;
  /** Each once. */
  readonly #profiles: readonly MemoryProfile[];
  /** Memories that the bank has, and apart from them, lest they are pushed out, those that it has not. */
  readonly #caches = { bank: newCache(), own: newCache() };

  /** @throws Memory3Error "usage" for a mode that wants summary tokens of another number than the model has */
  constructor(parts: MemoryParts) {
    this.#parts = parts;
    const wanted = parts.modes.filter(({ kind }) => kind === 'memory').map((mode) => this.profileOf(mode));
    this.#profiles = [...new Map(wanted.map((profile) => [nameOf(profile), profile])).values()];
  }

  /** The profile of a mode. @throws Memory3Error "usage" for summary tokens or a classifier that the model does not have */
  profileOf({ profile: changes }: Mode): MemoryProfile {
    const profile = { ...this.#parts.profile, ...changes };
    summaryTokensFor(this.#parts.model, profile);
    classifierFor(this.#parts.model, profile);
    return profile;
  }

  /** The memories of references, in order. */
  async load(mode: Mode, references: readonly GivenReference[]): Promise<StoredMemory[]> {
    const profile = this.profileOf(mode);
    const memories: StoredMemory[] = [];
    for (const reference of references) {
      memories.push(parseMemory(this.#known(profile, reference) ?? (await this.#write(profile, reference))));
    }
    return memories;
  }

  #known(profile: MemoryProfile, reference: GivenReference): Uint8Array | undefined {
    const { cache, key, id } = this.#placeOf(profile, reference);
    const cached = cache.get(key);
    const known = cached ?? (id === null ? undefined : this.#parts.bank?.memory(id));
    if (known !== undefined && cached === undefined) cache.set(key, known);
    return known;
  }

  /** Writes the memories of all modes that are missing. @returns that of one of them */
  async #write(wanted: MemoryProfile, reference: GivenReference): Promise<Uint8Array> {
    const { model, bank, repeatPrompt } = this.#parts;
    // Scores are computed for a profile that chooses by them, and do no harm to one that keeps all.
    const scored = this.#profiles.find(({ keptTokens }) => keptTokens !== 'all') ?? wanted;
    const [encoded] = await encodeReferences(model, scored, [reference], repeatPrompt);
    for (const profile of this.#profiles) {
      if (this.#known(profile, reference) !== undefined) continue;
      const bytes = keepTokens(model, profile, encoded as EncodedReference, reference);
      const { cache, key, id } = this.#placeOf(profile, reference);
      if (id !== null) bank?.tryPutMemories([{ referenceId: id, bytes }]);
      cache.set(key, bytes);
    }
    return keepTokens(model, wanted, encoded as EncodedReference, reference);
  }

  /** @returns `id` of a memory that the bank has or takes */
  #placeOf(profile: MemoryProfile, { id, tokens }: GivenReference) {
    const isBanks = id !== null && nameOf(profile) === nameOf(this.#parts.profile);
    // Passages have no id, but are what they say.
    const key = `${nameOf(profile)} ${id ?? `tokens ${tokens}`}`;
    return { cache: this.#caches[isBanks ? 'bank' : 'own'], key, id: isBanks ? id : null };
  }
}

function newCache(): LRUCache<string, Uint8Array> {
  return new LRUCache({ maxSize: cacheBytes, sizeCalculation: ({ length }) => length });
}

/** Profiles of one run differ in nothing else. */
function nameOf({ keptTokens, storage }: MemoryProfile): string {
  return `${keptTokens} ${storage}`;
}
