/**
 * Where a transformer's weights come from.
 *
 * For inference they are constants of the graph, in the file's own width. For training they are the graph's inputs, in
 * f32, so that they can change between runs; a matrix may then have a low-rank companion (LoRA), of which alone the
 * gradient is wanted:
 *
 *   y = x Wᵀ + scale (x Aᵀ) Bᵀ,   A [rank, columns], B [rows, rank]
 */
import { stackRows } from '../model/quantised.ts';
import type { DenseTensor, Weights, WeightTensor } from '../model/weights.ts';
import type { GraphBuilder } from './graph.ts';
import { linear, type Precision } from './linear.ts';

/** The weights of one graph under construction. */
export interface Parameters {
  /** `x Wᵀ (+ bias)` for each named projection of `x` `[n, columns]`; names stand without ".weight". */
  project(x: string, names: readonly string[]): string[];
  /** A weight by its whole name, in f32: norms, the embedding of a graph that trains. */
  tensor(name: string): string;
}

/** Puts a model's weights into a graph. */
export type MakeParameters = (builder: GraphBuilder) => Parameters;

/** Weights as constants, in the width of `precision`. */
export function constantParameters(builder: GraphBuilder, weights: Weights, precision: Precision): Parameters {
  const dense = (name: string): DenseTensor => {
    const tensor = weights.get(name);
    if (tensor.kind !== 'dense') throw new Error(`${name} is a vector and cannot be quantised`);
    return tensor;
  };
  const biasOf = (name: string) => (weights.has(`${name}.bias`) ? dense(`${name}.bias`) : undefined);
  return {
    // One product where the formats allow it, since a wide product is faster.
    project(x, names) {
      const tensors = names.map((name) => weights.get(`${name}.weight`));
      const biases = names.map(biasOf);
      const stacked = names.length > 1 ? stackRows(tensors) : undefined;
      if (stacked === undefined) {
        return names.map((name, i) =>
          linear(builder, x, `${name}.weight`, tensors[i] as WeightTensor, biases[i], precision),
        );
      }
      const rows = tensors.map((tensor) => tensor.shape[0] as number);
      const bias = biases.every((one) => one !== undefined) ? (stackRows(biases) as DenseTensor) : undefined;
      const joined = linear(builder, x, names.join('+'), stacked, bias, precision);
      return builder.applyMany('Split', [joined, builder.integers(rows)], names.length, { axis: -1 });
    },
    tensor(name) {
      const tensor = dense(name);
      return builder.constant(name, 'float32', tensor.shape, tensor.data);
    },
  };
}

/** Low-rank companions of some matrices. */
export interface LoraShape {
  readonly rank: number;
  /** Factor on B A. */
  readonly scale: number;
  /** Names of the matrices that have one, with ".weight". */
  readonly matrices: ReadonlySet<string>;
}

/** Names of a matrix's companions. */
export const loraNames = (matrix: string) => {
  const name = matrix.replace(/\.weight$/, '');
  return { a: `${name}.lora_A`, b: `${name}.lora_B` };
};

/**
 * Weights as inputs named like the weights themselves.
 * @param shapes of every weight by name; those that the graph does not use do not become inputs
 */
export function inputParameters(
  builder: GraphBuilder,
  shapes: ReadonlyMap<string, readonly number[]>,
  lora?: LoraShape,
): Parameters {
  const made = new Set<string>();
  const input = (name: string, shape = shapes.get(name)) => {
    if (shape === undefined) throw new Error(`the model has no weight "${name}"`);
    if (!made.has(name)) builder.input(name, 'float32', shape);
    made.add(name);
    return name;
  };
  return {
    project(x, names) {
      return names.map((name) => {
        const matrix = `${name}.weight`;
        const bias = shapes.has(`${name}.bias`) ? [input(`${name}.bias`)] : [];
        const product = builder.apply('Gemm', [x, input(matrix), ...bias], { transB: 1 });
        if (lora === undefined || !lora.matrices.has(matrix)) return product;
        const [rows, columns] = shapes.get(matrix) as [number, number];
        const { a, b } = loraNames(matrix);
        const narrow = builder.apply('Gemm', [x, input(a, [lora.rank, columns])], { transB: 1 });
        const attributes = { transB: 1, alpha: { float: lora.scale } };
        return builder.apply('Gemm', [narrow, input(b, [rows, lora.rank]), product], attributes);
      });
    },
    tensor: (name) => input(name),
  };
}
