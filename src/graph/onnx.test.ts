/** Small graphs, written as ONNX and run, against values worked out by hand. */
import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { Device, type TensorData } from '../runtime/device.ts';
import { GraphBuilder } from './graph.ts';
import { writeOnnx } from './onnx.ts';

const device = new Device({ threads: 1 });
after(() => device[Symbol.asyncDispose]());

async function run(builder: GraphBuilder, inputs: Record<string, TensorData>, outputs: readonly string[]) {
  const session = await device.session(writeOnnx(builder.finish()));
  const results = await device.run({ session, inputs, outputs });
  await device.release(session);
  return results;
}

const floats = (shape: readonly number[], ...values: number[]): TensorData => ({
  type: 'float32',
  shape,
  data: Float32Array.from(values),
});

describe('a graph written as ONNX', () => {
  it('runs: operators, small constants, integer and list attributes', async () => {
    const builder = new GraphBuilder('small');
    const x = builder.input('x', 'float32', ['rows', 2]);
    const w = builder.constant('w', 'float32', [3, 2], Float32Array.of(1, 2, 3, 4, 5, 6));
    const bias = builder.constant('bias', 'float32', [3], Float32Array.of(0.5, 0, -0.5));
    const product = builder.apply('Gemm', [x, w, bias], { transB: 1 });
    builder.output(builder.apply('Transpose', [product], { perm: [1, 0] }), 'y', 'float32', [3, 'rows']);
    const { y } = await run(builder, { x: floats([2, 2], 1, 0, 10, 1) }, ['y']);
    assert.deepEqual(y, floats([3, 2], 1.5, 12.5, 3, 34, 4.5, 55.5));
  });

  it('keeps negative integers, in attributes and in constants', async () => {
    const builder = new GraphBuilder('negative');
    const x = builder.input('x', 'float32', [2, 3]);
    const joined = builder.apply('Concat', [x, x], { axis: -1 });
    const flat = builder.apply('Reshape', [joined, builder.integers([-1, 4])]);
    builder.output(flat, 'y', 'float32', ['rows', 4]);
    const { y } = await run(builder, { x: floats([2, 3], 1, 2, 3, 4, 5, 6) }, ['y']);
    assert.deepEqual(y, floats([3, 4], 1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6));
  });

  it('keeps float attributes apart from integers, strings from both', async () => {
    const builder = new GraphBuilder('attributes');
    const x = builder.input('x', 'float32', [3]);
    builder.output(builder.apply('LeakyRelu', [x], { alpha: { float: 2 } }), 'leaky', 'float32', [3]);
    const parts = { axis: 0, largest: 1, sorted: 1 };
    const [values, indices] = builder.applyMany('TopK', [x, builder.integers([2])], 2, parts) as [string, string];
    builder.output(values, 'values', 'float32', [2]);
    builder.output(indices, 'indices', 'int64', [2]);
    const table = builder.apply('Reshape', [x, builder.integers([1, 3])]);
    const places = builder.constant('places', 'int64', [1, 1], BigInt64Array.of(1n));
    const scattered = builder.apply(
      'ScatterElements',
      [table, places, builder.constant('ten', 'float32', [1, 1], Float32Array.of(10))],
      { axis: 1, reduction: 'add' },
    );
    builder.output(scattered, 'scattered', 'float32', [1, 3]);
    const names = ['leaky', 'values', 'indices', 'scattered'];
    const results = await run(builder, { x: floats([3], 1, -3, 2) }, names);
    assert.deepEqual(results.leaky?.data, Float32Array.of(1, -6, 2));
    assert.deepEqual(results.values?.data, Float32Array.of(2, 1));
    assert.deepEqual(results.indices?.data, BigInt64Array.of(2n, 0n));
    assert.deepEqual(results.scattered?.data, Float32Array.of(1, 7, 2));
  });

  it('leaves optional inputs out, and finds the operators that ONNX Runtime adds', async () => {
    const builder = new GraphBuilder('optional');
    const x = builder.input('x', 'float32', [2]);
    // Without a lower bound; QuickGelu with alpha 1 is x * sigmoid(x).
    const highest = builder.constant('highest', 'float32', [], Float32Array.of(1));
    builder.output(builder.apply('Clip', [x, '', highest]), 'clipped', 'float32', [2]);
    builder.output(builder.apply('QuickGelu', [x], { alpha: { float: 1 } }), 'silu', 'float32', [2]);
    const { clipped, silu } = await run(builder, { x: floats([2], -3, 4) }, ['clipped', 'silu']);
    assert.deepEqual(clipped?.data, Float32Array.of(-3, 1));
    for (const [i, expected] of [-3 / (1 + Math.exp(3)), 4 / (1 + Math.exp(-4))].entries()) {
      assert.ok(Math.abs((silu?.data[i] as number) - expected) < 1e-6);
    }
  });

  it('keeps large constants outside, of every type, also where they are parts of a larger buffer', async () => {
    const builder = new GraphBuilder('external');
    const count = 1000;
    const floatsOfAll = new Float32Array(count + 7).map((_, i) => i);
    const x = builder.input('x', 'float32', [count]);
    const half = builder.constant('half', 'float32', [count], floatsOfAll.subarray(7));
    const order = BigInt64Array.from({ length: count }, (_, i) => BigInt(count - 1 - i));
    const reversed = builder.apply('Gather', [half, builder.constant('order', 'int64', [count], order)]);
    const bytes = builder.constant('bytes', 'uint8', [2 * count], new Uint8Array(2 * count).fill(255));
    const ones = builder.apply('Cast', [bytes], { to: 1 });
    const total = builder.apply('ReduceSum', [ones], { keepdims: 0 });
    builder.output(builder.apply('Add', [x, builder.apply('Add', [reversed, total])]), 'y', 'float32', [count]);

    const { model, externalData } = writeOnnx(builder.finish());
    assert.deepEqual(
      externalData.map(({ path, data }) => [path, data.byteLength]),
      [
        ['half', 4 * count],
        ['order', 8 * count],
        ['bytes', 2 * count],
      ],
    );
    assert.ok(model.length < 1500, `${model.length}`);
    const session = await device.session({ model, externalData });
    const inputs = { x: floats([count], ...new Array<number>(count).fill(0.5)) };
    const { y } = await device.run({ session, inputs, outputs: ['y'] });
    const expected = Float32Array.from({ length: count }, (_, i) => 0.5 + (count - 1 - i + 7) + 255 * 2 * count);
    assert.deepEqual(y?.data, expected);
  });
});

describe('a graph as data', () => {
  it('names every value once, stores a constant once, says which operators are contributed, and drops what nobody needs', () => {
    const builder = new GraphBuilder('data');
    const x = builder.input('x', 'float32', ['n']);
    const a = builder.apply('Add', [x, x]);
    const b = builder.apply('Add', [a, x]);
    assert.equal(builder.integers([1, -1]), builder.integers([1, -1]));
    const c = builder.apply('FusedMatMul', [a, builder.apply('Reshape', [b, builder.integers([1, -1])])]);
    builder.apply('Neg', [builder.constant('unused', 'float32', [1], new Float32Array(1))]);
    builder.output(c, 'y', 'float32', ['n']);
    const graph = builder.finish();
    const names = graph.operators.flatMap(({ outputs }) => outputs);
    assert.equal(new Set(names).size, names.length);
    assert.equal(graph.initializers.length, 1);
    assert.deepEqual(
      graph.operators.map(({ type, domain }) => `${domain}:${type}`),
      [':Add', ':Add', ':Reshape', 'com.microsoft:FusedMatMul', ':Identity'],
    );
  });
});
