/**
 * Fits an adapter's classifier of answers (`memory/answer-classifier.ts`).
 *
 * A converted model reads references of the conversion's training questions; a token whose text overlaps one of the answers
 * is an example for, every other token of them one against. A logistic regression over the tokens' values, each divided by
 * its root mean square, tells them apart. What was never asked counts against a token although it could have been asked,
 * so the probabilities are too low; only their order decides which tokens are kept.
 *
 * A tenth of the references takes no part; on them the area under the curve is measured: how often a token of an answer is
 * thought more probable than another token.
 */
import { Memory3Error } from '../../errors.ts';
import { seededRandom } from '../../generate/sampling.ts';
import type { OpenedModel } from '../../generate/workspace.ts';
import { answerClassifierName, openAdapter, writeAdapter } from '../../memory/adapter.ts';
import { classifierShape, tokenValues } from '../../memory/answer-classifier.ts';
import { longestBody } from '../../memory/profile.ts';
import { encodeReferences } from '../../memory/writer.ts';
import type { ModelFile } from '../../model/open.ts';
import type { TensorToWrite } from '../../model/safetensors-writer.ts';
import type { Tokenizer } from '../../model/tokenizer.ts';
import { type LabelledFeatures, logOdds, trainLogistic } from '../data/logistic.ts';
import { shuffle } from './draw.ts';
import { type QuestionFamily, type QuestionReference, readMaterial } from './material.ts';

export interface FittedClassifier {
  readonly tensor: TensorToWrite;
  readonly references: number;
  readonly tokens: number;
  /** Share of the tokens that answers contain. */
  readonly answerShare: number;
  /** Area under the curve, of the tenth that took no part; null if it has tokens of one kind only. */
  readonly area: number | null;
}

