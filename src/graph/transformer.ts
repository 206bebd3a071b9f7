/**
 * The decoder layers of the supported families, written as a graph: RMS norm, grouped-query attention with rotary
 * positions, gated MLP. `reader.ts` and `writer.ts` put inputs and outputs around them.
 *
 * Hidden vectors travel as `[tokens, hiddenSize]` with tokens = batch * length; only attention looks at
 * `[batch, kvHeads, ...]`. The query heads that share a kv head are folded into the rows, so grouped attention is a
 * plain batched product:
 *
 *   Q [batch, kvHeads, group * length, headDim] · Kᵀ [batch, kvHeads, headDim, slots]
 *
 * Attention is made of elementary operators on purpose. Key-values from earlier runs (`past`) come in as inputs and are
 * multiplied where they lie: two products, one with the past and one with the new keys, share one softmax. Nothing is
 * ever concatenated along the slots but the scores, so a decoded token does not copy its cache. The same operators exist
 * for WebGPU.
 */
import type { ModelConfig } from '../model/config.ts';
import type { GraphBuilder } from './graph.ts';
import type { Parameters } from './parameters.ts';

export interface TransformerOptions {
  /**
   * Q Kᵀ as one operator that reads K where it lies (CPU, CUDA). WebGPU has no such operator and would send every layer's
   * scores to the CPU; there K is transposed first.
   */
  readonly fusedScores: boolean;
}

/** Names of the inputs that depend on tokens and positions alone, the same in every graph. */
export const tokenInputNames = {
  tokens: 'tokens',
  hidden: 'hidden',
  positionIds: 'position_ids',
  rotaryCos: 'rotary_cos',
  rotarySin: 'rotary_sin',
} as const;

/**
 * Adds those inputs: `hidden` `[tokens, hiddenSize]` (batch-major), `position_ids` `[batch, length]` int64, `rotary_cos` and
 * `rotary_sin` `[positions, headDim / 2]`, in which `position_ids` are row numbers.
 * @param embedding value `[vocabularySize, hiddenSize]`: the graph looks embeddings up in it, and has the input `tokens`
 * `[tokens]` int64 instead of `hidden`
 */
export function addTokenInputs(
  builder: GraphBuilder,
  config: ModelConfig,
  embedding?: string,
): { hidden: string; inputs: LayerInputs } {
  const names = tokenInputNames;
  const hidden =
    embedding === undefined
      ? builder.input(names.hidden, 'float32', ['tokens', config.hiddenSize])
      : builder.apply('Gather', [embedding, builder.input(names.tokens, 'int64', ['tokens'])], { axis: 0 });
  const inputs = {
    positionIds: builder.input(names.positionIds, 'int64', ['batch', 'length']),
    rotaryCos: builder.input(names.rotaryCos, 'float32', ['positions', config.headDim / 2]),
    rotarySin: builder.input(names.rotarySin, 'float32', ['positions', config.headDim / 2]),
  };
  return { hidden, inputs };
}

/** Values shared by every layer of one graph. */
export interface LayerInputs {
  /** `[batch, length]` int64, rows of the rotary tables. */
  readonly positionIds: string;
  /** `[positions, headDim / 2]` */
  readonly rotaryCos: string;
  readonly rotarySin: string;
}

/** What attention reads beside the new tokens. */
export interface AttentionInputs {
  /** Added to the scores, `[batch or 1, kvHeads or 1, group * length, past + length]`. */
  readonly bias: string;
  /** Key-values seen in front of the new ones, each `[batch, kvHeads, slots, headDim]`, joined with them. */
  readonly front?: { readonly keys: string; readonly values: string };
  /**
   * Key-values that are multiplied where they lie, each `[batch, kvHeads, past, headDim]`, and `[past, front + length]` as
   * int64. With `chunkTokens`, each chunk of so many tokens has its own: `[batch * chunks, kvHeads, past, headDim]`.
   */
  readonly past?: {
    readonly keys: string;
    readonly values: string;
    readonly split: string;
    readonly chunkTokens?: number;
  };
}

/** What a layer computed beside its output; every tensor before it is read by others is `[batch, kvHeads, ...]`. */
export interface LayerOutputs {
  readonly hidden: string;
  /** After RoPE, `[batch, kvHeads, length, headDim]`. */
  readonly keys: string;
  readonly values: string;
  /** Before RoPE, `[batch, kvHeads, group * length, headDim]` and `[batch, kvHeads, length, headDim]`. */
  readonly plainQueries: string;
  readonly plainKeys: string;
  /** Attention weights, `[batch, kvHeads, group * length, past + length]`. */
  readonly probabilities: string;
}

