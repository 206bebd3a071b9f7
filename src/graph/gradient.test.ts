/**
 * Each operator's rule against central differences on small shapes. The loss is sum of y² / 2 over an operator's outputs, so
 * that y itself is the seed; it is summed in f64.
 */
import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { Device, type TensorData } from '../runtime/device.ts';
import { addGradients, type GradientOptions } from './gradient.ts';
import { differentiable } from './gradient-rules.ts';
import { GraphBuilder } from './graph.ts';
import { writeOnnx } from './onnx.ts';

const device = new Device({ threads: 1 });
after(() => device[Symbol.asyncDispose]());

type Shapes = Readonly<Record<string, readonly number[]>>;

interface Case {
  /** Operator types whose rules take part. */
  readonly types: readonly string[];
  readonly inputs: Shapes;
  /** Inputs whose gradient is not wanted. */
  readonly frozen?: readonly string[];
  readonly options?: GradientOptions;
  /** @returns the values that the loss depends on */
  build(builder: GraphBuilder): string | readonly string[];
}

const attributes = { alpha: { float: 0.7 } };
/** Of central differences: f32 rounds the loss, a larger step curves. */
const step = 1 / 64;
const epsilon = { epsilon: { float: 1e-3 } };
const normed = (b: GraphBuilder) =>
  b.applyMany('SkipSimplifiedLayerNormalization', ['a', 'b', 'w'], 4, epsilon) as [string, string, string, string];
const indices = (b: GraphBuilder, shape: readonly number[], values: readonly number[]) =>
  b.constant('indices', 'int64', shape, BigInt64Array.from(values, BigInt));

