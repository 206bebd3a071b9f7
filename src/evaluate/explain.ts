/**
 * Why a model answered as it did: what it recalled, what it looked at, and what it would have made of its answer otherwise.
 *
 * The finished answer is read again, chunk by chunk, with the same memories in sight as when it was made (teacher forcing):
 * nothing is drawn, so all readings are of the same n tokens. A token of the answer is predicted by the token before it,
 * so what counts are the n tokens from the prompt's last to the answer's last but one.
 *
 *   attention   share[layer, region] = mean over those n tokens and the layer's heads of the attention that the region got;
 *               regions are the header, each memory, and the context: they sum to 1 at every memory layer (paper 3.2, Eq. 4)
 *   likelihood  log P(answer) with all memories; with one left out wherever it was recalled, nothing in its place; with
 *               none, the header staying. What a memory was worth is the first less the second.
 *
 * Attention says where a model looked, not what it used: a memory with a large share may change nothing, and one with a
 * small share everything. Hence both.
 *
 * Cost: (memories + 2) times reading prompt and answer, and compiling a reader of its own (`graph/reader.ts`).
 */
import { Memory3Error } from '../errors.ts';
import type { Answerer, AnswerTrace, RecallEvent, TracePiece } from '../generate/answer.ts';
import type { FoundReference } from '../generate/recall.ts';
import { ReadingContext } from '../memory/context.ts';
import type { StoredMemory } from '../memory/format.ts';
import { negativeLogLikelihood } from './likelihood.ts';

/** A memory that was recalled at least once. */
export interface ExplainedMemory {
  readonly referenceId: number;
  readonly document: string;
  readonly title: string | null;
  /** The reference that it was written from. */
  readonly text: string;
  /** Search score of its best recall. */
  readonly score: number;
  /** Chunks that recalled it. */
  readonly recalls: number;
  /** How many of the answer's tokens were predicted with it in sight. */
  readonly inSight: number;
  /** Its share of the attention at each memory layer, over all of the answer's tokens. */
  readonly shares: readonly number[];
  /** log P(answer) without it, nats. */
  readonly logLikelihoodWithout: number;
  /** What the answer's log-likelihood owes to it, nats: below 0 where it spoke against the answer. */
  readonly worth: number;
}

export interface ExplainedRecall {
  readonly stage: 'prompt' | 'answer';
  /** Tokens of prompt or answer that had been read before. */
  readonly before: number;
  readonly query: string;
  /** Best first. */
  readonly found: readonly { readonly referenceId: number; readonly score: number }[];
}

export interface Explanation {
  readonly answerTokens: number;
  /** log P(answer), nats, summed over its tokens. */
  readonly logLikelihood: { readonly withAll: number; readonly withoutAny: number };
  /** Memory layers, ascending: what the shares are of. */
  readonly layers: readonly number[];
  readonly headerShares: readonly number[];
  readonly contextShares: readonly number[];
  /** What the answer owes most to first. */
  readonly memories: readonly ExplainedMemory[];
  /** In order. */
  readonly recalls: readonly ExplainedRecall[];
}

