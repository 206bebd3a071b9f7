/** Likelihoods of tokens: out of logits, and out of hidden vectors in the device, which is what texts are scored by. */
import { likelihoodNames } from '../graph/likelihoods.ts';
import type { HiddenVectors, Logits } from '../memory/context.ts';
import type { LanguageModel } from '../memory/model.ts';

/** A token, and where the model stood before it. */
export interface TokenInContext {
  /** Row of the hidden vector after the token before it, sequence by sequence: `sequence * length + place`. */
  readonly row: number;
  readonly token: number;
}

export interface TokenLikelihood {
  /** Nats. */
  readonly logLikelihood: number;
  /** Whether no token is likelier. */
  readonly isLikeliest: boolean;
}

/** Vectors whose logits exist at once: enough for products at full speed, few enough for the processor's cache. */
const vectorsAtOnce = 64;

/**
 * Likelihoods of tokens behind what has been read.
 * @param hidden of `ReadingContext.extendHidden` or `readBranches`
 * @param wanted in any order; a vector that several tokens may follow has its logits computed once
 * @returns in the order of `wanted`
 */
export async function likelihoodsBehind(
  model: LanguageModel,
  hidden: HiddenVectors,
  wanted: readonly TokenInContext[],
): Promise<TokenLikelihood[]> {
  const session = await model.likelihoodSession();
  const width = model.config.hiddenSize;
  const byRow = [...Map.groupBy(wanted.keys(), (index) => (wanted[index] as TokenInContext).row)];
  const likelihoods = new Array<TokenLikelihood>(wanted.length);
  for (let start = 0; start < byRow.length; start += vectorsAtOnce) {
    const some = byRow.slice(start, start + vectorsAtOnce);
    const vectors = new Float32Array(some.length * width);
    for (const [at, [row]] of some.entries())
      vectors.set(hidden.data.subarray(row * width, (row + 1) * width), at * width);
    const indices = some.flatMap(([, own]) => own);
    const rows = some.flatMap(([, own], at) => own.map(() => BigInt(at)));
    const targets = indices.map((index) => BigInt((wanted[index] as TokenInContext).token));
    const { hidden: input, rows: rowsInput, targets: targetsInput, logLikelihoods, margins } = likelihoodNames;
    const outputs = await model.device.run({
      session,
      inputs: {
        [input]: { type: 'float32', shape: [some.length, width], data: vectors },
        [rowsInput]: { type: 'int64', shape: [rows.length], data: BigInt64Array.from(rows) },
        [targetsInput]: { type: 'int64', shape: [targets.length], data: BigInt64Array.from(targets) },
      },
      outputs: [logLikelihoods, margins],
    });
    for (const [at, index] of indices.entries()) {
      likelihoods[index] = {
        logLikelihood: Number(outputs[logLikelihoods]?.data[at]),
        isLikeliest: Number(outputs[margins]?.data[at]) === 0,
      };
    }
  }
  return likelihoods;
}

/** -log P(token) in nats under one row of logits. */
export function negativeLogLikelihood(logits: Logits, row: number, token: number): number {
  const width = logits.data.length / logits.rows;
  const values = logits.data.subarray(row * width, (row + 1) * width);
  let largest = Number.NEGATIVE_INFINITY;
  for (const value of values) largest = Math.max(largest, value);
  let sum = 0;
  for (const value of values) sum += Math.exp(value - largest);
  return Math.log(sum) + largest - (values[token] as number);
}
