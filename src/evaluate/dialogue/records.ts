/** What stands in the folder of an evaluation of dialogues: answers, and what the judge says of each. */
import { z } from 'zod';

const natural = z.int().nonnegative();

const turnSchema = z.strictObject({
  /** Null if the dialogue did not fit the model's context any more: then the turn was not measured. */
  answer: z.string().nullable(),
  /** Ids of the references that it saw, best first. */
  references: z.array(natural),
  /** Better references that were left out because they overlap the question. */
  leftOut: natural,
  /** Whether the answer was cut off at the limit of tokens. */
  cut: z.boolean(),
});
export type TurnRecord = Readonly<z.output<typeof turnSchema>>;

/** The answers to a question in a mode: a line of `answers.jsonl`. */
export const answerSchema = z.strictObject({
  mode: z.string(),
  id: z.string(),
  turns: z.tuple([turnSchema, turnSchema]),
});
export type AnswerRecord = Readonly<z.output<typeof answerSchema>>;

/** What the judge says of one answer: a line of `judgements.jsonl`. */
export const judgementSchema = z.strictObject({
  mode: z.string(),
  id: z.string(),
  turn: z.union([z.literal(1), z.literal(2)]),
  score: z.number().min(1).max(10),
  reply: z.string(),
  /** As the endpoint calls it. */
  model: z.string().nullable(),
});
export type JudgementRecord = Readonly<z.output<typeof judgementSchema>>;
