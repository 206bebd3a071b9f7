/**
 * Which attention heads look far back (paper, Remark 4): each in turn sees nothing but the last n tokens and the bos, and
 * the loss on long texts rises by so much. In a language model a few heads carry most of the rise: those that fetch
 * what stands further back, which is what reading a memory is.
 *
 * Only tokens count from which something is hidden: with n = 100, predictions at positions 101 and beyond. The rise of a
 * head is a mean of differences token by token, so what makes a text hard for both does not count as noise.
 *
 * Cost: (layers * heads + layers + 1) forward passes over all sequences.
 */
import { Memory3Error } from '../errors.ts';
import { surveyNames } from '../graph/survey.ts';
import type { LanguageModel } from '../memory/model.ts';
import { causalBias, masked } from '../memory/reference-batch.ts';
import type { Tokenizer } from '../model/tokenizer.ts';
import type { TensorData } from '../runtime/device.ts';

/** What is kept from looking far back. */
export interface Restricted {
  readonly layer: number;
  /** A query head; null for all of the layer's. */
  readonly head: number | null;
}

export interface SurveyMeasurement extends Restricted {
  /** Mean over tokens, nats. */
  readonly nll: number;
  /** `nll` less that of the model as it is. */
  readonly rise: number;
  /** Standard error of `rise`, tokens being taken as independent. */
  readonly error: number;
}

/** The model as it is, on the same tokens. */
export interface SurveyBaseline {
  readonly nll: number;
  /** Tokens that count. */
  readonly tokens: number;
}

export type SurveyEvent =
  | ({ readonly kind: 'baseline' } & SurveyBaseline)
  | ({ readonly kind: 'restricted' } & SurveyMeasurement);

export interface SurveyOptions {
  /** Tokens that a restricted head sees, its own included; default 100. */
  readonly localTokens?: number;
  /** What to restrict; default every layer, then every head. */
  readonly restricted?: readonly Restricted[];
}

/** As in the paper. */
export const defaultLocalTokens = 100;
/** Tokens of one run: enough for a prefill's speed; the logits of all of them are held at once. */
const runTokens = 1024;

/**
 * Measures, one forward pass over the sequences after the other; events come as they are finished.
 * @param sequences of equal length, each beginning with bos (`surveySequences`)
 * @throws Memory3Error "usage" if there are none, they are too short for anything to be hidden, or for a head that the
 *   model does not have.
 */
export async function* surveyHeads(
  model: LanguageModel,
  sequences: readonly (readonly number[])[],
  options: SurveyOptions = {},
): AsyncGenerator<SurveyEvent, void> {
  const { localTokens = defaultLocalTokens, restricted = everyLayerAndHead(model) } = options;
  checkSequences(sequences, localTokens);
  checkRestricted(model, restricted);
  const runs = sequenceRuns(model, sequences, localTokens);
  const baseline = await losses(model, runs, []);
  yield { kind: 'baseline', nll: mean(baseline), tokens: baseline.length };
  for (const one of restricted) {
    const nll = await losses(model, runs, [one]);
    const differences = nll.map((value, token) => value - (baseline[token] as number));
    const rise = mean(differences);
    const variance = mean(differences.map((value) => (value - rise) ** 2));
    yield { kind: 'restricted', ...one, nll: mean(nll), rise, error: Math.sqrt(variance / nll.length) };
  }
}

/** Whole layers first: they say most for what they cost. */
export function everyLayerAndHead({ config }: Pick<LanguageModel, 'config'>): Restricted[] {
  const layers = Array.from({ length: config.layers }, (_, layer) => layer);
  const heads = Array.from({ length: config.heads }, (_, head) => head);
  return [
    ...layers.map((layer) => ({ layer, head: null })),
    ...layers.flatMap((layer) => heads.map((head) => ({ layer, head }))),
  ];
}

/** Beginnings of texts, bos in front. */
export interface SurveySequences {
  readonly sequences: readonly (readonly number[])[];
  /** Texts that were passed over because they are shorter. */
  readonly short: number;
}

/**
 * Takes the first texts that are long enough.
 * @throws Memory3Error "usage" if too few are.
 * @example await surveySequences(readDocuments(['corpus/']), tokenizer, { count: 6, length: 384 })
 */