const cases: Readonly<Record<string, Case>> = {
  Identity: { types: ['Identity'], inputs: { a: [2, 3] }, build: (b) => b.apply('Identity', ['a']) },
  Add: { types: ['Add'], inputs: { a: [2, 3], b: [2, 3] }, build: (b) => b.apply('Add', ['a', 'b']) },
  'Add of a frozen operand that is broadcast': {
    types: ['Add'],
    inputs: { a: [2, 2, 3], b: [1, 1, 3] },
    frozen: ['b'],
    build: (b) => b.apply('Add', ['a', 'b']),
  },
  Sub: { types: ['Sub'], inputs: { a: [2, 3], b: [2, 3] }, build: (b) => b.apply('Sub', ['a', 'b']) },
  Mul: { types: ['Mul'], inputs: { a: [2, 3], b: [2, 3] }, build: (b) => b.apply('Mul', ['a', 'b']) },
  'Mul by a constant': {
    types: ['Mul'],
    inputs: { a: [2, 3] },
    build: (b) => b.apply('Mul', ['a', b.number(-1.5)]),
  },
  'Mul of a value with itself': { types: ['Mul'], inputs: { a: [2, 3] }, build: (b) => b.apply('Mul', ['a', 'a']) },
  'several uses of one value': {
    types: ['Add', 'Mul', 'Sub'],
    inputs: { a: [2, 3], b: [2, 3] },
    build(b) {
      const product = b.apply('Mul', ['a', 'b']);
      return b.apply('Sub', [b.apply('Add', [product, 'a']), b.apply('Mul', [product, product])]);
    },
  },
  Gemm: { types: ['Gemm'], inputs: { a: [3, 4], b: [4, 2] }, build: (b) => b.apply('Gemm', ['a', 'b']) },
  'Gemm, transposed, with alpha and a vector': {
    types: ['Gemm'],
    inputs: { a: [3, 4], b: [2, 4], c: [2] },
    build: (b) => b.apply('Gemm', ['a', 'b', 'c'], { ...attributes, transB: 1 }),
  },
  'Gemm, with alpha and a matrix that is added': {
    types: ['Gemm', 'Add'],
    inputs: { a: [3, 4], b: [4, 2], c: [3, 2] },
    build: (b) => b.apply('Gemm', ['a', 'b', b.apply('Add', ['c', 'c'])], attributes),
  },
  ...products('fused', {}),
  ...products('not fused', { fusedProducts: false }),
  Softmax: { types: ['Softmax'], inputs: { a: [2, 4] }, build: (b) => b.apply('Softmax', ['a'], { axis: -1 }) },
  SimplifiedLayerNormalization: {
    types: ['SimplifiedLayerNormalization'],
    inputs: { a: [3, 4], w: [4] },
    build: (b) => b.apply('SimplifiedLayerNormalization', ['a', 'w'], { axis: -1, ...epsilon }),
  },
  'a norm of each head': {
    types: ['SimplifiedLayerNormalization'],
    inputs: { a: [2, 3, 2, 4], w: [4] },
    build: (b) => b.apply('SimplifiedLayerNormalization', ['a', 'w'], { axis: -1, ...epsilon }),
  },
  'SkipSimplifiedLayerNormalization, both outputs': {
    types: ['SkipSimplifiedLayerNormalization'],
    inputs: { a: [3, 4], b: [3, 4], w: [4] },
    build(b) {
      const [y, , , sum] = normed(b);
      return [y, sum];
    },
  },
  'SkipSimplifiedLayerNormalization, the norm alone': {
    types: ['SkipSimplifiedLayerNormalization'],
    inputs: { a: [3, 4], b: [3, 4], w: [4] },
    build: (b) => normed(b)[0],
  },
  'SkipSimplifiedLayerNormalization, the sum alone': {
    types: ['SkipSimplifiedLayerNormalization'],
    inputs: { a: [3, 4], b: [3, 4], w: [4] },
    frozen: ['w'],
    build: (b) => normed(b)[3],
  },
  QuickGelu: {
    types: ['QuickGelu'],
    inputs: { a: [3, 4] },
    build: (b) => b.apply('QuickGelu', ['a'], { alpha: { float: 1 } }),
  },
  RotaryEmbedding: {
    types: ['RotaryEmbedding'],
    inputs: { a: [2, 3, 2, 8] },
    build(b) {
      const angles = Array.from({ length: 20 }, (_, i) => Math.floor(i / 4) / (1 + (i % 4)));
      // Another length than 1, as YaRN has it.
      const table = (name: string, f: (angle: number) => number) =>
        b.constant(
          name,
          'float32',
          [5, 4],
          Float32Array.from(angles, (angle) => 1.2 * f(angle)),
        );
      return b.apply('RotaryEmbedding', [
        'a',
        indices(b, [2, 2], [0, 3, 4, 1]),
        table('cos', Math.cos),
        table('sin', Math.sin),
      ]);
    },
  },
  Reshape: {
    types: ['Reshape'],
    inputs: { a: [2, 3, 2] },
    build: (b) => b.apply('Mul', [b.apply('Reshape', ['a', b.integers([0, -1])]), ramp(b, 6)]),
  },
  Unsqueeze: {
    types: ['Unsqueeze'],
    inputs: { a: [2, 3] },
    build: (b) => b.apply('Unsqueeze', ['a', b.integers([1])]),
  },
  Transpose: {
    types: ['Transpose'],
    inputs: { a: [2, 3, 4] },
    build: (b) => b.apply('Mul', [b.apply('Transpose', ['a'], { perm: [1, 2, 0] }), ramp(b, 2)]),
  },
  Concat: {
    types: ['Concat'],
    inputs: { a: [2, 1, 3], b: [2, 2, 3], c: [2, 1, 3] },
    build: (b) => b.apply('Concat', ['a', 'b', 'c'], { axis: 1 }),
  },
  'Concat along the last axis, one part frozen': {
    types: ['Concat'],
    inputs: { a: [2, 1], b: [2, 3] },
    frozen: ['a'],
    build: (b) => b.apply('Mul', [b.apply('Concat', ['a', 'b'], { axis: -1 }), ramp(b, 4)]),
  },
  'Split, one part unused': {
    types: ['Split'],
    inputs: { a: [2, 6] },
    build: (b) => b.applyMany('Split', ['a', b.integers([1, 3, 2])], 3, { axis: -1 })[1] as string,
  },
  Split: {
    types: ['Split'],
    inputs: { a: [6, 2] },
    build(b) {
      const [first, second] = b.applyMany('Split', ['a', b.integers([2, 4])], 2, { axis: 0 });
      return [b.apply('Mul', [first as string, b.number(2)]), second as string];
    },
  },
  'Gather with equal indices': {
    types: ['Gather'],
    inputs: { a: [4, 3] },
    build: (b) => b.apply('Mul', [b.apply('Gather', ['a', indices(b, [5], [2, 0, 2, 2, 3])], { axis: 0 }), ramp(b, 3)]),
  },
  'Gather of slices by a matrix of indices': {
    types: ['Gather'],
    inputs: { a: [3, 2, 2] },
    build: (b) => b.apply('Gather', ['a', indices(b, [2, 3], [1, 1, 0, 0, 1, 2])], { axis: 0 }),
  },
  'Gather of numbers': {
    types: ['Gather'],
    inputs: { a: [3] },
    build: (b) => b.apply('Gather', ['a', indices(b, [4], [2, 0, 2, 1])], { axis: 0 }),
  },
  'GatherElements with equal indices': {
    types: ['GatherElements'],
    inputs: { a: [2, 3, 2] },
    build: (b) => b.apply('GatherElements', ['a', indices(b, [2, 2, 2], [0, 1, 0, 1, 2, 0, 1, 0])], { axis: 1 }),
  },
  Expand: {
    types: ['Expand'],
    inputs: { a: [1, 2, 3] },
    build: (b) => b.apply('Mul', [b.apply('Expand', ['a', b.integers([4, 1, 1])]), ramp(b, 3)]),
  },
};

