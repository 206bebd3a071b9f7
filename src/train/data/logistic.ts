/**
 * Logistic regression over sparse features:
 *
 *   p = 1 / (1 + exp(-(w · x + b)))
 *
 * w and b minimise the cross-entropy plus λ/2 |w|² over the examples, one after the other in an order drawn anew for each
 * pass, by AdaGrad (Duchi, Hazan and Singer 2011): each weight has its own rate, falling with the squares of its gradients,
 * as rare features need.
 */
import type { Random } from '../../generate/sampling.ts';

/** A sparse vector: places, each once, and their values. */
export interface Features {
  readonly at: Uint16Array;
  readonly values: Float32Array;
}

export interface LabelledFeatures {
  readonly features: Features;
  readonly positive: boolean;
}

export interface LogisticModel {
  readonly weights: Float32Array;
  readonly bias: number;
}

export interface LogisticTraining {
  /** Length of the vectors. */
  readonly places: number;
  readonly passes: number;
  readonly rate: number;
  /** λ of the penalty. */
  readonly penalty: number;
  readonly random: Random;
}

/** p of an example. */
export function probability({ weights, bias }: LogisticModel, { at, values }: Features): number {
  let sum = bias;
  for (let n = 0; n < at.length; n++) sum += (weights[at[n] as number] as number) * (values[n] as number);
  return 1 / (1 + Math.exp(-sum));
}

/** The same examples, options and random numbers give the same model. */
export function trainLogistic(
  examples: readonly LabelledFeatures[],
  { places, passes, rate, penalty, random }: LogisticTraining,
): LogisticModel {
  const weights = new Float32Array(places);
  const squares = new Float32Array(places);
  const model = { weights, bias: 0 };
  let biasSquares = 0;
  for (let pass = 0; pass < passes; pass++) {
    for (const { features, positive } of ordered(examples, random)) {
      const error = probability(model, features) - (positive ? 1 : 0);
      const { at, values } = features;
      for (let n = 0; n < at.length; n++) {
        const place = at[n] as number;
        const gradient = error * (values[n] as number) + penalty * (weights[place] as number);
        squares[place] = (squares[place] as number) + gradient * gradient;
        weights[place] = (weights[place] as number) - (rate * gradient) / (Math.sqrt(squares[place] as number) + 1e-8);
      }
      biasSquares += error * error;
      model.bias -= (rate * error) / (Math.sqrt(biasSquares) + 1e-8);
    }
  }
  return model;
}

function* ordered<T>(values: readonly T[], random: Random): Generator<T, void> {
  const keyed = values.map((value) => ({ value, key: random() }));
  for (const { value } of keyed.sort((a, b) => a.key - b.key)) yield value;
}
