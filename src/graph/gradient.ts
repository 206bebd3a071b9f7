/**
 * The gradient of a graph: reverse-mode differentiation, operator by operator.
 *
 * Given values with known gradients of the loss (the seeds: for cross-entropy the logits, see `loss.ts`) and the inputs
 * whose gradients are wanted, the operators are visited from last to first. Each passes the gradients by its outputs on
 * to its inputs by its rule (`gradient-rules.ts`); a value that several operators use gets the sum. Only values on a path
 * from a wanted input to a seed take part, so a frozen weight costs nothing.
 *
 * Recomputation (activation checkpointing): the backward pass needs most values of the forward pass, which would have to
 * be kept until then. A *segment* of operators can be computed a second time instead, just before its own backward pass,
 * from the one value that enters it; then only these entering values are kept, at the price of a second forward pass.
 * So that a runtime computes the copy late, and does not take it for the same computation, the entering value is first
 * made to depend on a gradient that exists only then.
 */

import { gradientRule } from './gradient-rules.ts';
import type { GraphBuilder, Operator } from './graph.ts';

/** Operators that are computed again for the backward pass. */
export interface Segment {
  /** Indices in the builder's operators, `from` inclusive, `to` exclusive. Segments may not overlap. */
  readonly from: number;
  readonly to: number;
  /** Values from before the segment that make it depend on the layers before. */
  readonly entering: readonly string[];
}

export interface GradientOptions {
  /** Default none. */
  readonly recompute?: readonly Segment[];
  /** Whether products may read an operand transposed where it lies; default true, false for WebGPU. */
  readonly fusedProducts?: boolean;
}

/**
 * Adds the backward pass to a builder.
 * @param seeds gradient of the loss by each of these values
 * @param wanted names of values, usually inputs
 * @returns the gradient of each wanted value, of its shape; those on which no seed depends are missing
 * @throws Error if an operator on the way has no rule
 */
export function addGradients(
  builder: GraphBuilder,
  seeds: ReadonlyMap<string, string>,
  wanted: readonly string[],
  options: GradientOptions = {},
): Map<string, string> {
  const forward = [...builder.operators];
  const depends = dependents(forward, wanted);
  const gradients = new Map<string, string[]>();
  for (const [value, gradient] of seeds) gradients.set(value, [gradient]);
  const gradientBy = (value: string): string | undefined => {
    const parts = gradients.get(value);
    if (parts === undefined) return undefined;
    const sum = parts.reduce((left, right) => builder.apply('Add', [left, right]));
    gradients.set(value, [sum]);
    return sum;
  };
  const copies = new Map<string, string>();
  const recomputed = new Set<Segment>();

  for (let index = forward.length - 1; index >= 0; index--) {
    const operator = forward[index] as Operator;
    if (!operator.outputs.some((output) => gradients.has(output) && depends.has(output))) continue;
    const rule = gradientRule(operator.type);
    if (rule === undefined) throw new Error(`${operator.type} has no gradient rule`);
    const outputGradients = operator.outputs.map(gradientBy);
    const segment = options.recompute?.find(({ from, to }) => from <= index && index < to);
    if (segment !== undefined && !recomputed.has(segment)) {
      recomputed.add(segment);
      computeAgain(
        builder,
        forward,
        segment,
        outputGradients.find((gradient) => gradient !== undefined) as string,
        copies,
      );
    }
    const current = (value: string) => copies.get(value) ?? value;
    const inputGradients = rule({
      builder,
      operator,
      inputs: operator.inputs.map(current),
      outputs: operator.outputs.map(current),
      gradients: outputGradients,
      wanted: (input) => depends.has(operator.inputs[input] as string),
      fusedProducts: options.fusedProducts ?? true,
    });
    for (const [i, gradient] of inputGradients.entries()) {
      const input = operator.inputs[i];
      if (gradient === undefined || input === undefined || !depends.has(input)) continue;
      gradients.set(input, [...(gradients.get(input) ?? []), gradient]);
    }
  }
  const found = wanted.flatMap((name) => {
    const gradient = gradientBy(name);
    return gradient === undefined ? [] : [[name, gradient] as const];
  });
  return new Map(found);
}

/** Operators that make integers and choices: nothing passes back through them. */
const withoutGradient = new Set(['Shape', 'TopK']);

/** Every value that depends on one of `sources` in a way that has a gradient, and the sources. */
function dependents(operators: readonly Operator[], sources: readonly string[]): Set<string> {
  const depends = new Set(sources);
  for (const { type, inputs, outputs } of operators) {
    if (withoutGradient.has(type) || !inputs.some((input) => depends.has(input))) continue;
    for (const output of outputs) depends.add(output);
  }
  return depends;
}

/** Adds a second copy of a segment, to be computed once `gradient` is there; `copies` learns the new names. */
function computeAgain(
  builder: GraphBuilder,
  forward: readonly Operator[],
  { from, to, entering }: Segment,
  gradient: string,
  copies: Map<string, string>,
): void {
  const renamed = new Map(entering.map((value) => [value, after(builder, value, gradient)]));
  for (const { type, inputs, outputs, attributes } of forward.slice(from, to)) {
    // Shapes come out the same; what does not depend on the entering values exists already.
    if (!inputs.some((input) => renamed.has(input))) continue;
    const again = builder.applyMany(
      type,
      inputs.map((input) => renamed.get(input) ?? input),
      outputs.length,
      attributes,
    );
    for (const [i, output] of outputs.entries()) {
      renamed.set(output, again[i] as string);
      copies.set(output, again[i] as string);
    }
  }
}

/** `value` itself, computed after `gradient`: its shape is made to depend on the gradient's. */
function after(builder: GraphBuilder, value: string, gradient: string): string {
  const nothing = builder.apply('Mul', [
    builder.apply('ReduceSum', [builder.apply('Shape', [gradient])], { keepdims: 1 }),
    builder.integers([0]),
  ]);
  return builder.apply('Reshape', [value, builder.apply('Add', [builder.apply('Shape', [value]), nothing])]);
}
