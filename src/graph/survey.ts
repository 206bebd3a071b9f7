/**
 * The graph that finds long-range heads (paper, Remark 4): a plain language model in which any of its attention heads can be
 * kept from looking back further than a few tokens.
 *
 * With scores s_ij of query i and key j, the gate g of a head (0 or 1) and a local bias b_ij (0 for the bos and the last n
 * tokens, very negative for what lies between):
 *
 *   p_ij = softmax_j(s_ij + causal_ij + g b_ij)
 *
 * The gates `[layers, kvHeads, group]` are an input, so one compiled graph serves every head of every layer, whole layers (a
 * row of ones), and the plain model (zeros). Out comes the loss of each chosen token alone; logits stay inside.
 */
import type { ModelConfig } from '../model/config.ts';
import type { Weights } from '../model/weights.ts';
import { type Graph, GraphBuilder } from './graph.ts';
import type { Precision } from './linear.ts';
import { crossEntropy } from './loss.ts';
import { constantParameters } from './parameters.ts';
import { addTokenInputs, TransformerBuilder, type TransformerOptions } from './transformer.ts';

export const surveyNames = {
  bias: 'bias',
  localBias: 'local_bias',
  restricted: 'restricted',
  rows: 'rows',
  targets: 'targets',
  nll: 'nll',
} as const;

export interface SurveyOptions extends TransformerOptions {
  readonly precision: Precision;
}

/**
 * Builds the graph. Inputs beside those of `addTokenInputs`: `bias` `[1, 1, length, length]` (causal), `local_bias` `[1, 1,
 * 1, length, length]`, the gates `restricted` `[layers, kvHeads, group]`, `rows` `[n]`: the tokens whose next token is
 * predicted, and `targets` `[n]`: those next tokens. Output: `nll` `[n]` in nats.
 */
export function buildSurvey(config: ModelConfig, weights: Weights, options: SurveyOptions): Graph {
  const builder = new GraphBuilder('survey');
  const names = surveyNames;
  const group = config.heads / config.kvHeads;
  const { hidden: hiddenInput, inputs } = addTokenInputs(builder, config);
  const parameters = constantParameters(builder, weights, options.precision);
  const transformer = new TransformerBuilder(builder, config, parameters, options, inputs);
  const causal = builder.apply('Tile', [
    builder.input(names.bias, 'float32', [1, 1, 'length', 'length']),
    builder.integers([1, 1, group, 1]),
  ]);
  const local = builder.input(names.localBias, 'float32', [1, 1, 1, 'length', 'length']);
  const restricted = builder.input(names.restricted, 'float32', [config.layers, config.kvHeads, group]);
  const biasOf = (layer: number) => {
    const gates = builder.apply('Gather', [restricted, builder.integers([layer])], { axis: 0 });
    const perHead = builder.apply('Mul', [builder.apply('Unsqueeze', [gates, builder.integers([3, 4])]), local]);
    // [1, kvHeads, group, length, length] to [1, kvHeads, group * length, length]: query heads are folded into the rows.
    const folded = builder.apply('Reshape', [perHead, builder.integers([1, config.kvHeads, -1, 0])]);
    return builder.apply('Add', [causal, folded]);
  };

  let hidden = hiddenInput;
  for (let layer = 0; layer < config.layers; layer++) {
    hidden = transformer.layer(layer, hidden, { bias: biasOf(layer) }).hidden;
  }
  const rows = builder.input(names.rows, 'int64', ['rows']);
  const logits = transformer.head(builder.apply('Gather', [hidden, rows], { axis: 0 }));
  const targets = builder.input(names.targets, 'int64', ['rows']);
  builder.output(crossEntropy(builder, logits, targets).nll, names.nll, 'float32', ['rows']);
  return builder.finish();
}
