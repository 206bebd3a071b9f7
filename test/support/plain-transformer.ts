/**
 * The same transformer a second time, slow and obvious: one token after the other, plain loops over arrays of f64, no
 * graph, no batch, no padding. What `src/graph` computes is checked against it, tensor by tensor.
 *
 *   x = embedding[token]
 *   for each layer:  q, k, v = W · rmsNorm(x) (+ bias), cut into heads;  q, k = rmsNorm of each head, if the model has it
 *                    k' = RoPE(k), kept;  for each query head: weights = softmax(RoPE(q) · k' / sqrt(headDim)) over what is seen
 *                    x += Wo · (weights · v);  x += Wdown · (silu(Wgate · rmsNorm(x)) * (Wup · rmsNorm(x)))
 *   logits = head · rmsNorm(x)
 *
 * A query sees the key-values that were put in front of the sequence (explicit memories and their header, if any), then
 * the sequence up to itself, as far back as the sliding window reaches.
 */
import type { ModelSource } from '../../src/memory/model.ts';
import type { ModelConfig } from '../../src/model/config.ts';
import { toDense } from '../../src/model/quantised.ts';
import type { Weights } from '../../src/model/weights.ts';

type Vector = number[];

/** What one layer computed; lists over heads, then tokens. */
export interface PlainLayer {
  /** Before RoPE, `[heads][tokens][headDim]`. */
  readonly plainQueries: Vector[][];
  /** Before RoPE, `[kvHeads][tokens][headDim]`. */
  readonly plainKeys: Vector[][];
  /** After RoPE. */
  readonly keys: Vector[][];
  readonly values: Vector[][];
  /** `[heads][query tokens]`, each over the key-values in front and the tokens up to the query; 0 where not seen. */
  readonly attention: Vector[][];
}

export interface PlainResult {
  readonly layers: readonly PlainLayer[];
  /** `[tokens][vocabularySize]` */
  readonly logits: readonly Vector[];
}

/** Key-values that a query of one layer and kv head sees. */
export interface InFront {
  readonly keys: readonly Vector[];
  readonly values: readonly Vector[];
}

export interface PlainOptions {
  /** Position of the first token; default 0. */
  readonly start?: number;
  /** `query` is the index of the token that looks. */
  readonly inFront?: (layer: number, kvHead: number, query: number) => InFront;
  /** Whether a head's query sees a token of the sequence before it (indices in the sequence); default all. */
  readonly sees?: (layer: number, head: number, query: number, key: number) => boolean;
}

/** Reads one sequence. */
export function runPlainTransformer(
  { config, weights }: ModelSource,
  tokens: readonly number[],
  options: PlainOptions = {},
): PlainResult {
  const layers = Array.from({ length: config.layers }, () => emptyLayer(config));
  const logits = tokens.map((token, index) => {
    let x = rowOf(weights, 'model.embed_tokens.weight', token);
    for (const [number, layer] of layers.entries()) {
      const prefix = `model.layers.${number}`;
      const normalised = rmsNorm(x, weights, `${prefix}.input_layernorm.weight`, config);
      x = add(x, attend(config, weights, number, layer, normalised, index, options));
      const afterNorm = rmsNorm(x, weights, `${prefix}.post_attention_layernorm.weight`, config);
      const gate = project(weights, `${prefix}.mlp.gate_proj`, afterNorm).map((g) => g / (1 + Math.exp(-g)));
      const up = project(weights, `${prefix}.mlp.up_proj`, afterNorm);
      const product = gate.map((g, i) => g * (up[i] as number));
      x = add(x, project(weights, `${prefix}.mlp.down_proj`, product));
    }
    const last = rmsNorm(x, weights, 'model.norm.weight', config);
    return project(weights, config.tiedHead ? 'model.embed_tokens' : 'lm_head', last);
  });
  return { layers, logits };
}

