/**
 * What a model can do without memories: so that a conversion's cost shows. Perplexity of texts, and multiple choice by
 * likelihood: a choice's log-likelihood is the sum over its tokens behind the context, without bos; the likeliest counts.
 */
import { join } from 'node:path';
import { z } from 'zod';
import { seededRandom } from '../generate/sampling.ts';
import { readJsonLines } from '../json-lines.ts';
import { ReadingContext } from '../memory/context.ts';
import type { LanguageModel } from '../memory/model.ts';
import type { Tokenizer } from '../model/tokenizer.ts';
import { shuffle } from '../train/conversion/draw.ts';
import { negativeLogLikelihood, tokenLikelihoods } from './likelihood.ts';

/** A question and what might follow it. */
export interface ChoiceItem {
  readonly context: string;
  /** Each as it stands behind the context, with its space. */
  readonly choices: readonly string[];
  /** Index of the right one. */
  readonly answer: number;
}

export interface AbilityRow {
  readonly task: string;
  /** Share of right answers, or perplexity. */
  readonly value: number;
  readonly metric: 'accuracy' | 'perplexity';
  readonly items: number;
}

/** Tokens of a text that perplexity reads. */
const textTokens = 512;

const choiceSchema = z.object({ choices: z.array(z.string()).nonempty(), answer: z.int().nonnegative() });
const questionSchema = choiceSchema.extend({ question: z.string() });

/** Data sets by file, and how their lines become items. */
const tasks: readonly { readonly name: string; readonly read: (folder: string) => ChoiceItem[] }[] = [
  { name: 'arc_easy', read: (folder) => questions(join(folder, 'arc_easy/test.jsonl.gz')) },
  { name: 'piqa', read: (folder) => questions(join(folder, 'piqa/validation.jsonl.gz')) },
  {
    name: 'hellaswag',
    read: (folder) =>
      readJsonLines(
        join(folder, 'hellaswag/validation_sub1000.jsonl.gz'),
        choiceSchema.extend({ activity: z.string(), context: z.string() }),
      ).map(({ activity, context, choices, answer }) => item(`${activity}: ${context.trim()}`, choices, answer)),
  },
  {
    name: 'boolq',
    read: (folder) =>
      readJsonLines(join(folder, 'boolq/validation.jsonl.gz'), questionSchema.extend({ passage: z.string() })).map(
        ({ passage, question, choices, answer }) =>
          item(`${passage}\nQuestion: ${question}?\nAnswer:`, choices, answer),
      ),
  },
];

function questions(file: string): ChoiceItem[] {
  return readJsonLines(file, questionSchema).map(({ question, choices, answer }) =>
    item(`Question: ${question}\nAnswer:`, choices, answer),
  );
}

function item(context: string, choices: readonly string[], answer: number): ChoiceItem {
  return { context, choices: choices.map((choice) => ` ${choice}`), answer };
}

/**
 * Measures a model on the data sets of a folder: WikiText-2, ARC-easy, PIQA, HellaSwag, BoolQ.
 * @param limit items of each task, drawn by `seed`
 * @throws Memory3Error "not-found" or "damaged", naming file and line.
 */
export async function* measureAbility(
  model: LanguageModel,
  tokenizer: Tokenizer,
  folder: string,
  { limit, seed }: { readonly limit: number; readonly seed: number },
): AsyncGenerator<AbilityRow, void> {
  const texts = readJsonLines(join(folder, 'wikitext2/valid.jsonl.gz'), z.object({ text: z.string() })).slice(0, limit);
  let [sum, count] = [0, 0];
  for (const { text } of texts) {
    const tokens = tokenizer.encode(text).slice(0, textTokens);
    await using context = await ReadingContext.open(model, { memory: null });
    const likelihoods = tokenLikelihoods(await context.extend([tokens], 'all'), tokens);
    sum += likelihoods.reduce((total, one) => total + one, 0);
    count += likelihoods.length;
  }
  yield { task: 'wikitext2', metric: 'perplexity', value: Math.exp(sum / count), items: texts.length };
  for (const { name, read } of tasks) {
    const items = shuffle(read(folder), seededRandom(seed)).slice(0, limit);
    let right = 0;
    for (const one of items) {
      const likelihoods = await choiceLikelihoods(model, tokenizer, one);
      if (likelihoods.indexOf(Math.max(...likelihoods)) === one.answer) right++;
    }
    yield { task: name, metric: 'accuracy', value: right / items.length, items: items.length };
  }
}

/**
 * Log-likelihood of each choice, nats, summed. Context and choice are encoded together; the choice's tokens are those
 * behind as many as the context alone has.
 */
export async function choiceLikelihoods(
  model: LanguageModel,
  tokenizer: Tokenizer,
  { context, choices }: Pick<ChoiceItem, 'context' | 'choices'>,
): Promise<number[]> {
  const prompt = tokenizer.encode(context);
  const targets = choices.map((choice) => tokenizer.encode(`${context}${choice}`).slice(prompt.length));
  await using reading = await ReadingContext.open(model, { memory: null });
  const afterPrompt = await reading.extend([prompt]);
  const likelihoods: number[] = [];
  for (const target of targets) {
    let likelihood = -negativeLogLikelihood(afterPrompt, 0, target[0] as number);
    if (target.length > 1) {
      const logits = await reading.extend([target.slice(0, -1)], 'all');
      for (const [row, token] of target.slice(1).entries()) likelihood -= negativeLogLikelihood(logits, row, token);
      reading.rewind(prompt.length);
    }
    likelihoods.push(likelihood);
  }
  return likelihoods;
}
