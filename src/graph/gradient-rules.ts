/**
 * How each operator passes a gradient back: for y = f(a, b, ...) and dy, the gradient of the loss by y, the rule gives
 * da = dy ∂y/∂a and so on, as operators again. One rule for each operator that the project's graphs use; the formula
 * stands above it. `gradient.ts` applies them.
 *
 * Where an operator broadcasts, the operand that is broadcast may not ask for a gradient (biases of scores, masks and
 * scales never do); the exceptions are Expand, and Gemm's vector.
 */
import type { GraphBuilder, Operator } from './graph.ts';

export interface RuleRequest {
  readonly builder: GraphBuilder;
  readonly operator: Operator;
  /** Values of the operator's inputs and outputs at the time of the backward pass. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Gradients by the outputs; undefined where the loss does not depend on one. */
  readonly gradients: readonly (string | undefined)[];
  /** Whether the gradient by this input is wanted. */
  wanted(input: number): boolean;
  /** Whether products may read an operand transposed where it lies (not on WebGPU). */
  readonly fusedProducts: boolean;
}

/** Gradients by the inputs, as far as they are wanted. */
export type Rule = (request: RuleRequest) => readonly (string | undefined)[];

/** Rule for an operator with one output, whose gradient is `dy`. */
function single(rule: (dy: string, request: RuleRequest) => readonly (string | undefined)[]): Rule {
  return (request) => rule(request.gradients[0] as string, request);
}

const identity = single((dy) => [dy]);

/** y = a + b: da = dy, db = dy. */
const add = single((dy) => [dy, dy]);

/** y = a - b: da = dy, db = -dy. */
const subtract = single((dy, { builder, wanted }) => [dy, wanted(1) ? builder.apply('Neg', [dy]) : undefined]);

/** y = a b: da = dy b, db = dy a. */
const multiply = single((dy, { builder, inputs: [a, b], wanted }) => [
  wanted(0) ? builder.apply('Mul', [dy, b as string]) : undefined,
  wanted(1) ? builder.apply('Mul', [dy, a as string]) : undefined,
]);

/**
 * y = α x W' + c with W' = W or Wᵀ: dx = α dy W'ᵀ, dW = α xᵀ dy or α dyᵀ x; dc = dy, summed over the rows where c is a vector.
 */
const gemm = single((dy, { builder, operator, inputs: [x, w, c], wanted }) => {
  if (operator.attributes.transA) throw new Error('no rule for Gemm with its first operand transposed');
  const alpha = operator.attributes.alpha === undefined ? {} : { alpha: operator.attributes.alpha };
  const transposed = operator.attributes.transB === 1;
  const [left, right] = transposed ? [dy, x as string] : [x as string, dy];
  return [
    wanted(0) ? builder.apply('Gemm', [dy, w as string], { ...alpha, transB: transposed ? 0 : 1 }) : undefined,
    wanted(1) ? builder.apply('Gemm', [left, right], { ...alpha, transA: 1 }) : undefined,
    c !== undefined && wanted(2) ? (isVector(builder, c) ? sumRows(builder, dy) : dy) : undefined,
  ];
});

function isVector(builder: GraphBuilder, value: string): boolean {
  return builder.given(value)?.shape.length === 1;
}

/** `[n, d]` to `[d]`. */
function sumRows(builder: GraphBuilder, x: string): string {
  return builder.apply('ReduceSum', [x, builder.integers([0])], { keepdims: 0 });
}

/** y = α A B' over equal batches, B' = B or Bᵀ: dA = α dy B'ᵀ, dB = α Aᵀ dy or α dyᵀ A. */
const matMul = single((dy, request) => {
  const { builder, operator, inputs, wanted } = request;
  const [a, b] = inputs as [string, string];
  if (operator.attributes.transA) throw new Error('no rule for a product with its first operand transposed');
  const transposed = operator.attributes.transB === 1;
  const product = (left: string, right: string, transA: boolean, transB: boolean) =>
    batchedProduct(request, left, right, transA, transB);
  return [
    wanted(0) ? product(dy, b, false, !transposed) : undefined,
    wanted(1) ? (transposed ? product(dy, a, true, false) : product(a, dy, true, false)) : undefined,
  ].map((gradient) =>
    gradient === undefined || request.fusedProducts ? gradient : scaled(builder, gradient, operator),
  );
});