/** Adds decoder layers to one builder; parameters are asked for by their Hugging Face names. */
export class TransformerBuilder {
  readonly #builder: GraphBuilder;
  readonly #config: ModelConfig;
  readonly #parameters: Parameters;
  readonly #options: TransformerOptions;
  readonly #inputs: LayerInputs;
  readonly #group: number;
  /** int64 shapes made once from the run's batch and length. */
  readonly #shapes: { readonly batchLength: string; readonly queries: string; readonly keys: string };

  constructor(
    builder: GraphBuilder,
    config: ModelConfig,
    parameters: Parameters,
    options: TransformerOptions,
    inputs: LayerInputs,
  ) {
    this.#builder = builder;
    this.#config = config;
    this.#parameters = parameters;
    this.#options = options;
    this.#inputs = inputs;
    this.#group = config.heads / config.kvHeads;
    const batchLength = builder.apply('Shape', [inputs.positionIds]);
    const withHeads = (heads: number) =>
      builder.apply('Concat', [batchLength, builder.integers([heads, config.headDim])], { axis: 0 });
    this.#shapes = { batchLength, queries: withHeads(config.heads), keys: withHeads(config.kvHeads) };
  }

  /** One decoder layer: `hidden` `[tokens, hiddenSize]` plus attention plus MLP. */
  layer(index: number, hidden: string, attention: AttentionInputs): LayerOutputs {
    const prefix = `model.layers.${index}`;
    const normalised = this.norm(hidden, `${prefix}.input_layernorm.weight`);
    const { output, ...rest } = this.#attention(`${prefix}.self_attn`, normalised, attention);
    const [afterNorm, afterAttention] = this.#addAndNorm(hidden, output, `${prefix}.post_attention_layernorm.weight`);
    const mlp = this.#mlp(`${prefix}.mlp`, afterNorm);
    return { hidden: this.#builder.apply('Add', [afterAttention, mlp]), ...rest };
  }

  /** RMS norm over the last axis, scaled by the named weight. */
  norm(x: string, name: string): string {
    return rmsNorm(this.#builder, this.#config, this.#parameters, x, name);
  }

  /** As `outputHead`. */
  head(hidden: string): string {
    return outputHead(this.#builder, this.#config, this.#parameters, hidden);
  }

  #addAndNorm(hidden: string, update: string, name: string): [normalised: string, sum: string] {
    const outputs = this.#builder.applyMany(
      'SkipSimplifiedLayerNormalization',
      [hidden, update, this.#parameters.tensor(name)],
      4,
      { epsilon: { float: this.#config.normEpsilon } },
    );
    return [outputs[0] as string, outputs[3] as string];
  }

  #mlp(prefix: string, x: string): string {
    const [gate, up] = this.#parameters.project(x, [`${prefix}.gate_proj`, `${prefix}.up_proj`]) as [string, string];
    // QuickGelu with alpha 1 is x * sigmoid(x), SiLU in one operator.
    const activated = this.#builder.apply('QuickGelu', [gate], { alpha: { float: 1 } });
    return this.#projectOne(this.#builder.apply('Mul', [activated, up]), `${prefix}.down_proj`);
  }

  #attention(prefix: string, x: string, attention: AttentionInputs) {
    const b = this.#builder;
    const { headDim, kvHeads } = this.#config;
    const names = ['q_proj', 'k_proj', 'v_proj'].map((name) => `${prefix}.${name}`);
    const [q, k, v] = this.#parameters.project(x, names) as [string, string, string];
    const queries = this.#headNorm(b.apply('Reshape', [q, this.#shapes.queries]), `${prefix}.q_norm.weight`);
    const keysBefore = this.#headNorm(b.apply('Reshape', [k, this.#shapes.keys]), `${prefix}.k_norm.weight`);

    const plainQueries = this.#foldGroup(this.#heads(queries));
    const plainKeys = this.#heads(keysBefore);
    const rotatedQueries = this.#foldGroup(this.#rotate(this.#heads(queries)));
    const keys = this.#rotate(plainKeys);
    const values = this.#heads(b.apply('Reshape', [v, this.#shapes.keys]));

    const { front } = attention;
    const seenKeys = front === undefined ? keys : b.apply('Concat', [front.keys, keys], { axis: 2 });
    const seenValues = front === undefined ? values : b.apply('Concat', [front.values, values], { axis: 2 });
    const { output, probabilities } = this.#attend(rotatedQueries, seenKeys, seenValues, attention);
    // [batch, kvHeads, group * length, headDim] back to [tokens, heads * headDim]
    const unfolded = b.apply('Reshape', [output, b.integers([0, kvHeads * this.#group, -1, headDim])]);
    const merged = b.apply('Transpose', [unfolded], { perm: [0, 2, 1, 3] });
    const flat = b.apply('Reshape', [merged, b.integers([-1, this.#config.heads * headDim])]);
    return { output: this.#projectOne(flat, `${prefix}.o_proj`), keys, values, plainQueries, plainKeys, probabilities };
  }

  /** softmax(Q [K_past, K_new]ᵀ / sqrt(headDim) + bias) [V_past; V_new], without joining past and new key-values. */
  #attend(queries: string, keys: string, values: string, { bias, past }: AttentionInputs) {
    const b = this.#builder;
    const newScores = this.scores(queries, keys);
    const scores =
      past === undefined ? newScores : b.apply('Concat', [this.#pastScores(queries, past), newScores], { axis: -1 });
    const probabilities = b.apply('Softmax', [b.apply('Add', [scores, bias])], { axis: -1 });
    if (past === undefined) return { output: b.apply('MatMul', [probabilities, values]), probabilities };
    const [onPast, onNew] = b.applyMany('Split', [probabilities, past.split], 2, { axis: -1 }) as [string, string];
    const fromPast = this.#perChunk(onPast, past.chunkTokens, (own) => b.apply('MatMul', [own, past.values]));
    return { output: b.apply('Add', [fromPast, b.apply('MatMul', [onNew, values])]), probabilities };
  }

  #pastScores(queries: string, { keys, chunkTokens }: NonNullable<AttentionInputs['past']>): string {
    return this.#perChunk(queries, chunkTokens, (own) => this.scores(own, keys));
  }

  /**
   * `compute` on `[batch * chunks, kvHeads, group * chunkTokens, width]`, from and back to `[batch, kvHeads, group * length,
   * width]`; without chunks on the value itself.
   */
  #perChunk(x: string, chunkTokens: number | undefined, compute: (own: string) => string): string {
    if (chunkTokens === undefined) return compute(x);
    const b = this.#builder;
    const { heads, kvHeads } = this.#config;
    const shape = (value: string, start: readonly string[]) =>
      b.apply('Concat', [...start, b.apply('Shape', [value], { start: -1 })], { axis: 0 });
    const turn = (value: string) => b.apply('Transpose', [value], { perm: [0, 2, 1, 3, 4] });
    const cut = b.apply('Reshape', [x, shape(x, [b.integers([0, heads, -1, chunkTokens])])]);
    const folded = shape(x, [b.integers([-1, kvHeads, this.#group * chunkTokens])]);
    const result = compute(b.apply('Reshape', [turn(cut), folded]));
    const batch = b.apply('Shape', [this.#inputs.positionIds], { start: 0, end: 1 });
    const unfolded = b.apply('Reshape', [result, shape(result, [batch, b.integers([-1, heads, chunkTokens])])]);
    return b.apply('Reshape', [turn(unfolded), shape(result, [b.integers([0, kvHeads, -1])])]);
  }

  /** Q Kᵀ / sqrt(headDim). */
  scores(queries: string, keys: string): string {
    const b = this.#builder;
    const scale = 1 / Math.sqrt(this.#config.headDim);
    if (this.#options.fusedScores) {
      return b.apply('FusedMatMul', [queries, keys], { transB: 1, alpha: { float: scale } });
    }
    const products = b.apply('MatMul', [queries, b.apply('Transpose', [keys], { perm: [0, 1, 3, 2] })]);
    return b.apply('Mul', [products, b.constant('scale', 'float32', [1], Float32Array.of(scale))]);
  }

  #rotate(x: string): string {
    const { positionIds, rotaryCos, rotarySin } = this.#inputs;
    return this.#builder.apply('RotaryEmbedding', [x, positionIds, rotaryCos, rotarySin]);
  }

  /** `[batch, length, heads, headDim]` to `[batch, heads, length, headDim]`. */
  #heads(x: string): string {
    return this.#builder.apply('Transpose', [x], { perm: [0, 2, 1, 3] });
  }

  /** `[batch, heads, length, headDim]` to `[batch, kvHeads, group * length, headDim]`. */
  #foldGroup(x: string): string {
    return this.#builder.apply('Reshape', [
      x,
      this.#builder.integers([0, this.#config.kvHeads, -1, this.#config.headDim]),
    ]);
  }

  #headNorm(x: string, name: string): string {
    return this.#config.queryKeyNorm ? this.norm(x, name) : x;
  }

  #projectOne(x: string, name: string): string {
    return this.#parameters.project(x, [name])[0] as string;
  }
}

/** The output head on hidden vectors `[n, hiddenSize]`: final norm, then logits `[n, vocabularySize]`. */
export function outputHead(builder: GraphBuilder, config: ModelConfig, parameters: Parameters, hidden: string): string {
  const normalised = rmsNorm(builder, config, parameters, hidden, 'model.norm.weight');
  const name = config.tiedHead ? 'model.embed_tokens' : 'lm_head';
  return parameters.project(normalised, [name])[0] as string;
}

function rmsNorm(builder: GraphBuilder, config: ModelConfig, parameters: Parameters, x: string, name: string): string {
  const attributes = { axis: -1, epsilon: { float: config.normEpsilon } };
  return builder.apply('SimplifiedLayerNormalization', [x, parameters.tensor(name)], attributes);
}
