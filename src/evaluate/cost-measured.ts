/**
 * The cost model's read and write in seconds of this machine, measured with the model itself (`cost.ts` has the FLOPs).
 *
 *   write                references of full length as one batch through `writeMemories`, for one of them
 *   read as memory       the extra time of a chunk that reads five memories, copying them into attention included, for one
 *   read as text         the extra time of a chunk that has one reference's tokens in front of it
 *
 * Rounds alternate between the things compared; differences are taken within a round, and medians of them are reported. A
 * difference can be smaller than the machine's noise; then it may be negative, and stays so.
 */
import { recalledMemories } from '../generate/recall.ts';
import type { OpenedModel } from '../generate/workspace.ts';
import { ReadingContext } from '../memory/context.ts';
import { parseMemory } from '../memory/format.ts';
import { chunkTokens, longestBody, referenceTokens } from '../memory/profile.ts';
import { writeMemories } from '../memory/writer.ts';
import { median } from '../quantile.ts';
import { type CheapestRange, cheapestFormats, type WriteAndRead } from './cost.ts';
import { libraryTexts } from './speed-material.ts';

/** Seconds for one reference. What training it into the parameters would take is not measured. */
export interface MeasuredCosts {
  readonly explicit: WriteAndRead;
  readonly external: WriteAndRead;
  /** Of those two, by seconds. */
  readonly cheapest: readonly CheapestRange[];
  readonly rounds: number;
}

/** References that are written at once. */
const writtenAtOnce = 8;

/**
 * @param rounds that are counted; one more goes before them, in which graphs are compiled.
 * @throws the signal's reason between two rounds
 */
export async function measureCosts(opened: OpenedModel, rounds: number, signal?: AbortSignal): Promise<MeasuredCosts> {
  const { model, tokenizer, profile, repeatPrompt } = opened;
  const text = tokenizer.encode(libraryTexts().join('\n\n'));
  const length = longestBody(profile);
  const references = Array.from({ length: writtenAtOnce }, (_, index) => ({
    tokens: text.slice(index * length, (index + 1) * length),
  }));
  const chunk = text.slice(writtenAtOnce * length).slice(0, chunkTokens);
  const behindText = [...text.slice(0, referenceTokens), ...chunk];

  const write: number[] = [];
  const readMemory: number[] = [];
  const readText: number[] = [];
  for (let round = 0; round <= rounds; round++) {
    signal?.throwIfAborted();
    const started = performance.now();
    const written = await writeMemories(model, profile, references, repeatPrompt);
    const writing = seconds(started);
    const memories = written.slice(0, recalledMemories);
    const withMemories = await chunkSeconds(opened, chunk, memories);
    const without = await chunkSeconds(opened, chunk, []);
    const withText = await chunkSeconds(opened, behindText, []);
    if (round === 0) continue;
    write.push(writing / references.length);
    readMemory.push((withMemories - without) / memories.length);
    readText.push(withText - without);
  }
  const explicit = { write: median(write), read: median(readMemory) };
  const external = { write: 0, read: median(readText) };
  return { explicit, external, cheapest: cheapestFormats({ explicit, external }), rounds };
}

/** Loads memories and reads tokens in a context that has room for no more than those. */
async function chunkSeconds(
  { model, profile }: OpenedModel,
  tokens: readonly number[],
  memories: readonly Uint8Array[],
): Promise<number> {
  await using context = await ReadingContext.open(model, { memory: { profile, memories: memories.length } });
  const started = performance.now();
  await context.useMemories(memories.map(parseMemory));
  await context.extend([tokens]);
  return seconds(started);
}

const seconds = (since: number) => (performance.now() - since) / 1000;
