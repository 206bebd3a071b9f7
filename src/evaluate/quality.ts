/**
 * What memory is worth to a model, against the same references as text in its prompt (RAG) and against none.
 *
 * For each question: the negative log-likelihood per token of " {first answer}" behind "Question: {q}\nAnswer:", and the
 * greedy answer's exact match and F1. No chat template, so that nothing but the references differs between the modes.
 *
 * The question's own reference is measured alone or among distractors (`references` of a row). A converted model is
 * compared with models that were trained alike without references and with references as text: each mode may have its own.
 */
import { counted } from '../counted.ts';
import { Memory3Error } from '../errors.ts';
import { referencesAsText } from '../generate/prompt.ts';
import { type Random, seededRandom } from '../generate/sampling.ts';
import { classifierFor } from '../memory/answer-classifier.ts';
import { ReadingContext } from '../memory/context.ts';
import { parseMemory, type Storage } from '../memory/format.ts';
import type { LanguageModel } from '../memory/model.ts';
import { type MemoryProfile, memoryLayers, referenceTokens, type Scoring } from '../memory/profile.ts';
import { type EncodedReference, encodeReferences, keepTokens, summaryTokensFor } from '../memory/writer.ts';
import type { Tokenizer } from '../model/tokenizer.ts';
import type { Chunk } from '../retrieval/chunks.ts';
import { shuffle } from '../train/draw.ts';
import type { QuestionItem } from './questions.ts';
import { type ItemScore, longestReading, scoreItems } from './score-items.ts';
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

/** A choice of memory layers, and the numbers of kept tokens that it is measured with. */
export interface ComparedLayers {
  /** As `memoryLayers` takes it. */
  readonly layers: string;
  readonly kept: readonly (number | 'all')[];
}

export interface QualityOptions {
  readonly compared: readonly ComparedLayers[];
  /** Numbers of references for each question, 1 being its own alone. */
  readonly references: readonly number[];
  readonly scoring: Scoring;
  readonly storage: Storage;
  readonly header: MemoryProfile['header'];
  readonly repeatPrompt: readonly number[];
  /** Orders references in prompts and draws the intervals' samples. */
  readonly seed: number;
  /** Ends the measuring between two batches. */
  readonly signal?: AbortSignal;
  /** Gets each row with what its questions came to, in the order of the set's. */
  readonly onScores?: (row: QualityRow, scores: readonly ItemScore[]) => void;
  /** Rows without memories of the same sets, which are then not measured again; shares are of their gain. */
  readonly baselines?: readonly ScoredRow[];
}

/** A row, and what its questions came to. */
export interface ScoredRow {
  readonly row: QualityRow;
  readonly scores: readonly ItemScore[];
}

/** Questions that are read side by side; fewer where references make their prompts long. */
export const qualityBatch = 16;

/**
 * Measures every mode and profile on the same questions; rows come as they are finished.
 * @throws Memory3Error "usage" if a set has no questions or too few distractors, for layers, a classifier of answers or a
 *   number of summary tokens that the model does not have; "too-long" for a question that does not fit the model's context; the
 *   signal's reason.
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
    checkLengths(models, tokenizer, { name, items }, most);
  }
  const { scoring } = options;
  for (const { layers, kept } of options.compared) {
    memoryLayers(layers, models.memory.config.layers);
    for (const keptTokens of kept) {
      summaryTokensFor(models.memory, { scoring, keptTokens });
      classifierFor(models.memory, { scoring, keptTokens });
    }
  }
  const results = new Results(sets, options);
  if (options.baselines === undefined) yield* measureBaselines(models, tokenizer, sets, options, results);
  for (const compared of options.compared) {
    yield* measureMemories(models.memory, tokenizer, sets, compared, options, results);
    await models.memory.releaseSessions();
  }
}

/** Without references, and with them as text. */
async function* measureBaselines(
  { none, rag }: QualityModels,
  tokenizer: Tokenizer,
  sets: readonly QualitySet[],
  options: QualityOptions,
  results: Results,
): AsyncGenerator<QualityRow, void> {
  const { signal } = options;
  yield* results.rows(
    { mode: 'none', layers: null, kept: null, references: 0 },
    await measureEach(sets, tokenizer, { references: 0, size: qualityBatch, signal }, (items) => plain(none, items)),
  );
  if (rag !== none) await none.releaseSessions();
  for (const references of options.references) {
    const random = seededRandom(options.seed);
    const size = Math.ceil(qualityBatch / references);
    const measured = await measureEach(sets, tokenizer, { references, size, signal }, (items) =>
      withText(rag, items, random),
    );
    yield* results.rows({ mode: 'rag', layers: null, kept: null, references }, measured);
  }
  await rag.releaseSessions();
}

