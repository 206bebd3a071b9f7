/**
 * The small networks that say of each token of a reference whether an answer contains it (`memory/answer-classifier.ts` tells
 * what for).
 *
 * Of token j a network sees the values v_j `[width]` that the token hands on in the memory layers, one behind the other, and of
 * its neighbours what they come to:
 *
 *   h_j = silu(v_j A + a)                            A [width, 32]
 *   n_j = silu([h_j-2 h_j-1 h_j h_j+1 h_j+2] N + n)  N [160, 32], h = 0 outside of the body
 *   z_j = (h_j + n_j) Y + y                          Y [32, 2]
 *   p_j = softmax(z_j)[1]                            z the mean of several networks trained alike
 *
 * Neighbours matter, since answers are phrases, whose tokens a question asks for together. The writer's graph computes p
 * beside its scores (`writer.ts`); the training graph has v for input and cross-entropy behind z.
 */
import { addGradients } from './gradient.ts';
import { type Graph, GraphBuilder } from './graph.ts';
import { crossEntropy, weightedSum } from './loss.ts';

const hidden = 32;
/** How many tokens it looks back, and ahead. */
const reach = 2;
export const neighbourhood = 2 * reach + 1;

export type ClassifierPart = 'values' | 'valuesBias' | 'neighbours' | 'neighboursBias' | 'answer' | 'answerBias';

/** Names and shapes of A, a, N, n, Y, y, in the order in which they lie in an adapter's tensor. */
export function classifierParts(width: number): readonly { readonly name: ClassifierPart; readonly shape: number[] }[] {
  return [
    { name: 'values', shape: [width, hidden] },
    { name: 'valuesBias', shape: [hidden] },
    { name: 'neighbours', shape: [neighbourhood * hidden, hidden] },
    { name: 'neighboursBias', shape: [hidden] },
    { name: 'answer', shape: [hidden, 2] },
    { name: 'answerBias', shape: [2] },
  ];
}

/** All numbers of one network, taken apart without being copied. */
export function splitClassifier(data: Float32Array, width: number): Readonly<Record<ClassifierPart, Float32Array>> {
  let start = 0;
  const parts = classifierParts(width).map(({ name, shape }) => {
    const part = data.subarray(start, start + sizeOf(shape));
    start += part.length;
    return [name, part] as const;
  });
  return Object.fromEntries(parts) as Record<ClassifierPart, Float32Array>;
}

/** How many numbers a network has. */
export function classifierSize(width: number): number {
  return classifierParts(width).reduce((sum, { shape }) => sum + sizeOf(shape), 0);
}

function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, extent) => product * extent, 1);
}

/**
 * The rows of each token's neighbourhood, itself included, `[rows, 5]`; the row `rows` stands for what is outside.
 * @param bodies where each body's tokens lie among the rows
 */
export function neighbourRows(
  rows: number,
  bodies: Iterable<{ readonly start: number; readonly length: number }>,
): BigInt64Array<ArrayBuffer> {
  const result = new BigInt64Array(rows * neighbourhood).fill(BigInt(rows));
  for (const { start, length } of bodies) {
    for (let token = 0; token < length; token++) {
      for (let place = 0; place < neighbourhood; place++) {
        const other = token + place - reach;
        if (other >= 0 && other < length) result[(start + token) * neighbourhood + place] = BigInt(start + other);
      }
    }
  }
  return result;
}

/**
 * z `[rows, 2]` of what the values come to.
 * @param projected v A + a, `[rows, 32]`
 * @param neighbours `neighbourRows`
 * @param part names of the parts' values in the graph
 */
function answerLogits(
  builder: GraphBuilder,
  projected: string,
  neighbours: string,
  part: (name: ClassifierPart) => string,
): string {
  const affine = (x: string, weights: ClassifierPart, bias: ClassifierPart) =>
    builder.apply('Gemm', [x, part(weights), part(bias)]);
  const silu = (x: string) => builder.apply('QuickGelu', [x], { alpha: { float: 1 } });
  const own = silu(projected);
  const outside = builder.constant('outside', 'float32', [1, hidden], new Float32Array(hidden));
  const around = builder.apply('Gather', [builder.apply('Concat', [own, outside], { axis: 0 }), neighbours], {
    axis: 0,
  });
  const joined = builder.apply('Reshape', [around, builder.integers([-1, neighbourhood * hidden])]);
  const others = silu(affine(joined, 'neighbours', 'neighboursBias'));
  return affine(builder.apply('Add', [own, others]), 'answer', 'answerBias');
}

