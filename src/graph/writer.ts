/**
 * The graph that reads references in order to write them as explicit memories (paper 3.2, 3.3).
 *
 * A batch of references, each "<bos>Reference:" + body, attends only to itself. Out come the key-values (after RoPE) of
 * the layers asked for and, for each of their tokens and kv heads, a score by which tokens are kept. With s_ij =
 * q_i·k_j / sqrt(headDim) from queries and keys *before* RoPE, without causal mask, i and j running over the body only and
 * i also over the query heads that share the kv head:
 *
 *   received                score_j = sum_i softmax_j(s_ij)
 *   value-norm              score_j = ‖v_j‖ sum_i softmax_j(s_ij)
 *   received-unnormalised   score_j = log sum_i exp(s_ij)       (the logarithm keeps the order and cannot overflow)
 *   answer-weighted         score_j = p_j sum_i softmax_j(s_ij), p_j as `answer-classifier.ts` has it
 *   reconstruction          score_j = max_i p_ij, p the layer's real attention weights, i over a second copy of the
 *                           body that follows "Repeat the reference:"
 *
 * Layers after the last one asked for, or whose values p_j needs, are not built, and no logits are computed.
 */
import type { ModelConfig } from '../model/config.ts';
import { answerProbabilities, neighbourhood } from './answer-classifier.ts';
import { type Graph, GraphBuilder } from './graph.ts';
import type { MakeParameters } from './parameters.ts';
import { addTokenInputs, type LayerOutputs, TransformerBuilder, type TransformerOptions } from './transformer.ts';

/** Scores that the graph computes. */
export type GraphScoring =
  | 'received'
  | 'answer-weighted'
  | 'value-norm'
  | 'received-unnormalised'
  | 'reconstruction'
  | 'none';

export const writerNames = {
  bias: 'bias',
  keyBias: 'key_bias',
  queryMask: 'query_mask',
  neighbours: 'neighbour_rows',
  keysValues: 'keys_values',
  scores: 'scores',
} as const;

export interface WriterOptions extends TransformerOptions {
  /** Layers whose key-values are wanted, ascending. */
  readonly layers: readonly number[];
  readonly scoring: GraphScoring;
  /** `answer-weighted` scores need it: the layers whose values it sees, ascending, and all its numbers as they lie in an adapter. */
  readonly answerClassifier?: {
    readonly layers: readonly number[];
    readonly weights: { readonly data: Float32Array };
  };
  /** Who looks embeddings up: whoever runs the graph (default), or the graph itself among its parameters. */
  readonly embeddings?: 'given' | 'looked-up';
}

/**
 * Builds the writer. Inputs beside those of `addTokenInputs`: `bias` `[batch, 1, length, length]` (causal, padding), and for scores `key_bias` `[batch, 1, 1,
 * length]` (0 for body tokens, very negative for others; not for reconstruction) and `query_mask` `[batch, 1, length, 1]`
 * (1 for the queries that count, else 0), for `answer-weighted` also `neighbour_rows` `[batch * length, 5]` (`neighbourRows`). Outputs: `keys_values` `[layers * 2 * batch, kvHeads, length, headDim]` and
 * `scores` `[layers * batch, kvHeads, length]`.
 * @param makeParameters constants for inference, inputs while a model is trained
 */