/** Refuses questions that would be read beyond the positions that a model knows. @param most references of a question */
function checkLengths(models: QualityModels, tokenizer: Tokenizer, { name, items }: QualitySet, most: number): void {
  const check = (longest: number, room: number, what: string, remedy: string) => {
    if (longest <= room) return;
    const message = `A question of ${name} ${what} takes ${longest} tokens, more than the ${room} that the model can read.`;
    throw new Memory3Error('too-long', message, { remedy });
  };
  const longest = (prefixOf: (item: QuestionItem) => string) =>
    items.reduce((sum, item) => Math.max(sum, longestReading(tokenizer, item, prefixOf(item))), 0);
  const other = 'Measure with other questions, or with a model of a longer context.';
  const plain = longest(() => '');
  check(plain, models.none.config.contextLength, 'and its answer', other);
  check(plain, models.memory.config.contextLength - referenceTokens, 'and its answer, behind memories,', other);
  check(
    longest((item) => referencesAsText(firstReferences(item, most).references.map(({ text }) => text))),
    models.rag.config.contextLength,
    `with ${counted(most, 'reference')} as text`,
    most === 1 ? other : 'Measure with fewer other references (--distractors).',
  );
}

/** What a set's questions came to. */
interface Measured {
  readonly scores: ItemScore[];
  /** Size of all memories, counted once for each question that uses them; 0 without memory. */
  bytes: number;
}

/** Which rows: one for each set, and one for all of them. */
type RowKey = Pick<QualityRow, 'mode' | 'layers' | 'kept' | 'references'>;

/** Makes rows of what was measured, and remembers it for the shares of later rows. */
class Results {
  readonly #sets: readonly QualitySet[];
  readonly #options: QualityOptions;
  readonly #baselines = new Map<string, readonly number[]>();

  constructor(sets: readonly QualitySet[], options: QualityOptions) {
    this.#sets = sets;
    this.#options = options;
    for (const { row, scores } of options.baselines ?? []) this.#remember(row, scores);
  }

