/**
 * Fine-tuning samples as batches of the trainer, with the references that they recall.
 *
 * Every sample starts at a multiple of 64 in its sequence where references are recalled, so each chunk is one
 * sample's and sees that sample's references only. Within a batch each reference is read once.
 */
import type { AnswerClassifier } from '../../memory/answer-classifier.ts';
import { type MemoryProfile, chunkTokens as tokensOfChunk } from '../../memory/profile.ts';
import type { TrainingSequence } from '../batch.ts';
import { withChosenTokens } from '../choose-tokens.ts';
import type { ModelTrainer } from '../model-trainer.ts';
import type { Pass } from '../step.ts';
import type { TrainingSample } from './chat-examples.ts';
import type { PackedSequence } from './packing.ts';
import type { ChunkReferences, SampleRecall } from './sample-recall.ts';

/** How samples see references. */
export interface FineTuningMemory {
  readonly profile: MemoryProfile;
  readonly recall: SampleRecall;
  /** For profiles that keep tokens by it; default none. */
  readonly answerClassifier?: AnswerClassifier | null;
  /** Token ids of "Repeat the reference:", which reconstruction scores need. */
  readonly repeatPrompt?: readonly number[];
}

/** One packed sequence. @param samples all samples, by the numbers of the sequence's segments */
export async function packedBatch(
  trainer: ModelTrainer,
  { tokens, weights, segment, segments }: PackedSequence,
  samples: readonly TrainingSample[],
  memory: FineTuningMemory | null,
): Promise<Pass> {
  const shared = new SharedReferences();
  const last = segments.at(-1);
  // Nothing is learned from the padding behind the last sample.
  const length = last === undefined ? 0 : last.start + last.length;
  const chunks: (readonly number[])[] = Array.from({ length: Math.ceil(length / tokensOfChunk) }, () => []);
  if (memory !== null) {
    for (const { sample, start } of segments) {
      const found = await memory.recall.recall([samples[sample] as TrainingSample]);
      for (const [i, own] of shared.add(found).entries()) chunks[start / tokensOfChunk + i] = own;
    }
  }
  const sequence: TrainingSequence = {
    tokens: [...tokens.subarray(0, length)],
    weights: [...weights.subarray(0, length)],
    chunks,
    samples: [...segment.subarray(0, length)],
  };
  return batchOf(trainer, [sequence], shared, memory);
}

/** Samples side by side that all see the same references: two answers to one prompt. */
export async function sideBySideBatch(
  trainer: ModelTrainer,
  samples: readonly TrainingSample[],
  memory: FineTuningMemory | null,
): Promise<Pass> {
  const shared = new SharedReferences();
  const chunks = memory === null ? [[]] : shared.add(await memory.recall.recall(samples));
  const sequences = samples.map(({ tokens, weights }) => ({ tokens: [...tokens], weights: [...weights], chunks }));
  return batchOf(trainer, sequences, shared, memory);
}

async function batchOf(
  trainer: ModelTrainer,
  sequences: readonly TrainingSequence[],
  { bodies }: SharedReferences,
  memory: FineTuningMemory | null,
): Promise<Pass> {
  const batch = { references: bodies, sequences };
  if (memory === null || bodies.length === 0) return { batch, memory: undefined };
  const { profile, answerClassifier = null, repeatPrompt = [] } = memory;
  const { keptTokens } = profile;
  const own = { profile, keptTokens, chunkTokens: tokensOfChunk, summaryTokens: 0, answerClassifier };
  return { batch, memory: await withChosenTokens(trainer, batch, own, repeatPrompt) };
}

/** The references of a batch, each once. */
class SharedReferences {
  readonly bodies: number[][] = [];
  readonly #index = new Map<number, number>();

  /** @returns for each chunk its references as indices into `bodies` */
  add(chunks: ChunkReferences): number[][] {
    return chunks.map((references) => references.map(({ id, tokens }) => this.#indexOf(id, tokens)));
  }

  #indexOf(id: number, tokens: ArrayLike<number>): number {
    const known = this.#index.get(id);
    if (known !== undefined) return known;
    this.#index.set(id, this.bodies.length);
    return this.bodies.push(Array.from(tokens)) - 1;
  }
}