export function buildWriter(config: ModelConfig, makeParameters: MakeParameters, options: WriterOptions): Graph {
  const builder = new GraphBuilder('writer');
  const names = writerNames;
  const parameters = makeParameters(builder);
  const embedding = options.embeddings === 'looked-up' ? parameters.tensor('model.embed_tokens.weight') : undefined;
  const { hidden: hiddenInput, inputs } = addTokenInputs(builder, config, embedding);
  const transformer = new TransformerBuilder(builder, config, parameters, options, inputs);
  const repeats = builder.integers([1, 1, config.heads / config.kvHeads, 1]);
  const biasInput = builder.input(names.bias, 'float32', ['batch', 1, 'length', 'length']);
  const bias = builder.apply('Tile', [biasInput, repeats]);
  const masks = options.scoring === 'none' ? undefined : scoreMasks(builder, options.scoring, repeats);

  let hidden = hiddenInput;
  const keysValues: string[] = [];
  const values: string[] = [];
  const scores: string[] = [];
  const answerLayers = options.scoring === 'answer-weighted' ? (options.answerClassifier?.layers ?? []) : [];
  const last = Math.max(...options.layers, ...answerLayers);
  for (let layer = 0; layer <= last; layer++) {
    const outputs = transformer.layer(layer, hidden, { bias });
    hidden = outputs.hidden;
    if (answerLayers.includes(layer)) values.push(outputs.values);
    if (!options.layers.includes(layer)) continue;
    keysValues.push(outputs.keys, outputs.values);
    if (masks === undefined) continue;
    scores.push(layerScores(builder, transformer, options.scoring, outputs, masks));
  }
  const joined = builder.apply('Concat', keysValues, { axis: 0 });
  builder.output(joined, names.keysValues, 'float32', ['layers_2_batch', config.kvHeads, 'length', config.headDim]);
  if (masks !== undefined) {
    const weigh = options.scoring === 'answer-weighted' ? answerWeights(builder, config, values, options) : undefined;
    const weighed = weigh === undefined ? scores : scores.map((score) => builder.apply('Mul', [score, weigh]));
    const joinedScores = builder.apply('Concat', weighed, { axis: 0 });
    builder.output(joinedScores, names.scores, 'float32', ['layers_batch', config.kvHeads, 'length']);
  }
  return builder.finish();
}

/** `[batch, 1, length]`: what the tokens of each layer's scores are weighed by. */
function answerWeights(
  builder: GraphBuilder,
  config: ModelConfig,
  values: readonly string[],
  { answerClassifier }: WriterOptions,
): string {
  if (answerClassifier === undefined) throw new Error('answer-weighted scores need a classifier of answers');
  const neighbours = builder.input(writerNames.neighbours, 'int64', ['rows', neighbourhood]);
  return answerProbabilities(builder, values, neighbours, answerClassifier.weights.data, config);
}

export interface ScoreMasks {
  /** `[batch, 1, group * length, 1]`, 1 for the queries that count. */
  readonly queryMask: string;
  /** `[batch, 1, 1, length]`, 0 for the keys that count; for scores from queries and keys before RoPE. */
  readonly keyBias: string | undefined;
}

export function scoreMasks(builder: GraphBuilder, scoring: GraphScoring, repeats: string): ScoreMasks {
  const mask = builder.input(writerNames.queryMask, 'float32', ['batch', 1, 'length', 1]);
  return {
    queryMask: builder.apply('Tile', [mask, repeats]),
    keyBias:
      scoring === 'reconstruction'
        ? undefined
        : builder.input(writerNames.keyBias, 'float32', ['batch', 1, 1, 'length']),
  };
}

/** One layer's scores, `[batch, kvHeads, length]`; those that are weighed by answers, before they are. */
export function layerScores(
  builder: GraphBuilder,
  transformer: TransformerBuilder,
  scoring: GraphScoring,
  outputs: LayerOutputs,
  { queryMask, keyBias }: ScoreMasks,
): string {
  const reduceRows = (type: string, values: string) =>
    builder.apply(type, [values, builder.integers([2])], { keepdims: 0 });
  if (scoring === 'reconstruction') {
    return reduceRows('ReduceMax', builder.apply('Mul', [outputs.probabilities, queryMask]));
  }
  const products = transformer.scores(outputs.plainQueries, outputs.plainKeys);
  const plain = builder.apply('Add', [products, keyBias as string]);
  if (scoring === 'received-unnormalised') {
    // log(1) = 0 for the queries that count, log(0) = -infinity for the others.
    return reduceRows('ReduceLogSumExp', builder.apply('Add', [plain, builder.apply('Log', [queryMask])]));
  }
  const shares = builder.apply('Softmax', [plain], { axis: -1 });
  const received = reduceRows('ReduceSum', builder.apply('Mul', [shares, queryMask]));
  if (scoring === 'received' || scoring === 'answer-weighted') return received;
  const norms = builder.apply('ReduceL2', [outputs.values, builder.integers([3])], { keepdims: 0 });
  return builder.apply('Mul', [received, norms]);
}
