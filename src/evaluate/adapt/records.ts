/** What stands in a run's files: an answer of an arm, and how long things took. */
import { z } from 'zod';

/** In the order of the report. */
export const arms = ['before', 'memory', 'tuned', 'rag'] as const;
export type Arm = (typeof arms)[number];

export const metrics = ['nats', 'exact', 'f1', 'accuracy', 'normalised-accuracy'] as const;
/** nats: of the first right answer, per token, lower is better. exact, f1: of the greedy answer. accuracies: of a multiple choice. */
export type Metric = (typeof metrics)[number];
export type Scores = Readonly<Partial<Record<Metric, number>>>;

const natural = z.int().nonnegative();
const seconds = z.number().nonnegative();

export const answerSchema = z.strictObject({
  domain: z.string(),
  id: z.string(),
  arm: z.enum(arms),
  /** Empty where it was too long. */
  scores: z.partialRecord(z.enum(metrics), z.number()),
  /** What the model wrote. */
  answer: z.string(),
  /** Ids of the references that it had, best first. */
  references: z.array(natural),
  /** Whether one of them holds a right answer; null where the arm has none. */
  held: z.boolean().nullable(),
  promptTokens: natural,
  /** Prompt and answer are longer than the model can read: it was not measured. */
  tooLong: z.boolean(),
});
export type AnswerRecord = z.output<typeof answerSchema>;

/** All that differs between two runs of the same. */
export const timeSchema = z.discriminatedUnion('kind', [
  /** A document's references embedded and stored; a batch of memories written and stored. */
  z.strictObject({ kind: z.enum(['index', 'write']), domain: z.string(), references: natural, seconds }),
  /** What was learned, merged into the model. */
  z.strictObject({ kind: z.literal('merge'), domain: z.string(), seconds }),
  /** One answer; where there are two of a question and an arm, the later one counts. */
  z.strictObject({ kind: z.literal('answer'), domain: z.string(), id: z.string(), arm: z.enum(arms), seconds }),
]);
export type TimeRecord = z.output<typeof timeSchema>;
