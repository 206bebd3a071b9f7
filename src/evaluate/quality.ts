/**
 * What memory is worth to a model, against the same references as text in its prompt (RAG) and against none.
 *
 * For each question: the negative log-likelihood per token of " {first answer}" behind "Question: {q}\nAnswer:", and the
 * greedy answer's exact match and F1. No chat template, so that nothing but the references differs between the modes.
 *
 * The question's own reference is measured alone or among distractors (`references` of a row). A converted model is
 * compared with models that were trained alike without references and with references as text: each mode may have its own.
 */
import { Memory3Error } from '../errors.ts';
import { type Random, seededRandom } from '../generate/sampling.ts';
import { ReadingContext } from '../memory/context.ts';
import { parseMemory, type Storage } from '../memory/format.ts';
import type { LanguageModel } from '../memory/model.ts';
import { type MemoryProfile, memoryLayers, type Scoring } from '../memory/profile.ts';
import { writeMemories } from '../memory/writer.ts';
import type { Tokenizer } from '../model/tokenizer.ts';
import type { Chunk } from '../retrieval/chunks.ts';
import { shuffle } from '../train/conversion/draw.ts';
import type { QuestionItem } from './questions.ts';
import { type ItemScore, scoreItems } from './score-items.ts';
import { type Share, shareOfGain } from './share.ts';

export interface QualityRow {
  /** Name of the set of questions, or "all" of them together. */
  readonly set: string;
  readonly mode: 'none' | 'rag' | 'memory';
  /** Name of the choice of memory layers; null without memory. */
  readonly layers: string | null;
  readonly kept: number | 'all' | null;
  /** References for each question: its own and distractors. */
  readonly references: number;
  /** Mean over questions, nats per answer token. */
  readonly nll: number;
  /** Means over questions, 0..1. */
  readonly exact: number;
  readonly f1: number;
  /** What memory gives back of the gain by text, of these questions and this number of references; null without memory. */
  readonly share: Share | null;
  /** Mean over references; null without memory. */
  readonly bytesPerReference: number | null;
  readonly items: number;
}

/** Questions that are measured together. */
export interface QualitySet {
  readonly name: string;
  /** Each with its own reference first, then at least as many distractors as any row has. */
  readonly items: readonly QuestionItem[];
}

/** The model of each mode. */
export interface QualityModels {
  readonly none: LanguageModel;
  readonly rag: LanguageModel;
  readonly memory: LanguageModel;
}

export interface QualityOptions {
  readonly layers: readonly string[];
  readonly kept: readonly (number | 'all')[];
  /** Numbers of references for each question, 1 being its own alone. */
  readonly references: readonly number[];
  readonly scoring: Scoring;
  readonly storage: Storage;
  readonly header: MemoryProfile['header'];
  readonly repeatPrompt: readonly number[];
  /** Orders references in prompts and draws the intervals' samples. */
  readonly seed: number;
}

/** Questions that are read side by side. */
export const qualityBatch = 16;

/**
 * Measures every mode and profile on the same questions; rows come as they are finished.
 * @throws Memory3Error "usage" if a set has no questions, or too few distractors.
 */
export async function* measureQuality(
  models: QualityModels,
  tokenizer: Tokenizer,
  sets: readonly QualitySet[],
  options: QualityOptions,
): AsyncGenerator<QualityRow, void> {
  for (const { name, items } of sets) {
    const most = Math.max(...options.references);
    if (items.length === 0) throw new Memory3Error('usage', `There is no question of ${name} to measure with.`);
    if (items.some(({ references }) => references.length < most)) {
      throw new Memory3Error('usage', `Questions of ${name} have fewer than ${most} references.`);
    }
  }
  const { scoring, storage, header, repeatPrompt } = options;
  const measured = new Map<string, readonly ItemScore[]>();
  const measure = (request: RowRequest) => measureRows(sets, tokenizer, request, measured, options.seed);

  const none = models.none;
  yield* measure({ mode: 'none', layers: null, kept: null, references: 0, prepare: (items) => plain(none, items) });
  if (models.rag !== none) await none.releaseSessions();
  for (const references of options.references) {
    const random = seededRandom(options.seed);
    const prepare = (items: readonly QuestionItem[]) => withText(models.rag, items, random);
    yield* measure({ mode: 'rag', layers: null, kept: null, references, prepare });
  }
  await models.rag.releaseSessions();
  for (const layers of options.layers) {
    const chosen = memoryLayers(layers, models.memory.config.layers);
    for (const kept of options.kept) {
      const profile: MemoryProfile = { layers: chosen, keptTokens: kept, scoring, storage, header };
      const prepare = (items: readonly QuestionItem[]) => withMemories(models.memory, profile, items, repeatPrompt);
      for (const references of options.references)
        yield* measure({ mode: 'memory', layers, kept, references, prepare });
    }
    await models.memory.releaseSessions();
  }
}

