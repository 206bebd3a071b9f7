/**
 * What memory is worth to a model, against the same references as text in its prompt (RAG) and against none.
 *
 * For each question: the negative log-likelihood per token of " {first answer}" behind "Question: {q}\nAnswer:", and the
 * greedy answer's exact match and F1. No chat template, so that nothing but the references differs between the modes.
 */
import { Memory3Error } from '../errors.ts';
import { sample, samplingSchema, seededRandom } from '../generate/sampling.ts';
import { ReadingContext } from '../memory/context.ts';
import { decodeMemory, type Storage } from '../memory/format.ts';
import type { LanguageModel } from '../memory/model.ts';
import { type MemoryProfile, memoryLayers, type Scoring } from '../memory/profile.ts';
import { writeMemories } from '../memory/writer.ts';
import type { Tokenizer } from '../model/tokenizer.ts';
import { exactMatch, f1Score } from './answers.ts';
import { negativeLogLikelihood } from './likelihood.ts';
import type { QuestionItem } from './questions.ts';

export interface QualityRow {
  readonly mode: 'none' | 'rag' | 'memory';
  /** Name of the choice of memory layers; null without memory. */
  readonly layers: string | null;
  readonly kept: number | 'all' | null;
  /** References for each question. */
  readonly memories: number;
  /** Mean over questions, nats per answer token. */
  readonly nll: number;
  /** Means over questions, 0..1. */
  readonly exact: number;
  readonly f1: number;
  /** Mean over references; null without memory. */
  readonly bytesPerReference: number | null;
  readonly items: number;
}

export interface QualityOptions {
  readonly layers: readonly string[];
  readonly kept: readonly (number | 'all')[];
  readonly scoring: Scoring;
  readonly storage: Storage;
  readonly header: MemoryProfile['header'];
  readonly repeatPrompt: readonly number[];
}

/** Longest greedy answer, tokens. */
const answerTokens = 32;

/** Measures every mode and profile on the same questions; rows come as they are finished. */
export async function* measureQuality(
  model: LanguageModel,
  tokenizer: Tokenizer,
  items: readonly QuestionItem[],
  options: QualityOptions,
): AsyncGenerator<QualityRow, void> {
  if (items.length === 0) throw new Memory3Error('usage', 'There is no question left to measure with.');
  const measure = (mode: 'none' | 'rag') =>
    measureRow(items, mode, null, null, async (item) => {
      const texts = mode === 'rag' ? item.references.map(({ text }) => text) : [];
      return { context: await ReadingContext.open(model, { memory: null }), texts, bytes: null };
    });
  const measureRow = async (
    rowItems: readonly QuestionItem[],
    mode: QualityRow['mode'],
    layers: string | null,
    kept: QualityRow['kept'],
    prepare: (
      item: QuestionItem,
    ) => Promise<{ context: ReadingContext; texts: readonly string[]; bytes: number | null }>,
  ): Promise<QualityRow> => {
    const sums = { nll: 0, exact: 0, f1: 0, bytes: 0 };
    for (const item of rowItems) {
      const { context: opened, texts, bytes } = await prepare(item);
      await using context = opened;
      const prefix = texts.map((text) => `Reference: ${text}\n\n`).join('');
      const prompt = [tokenizer.bosTokenId, ...tokenizer.encode(`${prefix}Question: ${item.question}\nAnswer:`)];
      const { nll, answer } = await answerItem(context, tokenizer, prompt, item);
      sums.nll += nll;
      sums.exact += exactMatch(answer, item.answers);
      sums.f1 += f1Score(answer, item.answers);
      sums.bytes += bytes ?? 0;
    }
    const count = rowItems.length;
    const references = rowItems.reduce((sum, { references: own }) => sum + own.length, 0);
    return {
      mode,
      layers,
      kept,
      memories: mode === 'none' ? 0 : (items[0] as QuestionItem).references.length,
      nll: sums.nll / count,
      exact: sums.exact / count,
      f1: sums.f1 / count,
      bytesPerReference: mode === 'memory' ? sums.bytes / references : null,
      items: count,
    };
  };

  yield await measure('none');
  yield await measure('rag');
  await model.releaseSessions();
  for (const choice of options.layers) {
    for (const keptTokens of options.kept) {
      const profile: MemoryProfile = {
        layers: memoryLayers(choice, model.config.layers),
        keptTokens,
        scoring: options.scoring,
        storage: options.storage,
        header: options.header,
      };
      yield await measureRow(items, 'memory', choice, keptTokens, async (item) => {
        const stored = await writeMemories(model, profile, item.references, options.repeatPrompt);
        const context = await ReadingContext.open(model, { memory: { profile, memories: stored.length } });
        await context.useMemories(stored.map(decodeMemory));
        return { context, texts: [], bytes: stored.reduce((sum, { length }) => sum + length, 0) };
      });
    }
    await model.releaseSessions();
  }
}

async function answerItem(
  context: ReadingContext,
  tokenizer: Tokenizer,
  prompt: readonly number[],
  item: QuestionItem,
): Promise<{ nll: number; answer: string }> {
  const target = tokenizer.encode(` ${item.answers[0]}`);
  const afterPrompt = await context.extend([prompt]);
  let nll = negativeLogLikelihood(afterPrompt, 0, target[0] as number);
  if (target.length > 1) {
    const rest = await context.extend([target.slice(0, -1)], 'all');
    for (const [row, token] of target.slice(1).entries()) nll += negativeLogLikelihood(rest, row, token);
  }
  context.rewind(prompt.length);
  const greedy = samplingSchema.parse({});
  const random = seededRandom(0);
  const answer: number[] = [];
  let logits = afterPrompt.data;
  while (answer.length < answerTokens) {
    const token = sample(logits, greedy, random, []);
    if (tokenizer.endTokenIds.includes(token)) break;
    answer.push(token);
    if (tokenizer.decode(answer).includes('\n')) break;
    if (answer.length < answerTokens) logits = (await context.extend([[token]])).data;
  }
  return { nll: nll / target.length, answer: tokenizer.decode(answer).split('\n')[0]?.trim() ?? '' };
}
