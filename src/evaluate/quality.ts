/**
 * What memory is worth to a model, against the same references as text in its prompt (RAG) and against none.
 *
 * For each question: the negative log-likelihood per token of " {first answer}" behind "Question: {q}\nAnswer:", and the
 * greedy answer's exact match and F1. No chat template, so that nothing but the references differs between the modes.
 */
import { Memory3Error } from '../errors.ts';
import { sample, samplingSchema, seededRandom } from '../generate/sampling.ts';
import { ReadingContext } from '../memory/context.ts';
import { parseMemory, type Storage } from '../memory/format.ts';
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
  const plain = () => ReadingContext.open(model, { memory: null });
  const row = { layers: null, kept: null, items, tokenizer };
  yield await measureRow({ ...row, mode: 'none', prepare: async () => ({ context: await plain(), text: '' }) });
  yield await measureRow({
    ...row,
    mode: 'rag',
    prepare: async ({ references }) => ({
      context: await plain(),
      text: references.map(({ text }) => `Reference: ${text}\n\n`).join(''),
    }),
  });
  await model.releaseSessions();
  for (const layers of options.layers) {
    for (const kept of options.kept) {
      const { scoring, storage, header, repeatPrompt } = options;
      const chosen = memoryLayers(layers, model.config.layers);
      const profile: MemoryProfile = { layers: chosen, keptTokens: kept, scoring, storage, header };
      const prepare = async ({ references }: QuestionItem): Promise<Prepared> => {
        const stored = await writeMemories(model, profile, references, repeatPrompt);
        const context = await ReadingContext.open(model, { memory: { profile, memories: stored.length } });
        await context.useMemories(stored.map(parseMemory));
        return { context, text: '', bytes: stored.reduce((sum, { length }) => sum + length, 0) };
      };
      yield await measureRow({ ...row, mode: 'memory', layers, kept, prepare });
    }
    await model.releaseSessions();
  }
}

/** A context that is ready for an item's prompt, and the text that comes before it. */
interface Prepared {
  readonly context: ReadingContext;
  readonly text: string;
  /** Size of the item's memories. */
  readonly bytes?: number;
}

interface RowRequest extends Pick<QualityRow, 'mode' | 'layers' | 'kept'> {
  readonly items: readonly QuestionItem[];
  readonly tokenizer: Tokenizer;
  readonly prepare: (item: QuestionItem) => Promise<Prepared>;
}

async function measureRow({ mode, layers, kept, items, tokenizer, prepare }: RowRequest): Promise<QualityRow> {
  const sums = { nll: 0, exact: 0, f1: 0, bytes: 0, references: 0 };
  for (const item of items) {
    const { context: prepared, text, bytes } = await prepare(item);
    await using context = prepared;
    const prompt = [tokenizer.bosTokenId, ...tokenizer.encode(`${text}Question: ${item.question}\nAnswer:`)];
    const { nll, answer } = await answerItem(context, tokenizer, prompt, item);
    sums.nll += nll;
    sums.exact += exactMatch(answer, item.answers);
    sums.f1 += f1Score(answer, item.answers);
    sums.bytes += bytes ?? 0;
    sums.references += item.references.length;
  }
  const count = items.length;
  return {
    mode,
    layers,
    kept,
    memories: mode === 'none' ? 0 : sums.references / count,
    nll: sums.nll / count,
    exact: sums.exact / count,
    f1: sums.f1 / count,
    bytesPerReference: mode === 'memory' ? sums.bytes / sums.references : null,
    items: count,
  };
}

async function answerItem(
  context: ReadingContext,
  tokenizer: Tokenizer,
  prompt: readonly number[],
  item: QuestionItem,
): Promise<{ nll: number; answer: string }> {
  const target = tokenizer.encode(` ${item.answers[0]}`, { continuation: true });
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
