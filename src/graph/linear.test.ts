/** Products with weights as files store them, against a dense product in f64: every shape of block that files have. */
import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { toDense } from '../model/quantised.ts';
import type { BlockMatrix, DenseTensor, WeightTensor } from '../model/weights.ts';
import { Device } from '../runtime/device.ts';
import { GraphBuilder } from './graph.ts';
import { linear, type Precision } from './linear.ts';
import { writeOnnx } from './onnx.ts';

const device = new Device({ threads: 1 });
after(() => device[Symbol.asyncDispose]());

// Neither is a multiple of what a kernel may take at once.
const rows = 83;
const columns = 288;

/** Numbers in [0, 1) that are the same in every run. */
function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Random codes; the middle of `codes` is the zero of the format's bits. */
function blocks(
  bits: 4 | 8,
  blockSize: 16 | 32,
  codes: readonly [lowest: number, highest: number],
  hasOffsets: boolean,
): BlockMatrix {
  const random = numbers(bits * 1000 + blockSize + (hasOffsets ? 7 : 0));
  const [lowest, highest] = codes;
  const code = () => lowest + Math.floor(random() * (highest - lowest + 1));
  const blockCount = (rows * columns) / blockSize;
  return {
    kind: 'blocks',
    shape: [rows, columns],
    bits,
    blockSize,
    codes: Uint8Array.from({ length: (rows * columns * bits) / 8 }, () =>
      bits === 8 ? code() : code() | (code() << 4),
    ),
    // Q6_K's scales can be negative.
    scales: Float32Array.from({ length: blockCount }, () => (random() - (blockSize === 16 ? 0.5 : 0.1)) * 0.02),
    offsets: hasOffsets ? Float32Array.from({ length: blockCount }, () => (random() - 0.4) * 0.2) : null,
  };
}

/** Formats by the ranges of their codes (model/block-formats.ts). */
const formats: Record<string, BlockMatrix> = {
  Q4_0: blocks(4, 32, [0, 15], false),
  'Q4_1 and Q4_K': blocks(4, 32, [0, 15], true),
  Q5_0: blocks(8, 32, [112, 143], false),
  'Q5_1 and Q5_K': blocks(8, 32, [112, 143], true),
  Q8_0: blocks(8, 32, [1, 255], false),
  Q6_K: blocks(8, 16, [96, 159], false),
};

async function run(x: Float32Array, weight: WeightTensor, bias: DenseTensor | undefined, precision: Precision) {
  const builder = new GraphBuilder('product');
  const input = builder.input('x', 'float32', ['n', columns]);
  // The device takes the arrays of a graph away.
  const own = structuredClone(weight);
  const ownBias = structuredClone(bias);
  builder.output(linear(builder, input, 'w', own, ownBias, precision), 'y', 'float32', ['n', rows]);
  const session = await device.session(writeOnnx(builder.finish()));
  const shape = [x.length / columns, columns];
  const { y } = await device.run({ session, inputs: { x: { type: 'float32', shape, data: x } }, outputs: ['y'] });
  await device.release(session);
  assert.deepEqual(y?.shape, [x.length / columns, rows]);
  return y.data as Float32Array;
}

function denseProduct(x: Float32Array, weight: WeightTensor, bias: DenseTensor | undefined): number[] {
  const { data } = toDense(weight);
  const result: number[] = [];
  for (let n = 0; n < x.length / columns; n++) {
    for (let row = 0; row < rows; row++) {
      let sum = bias?.data[row] ?? 0;
      for (let c = 0; c < columns; c++) sum += (x[n * columns + c] as number) * (data[row * columns + c] as number);
      result.push(sum);
    }
  }
  return result;
}

/** sqrt(sum of squared differences / sum of squares) */
function relativeError(actual: ArrayLike<number>, expected: readonly number[]): number {
  const squares = (values: readonly number[]) => values.reduce((sum, value) => sum + value * value, 0);
  return Math.sqrt(squares(expected.map((value, i) => (actual[i] as number) - value)) / squares(expected));
}

function activations(count: number): Float32Array {
  const random = numbers(count);
  return Float32Array.from({ length: count * columns }, () => random() * 2 - 1);
}

describe('a product with a weight in blocks', () => {
  const random = numbers(3);
  const bias: DenseTensor = {
    kind: 'dense',
    shape: [rows],
    data: Float32Array.from({ length: rows }, () => random() - 0.5),
  };
  for (const [name, weight] of Object.entries(formats)) {
    it(`${name}: within the rounding of activations to 8 bits as it is, exactly in f32`, async () => {
      for (const count of [1, 2, 33]) {
        const x = activations(count);
        for (const own of [undefined, bias]) {
          const expected = denseProduct(x, weight, own);
          // Steps of 1/127 have a root mean square error of 0.0023, uniform activations one of 0.58: 0.4 %.
          const rounded = relativeError(await run(x, weight, own, 'file'), expected);
          assert.ok(rounded < 6e-3, `${count} rows: off by ${rounded}`);
          const exact = await run(x, weight, own, 'f32');
          for (const [i, value] of expected.entries()) assert.ok(Math.abs((exact[i] as number) - value) < 1e-4);
        }
      }
    });
  }

  it('adds offsets in full precision: with all codes at zero, nothing is rounded', async () => {
    const weight = {
      ...(formats['Q4_1 and Q4_K'] as BlockMatrix),
      codes: new Uint8Array((rows * columns) / 2).fill(0x88),
    };
    const x = activations(5);
    const actual = await run(x, weight, undefined, 'file');
    for (const [i, value] of denseProduct(x, weight, undefined).entries()) {
      assert.ok(Math.abs((actual[i] as number) - value) < 1e-4);
    }
  });

  it('keeps a weight as it is stored: no dense copy of it enters the graph', () => {
    const builder = new GraphBuilder('size');
    const x = builder.input('x', 'float32', ['n', columns]);
    const y = linear(builder, x, 'w', formats.Q4_0 as BlockMatrix, undefined, 'file');
    builder.output(y, 'y', 'float32', ['n', rows]);
    const bytes = builder.finish().initializers.reduce((sum, { data }) => sum + data.byteLength, 0);
    // Half a byte for each weight, and a scale of four bytes for 32.
    assert.equal(bytes, rows * columns * (0.5 + 4 / 32));
  });

  it('takes a dense weight with and without bias', async () => {
    const weight = toDense(formats.Q8_0 as BlockMatrix);
    const x = activations(3);
    for (const own of [undefined, bias]) {
      const actual = await run(x, weight, own, 'file');
      for (const [i, value] of denseProduct(x, weight, own).entries()) {
        assert.ok(Math.abs((actual[i] as number) - value) < 1e-4);
      }
    }
  });
});
