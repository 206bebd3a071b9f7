/** What training measures, by the way of inference: memories are written, a context reads them, its logits give likelihoods. */
import { ReadingContext } from '../../src/memory/context.ts';
import { type ExplicitMemory, parseMemory, type StoredMemory } from '../../src/memory/format.ts';
import type { LanguageModel } from '../../src/memory/model.ts';
import type { MemoryProfile } from '../../src/memory/profile.ts';
import { encodeReferences, gather, selectAll, writeMemories } from '../../src/memory/writer.ts';
import type { TrainingBatch } from '../../src/train/batch.ts';
import { tokenLikelihoods } from './likelihoods.ts';

/** Memories as they are stored, in the profile's storage. */
export async function storedMemories(
  model: LanguageModel,
  profile: MemoryProfile,
  references: TrainingBatch['references'],
  repeatPrompt: readonly number[],
): Promise<StoredMemory[]> {
  const bodies = references.map((tokens) => ({ tokens }));
  return (await writeMemories(model, profile, bodies, repeatPrompt)).map(parseMemory);
}

/** The same before they are rounded. */
export async function exactMemories(
  model: LanguageModel,
  profile: MemoryProfile,
  references: TrainingBatch['references'],
  repeatPrompt: readonly number[],
): Promise<ExplicitMemory[]> {
  const bodies = references.map((tokens) => ({ tokens }));
  const encoded = await encodeReferences(model, profile, bodies, repeatPrompt);
  return encoded.map((one, i) =>
    gather(model, profile, one, selectAll(model, profile, one, bodies[i] as (typeof bodies)[number])),
  );
}

/** -log P of every token after each sequence's first; each sequence is one chunk. */
export async function likelihoodsOf(
  model: LanguageModel,
  profile: MemoryProfile,
  { sequences }: TrainingBatch,
  memories: readonly (StoredMemory | ExplicitMemory)[],
): Promise<number[]> {
  const likelihoods: number[] = [];
  for (const { tokens, chunks } of sequences) {
    const used = (chunks[0] ?? []).map((index) => memories[index] as StoredMemory | ExplicitMemory);
    const memory = used.length === 0 ? null : { profile, memories: used.length };
    await using context = await ReadingContext.open(model, { memory });
    if (used.length > 0) await context.useMemories(used);
    likelihoods.push(...tokenLikelihoods(await context.extend([tokens], 'all'), tokens));
  }
  return likelihoods;
}
