/**
 * Writing: references in, explicit memories out (paper 3.2, 3.3).
 *
 * A reference is read alone behind the header "<bos>Reference:" at positions 0..127. Of its body's key-values in the
 * memory layers, each kv head keeps the tokens with the highest scores (`graph/writer.ts` defines the scores that the
 * graph computes). With summary tokens it keeps none of the body's: the adapter's learned tokens are read behind the body,
 * and their key-values are the memory. The result is bytes (`format.ts`): what is used right away and what is stored are
 * the same.
 */

import { Memory3Error } from '../errors.ts';
import { tokenInputNames } from '../graph/transformer.ts';
import { writerNames } from '../graph/writer.ts';
import type { DenseTensor } from '../model/weights.ts';
import { classifierFor } from './answer-classifier.ts';
import { encodeMemory } from './format.ts';
import type { LanguageModel } from './model.ts';
import { type MemoryProfile, summaryTokenCount } from './profile.ts';
import { cutBodies, type ReferenceBody, referenceBatch } from './reference-batch.ts';
import { randomScores, selectSpread, selectTokens } from './selection.ts';

/** What the model computed for one reference; read by `writeMemories` and by tests. */
export interface EncodedReference {
  /** `[layers, 2, kvHeads, body + summary, headDim]` */
  readonly keysValues: Float32Array;
  /** `[layers, kvHeads, body]`, or undefined where no scores decide. */
  readonly scores: Float32Array | undefined;
  readonly body: number;
  /** Summary tokens behind the body. */
  readonly summary: number;
}

/**
 * Writes a batch of references as explicit memories.
 * @param repeatPrompt token ids of "Repeat the reference:", needed by reconstruction scores only.
 * @returns one memory for each reference, encoded as the profile says.
 * @throws Memory3Error "too-long" if header, body and summary tokens exceed 128 tokens; "usage" if a body is empty, or the
 *   profile wants summary tokens or a classifier that the model does not have.
 */
export async function writeMemories(
  model: LanguageModel,
  profile: MemoryProfile,
  references: readonly ReferenceBody[],
  repeatPrompt: readonly number[] = [],
): Promise<Uint8Array[]> {
  const encoded = await encodeReferences(model, profile, references, repeatPrompt);
  return encoded.map((reference, index) => keepTokens(model, profile, reference, references[index] as ReferenceBody));
}

/**
 * The memory that a profile makes of a reference that was read: its kept tokens, encoded as it says. One that was read for a
 * profile which chooses its tokens by scores also gives those of other `keptTokens` and `storage`.
 */
export function keepTokens(
  model: LanguageModel,
  profile: MemoryProfile,
  encoded: EncodedReference,
  reference: ReferenceBody,
): Uint8Array {
  return encodeMemory(gather(model, profile, encoded, selectAll(model, profile, encoded, reference)), profile.storage);
}

/** Runs the writer graph on a batch; see `writeMemories`. */
export async function encodeReferences(
  model: LanguageModel,
  profile: MemoryProfile,
  references: readonly ReferenceBody[],
  repeatPrompt: readonly number[],
): Promise<EncodedReference[]> {
  if (references.length === 0) return [];
  const { layers } = profile;
  const { kvHeads, headDim, hiddenSize } = model.config;
  const summaryTokens = summaryTokensFor(model, profile);
  // A model without it is refused here, and not by its graph.
  classifierFor(model, profile);
  const batch = referenceBatch(model.config, profile, references, repeatPrompt);
  const inputs = model.tokenInputs(batch.tokens, batch.positions, references.length);
  if (summaryTokens !== null) {
    const hidden = inputs[tokenInputNames.hidden]?.data as Float32Array;
    for (const start of batch.summaryStarts) hidden.set(summaryTokens.data, start * hiddenSize);
  }
  const scored = batch.scoring !== 'none';
  const outputs = await model.device.run({
    session: await model.writerSession(layers, batch.scoring),
    inputs: { ...inputs, ...batch.inputs },
    outputs: scored ? [writerNames.keysValues, writerNames.scores] : [writerNames.keysValues],
  });
  const summary = summaryTokenCount(profile);
  const cut = (name: string, planes: number, width: number) =>
    cutBodies(batch, outputs[name]?.data as Float32Array, { planes, kvHeads, width }, summary);
  const keysValues = cut(writerNames.keysValues, layers.length * 2, headDim);
  const scores = scored ? cut(writerNames.scores, layers.length, 1) : [];
  return references.map(({ tokens: { length: body } }, index) => ({
    keysValues: keysValues[index] as Float32Array,
    scores: scores[index],
    body,
    summary,
  }));
}