export async function surveySequences(
  texts: AsyncIterable<{ readonly text: string }> | Iterable<{ readonly text: string }>,
  tokenizer: Pick<Tokenizer, 'bosTokenId' | 'encode'>,
  { count, length }: { readonly count: number; readonly length: number },
): Promise<SurveySequences> {
  const sequences: number[][] = [];
  let short = 0;
  for await (const { text } of texts) {
    const tokens = [tokenizer.bosTokenId, ...tokenizer.encode(text.slice(0, length * charactersPerToken))];
    if (tokens.length < length) short++;
    else sequences.push(tokens.slice(0, length));
    if (sequences.length === count) return { sequences, short };
  }
  throw new Memory3Error('usage', `Only ${sequences.length} of the texts have ${length} tokens; ${count} are wanted.`, {
    remedy: 'Give more or longer texts, or ask for fewer or shorter sequences.',
  });
}

/** Characters of a text that are encoded to find its first tokens; a text of longer tokens counts as too short. */
const charactersPerToken = 16;

function checkSequences(sequences: readonly (readonly number[])[], localTokens: number): void {
  const length = sequences[0]?.length;
  if (length === undefined) throw new Memory3Error('usage', 'There are no texts to survey heads on.');
  if (!Number.isInteger(localTokens) || localTokens < 1) {
    throw new Memory3Error('usage', `A head has to see at least its own token, not ${localTokens}.`);
  }
  if (sequences.some((sequence) => sequence.length !== length)) {
    throw new Memory3Error('usage', 'Sequences of a survey must have equal lengths.');
  }
  if (length < localTokens + 3) {
    throw new Memory3Error('usage', `Nothing is hidden in ${length} tokens from a head that sees ${localTokens}.`, {
      remedy: `Take sequences of at least ${localTokens + 3} tokens, best several times as long.`,
    });
  }
}

function checkRestricted({ config: { layers, heads } }: LanguageModel, restricted: readonly Restricted[]): void {
  for (const { layer, head } of restricted) {
    if (layer < layers && (head ?? 0) < heads) continue;
    throw new Memory3Error('usage', `There is no ${head === null ? '' : `head ${head} of `}layer ${layer}.`, {
      remedy: `The model has layers 0 to ${layers - 1} of ${heads} heads, from 0.`,
    });
  }
}

/** Inputs of each run, all but the gates. */
function sequenceRuns(
  model: LanguageModel,
  sequences: readonly (readonly number[])[],
  localTokens: number,
): Record<string, TensorData>[] {
  const length = (sequences[0] as readonly number[]).length;
  const batch = Math.max(1, Math.floor(runTokens / length));
  const bias = causalBias(1, length, model.config.slidingWindow);
  const masks = {
    [surveyNames.bias]: floats([1, 1, length, length], bias),
    [surveyNames.localBias]: floats([1, 1, 1, length, length], localBias(length, localTokens)),
  };
  const runs: Record<string, TensorData>[] = [];
  for (let start = 0; start < sequences.length; start += batch) {
    const some = sequences.slice(start, start + batch);
    const tokens = some.flat();
    const positions = tokens.map((_, i) => i % length);
    // From the first token on that is too far from its bos to see all between; the last one predicts nothing.
    const rows = [...tokens.keys()].filter((row) => row % length > localTokens && row % length < length - 1);
    const targets = rows.map((row) => tokens[row + 1] as number);
    runs.push({
      ...masks,
      ...model.tokenInputs(tokens, positions, some.length),
      [surveyNames.rows]: integers(rows),
      [surveyNames.targets]: integers(targets),
    });
  }
  return runs;
}

/** 0 for the bos and the last tokens, `[length, length]`. */
function localBias(length: number, localTokens: number): Float32Array {
  const bias = new Float32Array(length * length);
  for (let row = localTokens + 1; row < length; row++) {
    bias.fill(masked, row * length + 1, row * length + row - localTokens + 1);
  }
  return bias;
}

/** Losses of all tokens that count, sequence by sequence. */
async function losses(
  model: LanguageModel,
  runs: readonly Record<string, TensorData>[],
  restricted: readonly Restricted[],
): Promise<number[]> {
  const { layers, heads, kvHeads } = model.config;
  const gates = new Float32Array(layers * heads);
  for (const { layer, head } of restricted) {
    if (head === null) gates.fill(1, layer * heads, (layer + 1) * heads);
    else gates[layer * heads + head] = 1;
  }
  const session = await model.surveySession();
  const result: number[] = [];
  for (const run of runs) {
    const outputs = await model.device.run({
      session,
      inputs: { ...run, [surveyNames.restricted]: floats([layers, kvHeads, heads / kvHeads], gates) },
      outputs: [surveyNames.nll],
    });
    const { data } = outputs[surveyNames.nll] as TensorData;
    result.push(...(data as Float32Array));
  }
  return result;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function floats(shape: readonly number[], data: Float32Array): TensorData {
  return { type: 'float32', shape, data };
}

function integers(values: readonly number[]): TensorData {
  return { type: 'int64', shape: [values.length], data: BigInt64Array.from(values, BigInt) };
}