export interface ExplainOptions {
  /** Ends it before the next chunk is read. */
  readonly signal?: AbortSignal;
  /** Called after every reading of the answer. */
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * Explains an answer that was made with memories.
 * @param trace of the answer's last event
 * @throws Memory3Error "usage" if nothing was recalled for the answer, or it is empty.
 * @example
 * for await (const event of answer(workspace, messages)) {
 *   if (event.kind === 'end') console.log(await explainAnswer(workspace, event.trace));
 * }
 */
export async function explainAnswer(
  { model, profile, recall }: Pick<Answerer, 'model' | 'profile' | 'recall'>,
  trace: AnswerTrace,
  options: ExplainOptions = {},
): Promise<Explanation> {
  const recalled = trace.pieces.flatMap((piece) => piece.recall?.found ?? []);
  if (recall === null || trace.pieces.every((piece) => piece.recall === null)) {
    throw new Memory3Error('usage', 'Nothing was recalled for this answer: there is nothing to explain.');
  }
  const answerTokens = tokensOf(trace, 'answer');
  if (answerTokens === 0) throw new Memory3Error('usage', 'The answer is empty: there is nothing to explain.');

  const references = [...new Map(recalled.map((found) => [found.reference.id, found])).values()];
  const loaded = await recall.load(references);
  const memories = new Map(loaded.map(({ reference, memory }) => [reference.id, memory]));
  const most = Math.max(...trace.pieces.map((piece) => piece.recall?.found.length ?? 0));
  await using context = await ReadingContext.open(model, {
    memory: { profile, memories: most, attentionShares: true },
  });
  const readings = memories.size + 2;
  let done = 0;
  const read = async (isSeen: (id: number) => boolean): Promise<Reading> => {
    const reading = await readAgain(context, trace, memories, isSeen, options.signal);
    options.onProgress?.(++done, readings);
    return reading;
  };

  const { logLikelihood: withAll, predictions } = await read(() => true);
  const { logLikelihood: withoutAny } = await read(() => false);
  const shares = (region: Region) => meanShares(predictions, profile.layers.length, region);
  const explained: ExplainedMemory[] = [];
  for (const { reference } of references) {
    const { logLikelihood: without } = await read((id) => id !== reference.id);
    const own = recalled.filter((found) => found.reference.id === reference.id);
    explained.push({
      referenceId: reference.id,
      document: reference.documentName,
      title: reference.documentTitle,
      text: reference.text,
      score: Math.max(...own.map(({ score }) => score)),
      recalls: own.length,
      inSight: predictions.filter(({ inSight }) => inSight.includes(reference.id)).length,
      shares: shares(reference.id),
      logLikelihoodWithout: without,
      worth: withAll - without,
    });
  }
  return {
    answerTokens,
    logLikelihood: { withAll, withoutAny },
    layers: profile.layers,
    headerShares: shares('header'),
    contextShares: shares('context'),
    memories: explained.sort((a, b) => b.worth - a.worth),
    recalls: explainedRecalls(trace),
  };
}

/** One token of the answer, as it was predicted. */
interface Prediction {
  /** References whose memories were in sight, in the order of their places. */
  readonly inSight: readonly number[];
  /** `[layers][regions]`: the header, each place for a memory, the context. */
  readonly shares: readonly (readonly number[])[];
}

interface Reading {
  readonly logLikelihood: number;
  readonly predictions: readonly Prediction[];
}

/** Reads prompt and answer with those of the recalled memories in sight that are wanted. */
async function readAgain(
  context: ReadingContext,
  { opening, pieces }: AnswerTrace,
  memories: ReadonlyMap<number, StoredMemory>,
  isSeen: (id: number) => boolean,
  signal: AbortSignal | undefined,
): Promise<Reading> {
  context.rewind(0);
  await context.useMemories([]);
  await context.begin(opening);
  const answer = pieces.filter(({ stage }) => stage === 'answer').flatMap(({ tokens }) => tokens);
  let inSight: readonly number[] = [];
  let logLikelihood = 0;
  const predictions: Prediction[] = [];
  for (const [index, { stage, tokens: all, recall }] of pieces.entries()) {
    signal?.throwIfAborted();
    if (recall !== null) {
      inSight = recall.found.map(({ reference }) => reference.id).filter(isSeen);
      await context.useMemories(inSight.map((id) => memories.get(id) as StoredMemory));
    }
    // Nothing follows the answer's last token, so that it is not read.
    const tokens = index === pieces.length - 1 ? all.slice(0, -1) : all;
    if (tokens.length === 0) continue;
    const { logits, shares } = await context.extendWithShares([tokens], stage === 'answer' ? 'all' : 'last');
    // Of the prompt, only its last token predicts one of the answer's.
    const predicting = stage === 'answer' ? tokens.length : pieces[index + 1]?.stage === 'answer' ? 1 : 0;
    for (let row = 0; row < predicting; row++) {
      logLikelihood -= negativeLogLikelihood(logits, row, answer[predictions.length] as number);
      const token = tokens.length - predicting + row;
      const layers = shares.data.length / (tokens.length * shares.regions);
      const ofLayers = Array.from({ length: layers }, (_, layer) => {
        const start = (layer * tokens.length + token) * shares.regions;
        return [...shares.data.subarray(start, start + shares.regions)];
      });
      predictions.push({ inSight, shares: ofLayers });
    }
  }
  return { logLikelihood, predictions };
}

/** The header, the context, or the memory of a reference. */
type Region = 'header' | 'context' | number;

/** A region's shares at each layer, the mean over predictions; a memory that is not in sight gets nothing. */
function meanShares(predictions: readonly Prediction[], layers: number, region: Region): number[] {
  return Array.from({ length: layers }, (_, layer) => {
    const shares = predictions.map((prediction) => shareOf(prediction, layer, region));
    return shares.reduce((sum, share) => sum + share, 0) / predictions.length;
  });
}

function shareOf({ inSight, shares }: Prediction, layer: number, region: Region): number {
  const ofLayer = shares[layer] as readonly number[];
  if (region === 'header') return ofLayer[0] as number;
  if (region === 'context') return ofLayer.at(-1) as number;
  const place = inSight.indexOf(region);
  return place < 0 ? 0 : (ofLayer[1 + place] as number);
}

function explainedRecalls({ opening, pieces }: AnswerTrace): ExplainedRecall[] {
  const before = { prompt: opening.length, answer: 0 };
  const recalls: ExplainedRecall[] = [];
  for (const { stage, tokens, recall } of pieces) {
    if (recall !== null) recalls.push(explainedRecall(recall, before[stage]));
    before[stage] += tokens.length;
  }
  return recalls;
}

function explainedRecall({ stage, query, found }: RecallEvent, before: number): ExplainedRecall {
  const hits = found.map(({ reference, score }: FoundReference) => ({ referenceId: reference.id, score }));
  return { stage, before, query, found: hits };
}

function tokensOf({ pieces }: AnswerTrace, stage: TracePiece['stage']): number {
  return pieces.reduce((sum, piece) => sum + (piece.stage === stage ? piece.tokens.length : 0), 0);
}
