/** Which of a reference's key-values are kept, part of a converted model's identity (paper 3.2, 3.3). */
import { z } from 'zod';
import { Memory3Error } from '../errors.ts';

export const scorings = ['received', 'received-unnormalised', 'value-norm', 'reconstruction', 'random'] as const;
export type Scoring = (typeof scorings)[number];
export const storages = ['f16', 'int8'] as const;

/** Longest reference, header and body together, in tokens (paper 3.1). */
export const referenceTokens = 128;
/** Tokens between two recalls (paper 3.1). */
export const chunkTokens = 64;

export const memoryProfileSchema = z.strictObject({
  /** Memory layers, ascending: those whose attention reads memories. */
  layers: z.array(z.int().nonnegative()).nonempty().readonly(),
  /** Body tokens kept per memory layer and kv head. */
  keptTokens: z.union([z.int().min(1).max(referenceTokens), z.literal('all')]),
  /** How the kept tokens are chosen. */
  scoring: z.enum(scorings),
  storage: z.enum(storages),
  /** Token ids of the modified bos "<bos>Reference:"; the first is the model's document-start token. */
  header: z.array(z.int().nonnegative()).nonempty().readonly(),
});
export type MemoryProfile = z.infer<typeof memoryProfileSchema>;

/** Named choices of memory layers; a list of layer numbers is a choice too. */
export type LayerChoice = 'first-half' | 'middle' | 'last-half' | 'all' | `last-${number}` | readonly number[];

/**
 * The layers of a choice for a model with `layers` layers: the paper's first half (3.3), the middle half that it
 * suspects to be better, the last half, the last n, all, or the given ones.
 * @throws Memory3Error "usage" for an unknown choice or a layer that the model does not have.
 * @example memoryLayers('last-20', 30) // [10, ..., 29]
 */
export function memoryLayers(choice: LayerChoice | string, layers: number): [number, ...number[]] {
  const chosen = Array.isArray(choice) ? [...choice] : namedLayers(choice as string, layers);
  const sorted = [...new Set(chosen)].sort((a, b) => a - b);
  const [first, ...rest] = sorted;
  if (first === undefined || sorted.some((layer) => !Number.isInteger(layer) || layer < 0 || layer >= layers)) {
    throw new Memory3Error('usage', `"${choice}" is no choice of memory layers for a model with ${layers} layers.`, {
      remedy: 'Use first-half, middle, last-half, all, last-N, or layer numbers separated by commas.',
    });
  }
  return [first, ...rest];
}

function namedLayers(choice: string, layers: number): number[] {
  const half = Math.floor(layers / 2);
  const from = (start: number, count: number) => Array.from({ length: count }, (_, i) => start + i);
  if (choice === 'first-half') return from(0, half);
  if (choice === 'middle') return from(Math.ceil(layers / 4), half);
  if (choice === 'last-half') return from(half, layers - half);
  if (choice === 'all') return from(0, layers);
  const last = /^last-(\d+)$/.exec(choice)?.[1];
  if (last !== undefined) return from(layers - Number(last), Number(last));
  return choice.split(',').map((part) => (/^\d+$/.test(part.trim()) ? Number(part) : Number.NaN));
}
