/**
 * The graph that says how likely tokens are, from the hidden vectors before them: the output head alone.
 *
 *   log P(token) = log softmax(head(hidden))[token]
 *
 * Text that is scored needs one number a token and not the vocabulary's logits, which are by far the largest thing that a
 * reader puts out. So the reader hands out hidden vectors, and this graph takes a few dozen of them at a time: logits and
 * their softmax never leave the runtime and never exist for a whole text at once.
 */
import type { ModelConfig } from '../model/config.ts';
import type { Weights } from '../model/weights.ts';
import { type Graph, GraphBuilder } from './graph.ts';
import type { Precision } from './linear.ts';
import { constantParameters } from './parameters.ts';
import { outputHead } from './transformer.ts';

/** Names of the graph's inputs and outputs. */
export const likelihoodNames = {
  hidden: 'hidden',
  rows: 'rows',
  targets: 'targets',
  logLikelihoods: 'log_likelihoods',
  margins: 'margins',
} as const;

/**
 * Inputs: `hidden` `[vectors, hiddenSize]`, and for each token in question `rows` `[tokens]` int64, the vector before it, and
 * `targets` `[tokens]` int64, its id; a vector may stand before several tokens. Outputs: `log_likelihoods` `[tokens]`, nats, and
 * `margins` `[tokens]`, its logit less the largest of the vocabulary: 0 for the likeliest token, else below.
 */
export function buildLikelihoods(config: ModelConfig, weights: Weights, precision: Precision): Graph {
  const builder = new GraphBuilder('likelihoods');
  const names = likelihoodNames;
  const hidden = builder.input(names.hidden, 'float32', ['vectors', config.hiddenSize]);
  const rows = builder.input(names.rows, 'int64', ['tokens']);
  const targets = builder.input(names.targets, 'int64', ['tokens']);
  const logits = outputHead(builder, config, constantParameters(builder, weights, precision), hidden);
  // The place of each row's target in the flat matrix.
  const firsts = builder.apply('Mul', [rows, builder.integers([config.vocabularySize])]);
  const places = builder.apply('Add', [firsts, targets]);
  const chosenOf = (matrix: string) =>
    builder.apply('Gather', [builder.apply('Reshape', [matrix, builder.integers([-1])]), places], { axis: 0 });
  const logLikelihoods = chosenOf(builder.apply('LogSoftmax', [logits], { axis: -1 }));
  const largest = builder.apply('ReduceMax', [logits, builder.integers([-1])], { keepdims: 0 });
  const margins = builder.apply('Sub', [chosenOf(logits), builder.apply('Gather', [largest, rows], { axis: 0 })]);
  builder.output(logLikelihoods, names.logLikelihoods, 'float32', ['tokens']);
  builder.output(margins, names.margins, 'float32', ['tokens']);
  return builder.finish();
}
