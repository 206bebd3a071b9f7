/**
 * Measures a model on the items of a task in one mode, batch by batch.
 *
 *   [document start | shots]  read once and copied (`ReadingContext.begin`)
 *   [memories]                or, as text in front of the prompt, references
 *   [prompt]                  of several items side by side, of about the same length
 *   [choices | answer]
 *
 * The items of a batch depend on nothing but the task and the mode, so that whoever measures the third batch gets what
 * anybody else gets: a run that is resumed ends like one that was not.
 */
import { Memory3Error } from '../../errors.ts';
import { referencesAsText } from '../../generate/prompt.ts';
import { ReadingContext } from '../../memory/context.ts';
import type { LanguageModel } from '../../memory/model.ts';
import { referenceTokens } from '../../memory/profile.ts';
import type { Tokenizer } from '../../model/tokenizer.ts';
import { containsAnswer } from '../answers.ts';
import { greedyAnswers } from '../greedy.ts';
import { type Item, type Task, type TaskMaterial, textOf } from '../tasks/task.ts';
import {
  type ContinuationLikelihood,
  continuationLikelihoods,
  encodeContinuations,
  type PromptWithContinuations,
} from './continuations.ts';
import type { EvaluationMemories } from './memories.ts';
import { answerScores, choiceScores, extractedScores, type Scores } from './metrics.ts';
import type { Mode } from './modes.ts';
import { readRuns } from './prompt-runs.ts';
import type { ItemRecord } from './records.ts';
import { type GivenReference, type GoldReferences, goldReferences, type ReferenceFinder } from './references.ts';
import { type TextReferences, textNats, textReferences } from './texts.ts';

/** What measures. */
export interface EvaluationParts {
  readonly model: LanguageModel;
  readonly tokenizer: Tokenizer;
  /** Null where no mode recalls. */
  readonly finder: ReferenceFinder | null;
  /** Null where no mode has references. */
  readonly memories: EvaluationMemories | null;
}

/** One task in one mode. */
export interface Measurement {
  readonly task: Task;
  readonly material: TaskMaterial;
  readonly mode: Mode;
  /** Whether contexts begin with the model's document-start token. */
  readonly documentStart: boolean;
}

export interface MeasuredBatch {
  readonly records: readonly ItemRecord[];
  /** Tokens that went through the model, shots left out. */
  readonly tokens: number;
}

/** Sequences that are read side by side, and how many tokens their prompts have together. */
const widest = 16;
const batchTokens = 1024;

/** The items of each batch, in the order in which they are measured. */
export function batchesOf({ task, material, mode }: Measurement, tokenizer: Tokenizer): Item[][] {
  const hasShots = material.shots.size > 0;
  const sized = material.items.map((item) => {
    const prompts = item.kind === 'choice' ? item.prompts.length : 1;
    const text = mode.kind === 'rag' ? mode.references * referenceTokens : 0;
    const most = task.kind === 'perplexity' ? task.tokens : Number.POSITIVE_INFINITY;
    const own = Math.min(most, tokenizer.encode(textOf(item)).length);
    return { item, prompts, group: hasShots ? (item.group ?? '') : '', tokens: own + text };
  });
  sized.sort((a, b) => compare(a.group, b.group) || a.tokens - b.tokens || compare(a.item.id, b.item.id));
  const batches: Item[][] = [];
  let [batch, sequences, group]: [Item[], number, string] = [[], 0, ''];
  for (const one of sized) {
    const wide = sequences + one.prompts;
    // Texts are read alone: each of their tokens has logits.
    const fits = task.kind !== 'perplexity' && wide <= widest && wide * one.tokens <= batchTokens;
    if (batch.length > 0 && (!fits || one.group !== group)) {
      batches.push(batch);
      [batch, sequences] = [[], 0];
    }
    batch.push(one.item);
    sequences += one.prompts;
    group = one.group;
  }
  return batch.length === 0 ? batches : [...batches, batch];
}

/** By code units: the same order everywhere. */
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** An item of a batch with what it gets to read. */
interface Prepared {
  readonly item: Item;
  readonly references: readonly GivenReference[];
  readonly leftOut: number;
  /** Of a text in a mode that recalls. */
  readonly byChunk?: TextReferences['byChunk'];
  /** Pieces of its own passages, of a mode that gives these; null if it has none. */
  readonly gold?: GoldReferences | null;
  /** A sequence each; of a text its tokens are the only continuation. */
  readonly sequences: readonly PromptWithContinuations[];
}

/**
 * Measures one batch.
 * @throws Memory3Error "usage" if the mode needs references and there is nothing to find them with.
 */