/** An empty context for a batch of questions. */
interface Prepared {
  readonly context: ReadingContext;
  /** What stands before each question. */
  readonly prefixes: readonly string[];
  /** Size of all memories of the batch, counted once for each question that uses them. */
  readonly bytes: number;
}

interface RowRequest extends Pick<QualityRow, 'mode' | 'layers' | 'kept' | 'references'> {
  /** @param items with no more references than the row has */
  readonly prepare: (items: readonly QuestionItem[]) => Promise<Prepared>;
}

/** A row for each set, and one for all of them. */
async function* measureRows(
  sets: readonly QualitySet[],
  tokenizer: Tokenizer,
  request: RowRequest,
  measured: Map<string, readonly ItemScore[]>,
  seed: number,
): AsyncGenerator<QualityRow, void> {
  const { mode, layers, kept, references, prepare } = request;
  const all: ItemScore[] = [];
  let allBytes = 0;
  const row = (set: string, scores: readonly ItemScore[], bytes: number): QualityRow => {
    measured.set(key(mode, references, set), scores);
    const mean = (of: keyof ItemScore) => scores.reduce((sum, score) => sum + score[of], 0) / scores.length;
    const [none, rag] = [measured.get(key('none', 0, set)), measured.get(key('rag', references, set))];
    const isMemory = mode === 'memory' && none !== undefined && rag !== undefined;
    return {
      set,
      mode,
      layers,
      kept,
      references,
      nll: mean('nll'),
      exact: mean('exact'),
      f1: mean('f1'),
      share: isMemory ? shareOfGain(nlls(none), nlls(rag), nlls(scores), seededRandom(seed)) : null,
      bytesPerReference: mode === 'memory' ? bytes / (scores.length * references) : null,
      items: scores.length,
    };
  };
  for (const { name, items } of sets) {
    const scores: ItemScore[] = [];
    let bytes = 0;
    for (let start = 0; start < items.length; start += qualityBatch) {
      const batch = items
        .slice(start, start + qualityBatch)
        .map((item) => ({ ...item, references: item.references.slice(0, references) }));
      const prepared = await prepare(batch);
      await using context = prepared.context;
      bytes += prepared.bytes;
      scores.push(...(await scoreItems(context, tokenizer, batch, prepared.prefixes)));
    }
    yield row(name, scores, bytes);
    all.push(...scores);
    allBytes += bytes;
  }
  if (sets.length > 1) yield row('all', all, allBytes);
}

function key(mode: QualityRow['mode'], references: number, set: string): string {
  return `${mode} ${references} ${set}`;
}

function nlls(scores: readonly ItemScore[]): number[] {
  return scores.map(({ nll }) => nll);
}

async function plain(model: LanguageModel, items: readonly QuestionItem[]): Promise<Prepared> {
  const context = await ReadingContext.open(model, { memory: null, batch: items.length });
  return { context, prefixes: items.map(() => ''), bytes: 0 };
}

/** In any order: a model that was trained with the right reference first would only have to look there. */
async function withText(model: LanguageModel, items: readonly QuestionItem[], random: Random): Promise<Prepared> {
  const prepared = await plain(model, items);
  const prefixes = items.map(({ references }) =>
    shuffle(references, random)
      .map(({ text }) => `Reference: ${text}\n\n`)
      .join(''),
  );
  return { ...prepared, prefixes };
}

async function withMemories(
  model: LanguageModel,
  profile: MemoryProfile,
  items: readonly QuestionItem[],
  repeatPrompt: readonly number[],
): Promise<Prepared> {
  const distinct = new Map<string, Chunk>();
  for (const { references } of items) for (const reference of references) distinct.set(reference.text, reference);
  const chunks = [...distinct.values()];
  const written = new Map<string, Uint8Array>();
  for (let start = 0; start < chunks.length; start += qualityBatch) {
    const some = chunks.slice(start, start + qualityBatch);
    const memories = await writeMemories(model, profile, some, repeatPrompt);
    for (const [index, { text }] of some.entries()) written.set(text, memories[index] as Uint8Array);
  }
  const memories = Math.max(...items.map(({ references }) => references.length));
  const context = await ReadingContext.open(model, { memory: { profile, memories }, batch: items.length });
  let bytes = 0;
  for (const [element, { references }] of items.entries()) {
    const stored = references.map(({ text }) => written.get(text) as Uint8Array);
    bytes += stored.reduce((sum, { length }) => sum + length, 0);
    await context.useMemories(stored.map(parseMemory), element);
  }
  return { context, prefixes: items.map(() => ''), bytes };
}