function batchedProduct(
  { builder, operator, fusedProducts }: RuleRequest,
  left: string,
  right: string,
  transA: boolean,
  transB: boolean,
): string {
  if (fusedProducts) {
    const alpha = operator.attributes.alpha === undefined ? {} : { alpha: operator.attributes.alpha };
    return builder.apply('FusedMatMul', [left, right], { ...alpha, transA: Number(transA), transB: Number(transB) });
  }
  const transpose = (x: string) => builder.apply('Transpose', [x], { perm: [0, 1, 3, 2] });
  return builder.apply('MatMul', [transA ? transpose(left) : left, transB ? transpose(right) : right]);
}

function scaled(builder: GraphBuilder, x: string, { attributes: { alpha } }: Operator): string {
  if (typeof alpha !== 'object' || !('float' in alpha)) return x;
  return builder.apply('Mul', [x, builder.number(alpha.float)]);
}

/** y = softmax(x) over the last axis: dx = y (dy - sum(dy y)). */
const softmax = single((dy, { builder, outputs: [y] }) => {
  const sums = builder.apply('ReduceSum', [builder.apply('Mul', [dy, y as string]), builder.integers([-1])]);
  return [builder.apply('Mul', [y as string, builder.apply('Sub', [dy, sums])])];
});

/** y = x r w, r = 1 / sqrt(mean(x²) + ε), over the last axis: dx = r (dy w) - x r² mean(dy y); dw = sum over rows of dy x r. */
function rmsNorm(
  { builder, operator, wanted }: RuleRequest,
  { x, w, y, dy, weightInput }: { x: string; w: string; y: string; dy: string; weightInput: number },
): { dx: string; dw: string | undefined } {
  const epsilon = operator.attributes.epsilon;
  if (typeof epsilon !== 'object' || !('float' in epsilon)) throw new Error('a norm without epsilon');
  const last = builder.integers([-1]);
  const mean = (value: string) => builder.apply('ReduceMean', [value, last]);
  const squares = builder.apply('Add', [mean(builder.apply('Mul', [x, x])), builder.number(epsilon.float)]);
  const r = builder.apply('Reciprocal', [builder.apply('Sqrt', [squares])]);
  const share = builder.apply('Mul', [mean(builder.apply('Mul', [dy, y])), builder.apply('Mul', [r, r])]);
  const direct = builder.apply('Mul', [builder.apply('Mul', [dy, w]), r]);
  const dx = builder.apply('Sub', [direct, builder.apply('Mul', [x, share])]);
  if (!wanted(weightInput)) return { dx, dw: undefined };
  const perRow = builder.apply('Mul', [builder.apply('Mul', [dy, x]), r]);
  const width = builder.apply('Concat', [builder.integers([-1]), builder.apply('Shape', [w])], { axis: 0 });
  // A norm of each head has more than two axes.
  return { dx, dw: sumRows(builder, builder.apply('Reshape', [perRow, width])) };
}

const norm = single((dy, request) => {
  const [x, w] = request.inputs as [string, string];
  const { dx, dw } = rmsNorm(request, { x, w, y: request.outputs[0] as string, dy, weightInput: 1 });
  return [dx, dw];
});

/** y = norm(s), s = a + b; both are outputs: ds = dy through the norm, plus the gradient by s itself; da = db = ds. */
const addAndNorm: Rule = (request) => {
  const { builder, inputs, outputs, gradients } = request;
  const [dy, , , dsum] = gradients;
  if (dy === undefined) return [dsum, dsum];
  const [x, w, y] = [outputs[3] as string, inputs[2] as string, outputs[0] as string];
  const { dx, dw } = rmsNorm(request, { x, w, y, dy, weightInput: 2 });
  const ds = dsum === undefined ? dx : builder.apply('Add', [dx, dsum]);
  return [ds, ds, dw];
};

/** y = x σ(αx), α = 1: dy/dx = σ(x) + x σ(x) (1 - σ(x)) = y + σ(x) (1 - y). */
const silu = single((dy, { builder, operator, inputs: [x], outputs: [y] }) => {
  const { alpha } = operator.attributes;
  if (typeof alpha !== 'object' || !('float' in alpha) || alpha.float !== 1)
    throw new Error('QuickGelu that is not SiLU');
  const rest = builder.apply('Sub', [builder.number(1), y as string]);
  const slope = builder.apply('Add', [
    y as string,
    builder.apply('Mul', [builder.apply('Sigmoid', [x as string]), rest]),
  ]);
  return [builder.apply('Mul', [dy, slope])];
});

/** A rotation by an angle: back by the opposite angle. */
const rotary = single((dy, { builder, inputs: [, ids, cos, sin] }) => [
  builder.apply('RotaryEmbedding', [dy, ids as string, cos as string, builder.apply('Neg', [sin as string])]),
]);

