/**
 * Cross-entropy at chosen positions, and the seed of its gradient.
 *
 * For logits z [n, vocabulary], targets t [n] and weights w [n]:
 *
 *   nll_i = -log softmax(z_i)[t_i],   loss = sum_i w_i nll_i,   ∂loss/∂z_i = w_i (softmax(z_i) - onehot(t_i))
 *
 * The loss and its gradient are written together, since the gradient needs no more than the log-probabilities.
 */
import type { GraphBuilder } from './graph.ts';

export interface CrossEntropy {
  /** Negative log-likelihood of each target, `[n]`, nats. */
  readonly nll: string;
  /** The gradient by the logits, `[n, vocabulary]`, of a loss whose derivative by nll is `weights` `[n]`. */
  gradient(weights: string): string;
}

/** @param logits `[n, vocabulary]` @param targets `[n]` int64 */
export function crossEntropy(builder: GraphBuilder, logits: string, targets: string): CrossEntropy {
  const logProbabilities = builder.apply('LogSoftmax', [logits], { axis: -1 });
  const column = builder.apply('Unsqueeze', [targets, builder.integers([1])]);
  const likelihood = builder.apply('GatherElements', [logProbabilities, column], { axis: 1 });
  const flat = builder.apply('Reshape', [likelihood, builder.integers([-1])]);
  return {
    nll: builder.apply('Neg', [flat]),
    gradient(weights) {
      const perRow = builder.apply('Unsqueeze', [weights, builder.integers([1])]);
      const softmax = builder.apply('Mul', [builder.apply('Exp', [logProbabilities]), perRow]);
      const attributes = { axis: 1, reduction: 'add' };
      return builder.apply('ScatterElements', [softmax, column, builder.apply('Neg', [perRow])], attributes);
    },
  };
}

/** sum_i w_i nll_i, a scalar `[1]`. */
export function weightedSum(builder: GraphBuilder, nll: string, weights: string): string {
  return builder.apply('ReduceSum', [builder.apply('Mul', [nll, weights])], { keepdims: 1 });
}
