/**
 * AdamW (Loshchilov and Hutter 2019) as a graph over a flat slice of weights, all in f32:
 *
 *   g' = scale g                        (scale clips the gradient and averages accumulated batches)
 *   m' = β1 m + (1 - β1) g'
 *   v' = β2 v + (1 - β2) g'²
 *   w' = (1 - rate decay) w - rate (m' / c1) / (sqrt(v' / c2) + ε),   c1 = 1 - β1^t, c2 = 1 - β2^t
 *
 * The numbers that change from step to step are inputs `[1]`, so one compiled graph serves a whole training.
 */
import { type Graph, GraphBuilder } from './graph.ts';

export interface AdamOptions {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
}

/** Names of the optimiser's inputs and outputs. */
export const adamNames = {
  weights: 'weights',
  gradients: 'gradients',
  mean: 'mean',
  square: 'square',
  scale: 'scale',
  /** 1 - rate * decay */
  shrink: 'shrink',
  /** rate / c1 */
  step: 'step',
  /** 1 / sqrt(c2) */
  correction: 'correction',
  newWeights: 'new_weights',
  newMean: 'new_mean',
  newSquare: 'new_square',
} as const;

/** Builds the optimiser; every array is `[n]`, every number `[1]`. */
export function buildAdamW({ beta1, beta2, epsilon }: AdamOptions): Graph {
  const b = new GraphBuilder('adamw');
  const names = adamNames;
  const array = (name: string) => b.input(name, 'float32', ['n']);
  const number = (name: string) => b.input(name, 'float32', [1]);
  const [weights, gradients, mean, square] = [names.weights, names.gradients, names.mean, names.square].map(array) as [
    string,
    string,
    string,
    string,
  ];
  const times = (x: string, y: string) => b.apply('Mul', [x, y]);
  const plus = (x: string, y: string) => b.apply('Add', [x, y]);
  const gradient = times(gradients, number(names.scale));
  const newMean = plus(times(mean, b.number(beta1)), times(gradient, b.number(1 - beta1)));
  const newSquare = plus(times(square, b.number(beta2)), times(times(gradient, gradient), b.number(1 - beta2)));
  const spread = plus(times(b.apply('Sqrt', [newSquare]), number(names.correction)), b.number(epsilon));
  const update = times(b.apply('Div', [newMean, spread]), number(names.step));
  const newWeights = b.apply('Sub', [times(weights, number(names.shrink)), update]);
  b.output(newWeights, names.newWeights, 'float32', ['n']);
  b.output(newMean, names.newMean, 'float32', ['n']);
  b.output(newSquare, names.newSquare, 'float32', ['n']);
  return b.finish();
}

/** The numbers of step `t` (from 1), by input name. */
export function adamNumbers(
  { beta1, beta2 }: AdamOptions,
  step: { readonly t: number; readonly rate: number; readonly decay: number; readonly scale: number },
): Record<string, number> {
  const names = adamNames;
  return {
    [names.scale]: step.scale,
    [names.shrink]: 1 - step.rate * step.decay,
    [names.step]: step.rate / (1 - beta1 ** step.t),
    [names.correction]: 1 / Math.sqrt(1 - beta2 ** step.t),
  };
}