/** Backwards the other shape. */
const reshape = single((dy, { builder, inputs: [x] }) => [
  builder.apply('Reshape', [dy, builder.apply('Shape', [x as string])]),
]);

/** y = x with its axes in another order: dx = dy in the order that was. */
const transpose = single((dy, { builder, operator }) => {
  const perm = operator.attributes.perm as readonly number[];
  const inverse = perm.map((_, axis) => perm.indexOf(axis));
  return [builder.apply('Transpose', [dy], { perm: inverse })];
});

/** y = all inputs along an axis: each gets its part of dy. */
const concat = single((dy, { builder, operator, inputs, wanted }) => {
  const axis = operator.attributes.axis as number;
  // Shape's "end" is exclusive, and leaving it out means "to the last axis".
  const extent = axis === -1 ? { start: -1 } : { start: axis, end: axis + 1 };
  const lengths = inputs.map((input) => builder.apply('Shape', [input], extent));
  const parts = builder.applyMany('Split', [dy, builder.apply('Concat', lengths, { axis: 0 })], inputs.length, {
    axis,
  });
  return parts.map((part, i) => (wanted(i) ? part : undefined));
});

/** Parts of x along an axis: dx = their gradients side by side, zeros where the loss does not depend on a part. */
const split: Rule = ({ builder, operator, outputs, gradients }) => {
  const parts = gradients.map((gradient, i) => {
    if (gradient !== undefined) return gradient;
    return zerosOf(builder, builder.apply('Shape', [outputs[i] as string]));
  });
  return [builder.apply('Concat', parts, { axis: operator.attributes.axis as number })];
};

/**
 * y[i] = x[index[i]] along axis 0: dx[j] = sum of dy[i] where index[i] = j. Not by ScatterND: ONNX Runtime adds the slices of
 * several threads at once without a lock, so that sums over equal indices lose some of their terms.
 */
const gather = single((dy, { builder, operator, inputs }) => {
  if (operator.attributes.axis !== 0) throw new Error('no rule for Gather along another axis than 0');
  const [x, indices] = inputs as [string, string];
  const shape = builder.apply('Shape', [x]);
  const zeros = builder.apply('Reshape', [zerosOf(builder, shape), builder.integers([0, -1])]);
  const column = builder.apply('Reshape', [indices, builder.integers([-1, 1])]);
  const width = builder.apply('Shape', [zeros], { start: 1 });
  const flat = builder.apply('Concat', [builder.apply('Shape', [column], { start: 0, end: 1 }), width], { axis: 0 });
  const everyColumn = builder.apply('Expand', [column, flat]);
  const attributes = { axis: 0, reduction: 'add' };
  const rows = builder.apply('Reshape', [dy, flat]);
  return [builder.apply('Reshape', [builder.apply('ScatterElements', [zeros, everyColumn, rows], attributes), shape])];
});

/** y[..., i, ...] = x[..., index[..., i, ...], ...]: dx collects dy where it came from. */
const gatherElements = single((dy, { builder, operator, inputs }) => {
  const [x, indices] = inputs;
  const zeros = zerosOf(builder, builder.apply('Shape', [x as string]));
  const axis = operator.attributes.axis as number;
  return [builder.apply('ScatterElements', [zeros, indices as string, dy], { axis, reduction: 'add' })];
});

function zerosOf(builder: GraphBuilder, shape: string): string {
  return builder.apply('Expand', [builder.number(0), shape]);
}

/** y = x repeated along its first axis of length 1: dx = sum of the repetitions. */
const expand = single((dy, { builder }) => [builder.apply('ReduceSum', [dy, builder.integers([0])], { keepdims: 1 })]);

const rules: Readonly<Record<string, Rule>> = {
  Identity: identity,
  Add: add,
  Sub: subtract,
  Mul: multiply,
  Gemm: gemm,
  MatMul: matMul,
  FusedMatMul: matMul,
  Softmax: softmax,
  SimplifiedLayerNormalization: norm,
  SkipSimplifiedLayerNormalization: addAndNorm,
  QuickGelu: silu,
  RotaryEmbedding: rotary,
  Reshape: reshape,
  Unsqueeze: reshape,
  Transpose: transpose,
  Concat: concat,
  Split: split,
  Gather: gather,
  GatherElements: gatherElements,
  Expand: expand,
};

/** The rule of an operator type, or undefined where nothing passes back. */
export function gradientRule(type: string): Rule | undefined {
  return rules[type];
}

/** Operator types that have a rule, for tests. */
export const differentiable: readonly string[] = Object.keys(rules);
