/**
 * The loss of direct preference optimisation (Rafailov et al. 2023) as a graph, with its gradient.
 *
 * Of P pairs of answers, n target tokens in all, the model gives nll [n]. S [P, n] says which tokens are whose: 1 where token i belongs
 * to the chosen answer of pair p, -1 where to the rejected one, else 0. With f_p the margin of the frozen model,
 *
 *   m = -S nll                          margins: log P(chosen) - log P(rejected), each summed over its answer's tokens
 *   z = β (m - f)
 *   loss = sum_p -log σ(z_p) = sum_p softplus(-z_p)
 *   ∂loss/∂z_p = -σ(-z_p),  ∂z_p/∂nll_i = -β S_pi,  so  ∂loss/∂nll = Sᵀ (β σ(-z))
 *
 * and from there the gradient by the logits is that of a cross-entropy (`graph/loss.ts`) whose weights are ∂loss/∂nll: likelier chosen
 * tokens, unlikelier rejected ones, the more so the more wrongly the pair is ordered. Before the first step m = f, so every loss is
 * log 2.
 */
import { crossEntropy } from '../../graph/loss.ts';
import type { TensorData } from '../../runtime/device.ts';
import { targetNames } from '../batch.ts';
import type { Objective } from '../model-trainer.ts';

/** Inputs beside those of a batch (whose weights are not used), and outputs. */
export const preferenceNames = {
  /** S, `[pairs, rows]` */
  signs: 'signs',
  /** f, `[pairs]` */
  frozen: 'frozen_margins',
  /** The loss summed over the pairs, `[1]`. */
  loss: 'loss',
  /** z, `[pairs]` */
  scores: 'scores',
} as const;

/** @param beta how far the model may go from the frozen one for a preference; the paper's is 0.01 */
export function preferenceObjective(beta: number): Objective {
  return {
    name: `preference, beta ${beta}`,
    loss(builder, logits) {
      const targets = builder.input(targetNames.targets, 'int64', ['rows']);
      const signs = builder.input(preferenceNames.signs, 'float32', ['pairs', 'rows']);
      const frozen = builder.input(preferenceNames.frozen, 'float32', ['pairs']);
      const { nll, gradient } = crossEntropy(builder, logits, targets);
      const margins = builder.apply('Neg', [builder.apply('MatMul', [signs, nll])]);
      const factor = builder.number(beta);
      const scores = builder.apply('Mul', [builder.apply('Sub', [margins, frozen]), factor]);
      const opposite = builder.apply('Neg', [scores]);
      const loss = builder.apply('ReduceSum', [builder.apply('Softplus', [opposite])], { keepdims: 1 });
      const pull = builder.apply('Mul', [builder.apply('Sigmoid', [opposite]), factor]);
      return {
        outputs: [
          { value: loss, info: { name: preferenceNames.loss, type: 'float32', shape: [1] } },
          { value: scores, info: { name: preferenceNames.scores, type: 'float32', shape: ['pairs'] } },
        ],
        seed: gradient(builder.apply('MatMul', [pull, signs])),
      };
    },
  };
}

/** An answer pair's tokens and what the frozen model makes of it. */
export interface PairRows {
  /** Answer tokens of the chosen and of the rejected sample, which follow each other in the batch's rows. */
  readonly chosen: number;
  readonly rejected: number;
  /** f_p */
  readonly frozen: number;
}

/** The objective's own inputs for pairs in the order of their rows. */
export function preferenceInputs(pairs: readonly PairRows[]): Record<string, TensorData> {
  const rows = pairs.reduce((sum, { chosen, rejected }) => sum + chosen + rejected, 0);
  const signs = new Float32Array(pairs.length * rows);
  let row = 0;
  for (const [pair, { chosen, rejected }] of pairs.entries()) {
    const start = pair * rows + row;
    signs.fill(1, start, start + chosen);
    signs.fill(-1, start + chosen, start + chosen + rejected);
    row += chosen + rejected;
  }
  const frozen = Float32Array.from(pairs, (pair) => pair.frozen);
  return {
    [preferenceNames.signs]: { type: 'float32', shape: [pairs.length, rows], data: signs },
    [preferenceNames.frozen]: { type: 'float32', shape: [pairs.length], data: frozen },
  };
}