/**
 * The model's summary tokens, where a profile keeps them; null for other profiles.
 * @throws Memory3Error "usage" if the model has none, or another number of them.
 */
export function summaryTokensFor(
  { summaryTokens }: Pick<LanguageModel, 'summaryTokens'>,
  profile: Pick<MemoryProfile, 'scoring' | 'keptTokens'>,
): DenseTensor | null {
  const wanted = summaryTokenCount(profile);
  if (wanted === 0) return null;
  const available = summaryTokens?.shape[0] ?? 0;
  if (summaryTokens !== null && available === wanted) return summaryTokens;
  throw new Memory3Error(
    'usage',
    available === 0
      ? 'Summary tokens are learned, and this model has none.'
      : `The memory profile keeps ${wanted} summary tokens, and the adapter has ${available}.`,
    {
      remedy:
        available === 0
          ? 'Open an adapter that was trained with them, or choose another --scoring.'
          : `Keep ${available} tokens, or choose another --scoring.`,
    },
  );
}

/**
 * Indices of the kept tokens behind the header, `[layers * kvHeads]` lists of equal length, ascending: tokens of the body, or
 * the summary tokens.
 */
export function selectAll(
  { config: { kvHeads } }: Pick<LanguageModel, 'config'>,
  profile: MemoryProfile,
  { body, summary, scores }: Omit<EncodedReference, 'keysValues'>,
  reference: ReferenceBody,
): number[][] {
  const planes = Array.from({ length: profile.layers.length * kvHeads }, (_, plane) => plane);
  if (profile.scoring === 'summary') {
    return planes.map(() => Array.from({ length: summary }, (_, token) => body + token));
  }
  const count = profile.keptTokens === 'all' ? body : Math.min(profile.keptTokens, body);
  if (count === body) return planes.map(() => Array.from({ length: body }, (_, token) => token));
  if (profile.scoring === 'answer-weighted') return selectSpread(scores as Float32Array, kvHeads, body, count);
  return planes.map((plane) => {
    if (profile.scoring === 'random') return selectTokens(randomScores(body, seedOf(reference.tokens, plane)), count);
    const own = (scores as Float32Array).subarray(plane * body, (plane + 1) * body);
    return selectTokens(own, count);
  });
}

/** The kept tokens of one reference as an explicit memory. */
export function gather(
  model: LanguageModel,
  profile: MemoryProfile,
  { body, summary, keysValues }: EncodedReference,
  kept: readonly (readonly number[])[],
) {
  const { kvHeads, headDim } = model.config;
  const layers = profile.layers.length;
  const count = kept[0]?.length ?? 0;
  const result = new Float32Array(layers * 2 * kvHeads * count * headDim);
  const positions = Uint8Array.from(kept.flatMap((tokens) => tokens.map((token) => token + profile.header.length)));
  let write = 0;
  for (let layer = 0; layer < layers; layer++) {
    for (let part = 0; part < 2; part++) {
      for (let head = 0; head < kvHeads; head++) {
        const start = ((layer * 2 + part) * kvHeads + head) * (body + summary);
        for (const token of kept[layer * kvHeads + head] as readonly number[]) {
          const from = (start + token) * headDim;
          result.set(keysValues.subarray(from, from + headDim), write);
          write += headDim;
        }
      }
    }
  }
  return { layers, kvHeads, kept: count, headDim, positions, keysValues: result };
}

/** A number that the reference's tokens and the plane decide (FNV-1a). */
function seedOf(tokens: readonly number[], plane: number): number {
  let hash = 0x811c9dc5;
  for (const token of [...tokens, plane]) hash = Math.imul(hash ^ token, 0x01000193);
  return hash >>> 0;
}
