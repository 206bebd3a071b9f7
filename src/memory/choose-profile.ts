/** From what a user asks for, or nothing, to the memory profile of a model. */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { checkOptions } from '../errors.ts';
import type { ModelConfig } from '../model/config.ts';
import type { Tokenizer } from '../model/tokenizer.ts';
import type { ProfileDefaults } from './adapter-card.ts';
import { classifierFor } from './answer-classifier.ts';
import {
  decidingScoring,
  type MemoryProfile,
  memoryLayers,
  memoryProfileSchema,
  scorings,
  storages,
} from './profile.ts';

/** What a user may choose; everything else follows from the model. */
const profileChoiceSchema = z.strictObject({
  /** first-half, middle, last-half, all, last-N, or layer numbers separated by commas. */
  layers: z.string().optional(),
  keptTokens: memoryProfileSchema.shape.keptTokens.optional(),
  scoring: z.enum(scorings).optional(),
  storage: z.enum(storages).optional(),
});
export type ProfileChoice = z.input<typeof profileChoiceSchema>;

/** Chosen from the measurements in docs/quality.md: of an untrained model the last half reads memories best. */
const untrained = { layers: 'last-half', keptTokens: 'all', scoring: 'received', storage: 'int8' } as const;

/** The text that stands for bos while a reference is read (paper 3.2). */
const headerText = 'Reference:';
/** The instruction before the second copy of a reference, for reconstruction scores. */
const repeatText = '\n\nRepeat the reference:';

/**
 * The memory profile of a model.
 * @param defaults what an open adapter was trained with; without one, the model was never trained for memories
 * @throws Memory3Error "usage" for layers that the model does not have.
 */
export function chooseProfile(
  config: ModelConfig,
  tokenizer: Tokenizer,
  choice: ProfileChoice = {},
  defaults: ProfileDefaults | typeof untrained = untrained,
): MemoryProfile {
  const checked = checkOptions(profileChoiceSchema, choice);
  const layers = memoryLayers(checked.layers ?? defaults.layers, config.layers);
  return {
    layers,
    keptTokens: checked.keptTokens ?? defaults.keptTokens,
    scoring: checked.scoring ?? defaults.scoring,
    storage: checked.storage ?? defaults.storage,
    header: memoryHeader(tokenizer),
  };
}

/** Token ids of the modified bos, "<bos>Reference:". */
export function memoryHeader(tokenizer: Pick<Tokenizer, 'bosTokenId' | 'encode'>): [number, ...number[]] {
  return [tokenizer.bosTokenId, ...tokenizer.encode(headerText)];
}

/** Token ids of the instruction before the second copy of a reference. */
export function repeatPrompt(tokenizer: Tokenizer): number[] {
  return tokenizer.encode(repeatText, { continuation: true });
}

/**
 * Name for people, fingerprint for comparison: memories of another fingerprint do not fit.
 * @param model whose classifier keeps the tokens, where the profile wants one
 */
export function profileIdentity(
  profile: MemoryProfile,
  model: Parameters<typeof classifierFor>[0],
): { readonly name: string; readonly fingerprint: string } {
  const { layers, keptTokens, storage, header } = profile;
  const classifier = classifierFor(model, profile);
  const scoring = decidingScoring(profile);
  const first = layers[0] as number;
  const last = layers.at(-1) as number;
  const contiguous = last - first === layers.length - 1;
  const chosenBy =
    classifier === null
      ? []
      : [classifier.layers, createHash('sha256').update(bytesOf(classifier.weights.data)).digest('hex')];
  const canonical = JSON.stringify([layers, keptTokens, scoring, storage, header, ...chosenBy]);
  return {
    name: `layers ${contiguous ? `${first}-${last}` : layers.join(',')}, ${keptTokens} tokens by ${scoring}, ${storage}`,
    fingerprint: createHash('sha256').update(canonical).digest('hex'),
  };
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
