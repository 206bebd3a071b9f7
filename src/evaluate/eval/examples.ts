/**
 * A few items of each task as people read them: prompt, right answer, and what the model gave in each mode, with which
 * references. Those on which modes differ come first, so they show what references do and are no sample of the scores.
 */
import { z } from 'zod';
import type { StoredReference } from '../../bank/bank.ts';
import type { Item, MetricName, Task } from '../tasks/task.ts';
import { largest, metricKinds } from './metrics.ts';
import { type ItemRecord, recordSchema } from './records.ts';

/** Of each task. */
const examplesEach = 4;

const { id, references, gold, leftOut, held, tooLong } = recordSchema.shape;

const givenSchema = z.strictObject({
  mode: z.string(),
  /** The choice, or what the model wrote; null where it chose and wrote nothing. */
  answer: z.string().nullable(),
  /** The task's first metric; null if the item was not measured. For perplexity, nats a token. */
  score: z.number().nullable(),
  ...{ references, gold, leftOut, held, tooLong },
});

const exampleSchema = z.strictObject({
  id,
  /** Several for an item that asks which of them goes on best. */
  prompts: z.array(z.string()),
  /** All choices, or none. */
  choices: z.array(z.string()),
  right: z.array(z.string()),
  given: z.array(givenSchema),
});

const referenceSchema = z.strictObject({
  id: z.int(),
  /** Of its document: the title, else the name; null if the bank lost it meanwhile. */
  title: z.string().nullable(),
  text: z.string(),
});

export const taskExamplesSchema = z.strictObject({
  task: z.string(),
  examples: z.array(exampleSchema),
  /** Those that the examples name. */
  references: z.array(referenceSchema),
});

export type GivenAnswer = z.output<typeof givenSchema>;
export type Example = z.output<typeof exampleSchema>;
export type ExampleReference = z.output<typeof referenceSchema>;
export type TaskExamples = z.output<typeof taskExamplesSchema>;

/**
 * Examples of one task.
 * @param items in the order in which they were drawn
 * @param records of this task
 * @param modes names, in order; an item that one of them lacks is no example
 * @param find a reference by its id; null if there is none any more
 */
export function examplesOf(
  task: Task,
  items: readonly Item[],
  records: readonly ItemRecord[],
  modes: readonly string[],
  find: (id: number) => StoredReference | null,
): TaskExamples {
  const byItem = Map.groupBy(records, (record) => record.id);
  const [metric] = task.metrics;
  const candidates = items.flatMap((item) => {
    const own = byItem.get(item.id) ?? [];
    const ordered = modes.flatMap((mode) => own.filter((record) => record.mode === mode));
    return ordered.length === modes.length ? [{ item, records: ordered, change: changeOf(metric, ordered) }] : [];
  });
  const better = candidates.find(({ change }) => change > 0);
  const worse = candidates.find(({ change }) => change < 0);
  const telling = [better, worse].filter((one) => one !== undefined);
  const chosen = [...new Set([...telling, ...candidates])].slice(0, examplesEach);
  const examples = chosen.map(({ item, records: own }) => exampleOf(metric, item, own));
  const ids = new Set(examples.flatMap(({ given }) => given.flatMap((one) => one.references)));
  return {
    task: task.name,
    examples,
    references: [...ids].map((one) => {
      const found = find(one);
      const title = found === null ? null : (found.documentTitle ?? found.documentName);
      return { id: one, title, text: found?.text ?? '' };
    }),
  };
}

/** By how much the best or the worst of the later modes is better than the first one; 0 where none differs. */
function changeOf(metric: MetricName, [first, ...later]: readonly ItemRecord[]): number {
  const before = first?.scores[metric];
  const sign = metricKinds[metric].better === 'higher' ? 1 : -1;
  const changes = later.flatMap(({ scores: { [metric]: score } }) =>
    score === undefined || before === undefined ? [] : [sign * (score - before)],
  );
  return changes.reduce((most, one) => (Math.abs(one) > Math.abs(most) ? one : most), 0);
}

function exampleOf(metric: MetricName, item: Item, records: readonly ItemRecord[]): Example {
  const { prompts, choices, right } = shown(item);
  return {
    ...{ id: item.id, prompts, choices, right },
    given: records.map((record): GivenAnswer => {
      const { logLikelihoods, answer } = record;
      const choice = logLikelihoods === undefined ? undefined : choices[largest(logLikelihoods)];
      return {
        mode: record.mode,
        answer: answer ?? choice ?? null,
        score: record.scores[metric] ?? null,
        references: record.references,
        ...(record.gold === undefined ? {} : { gold: record.gold }),
        leftOut: record.leftOut,
        held: record.held,
        tooLong: record.tooLong,
      };
    }),
  };
}

function shown(item: Item): Pick<Example, 'prompts' | 'choices' | 'right'> {
  switch (item.kind) {
    case 'choice': {
      const { prompts } = item;
      const isOne = prompts.length === 1;
      // Of several prompts each is a choice, and all go on alike.
      const choices = prompts.flatMap(({ text, continuations }) =>
        continuations.map((one) => (isOne ? one.trim() : `${text}${one}`)),
      );
      const right = item.right.map((index) => choices[index] as string);
      return { prompts: isOne ? prompts.map(({ text }) => text) : [], choices, right };
    }
    case 'continuation':
      return { prompts: [item.prompt], choices: [], right: [item.continuation.trim()] };
    case 'perplexity':
      return { prompts: [item.text], choices: [], right: [] };
    case 'generated':
      return { prompts: [item.prompt], choices: [], right: [...item.answers] };
  }
}
