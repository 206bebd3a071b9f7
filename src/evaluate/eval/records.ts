/** What one item came to in one mode, as it stands in a run's `items.jsonl`. */
import { z } from 'zod';
import { metricKinds } from './metrics.ts';

const natural = z.int().nonnegative();
const metricNames = Object.keys(metricKinds) as (keyof typeof metricKinds)[];

export const recordSchema = z.strictObject({
  task: z.string(),
  mode: z.string(),
  id: z.string(),
  /** By metric; empty for an item that was not measured. */
  scores: z.partialRecord(z.enum(metricNames), z.number()),
  /** What the item counts in a mean: the tokens of a text, else 1. */
  weight: z.number().positive(),
  /** Of each choice or of the continuation, nats. */
  logLikelihoods: z.array(z.number()).optional(),
  /** What the model wrote. */
  answer: z.string().optional(),
  /** Ids of the references it had, best first; pieces of its own passage have none. */
  references: z.array(natural),
  /**
   * Of a mode that gives items their own passages: how many pieces of them the item had, and how many more there are.
   * Null for an item without a passage: then it was not measured.
   */
  gold: z.strictObject({ given: natural, leftOut: natural }).nullable().optional(),
  /** Better references that were left out because they overlap the item. */
  leftOut: natural,
  /** Whether a reference holds a right answer; null without references, and where answers are no texts. */
  held: z.boolean().nullable(),
  /** Tokens of prompt and answer, if they are more than the model can read: then it was not measured. */
  tooLong: natural.nullable(),
});

export type ItemRecord = z.output<typeof recordSchema>;