export interface FitOptions {
  /** Most references of each family of data sets; default 600. */
  readonly references?: number;
  /** Draws the references and orders their tokens; default 1. */
  readonly seed?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

/** Families whose answers stand in their references; of the others answers are "yes", whole clauses or Chinese. */
const families = ['squad', 'policyqa', 'nq', 'quac'] as const satisfies QuestionFamily[];
/** Longer answers are sentences, of which no token is asked for more than another. */
const longestAnswer = 12;
/** Of a question as it is read, for what fits. */
const contextTokens = 64;
const batch = 8;
/** Chosen by the area under the curve on references that took no part. */
const fit = { passes: 4, rate: 0.003, penalty: 0.03 } as const;

/**
 * @param opened a model with its adapter merged
 * @param data folder of the conversion's data sets
 * @throws Memory3Error "usage" if the data have no answer in a reference; what reading them throws
 */
export async function fitAnswerClassifier(
  { model, tokenizer, profile }: Pick<OpenedModel, 'model' | 'tokenizer' | 'profile'>,
  data: string,
  { references: most = 600, seed = 1, signal, onProgress }: FitOptions = {},
): Promise<FittedClassifier> {
  const random = seededRandom(seed);
  const whole = { ...profile, keptTokens: 'all', scoring: 'received' } as const;
  const { questions } = readMaterial(data, {
    tokenizer,
    maxTokens: longestBody(whole),
    contextTokens,
    split: 'training',
  });
  const drawn = families.flatMap((family) => shuffle(questions.get(family) ?? [], random).slice(0, most));
  const asked = shuffle(drawn, random)
    .map((reference) => ({ reference, answers: answerTokens(reference, tokenizer) }))
    .filter(({ answers }) => answers.size > 0);
  if (asked.length === 0)
    throw new Memory3Error('usage', `No question in ${data} has an answer that stands in a reference.`);
  const { kvHeads, headDim } = model.config;
  const layers = profile.layers.length;
  const at = Uint16Array.from({ length: layers * kvHeads * headDim }, (_, i) => i);
  const read: LabelledFeatures[][] = [];
  for (let start = 0; start < asked.length; start += batch) {
    signal?.throwIfAborted();
    const some = asked.slice(start, start + batch);
    const encoded = await encodeReferences(
      model,
      whole,
      some.map(({ reference }) => reference),
      [],
    );
    for (const [i, { keysValues, body: tokens }] of encoded.entries()) {
      const positives = some[i]?.answers;
      read.push(
        Array.from({ length: tokens }, (_, token) => ({
          features: { at, values: tokenValues({ keysValues, layers, kvHeads, tokens, headDim }, token) },
          positive: positives?.has(token) ?? false,
        })),
      );
    }
    onProgress?.(read.length, asked.length);
  }
  const all = read.flat();
  const scales = scaleTogether(all);
  const part = Math.floor(read.length / 10);
  const fitted = trainLogistic(read.slice(part).flat(), { ...fit, places: at.length, random });
  return {
    tensor: {
      shape: classifierShape(model.config, profile.layers),
      data: Float32Array.of(...fitted.weights.map((weight, i) => weight * (scales[i] as number)), fitted.bias),
    },
    references: read.length,
    tokens: all.length,
    answerShare: all.filter(({ positive }) => positive).length / all.length,
    area: areaUnderCurve(read.slice(0, part).flat(), (example) => logOdds(fitted, example.features)),
  };
}

/** Body tokens whose text overlaps an answer. */
function answerTokens({ text, tokens, questions }: QuestionReference, tokenizer: Tokenizer): Set<number> {
  // A body is a space and the text.
  const body = Buffer.from(` ${text}`);
  const result = new Set<number>();
  for (const { answer } of questions) {
    const begin = body.indexOf(Buffer.from(answer));
    if (begin < 0) continue;
    const end = begin + Buffer.byteLength(answer);
    const own: number[] = [];
    let reached = 0;
    for (const [token, id] of tokens.entries()) {
      const from = reached;
      reached += tokenizer.tokenBytes(id).length;
      if (from < end && reached > begin) own.push(token);
    }
    if (own.length <= longestAnswer) for (const token of own) result.add(token);
  }
  return result;
}

/** Divides each value by its root mean square over the examples, in place. @returns what they were multiplied by */
function scaleTogether(examples: readonly LabelledFeatures[]): Float32Array {
  const places = examples[0]?.features.values.length ?? 0;
  const squares = new Float64Array(places);
  for (const { features } of examples) {
    for (let i = 0; i < places; i++) squares[i] = (squares[i] as number) + (features.values[i] as number) ** 2;
  }
  const scales = Float32Array.from(squares, (sum) => 1 / (Math.sqrt(sum / examples.length) + 1e-6));
  for (const { features } of examples) {
    for (let i = 0; i < places; i++) features.values[i] = (features.values[i] as number) * (scales[i] as number);
  }
  return scales;
}

/** Probability that an example for has a higher score than one against; null where one kind is missing. */
export function areaUnderCurve<T extends { readonly positive: boolean }>(
  examples: readonly T[],
  score: (example: T) => number,
): number | null {
  const ranked = examples.map((example) => ({ positive: example.positive, score: score(example) }));
  ranked.sort((a, b) => a.score - b.score);
  let [positives, above] = [0, 0];
  for (let start = 0; start < ranked.length; ) {
    let end = start;
    while (end < ranked.length && ranked[end]?.score === ranked[start]?.score) end++;
    const tied = ranked.slice(start, end).filter(({ positive }) => positive).length;
    // Of those against that are tied half are below.
    above += tied * (start - positives + (end - start - tied) / 2);
    positives += tied;
    start = end;
  }
  const pairs = positives * (ranked.length - positives);
  return pairs === 0 ? null : above / pairs;
}

/**
 * Writes an adapter again with a classifier, by which it keeps its tokens from now on.
 * @param adapter folder of the adapter, or its file
 * @param out folder of the new one, which may be the same
 * @param training command, added to the card's
 * @returns the path of the new adapter's file
 */
export async function writeWithClassifier(
  adapter: string,
  base: ModelFile,
  { out, tensor, training }: { readonly out: string; readonly tensor: TensorToWrite; readonly training?: string },
): Promise<string> {
  using opened = await openAdapter(adapter, base);
  const { card } = opened;
  return writeAdapter(
    out,
    {
      ...card,
      training: training === undefined ? card.training : `${card.training}; ${training}`,
      profile: { ...card.profile, scoring: 'answer-weighted' },
    },
    opened.tensors().set(answerClassifierName, tensor),
    base.config,
  );
}