/** Names of the inputs and outputs of the training graph; its other inputs are the parts by their names. */
export const classifierNames = {
  tokens: 'tokens',
  neighbours: 'neighbour_rows',
  isAnswer: 'is_answer',
  weights: 'weights',
  loss: 'loss',
  logits: 'logits',
  gradient: (part: ClassifierPart) => `gradient:${part}`,
} as const;

/**
 * Forward and backward. Inputs: `tokens` `[rows, width]` (each token's values), `neighbour_rows` `[rows, 5]`, `is_answer` `[rows]` (0 or 1), `weights`
 * `[rows]`. Outputs: `loss`, the weighted sum, `logits` z, and a gradient for each part.
 */
export function buildClassifierTraining(width: number): Graph {
  const b = new GraphBuilder('answer-classifier');
  const names = classifierNames;
  const tokens = b.input(names.tokens, 'float32', ['rows', width]);
  const neighbours = b.input(names.neighbours, 'int64', ['rows', neighbourhood]);
  const isAnswer = b.input(names.isAnswer, 'int64', ['rows']);
  const weights = b.input(names.weights, 'float32', ['rows']);
  const parts = classifierParts(width);
  for (const { name, shape } of parts) b.input(name, 'float32', shape);
  const logits = answerLogits(b, b.apply('Gemm', [tokens, 'values', 'valuesBias']), neighbours, (name) => name);
  const { nll, gradient } = crossEntropy(b, logits, isAnswer);
  const gradients = addGradients(
    b,
    new Map([[logits, gradient(weights)]]),
    parts.map(({ name }) => name),
  );
  b.output(weightedSum(b, nll, weights), names.loss, 'float32', [1]);
  b.output(logits, names.logits, 'float32', ['rows', 2]);
  for (const { name, shape } of parts) b.output(gradients.get(name) as string, names.gradient(name), 'float32', shape);
  return b.finish();
}

/**
 * Adds p to a graph that computes values layer by layer.
 * @param values of each memory layer, `[batch, kvHeads, length, headDim]`
 * @param neighbours `[batch * length, 5]`
 * @param networks one behind the other, as an adapter has them
 * @returns `[batch, 1, length]`
 */
export function answerProbabilities(
  builder: GraphBuilder,
  values: readonly string[],
  neighbours: string,
  networks: Float32Array,
  { kvHeads, headDim }: { readonly kvHeads: number; readonly headDim: number },
): string {
  const layerWidth = kvHeads * headDim;
  const width = values.length * layerWidth;
  const layers = values.map((value) => {
    const turned = builder.apply('Transpose', [value], { perm: [0, 2, 1, 3] });
    return builder.apply('Reshape', [turned, builder.integers([-1, layerWidth])]);
  });
  const size = classifierSize(width);
  const count = networks.length / size;
  const all = Array.from({ length: count }, (_, network) => {
    // Copies, since a graph's constants are handed over to the device.
    const parts = splitClassifier(networks.subarray(network * size, (network + 1) * size), width);
    const shapes = new Map(classifierParts(width).map(({ name, shape }) => [name, shape]));
    const constant = (name: string, shape: readonly number[], data: Float32Array) =>
      builder.constant(`answer:${network}:${name}`, 'float32', shape, data.slice());
    const part = (name: ClassifierPart) => constant(name, shapes.get(name) as number[], parts[name]);
    const projected = layers.reduce((sum, rows, layer) => {
      const own = parts.values.subarray(layer * layerWidth * hidden, (layer + 1) * layerWidth * hidden);
      return builder.apply('Gemm', [rows, constant(`values:${layer}`, [layerWidth, hidden], own), sum]);
    }, part('valuesBias'));
    return answerLogits(builder, projected, neighbours, part);
  });
  const sum = all.reduce((left, right) => builder.apply('Add', [left, right]));
  const logits = builder.apply('Mul', [sum, builder.number(1 / count)]);
  const both = builder.apply('Softmax', [logits], { axis: -1 });
  const [, answer] = builder.applyMany('Split', [both, builder.integers([1, 1])], 2, { axis: -1 }) as [string, string];
  const [first] = values as [string];
  const batch = builder.apply('Shape', [first], { start: 0, end: 1 });
  const length = builder.apply('Shape', [first], { start: 2, end: 3 });
  return builder.apply('Reshape', [
    answer,
    builder.apply('Concat', [batch, builder.integers([1]), length], { axis: 0 }),
  ]);
}