/** 1, 2, 3, ...: tells columns apart. */
function ramp(b: GraphBuilder, length: number): string {
  return b.constant(
    'ramp',
    'float32',
    [length],
    Float32Array.from({ length }, (_, i) => 1 + i),
  );
}

/** Products over two equal batch axes, as attention has them. */
function products(kind: string, options: GradientOptions): Record<string, Case> {
  const inputs = { a: [2, 1, 3, 4], b: [2, 1, 4, 2] };
  const transposed = { a: [2, 1, 3, 4], b: [2, 1, 2, 4] };
  return {
    [`MatMul, ${kind}`]: { types: ['MatMul'], inputs, options, build: (b) => b.apply('MatMul', ['a', 'b']) },
    [`FusedMatMul, ${kind}`]: {
      types: ['FusedMatMul'],
      inputs,
      options,
      build: (b) => b.apply('FusedMatMul', ['a', 'b'], attributes),
    },
    [`FusedMatMul, transposed, ${kind}`]: {
      types: ['FusedMatMul'],
      inputs: transposed,
      options,
      build: (b) => b.apply('FusedMatMul', ['a', 'b'], { ...attributes, transB: 1 }),
    },
    [`MatMul of a transposed value, ${kind}`]: {
      types: ['MatMul', 'Transpose'],
      inputs: transposed,
      options,
      build: (b) => b.apply('MatMul', ['a', b.apply('Transpose', ['b'], { perm: [0, 1, 3, 2] })]),
    },
  };
}

const symbolic = (shape: readonly number[], name: string) => shape.map((_, axis) => `${name}${axis}`);