export async function measureBatch(
  parts: EvaluationParts,
  measurement: Measurement,
  items: readonly Item[],
): Promise<MeasuredBatch> {
  const { model, tokenizer } = parts;
  const { task, material, mode, documentStart } = measurement;
  const shots = material.shots.get(items[0]?.group ?? '') ?? '';
  const beginning = [...(documentStart ? [tokenizer.bosTokenId] : []), ...tokenizer.encode(shots)];
  const all: Prepared[] = [];
  for (const item of items) all.push(await prepare(parts, measurement, item, shots !== ''));
  const room = model.config.contextLength - (mode.kind === 'memory' ? referenceTokens : 0) - beginning.length;
  const fits = (one: Prepared) => tokensOf(task, one) <= room;
  const read = all.filter((one) => one.gold !== null && fits(one));
  const results = read.length === 0 ? [] : await measured(parts, measurement, beginning, read);
  let next = 0;
  const records = all.map((one): ItemRecord => {
    const { item, references, leftOut, gold } = one;
    return {
      task: task.name,
      mode: mode.name,
      id: item.id,
      ...(one === read[next] ? (results[next++] as Result) : { scores: {}, weight: 1 }),
      references: references.flatMap(({ id }) => (id === null ? [] : [id])),
      ...(gold !== undefined && { gold: gold && { given: gold.references.length, leftOut: gold.leftOut } }),
      leftOut,
      held: mode.references === 0 || gold === null ? null : heldBy(item, references),
      tooLong: gold === null || fits(one) ? null : tokensOf(task, one) + beginning.length,
    };
  });
  const tokens = read.flatMap(({ sequences }) => sequences).reduce((sum, one) => sum + tokensIn(one), 0);
  return { records, tokens };
}

/** Finds an item's references and encodes what it has to read. */
async function prepare(
  parts: EvaluationParts,
  measurement: Measurement,
  item: Item,
  isBehind: boolean,
): Promise<Prepared> {
  const { task, mode } = measurement;
  const given = await referencesOf(parts, measurement, item);
  const before = mode.kind === 'rag' ? referencesAsText(given.references.map(({ text }) => text)) : '';
  const asked = mode.gold ? withoutPassage(item) : item;
  return { item, ...given, sequences: encode(parts.tokenizer, task, asked, before, isBehind) };
}

/** What the mode gives an item. */
async function referencesOf(
  { tokenizer, finder, memories }: EvaluationParts,
  { task, material, mode }: Measurement,
  item: Item,
): Promise<Pick<Prepared, 'references' | 'leftOut' | 'gold' | 'byChunk'>> {
  if (mode.references === 0) return { references: [], leftOut: 0 };
  if (mode.gold) {
    const passages = material.gold?.get(item.id);
    if (passages === undefined || memories === null) return { references: [], leftOut: 0, gold: null };
    const gold = goldReferences(passages, tokenizer, memories.profileOf(mode), mode.references);
    return { references: gold.references, leftOut: 0, gold };
  }
  if (finder === null) throw new Memory3Error('usage', `The mode ${mode.name} needs a bank.`);
  if (item.kind === 'perplexity' && task.kind === 'perplexity') {
    const tokens = tokenizer.encode(item.text).slice(0, task.tokens);
    return await textReferences(finder, tokenizer, mode, item.id, tokens);
  }
  return await finder.find(item.id, { query: item.query, text: textOf(item) }, mode.references);
}

/** The item without the passage that its prompts begin with: it is the reference. */
function withoutPassage(item: Item): Item {
  if (item.kind !== 'choice' || item.passage === undefined) return item;
  const { length } = item.passage;
  return { ...item, prompts: item.prompts.map((prompt) => ({ ...prompt, text: prompt.text.slice(length) })) };
}

/** @param before what stands in front of each prompt */
function encode(
  tokenizer: Tokenizer,
  task: Task,
  item: Item,
  before: string,
  isBehind: boolean,
): PromptWithContinuations[] {
  const encoded = (text: string, continuations: readonly string[]) =>
    encodeContinuations(tokenizer, `${before}${text}`, continuations, isBehind);
  switch (item.kind) {
    case 'choice':
      return item.prompts.map(({ text, continuations }) => encoded(text, continuations));
    case 'continuation':
      return [encoded(item.prompt, [item.continuation])];
    case 'generated':
      return [encoded(item.prompt, [])];
    case 'perplexity': {
      const prompt = tokenizer.encode(before, { continuation: isBehind });
      const text = tokenizer.encode(item.text, { continuation: isBehind || before !== '' });
      return [{ prompt, continuations: [task.kind === 'perplexity' ? text.slice(0, task.tokens) : text] }];
    }
  }
}