function attend(
  config: ModelConfig,
  weights: Weights,
  number: number,
  layer: PlainLayer,
  x: Vector,
  index: number,
  { start = 0, inFront, sees = () => true }: PlainOptions,
): Vector {
  const { heads, kvHeads, headDim } = config;
  const prefix = `model.layers.${number}.self_attn`;
  const headsOf = (name: string): Vector[] => {
    const whole = project(weights, `${prefix}.${name}_proj`, x);
    const parts: Vector[] = [];
    for (let at = 0; at < whole.length; at += headDim) parts.push(whole.slice(at, at + headDim));
    if (name === 'v' || !config.queryKeyNorm) return parts;
    return parts.map((part) => rmsNorm(part, weights, `${prefix}.${name}_norm.weight`, config));
  };
  for (const [head, key] of headsOf('k').entries()) {
    layer.plainKeys[head]?.push(key);
    layer.keys[head]?.push(rotate(key, start + index, config));
  }
  for (const [head, value] of headsOf('v').entries()) layer.values[head]?.push(value);

  const output: Vector = [];
  for (const [head, query] of headsOf('q').entries()) {
    layer.plainQueries[head]?.push(query);
    const kvHead = Math.floor(head / (heads / kvHeads));
    const front = inFront?.(number, kvHead, index) ?? { keys: [], values: [] };
    const keys = [...front.keys, ...(layer.keys[kvHead] as Vector[])];
    const values = [...front.values, ...(layer.values[kvHead] as Vector[])];
    const rotated = rotate(query, start + index, config);
    const outOfWindow = index - (config.slidingWindow ?? Number.POSITIVE_INFINITY);
    const scores = keys.map((key, slot) => {
      const token = slot - front.keys.length;
      const seen = token < 0 || (token > outOfWindow && sees(number, head, index, token));
      return seen ? dot(rotated, key) / Math.sqrt(headDim) : Number.NEGATIVE_INFINITY;
    });
    const shares = softmax(scores);
    layer.attention[head]?.push(shares);
    for (let i = 0; i < headDim; i++)
      output.push(
        dot(
          shares,
          values.map((value) => value[i] as number),
        ),
      );
  }
  return project(weights, `${prefix}.o_proj`, output);
}

/** "Rotate halves": dimension i turns with dimension i + headDim / 2. */
function rotate(x: Vector, position: number, { headDim, rope }: ModelConfig): Vector {
  const half = headDim / 2;
  const result = [...x];
  for (let i = 0; i < half; i++) {
    const angle = position * (rope.inverseFrequencies[i] as number);
    const [first, second] = [x[i] as number, x[i + half] as number];
    result[i] = (first * Math.cos(angle) - second * Math.sin(angle)) * rope.attentionScale;
    result[i + half] = (second * Math.cos(angle) + first * Math.sin(angle)) * rope.attentionScale;
  }
  return result;
}

export function softmax(scores: Vector): Vector {
  const largest = Math.max(...scores);
  const exponentials = scores.map((score) => Math.exp(score - largest));
  const sum = exponentials.reduce((total, value) => total + value, 0);
  return exponentials.map((value) => value / sum);
}

export function dot(a: Vector, b: Vector): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] as number) * (b[i] as number);
  return sum;
}

function add(a: Vector, b: Vector): Vector {
  return a.map((value, i) => value + (b[i] as number));
}

function rmsNorm(x: Vector, weights: Weights, name: string, { normEpsilon }: ModelConfig): Vector {
  const scale = 1 / Math.sqrt(dot(x, x) / x.length + normEpsilon);
  const weight = toDense(weights.get(name)).data;
  return x.map((value, i) => value * scale * (weight[i] as number));
}

/** W x, plus the bias if there is one. */
function project(weights: Weights, name: string, x: Vector): Vector {
  const { shape, data } = toDense(weights.get(`${name}.weight`));
  const [rows, columns] = shape as [number, number];
  const bias = weights.has(`${name}.bias`) ? toDense(weights.get(`${name}.bias`)).data : undefined;
  const result: Vector = [];
  for (let row = 0; row < rows; row++) {
    let sum = bias?.[row] ?? 0;
    for (let column = 0; column < columns; column++)
      sum += (data[row * columns + column] as number) * (x[column] as number);
    result.push(sum);
  }
  return result;
}

function rowOf(weights: Weights, name: string, row: number): Vector {
  const { shape, data } = toDense(weights.get(name));
  const columns = shape[1] as number;
  return [...data.subarray(row * columns, (row + 1) * columns)];
}

function emptyLayer({ heads, kvHeads }: ModelConfig): PlainLayer {
  const lists = (count: number): Vector[][] => Array.from({ length: count }, () => []);
  return {
    plainQueries: lists(heads),
    plainKeys: lists(kvHeads),
    keys: lists(kvHeads),
    values: lists(kvHeads),
    attention: lists(heads),
  };
}
