/** Which of a reference's key-values are kept, part of a converted model's identity (paper 3.2, 3.3). */
import { z } from 'zod';

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