/** The longest that a sequence of the item gets. */
function tokensOf(task: Task, { sequences }: Prepared): number {
  const answer = task.kind === 'generated' ? task.maxTokens : 0;
  return Math.max(
    ...sequences.map(
      ({ prompt, continuations }) => prompt.length + Math.max(answer, ...continuations.map(({ length }) => length)),
    ),
  );
}

function tokensIn({ prompt, continuations }: PromptWithContinuations): number {
  return prompt.length + continuations.reduce((sum, { length }) => sum + length, 0);
}

type Result = Pick<ItemRecord, 'scores' | 'weight' | 'logLikelihoods' | 'answer'>;

async function measured(
  { model, tokenizer, memories }: EvaluationParts,
  { task, mode }: Measurement,
  beginning: readonly number[],
  items: readonly Prepared[],
): Promise<Result[]> {
  const sequences = items.flatMap((one) => one.sequences);
  const profile = mode.kind === 'memory' ? memories?.profileOf(mode) : undefined;
  const memory = profile === undefined ? null : { profile, memories: mode.references };
  // Without memories of their own, prompts with continuations stand behind each other in one sequence.
  const isOne = memory === null && (task.kind === 'choice' || task.kind === 'continuation');
  await using context = await ReadingContext.open(model, { memory, batch: isOne ? 1 : sequences.length });
  await context.begin(beginning);
  if (task.kind === 'perplexity') return [await measuredText(context, memories, mode, items[0] as Prepared)];
  if (memories !== null && mode.kind === 'memory') await useMemories(context, memories, mode, items);
  if (task.kind === 'generated') {
    const prompts = sequences.map(({ prompt }) => prompt);
    const { data } = await context.extend(await readRuns(context, prompts, 1));
    const written = await greedyAnswers(context, tokenizer, data, task);
    return items.map(({ item }, index) => {
      const answer = written[index] as string;
      const right = item.kind === 'generated' ? item.answers : [];
      const scores = task.extract ? extractedScores(task.extract(answer), right) : answerScores(answer, right);
      return { scores: chosen(task, scores), weight: 1, answer };
    });
  }
  const likelihoods = await continuationLikelihoods(context, sequences);
  let next = 0;
  return items.map(({ item, sequences: own }) => {
    const ofItem = likelihoods.slice(next, next + own.length).flat();
    next += own.length;
    const logLikelihoods = ofItem.map(({ logLikelihood }) => logLikelihood);
    return { scores: chosen(task, likelihoodScores(item, ofItem)), weight: 1, logLikelihoods };
  });
}

async function measuredText(
  context: ReadingContext,
  memories: EvaluationMemories | null,
  mode: Mode,
  { sequences: [text], byChunk = [] }: Prepared,
): Promise<Result> {
  const { prompt: before, continuations } = text as PromptWithContinuations;
  const tokens = continuations[0] ?? [];
  const load = async (own: EvaluationMemories, chunk: number) =>
    await context.useMemories(await own.load(mode, byChunk[chunk] ?? []));
  const useMemories = memories !== null && mode.kind === 'memory' ? (chunk: number) => load(memories, chunk) : null;
  const nats = await textNats(context, { tokens, before, useMemories });
  const weight = Math.max(1, tokens.length - 1);
  return { scores: { perplexity: nats / weight }, weight };
}

function likelihoodScores(item: Item, likelihoods: readonly ContinuationLikelihood[]): Scores {
  const logLikelihoods = likelihoods.map(({ logLikelihood }) => logLikelihood);
  if (item.kind === 'choice') {
    const texts = item.prompts.flatMap(({ continuations }) => continuations);
    return choiceScores(logLikelihoods, texts, item.right);
  }
  return { accuracy: likelihoods[0]?.greedy === true ? 1 : 0, perplexity: -(logLikelihoods[0] as number) };
}

/** Of all scores those that the task wants. */
function chosen(task: Task, scores: Scores): Scores {
  return Object.fromEntries(task.metrics.map((metric) => [metric, scores[metric]]));
}

async function useMemories(
  context: ReadingContext,
  memories: EvaluationMemories,
  mode: Mode,
  items: readonly Prepared[],
): Promise<void> {
  let element = 0;
  for (const { references, sequences } of items) {
    const loaded = await memories.load(mode, references);
    for (const _ of sequences) await context.useMemories(loaded, element++);
  }
}

function heldBy(item: Item, references: readonly GivenReference[]): boolean | null {
  const answers = item.kind === 'generated' || item.kind === 'choice' ? (item.answers ?? []) : [];
  if (answers.length === 0) return null;
  return references.some(({ text }) => containsAnswer(text, answers) === 1);
}