  #remember({ set, references }: Pick<QualityRow, 'set' | 'references'>, scores: readonly ItemScore[]): void {
    this.#baselines.set(
      `${set} ${references}`,
      scores.map(({ nll }) => nll),
    );
  }

  /** @param measured for each set, in order */
  *rows(key: RowKey, measured: readonly Measured[]): Generator<QualityRow, void> {
    for (const [index, { name }] of this.#sets.entries()) yield this.#row(key, name, measured[index] as Measured);
    if (this.#sets.length === 1) return;
    const scores = measured.flatMap((one) => one.scores);
    yield this.#row(key, 'all', { scores, bytes: measured.reduce((sum, { bytes }) => sum + bytes, 0) });
  }

  #row(key: RowKey, set: string, { scores, bytes }: Measured): QualityRow {
    const { mode, references } = key;
    const nll = scores.map((score) => score.nll);
    if (mode !== 'memory') this.#remember({ set, references }, scores);
    const mean = (of: keyof ItemScore) => scores.reduce((sum, score) => sum + score[of], 0) / scores.length;
    const [none, rag] = [this.#baselines.get(`${set} 0`), this.#baselines.get(`${set} ${references}`)];
    const isMemory = mode === 'memory' && none !== undefined && rag !== undefined;
    const row: QualityRow = {
      set,
      ...key,
      nll: mean('nll'),
      exact: mean('exact'),
      f1: mean('f1'),
      share: isMemory ? shareOfGain(none, rag, nll, seededRandom(this.#options.seed)) : null,
      bytesPerReference: mode === 'memory' ? bytes / (scores.length * references) : null,
      items: scores.length,
    };
    this.#options.onScores?.(row, scores);
    return row;
  }
}

interface Batching {
  /** Of each question, its first. */
  readonly references: number;
  /** Questions of a batch. */
  readonly size: number;
  readonly signal: AbortSignal | undefined;
}

function* batchesOf({ items }: QualitySet, { references, size, signal }: Batching): Generator<QuestionItem[], void> {
  for (let start = 0; start < items.length; start += size) {
    signal?.throwIfAborted();
    yield items.slice(start, start + size).map((item) => firstReferences(item, references));
  }
}

function firstReferences(item: QuestionItem, count: number): QuestionItem {
  return { ...item, references: item.references.slice(0, count) };
}

/** An empty context for a batch of questions. */
interface Prepared {
  readonly context: ReadingContext;
  /** What stands before each question; default nothing. */
  readonly prefixes?: readonly string[];
}

async function measureEach(
  sets: readonly QualitySet[],
  tokenizer: Tokenizer,
  batching: Batching,
  prepare: (items: readonly QuestionItem[]) => Promise<Prepared>,
): Promise<Measured[]> {
  const measured: Measured[] = [];
  for (const set of sets) {
    const scores: ItemScore[] = [];
    for (const batch of batchesOf(set, batching)) {
      const { context: prepared, prefixes } = await prepare(batch);
      await using context = prepared;
      scores.push(...(await scoreItems(context, tokenizer, batch, prefixes)));
    }
    measured.push({ scores, bytes: 0 });
  }
  return measured;
}

async function plain(model: LanguageModel, items: readonly QuestionItem[]): Promise<Prepared> {
  const context = await ReadingContext.open(model, { memory: null, batch: items.length });
  return { context };
}

/** In any order: a model that was trained with the right reference first would only have to look there. */
async function withText(model: LanguageModel, items: readonly QuestionItem[], random: Random): Promise<Prepared> {
  const { context } = await plain(model, items);
  const prefixes = items.map(({ references }) => referencesAsText(shuffle(references, random).map(({ text }) => text)));
  return { context, prefixes };
}

/** One choice of layers: every reference is read once, for all numbers of kept tokens and of references. */
async function* measureMemories(
  model: LanguageModel,
  tokenizer: Tokenizer,
  sets: readonly QualitySet[],
  { layers, kept: counts }: ComparedLayers,
  options: QualityOptions,
  results: Results,
): AsyncGenerator<QualityRow, void> {
  const { scoring, storage, header, signal } = options;
  const chosen = memoryLayers(layers, model.config.layers);
  const variants = counts.flatMap((kept) =>
    options.references.map((references) => ({
      key: { mode: 'memory', layers, kept, references } as const,
      profile: { layers: chosen, keptTokens: kept, scoring, storage, header } satisfies MemoryProfile,
      measured: sets.map((): Measured => ({ scores: [], bytes: 0 })),
    })),
  );
  // Where all tokens are kept the writer computes no scores, so that a profile that keeps fewer decides.
  const encoding = (variants.find(({ key }) => key.kept !== 'all') ?? variants[0])?.profile;
  if (encoding === undefined) return;
  const batching = { references: Math.max(...options.references), size: qualityBatch, signal };
  for (const [index, set] of sets.entries()) {
    for (const batch of batchesOf(set, batching)) {
      const encoded = await encodeAll(model, encoding, batch, options.repeatPrompt);
      for (const { key, profile, measured } of variants) {
        const items = batch.map((item) => firstReferences(item, key.references));
        const memory = { profile, memories: key.references };
        await using context = await ReadingContext.open(model, { memory, batch: items.length });
        const sum = measured[index] as Measured;
        sum.bytes += await useMemories(context, items, (reference) => {
          const one = encoded.get(reference.text) as EncodedReference;
          return keepTokens(model, profile, one, reference);
        });
        sum.scores.push(...(await scoreItems(context, tokenizer, items)));
      }
    }
  }
  for (const { key, measured } of variants) yield* results.rows(key, measured);
}

/** The references of a batch by their text. */
async function encodeAll(
  model: LanguageModel,
  profile: MemoryProfile,
  items: readonly QuestionItem[],
  repeatPrompt: readonly number[],
): Promise<Map<string, EncodedReference>> {
  const references = items.flatMap((item) => item.references);
  const distinct = [...new Map(references.map((reference) => [reference.text, reference])).values()];
  const encoded = new Map<string, EncodedReference>();
  for (let start = 0; start < distinct.length; start += qualityBatch) {
    const some = distinct.slice(start, start + qualityBatch);
    const read = await encodeReferences(model, profile, some, repeatPrompt);
    for (const [index, { text }] of some.entries()) encoded.set(text, read[index] as EncodedReference);
  }
  return encoded;
}

/** Gives each question its memories. @returns their bytes */
async function useMemories(
  context: ReadingContext,
  items: readonly QuestionItem[],
  write: (reference: Chunk) => Uint8Array,
): Promise<number> {
  const written = new Map<string, Uint8Array>();
  let bytes = 0;
  for (const [element, { references }] of items.entries()) {
    const stored = references.map((reference) => {
      const memory = written.get(reference.text) ?? write(reference);
      written.set(reference.text, memory);
      return memory;
    });
    bytes += stored.reduce((sum, { length }) => sum + length, 0);
    await context.useMemories(stored.map(parseMemory), element);
  }
  return bytes;
}
