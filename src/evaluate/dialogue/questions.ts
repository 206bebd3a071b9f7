/**
 * The questions of dialogues: `questions.json`, in the form of MT-Bench (Zheng et al. 2023): eight categories, each question
 * with one that follows it up, and a right answer to compare with where there is one. Questions and answers are our own.
 */
import { z } from 'zod';
import { Memory3Error } from '../../errors.ts';
import questionsFile from './questions.json' with { type: 'json' };

export const categories = [
  'writing',
  'roleplay',
  'reasoning',
  'math',
  'coding',
  'extraction',
  'stem',
  'humanities',
] as const;
export type Category = (typeof categories)[number];

/** Categories whose answers are right or wrong: their questions have right answers for the judge. */
export const categoriesWithReference: readonly Category[] = ['reasoning', 'math', 'coding'];

const text = z.string().trim().min(1);
const turnSchema = z.strictObject({
  text,
  /** A right answer. */
  reference: text.optional(),
});

const questionSchema = z.strictObject({
  id: text,
  category: z.enum(categories),
  turns: z.tuple([turnSchema, turnSchema]),
});
export type DialogueQuestion = Readonly<z.output<typeof questionSchema>>;

const questionsSchema = z
  .array(questionSchema)
  .min(1)
  .check(({ value, issues }) => {
    const ids = value.map(({ id }) => id);
    const fault = (message: string) => issues.push({ code: 'custom', message, input: value });
    for (const [index, { id, category, turns }] of value.entries()) {
      if (ids.indexOf(id) !== index) fault(`${id} is there twice`);
      const needed = categoriesWithReference.includes(category);
      if (needed && turns.some(({ reference }) => reference === undefined)) fault(`${id} lacks a reference`);
    }
  });

/** @throws Memory3Error "damaged" naming what is wrong with them */
export function checkQuestions(questions: unknown): DialogueQuestion[] {
  const parsed = questionsSchema.safeParse(questions);
  if (parsed.success) return parsed.data;
  throw new Memory3Error('damaged', `The dialogues' questions are not sound:\n${z.prettifyError(parsed.error)}`);
}

/** The project's questions. */
export function dialogueQuestions(): DialogueQuestion[] {
  return checkQuestions(questionsFile);
}

/** The first `limit` questions, one of each category in turn, in the order of the categories. */
export function firstQuestions(questions: readonly DialogueQuestion[], limit: number): DialogueQuestion[] {
  const groups = categories.map((category) => questions.filter((question) => question.category === category));
  const rounds = Math.max(...groups.map(({ length }) => length));
  return Array.from({ length: rounds }, (_, round) => groups.flatMap((group) => group.slice(round, round + 1)))
    .flat()
    .slice(0, limit);
}
