/**
 * Fits an adapter's classifier of answers (`memory/answer-classifier.ts`).
 *
 * A converted model reads references of the conversion's training questions; a token whose text overlaps one of the answers
 * is an example for, every other token of them one against, and four small networks learn to tell them apart
 * (`train-classifier.ts`), each from another beginning; their mean knows better than each. What was never asked counts
 * against a token although it could have been asked, so the probabilities are too low; only their order decides which
 * tokens are kept.
 *
 * A tenth of the references takes no part; on them the area under the curve is measured: how often a token of an answer is
 * thought more probable than another token.
 */
import { Memory3Error } from '../../errors.ts';
import { seededRandom } from '../../generate/sampling.ts';
import type { OpenedModel } from '../../generate/workspace.ts';
import { answerClassifierName, openAdapter, writeAdapter } from '../../memory/adapter.ts';
import { classifierShape } from '../../memory/answer-classifier.ts';
import { longestBody } from '../../memory/profile.ts';
import { type EncodedReference, encodeReferences } from '../../memory/writer.ts';
import type { ModelConfig } from '../../model/config.ts';
import type { ModelFile } from '../../model/open.ts';
import type { TensorToWrite } from '../../model/safetensors-writer.ts';
import type { Tokenizer } from '../../model/tokenizer.ts';
import { shuffle } from '../draw.ts';
import { type QuestionFamily, type QuestionReference, readMaterial } from './material.ts';
import { type ReadReference, type TrainedClassifier, trainClassifier } from './train-classifier.ts';

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
  /** Most references of each family of data sets; default 1000. */
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
const networks = 4;

/**
 * @param opened a model with its adapter merged
 * @param data folder of the conversion's data sets
 * @throws Memory3Error "usage" if the data have no answer in a reference; what reading them throws
 */
export async function fitAnswerClassifier(
  { model, tokenizer, profile }: Pick<OpenedModel, 'model' | 'tokenizer' | 'profile'>,
  data: string,
  { references: most = 1000, seed = 1, signal, onProgress }: FitOptions = {},
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
  const read: ReadReference[] = [];
  for (let start = 0; start < asked.length; start += batch) {
    signal?.throwIfAborted();
    const some = asked.slice(start, start + batch);
    const bodies = some.map(({ reference }) => reference);
    for (const [i, encoded] of (await encodeReferences(model, whole, bodies, [])).entries()) {
      const answers = some[i]?.answers;
      read.push({
        values: tokenValues(encoded, model.config),
        isAnswer: Array.from({ length: encoded.body }, (_, token) => answers?.has(token) ?? false),
      });
    }
    onProgress?.(read.length, asked.length);
  }
  const { kvHeads, headDim } = model.config;
  const width = profile.layers.length * kvHeads * headDim;
  const part = Math.floor(read.length / 10);
  const others = read.slice(0, part);
  const trained: TrainedClassifier[] = [];
  for (let network = 0; network < networks; network++) {
    trained.push(
      await trainClassifier(model.device, read.slice(part), {
        ...{ width, random, others },
        ...(signal === undefined ? {} : { signal }),
      }),
    );
  }
  const shape = classifierShape(model.config, profile.layers, networks);
  const numbers = new Float32Array(shape[0] * shape[1]);
  // Rounded as they are stored.
  for (const [network, own] of trained.entries()) numbers.set(new Float16Array(own.data), network * shape[1]);
  const labels = read.flatMap(({ isAnswer }) => isAnswer);
  const scores = trained[0]?.logOdds.map((_, i) =>
    trained.reduce((sum, { logOdds }) => sum + (logOdds[i] as number), 0),
  );
  return {
    tensor: { shape, data: numbers, dtype: 'F16' },
    references: read.length,
    tokens: labels.length,
    answerShare: labels.filter(Boolean).length / labels.length,
    area: areaUnderCurve((scores ?? []).map((score, i) => ({ score, positive: labels[i] as boolean }))),
  };
}

/** Of each token its values in all memory layers, `[tokens, layers, kvHeads, headDim]`. */
export function tokenValues(
  { keysValues, body }: Pick<EncodedReference, 'keysValues' | 'body'>,
  { kvHeads, headDim }: Pick<ModelConfig, 'kvHeads' | 'headDim'>,
): Float16Array {
  const planes = keysValues.length / (2 * body * headDim);
  const values = new Float16Array(body * planes * headDim);
  for (let plane = 0; plane < planes; plane++) {
    // Keys of a layer's heads stand before its values.
    const layer = Math.floor(plane / kvHeads);
    const start = (plane + (layer + 1) * kvHeads) * body * headDim;
    for (let token = 0; token < body; token++) {
      const from = start + token * headDim;
      values.set(keysValues.subarray(from, from + headDim), (token * planes + plane) * headDim);
    }
  }
  return values;
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

/** Probability that an example for has a higher score than one against; null where one kind is missing. */
export function areaUnderCurve(
  examples: readonly { readonly positive: boolean; readonly score: number }[],
): number | null {
  const ranked = examples.toSorted((a, b) => a.score - b.score);
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
  const { answerLayers: _, ...card } = opened.card;
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