/** Numbers around 0 that are the same in every run. */
function numbers(count: number, seed: number): Float32Array {
  let state = seed;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

const sizeOf = (shape: readonly number[]) => shape.reduce((product, extent) => product * extent, 1);

const flat = (builder: GraphBuilder, value: string) => builder.apply('Reshape', [value, builder.integers([-1])]);

/** A case as a graph that gives its values and gradients, both flat, and the gradients' shapes. */
function describeCase({ inputs, frozen = [], options, build }: Case) {
  const builder = new GraphBuilder('case');
  for (const [name, shape] of Object.entries(inputs)) builder.input(name, 'float32', symbolic(shape, name));
  const built = build(builder);
  const values = typeof built === 'string' ? [built] : built;
  const forward = builder.operators.map(({ type }) => type);
  const wanted = Object.keys(inputs).filter((name) => !frozen.includes(name));
  const gradients = addGradients(builder, new Map(values.map((value) => [value, value])), wanted, options);
  for (const [i, value] of values.entries()) builder.output(flat(builder, value), `y${i}`, 'float32', [`y${i}`]);
  for (const [name, gradient] of gradients) {
    builder.output(flat(builder, gradient), `d${name}`, 'float32', [`d${name}`]);
    builder.output(builder.apply('Shape', [gradient]), `shape${name}`, 'int64', [inputs[name]?.length as number]);
  }
  return { graph: builder.finish(), forward, wanted, outputs: values.map((_, i) => `y${i}`), found: gradients };
}

describe('the gradient rule of', () => {
  for (const [name, given] of Object.entries(cases)) {
    it(name, async () => {
      const { graph, forward, wanted, outputs, found } = describeCase(given);
      for (const type of given.types) assert.ok(forward.includes(type), `${type} takes part`);
      assert.deepEqual([...found.keys()], wanted);
      const session = await device.session(writeOnnx(graph));
      const point = new Map(
        Object.entries(given.inputs).map(([input, shape], i) => [input, numbers(sizeOf(shape), 7 + i)]),
      );
      const run = (names: readonly string[]) => {
        const inputs = Object.entries(given.inputs).map(([input, shape]): [string, TensorData] => [
          input,
          { type: 'float32', shape, data: point.get(input) as Float32Array },
        ]);
        return device.run({ session, inputs: Object.fromEntries(inputs), outputs: names });
      };
      const loss = async () => {
        let sum = 0;
        for (const { data } of Object.values(await run(outputs))) {
          for (const y of data as Float32Array) sum += (y * y) / 2;
        }
        return sum;
      };
      for (const input of wanted) {
        const gradients = await run([`d${input}`, `shape${input}`]);
        const gradient = gradients[`d${input}`]?.data as Float32Array;
        const shape = [...(gradients[`shape${input}`] as TensorData).data].map(Number);
        assert.deepEqual(shape, given.inputs[input]);
        const largest = Math.max(...gradient.map(Math.abs));
        assert.ok(largest > 0.01, `the gradient by ${input} says something: ${gradient}`);
        const values = point.get(input) as Float32Array;
        for (const [i, value] of values.entries()) {
          const [below, above] = [Math.fround(value - step), Math.fround(value + step)];
          values[i] = above;
          const right = await loss();
          values[i] = below;
          const left = await loss();
          values[i] = value;
          const expected = (right - left) / (above - below);
          const off = Math.abs((gradient[i] as number) - expected) / largest;
          assert.ok(off < 1e-3, `by ${input}[${i}]: ${gradient[i]}, differences say ${expected}`);
        }
      }
      await device.release(session);
    });
  }

  it('every differentiable operator is among these', () => {
    const tested = new Set(Object.values(cases).flatMap(({ types }) => types));
    assert.deepEqual(
      differentiable.filter((type) => !tested.has(type)),
      [],
    );
  });
});

describe('sums over equal indices', () => {
  // Many threads that add to few places are where a race would lose some.
  const [rows, width, count] = [4, 8, 400_000];
  const chosen = BigInt64Array.from({ length: count }, (_, i) => BigInt((i * 7919 + (i >> 5)) % rows));
  const times = Array.from({ length: rows }, (_, row) => chosen.filter((index) => Number(index) === row).length);

  for (const type of ['Gather', 'GatherElements'] as const) {
    it(`are complete on several threads: ${type}`, async () => {
      await using threads = new Device({ threads: 2 });
      const builder = new GraphBuilder('sums');
      builder.input('x', 'float32', ['rows', width]);
      const column = builder.input('indices', 'int64', ['count']);
      const shape = builder.apply('Concat', [builder.apply('Shape', [column]), builder.integers([width])], { axis: 0 });
      const everyColumn = builder.apply('Expand', [
        builder.apply('Unsqueeze', [column, builder.integers([-1])]),
        shape,
      ]);
      const y = builder.apply(type, ['x', type === 'Gather' ? column : everyColumn], { axis: 0 });
      const seed = builder.input('seed', 'float32', ['count', width]);
      const gradient = addGradients(builder, new Map([[y, seed]]), ['x']).get('x') as string;
      builder.output(gradient, 'dx', 'float32', ['rows', width]);
      const session = await threads.session(writeOnnx(builder.finish()));
      const inputs: Record<string, TensorData> = {
        x: { type: 'float32', shape: [rows, width], data: new Float32Array(rows * width) },
        indices: { type: 'int64', shape: [count], data: chosen },
        seed: { type: 'float32', shape: [count, width], data: new Float32Array(count * width).fill(1) },
      };
      for (let repetition = 0; repetition < 5; repetition++) {
        const { dx } = await threads.run({ session, inputs, outputs: ['dx'] });
        const expected = times.flatMap((sum) => Array.from({ length: width }, () => sum));
        assert.deepEqual([...(dx as TensorData).data], expected);
      }
    });
  }
});

describe('a gradient', () => {
  const chain = (b: GraphBuilder, x: string, layers: number) => {
    const segments = [];
    let value = x;
    for (let layer = 0; layer < layers; layer++) {
      const from = b.operators.length;
      const entering = [value];
      const normalised = b.apply('SimplifiedLayerNormalization', [value, 'w'], { axis: -1, ...epsilon });
      const product = b.apply('Gemm', [normalised, 'm'], { transB: 1 });
      value = b.apply('Add', [value, b.apply('QuickGelu', [product], { alpha: { float: 1 } })]);
      segments.push({ from, to: b.operators.length, entering });
    }
    return { value, segments };
  };
  const shapes = { x: [3, 4], w: [4], m: [4, 4] };
  const inputs = Object.fromEntries(
    Object.entries(shapes).map(([name, shape], i): [string, TensorData] => [
      name,
      { type: 'float32', shape, data: numbers(sizeOf(shape), 20 + i) },
    ]),
  );

  it('is the same bit for bit where layers are computed again', async () => {
    const differentiate = async (recompute: boolean) => {
      const builder = new GraphBuilder('chain');
      for (const [name, shape] of Object.entries(shapes)) builder.input(name, 'float32', shape);
      const { value, segments } = chain(builder, 'x', 3);
      const before = builder.operators.length;
      const options = recompute ? { recompute: segments } : {};
      const gradients = addGradients(builder, new Map([[value, value]]), Object.keys(shapes), options);
      for (const [name, gradient] of gradients) builder.output(gradient, `d${name}`, 'float32', shapes[name as 'x']);
      const graph = builder.finish();
      const again = builder.operators.slice(before).filter(({ type }) => type === 'QuickGelu').length;
      const session = await device.session(writeOnnx(graph));
      const results = await device.run({ session, inputs, outputs: [...gradients.keys()].map((name) => `d${name}`) });
      return { again, results };
    };
    const [kept, recomputed] = [await differentiate(false), await differentiate(true)];
    assert.deepEqual([kept.again, recomputed.again], [0, 3]);
    assert.deepEqual(recomputed.results, kept.results);
  });

  it('of a segment begins with its copy, which waits for the gradient that comes in', () => {
    const builder = new GraphBuilder('chain');
    for (const [name, shape] of Object.entries(shapes)) builder.input(name, 'float32', shape);
    const { value, segments } = chain(builder, 'x', 2);
    const before = builder.operators.length;
    addGradients(builder, new Map([[value, value]]), ['x', 'm'], { recompute: segments });
    const added = builder.operators.slice(before);
    const producers = new Map(added.flatMap((operator) => operator.outputs.map((output) => [output, operator])));
    const dependsOn = (name: string, other: string): boolean =>
      name === other || (producers.get(name)?.inputs ?? []).some((input) => dependsOn(input, other));
    const copies = added.filter(({ type }) => type === 'QuickGelu');
    assert.equal(copies.length, 2);
    for (const copy of copies) assert.ok(dependsOn(copy.outputs[0] as string, value));
  });

  it('costs nothing for what is frozen', () => {
    const added = (wanted: readonly string[]) => {
      const builder = new GraphBuilder('frozen');
      builder.input('x', 'float32', ['n', 4]);
      for (const name of ['first', 'second']) builder.input(name, 'float32', [4, 4]);
      const hidden = builder.apply('Gemm', ['x', 'first'], { transB: 1 });
      const y = builder.apply('Gemm', [hidden, 'second'], { transB: 1 });
      const before = builder.operators.length;
      const gradients = addGradients(builder, new Map([[y, y]]), wanted);
      assert.deepEqual([...gradients.keys()], wanted);
      return builder.operators.slice(before).map(({ type }) => type);
    };
    assert.deepEqual(added([]), []);
    assert.deepEqual(added(['second']), ['Gemm']);
    assert.deepEqual(added(['first']), ['Gemm', 'Gemm']);
    assert.deepEqual(added(['first', 'second']), ['Gemm', 'Gemm', 'Gemm']);
  });

  it('is missing where the loss does not depend on a value', () => {
    const builder = new GraphBuilder('unused');
    for (const name of ['x', 'unused']) builder.input(name, 'float32', ['n']);
    const y = builder.apply('Mul', ['x', 'x']);
    builder.apply('Mul', ['unused', 'unused']);
    assert.deepEqual([...addGradients(builder, new Map([[y, y]]), ['x', 'unused']).keys()], ['x']);
  });

  it('does not pass through choices and shapes', () => {
    const builder = new GraphBuilder('choices');
    builder.input('scores', 'float32', ['n']);
    builder.input('x', 'float32', ['n']);
    const best = builder.applyMany('TopK', ['scores', builder.integers([2])], 2, { axis: -1 })[1] as string;
    const y = builder.apply('Gather', ['x', best], { axis: 0 });
    assert.deepEqual([...addGradients(builder, new Map([[y, y]]), ['x', 'scores']).keys()], ['x']);
  });

  it('is refused by the name of an operator that has no rule, on the way only', () => {
    const builder = new GraphBuilder('no rule');
    for (const name of ['x', 'mask']) builder.input(name, 'float32', ['n']);
    const masked = builder.apply('Mul', ['x', builder.apply('Tanh', ['mask'])]);
    addGradients(builder, new Map([[masked, masked]]), ['x']);
    assert.throws(() => addGradients(builder, new Map([[masked, masked]]), ['x', 'mask']), /Tanh has no gradient rule/);
  });

  it('is refused for variants of operators that no rule covers', () => {
    const refuses = (type: string, attributes: Record<string, number | { float: number }>, message: RegExp) => {
      const builder = new GraphBuilder('variant');
      for (const name of ['a', 'b']) builder.input(name, 'float32', ['n', 'm']);
      const y = builder.apply(type, ['a', 'b'], attributes);
      assert.throws(() => addGradients(builder, new Map([[y, y]]), ['a', 'b']), message);
    };
    refuses('Gemm', { transA: 1 }, /first operand transposed/);
    refuses('FusedMatMul', { transA: 1 }, /first operand transposed/);
    refuses('Gather', { axis: 1 }, /another axis than 0/);
    refuses('QuickGelu', { alpha: { float: 1.702 } }, /not SiLU/);
    refuses('SimplifiedLayerNormalization', {}, /without epsilon/);
  });
});
