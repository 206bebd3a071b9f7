/**
 * The graph that reads and generates: every prompt chunk, every decoded token, with or without memories.
 *
 * One graph serves prefill and decode, any batch. A layer's past is one buffer `[batch, kvHeads, slots, headDim]`:
 * the header's key-values, then (memory layers only) the memories', then the context's (paper 3.2, Eq. 4). The graph does
 * not know which slot holds what: the bias says which are seen, and rotary positions were worked into keys when they
 * were written. Memory layers and plain layers have different numbers of slots, hence two biases.
 *
 * The embedding look-up is done outside (`gatherRows`), so that a quantised embedding is held once.
 */
import type { ModelConfig } from '../model/config.ts';
import type { Weights } from '../model/weights.ts';
import { type Graph, GraphBuilder } from './graph.ts';
import type { Precision } from './linear.ts';
import { constantParameters } from './parameters.ts';
import { addTokenInputs, TransformerBuilder, type TransformerOptions } from './transformer.ts';

/** Layers of one kind share their bias and their number of slots. */
export type LayerKind = 'memory' | 'plain';

/** Names of the reader's inputs and outputs. */
export const readerNames = {
  rows: 'rows',
  bias: (kind: LayerKind) => `bias_${kind}`,
  split: (kind: LayerKind) => `split_${kind}`,
  pastKeys: (layer: number) => `past_keys_${layer}`,
  pastValues: (layer: number) => `past_values_${layer}`,
  logits: 'logits',
  hidden: 'hidden_vectors',
  keysValues: 'keys_values',
  regions: 'regions',
  attentionShares: 'attention_shares',
} as const;

export interface ReaderOptions extends TransformerOptions {
  readonly precision: Precision;
  /** Layers whose attention reads memories. */
  readonly memoryLayers: readonly number[];
  /** Adds the output `attention_shares`, for explanations; default false. */
  readonly attentionShares?: boolean;
}

/**
 * Builds the reader. Inputs beside those of `addTokenInputs`: for each kind of layer that occurs `bias_*`
 * `[batch, 1, length, slots + length]` and `split_*` = [slots, length], the pasts, and `rows`: which of the tokens get
 * logits. Outputs: `logits` `[rows, vocabularySize]`; `hidden_vectors` `[tokens, hiddenSize]`, what the head would make
 * logits of (`likelihoods.ts` does); `keys_values` `[layers * 2 * batch, kvHeads, length, headDim]`, the new key-values in the
 * order layer, key before value, batch.
 *
 * With `attentionShares` there are one more input, `regions` `[memory slots + length, regions]`: ones where a slot or new token
 * belongs to a region, and one more output, `attention_shares` `[memory layers, batch, length, regions]`: how much of each
 * token's attention went to each region, the mean of a layer's heads. The attention matrices themselves stay inside.
 */
export function buildReader(config: ModelConfig, weights: Weights, options: ReaderOptions): Graph {
  const builder = new GraphBuilder('reader');
  const names = readerNames;
  const { hidden: hiddenInput, inputs } = addTokenInputs(builder, config);
  const parameters = constantParameters(builder, weights, options.precision);
  const transformer = new TransformerBuilder(builder, config, parameters, options, inputs);
  const kindOf = (layer: number): LayerKind => (options.memoryLayers.includes(layer) ? 'memory' : 'plain');
  const kinds = new Set(Array.from({ length: config.layers }, (_, layer) => kindOf(layer)));
  const perKind = new Map(
    [...kinds].map((kind) => {
      const bias = builder.input(names.bias(kind), 'float32', ['batch', 1, 'length', `${kind}_slots_and_length`]);
      const repeats = builder.integers([1, 1, config.heads / config.kvHeads, 1]);
      const split = builder.input(names.split(kind), 'int64', [2]);
      return [kind, { bias: builder.apply('Tile', [bias, repeats]), split }];
    }),
  );

  const regions =
    options.attentionShares === true
      ? builder.input(names.regions, 'float32', ['memory_slots_and_length', 'regions'])
      : undefined;

  let hidden = hiddenInput;
  const keysValues: string[] = [];
  const shares: string[] = [];
  for (let layer = 0; layer < config.layers; layer++) {
    const kind = kindOf(layer);
    const { bias, split } = perKind.get(kind) as { bias: string; split: string };
    const pastShape = ['batch', config.kvHeads, `${kind}_slots`, config.headDim];
    const keys = builder.input(names.pastKeys(layer), 'float32', pastShape);
    const values = builder.input(names.pastValues(layer), 'float32', pastShape);
    const outputs = transformer.layer(layer, hidden, { bias, past: { keys, values, split } });
    hidden = outputs.hidden;
    keysValues.push(outputs.keys, outputs.values);
    if (regions !== undefined && kind === 'memory') {
      shares.push(sharesOfRegions(builder, config, outputs.probabilities, regions));
    }
  }
  const rows = builder.input(names.rows, 'int64', ['rows']);
  const logits = transformer.head(builder.apply('Gather', [hidden, rows], { axis: 0 }));
  builder.output(logits, names.logits, 'float32', ['rows', config.vocabularySize]);
  builder.output(hidden, names.hidden, 'float32', ['tokens', config.hiddenSize]);
  const joined = builder.apply('Concat', keysValues, { axis: 0 });
  builder.output(joined, names.keysValues, 'float32', ['layers_2_batch', config.kvHeads, 'length', config.headDim]);
  if (regions !== undefined) {
    const ofLayers = builder.apply('Concat', shares, { axis: 0 });
    builder.output(ofLayers, names.attentionShares, 'float32', [shares.length, 'batch', 'length', 'regions']);
  }
  return builder.finish();
}

/** `[batch, kvHeads, group * length, slots]` and `[slots, regions]` to the heads' mean, `[1, batch, length, regions]`. */
function sharesOfRegions(builder: GraphBuilder, config: ModelConfig, probabilities: string, regions: string): string {
  const sums = builder.apply('MatMul', [probabilities, regions]);
  const ofHeads = builder.apply('Reshape', [sums, builder.integers([0, config.heads, -1, 0])]);
  const mean = builder.apply('ReduceMean', [ofHeads, builder.integers([1])], { keepdims: 0 });
  return builder.apply('Unsqueeze', [mean, builder.integers([0])]);
}
