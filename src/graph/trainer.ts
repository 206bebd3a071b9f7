/**
 * The graph of one training step: forward, loss, backward.
 *
 * Without references it is the ordinary language model over a batch of sequences. With references (paper 4.1) the same
 * weights read them in the same step: each reference alone, "<bos>Reference:" + body, through every layer up to the last
 * memory layer; the header alone through the rest. Of the body's key-values in a memory layer each kv head keeps k tokens;
 * which ones is decided without gradient (`writer.ts` has the scores), what is kept passes the gradient back into the
 * weights that wrote it. A context sees
 *
 *   other layers     [ header | context up to here ]
 *   memory layers    [ memories of this chunk | header | context up to here ]
 *
 * with one set of memories for each chunk of a sequence. Biases that are inputs say which slots count, so sequences
 * without references, with one and with five go side by side.
 *
 * Shapes: R references of Lr tokens (header included, padded behind), B sequences of L tokens in n chunks, each chunk with
 * M memories.
 */
import type { ModelConfig } from '../model/config.ts';
import { addGradients, type Segment } from './gradient.ts';
import { type Graph, GraphBuilder, type ValueInfo } from './graph.ts';
import { inputParameters, type LoraShape } from './parameters.ts';
import { ReferenceReader } from './reference-reader.ts';
import { type TrainedReferences, trainerNames } from './trainer-inputs.ts';
import { TransformerBuilder, type TransformerOptions } from './transformer.ts';

/** What a loss makes of the logits of the chosen rows. */
export interface Loss {
  readonly outputs: readonly { readonly value: string; readonly info: ValueInfo }[];
  /** Gradient by the logits. */
  readonly seed: string;
}

export interface TrainerOptions extends TransformerOptions {
  readonly lora?: LoraShape;
  readonly references?: TrainedReferences;
  /** Adds the loss, and inputs that it needs. */
  readonly loss: (builder: GraphBuilder, logits: string) => Loss;
  /** Inputs whose gradients are outputs; none for a graph that only measures. */
  readonly trained: readonly string[];
  /** Computes each layer again for its backward pass, so that memory grows with one layer's values and not with all. */
  readonly recompute?: boolean;
}

/**
 * Builds the graph. Every weight is an input named like the weight, every output `gradient:<name>` has that weight's shape.
 * @param shapes of the model's weights by name
 */
export function buildTrainer(
  config: ModelConfig,
  shapes: ReadonlyMap<string, readonly number[]>,
  options: TrainerOptions,
): Graph {
  const builder = new GraphBuilder('trainer');
  const names = trainerNames;
  const parameters = inputParameters(builder, shapes, options.lora);
  const embedding = parameters.tensor('model.embed_tokens.weight');
  const tables = {
    rotaryCos: builder.input(names.cos, 'float32', ['positions', config.headDim / 2]),
    rotarySin: builder.input(names.sin, 'float32', ['positions', config.headDim / 2]),
  };
  const inputs = { positionIds: builder.input(names.positions, 'int64', ['batch', 'length']), ...tables };
  const transformer = new TransformerBuilder(builder, config, parameters, options, inputs);
  const tokens = builder.input(names.tokens, 'int64', ['tokens']);
  const bias = contextBias(builder, config, options.references);
  const references =
    options.references === undefined
      ? undefined
      : new ReferenceReader(builder, config, parameters, options, { ...options.references, tables, inputs, embedding });

  let hidden = builder.apply('Gather', [embedding, tokens], { axis: 0 });
  const segments: Segment[] = [];
  for (let layer = 0; layer < config.layers; layer++) {
    const from = builder.operators.length;
    const entering = [hidden, ...(references?.hidden ?? [])];
    const seen = references?.layer(layer) ?? {};
    hidden = transformer.layer(layer, hidden, { bias: bias(layer), ...seen }).hidden;
    segments.push({ from, to: builder.operators.length, entering });
  }
  const rows = builder.apply('Gather', [hidden, builder.input(names.rows, 'int64', ['rows'])], { axis: 0 });
  const logits = transformer.head(rows);
  const loss = options.loss(builder, logits);
  for (const { value, info } of loss.outputs) builder.output(value, info.name, info.type, info.shape);
  const gradients = addGradients(builder, new Map([[logits, loss.seed]]), options.trained, {
    recompute: options.recompute === true ? segments : [],
    fusedProducts: options.fusedScores,
  });
  for (const name of options.trained) {
    const gradient = gradients.get(name);
    const shape = builder.given(name)?.shape;
    if (gradient === undefined || shape === undefined) throw new Error(`the loss does not depend on "${name}"`);
    builder.output(gradient, names.gradient(name), 'float32', shape);
  }
  return builder.finish();
}

/** Biases of the context's scores by layer, repeated for the query heads that are folded into the rows. */
function contextBias(builder: GraphBuilder, config: ModelConfig, references: TrainedReferences | undefined) {
  const repeats = builder.integers([1, 1, config.heads / config.kvHeads, 1]);
  const make = (kind: 'memory' | 'plain') => {
    const bias = builder.input(trainerNames.bias(kind), 'float32', ['batch', 1, 'length', `slots_${kind}`]);
    return builder.apply('Tile', [bias, repeats]);
  };
  const made = new Map<'memory' | 'plain', string>();
  return (layer: number): string => {
    const kind = references?.layers.includes(layer) ? 'memory' : 'plain';
    const bias = made.get(kind) ?? make(kind);
    made.set(kind, bias);
    return bias;
  };
}
