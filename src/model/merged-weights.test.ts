import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { randomValues } from '../../test/support/adapter.ts';
import { type MatrixWidth, mergedWeights, mergeTensor, type WeightChange } from './merged-weights.ts';
import { toDense } from './quantised.ts';
import { type BlockForm, quantiseMatrix } from './requantise.ts';
import type { DenseTensor, Weights, WeightTensor } from './weights.ts';

const dense = (shape: number[], largest: number, seed: number): DenseTensor => ({
  kind: 'dense',
  shape,
  data: randomValues(
    shape.reduce((a, b) => a * b),
    largest,
    seed,
  ),
});

/** W + scale * B A + D, element by element. */
function sumOf(tensor: WeightTensor, { lowRank, difference }: WeightChange): number[] {
  const columns = tensor.shape[1] ?? 1;
  return [...toDense(tensor).data].map((value, i) => {
    let sum = value + (difference?.data[i] ?? 0);
    const [row, column] = [Math.floor(i / columns), i % columns];
    const rank = lowRank?.a.shape[0] ?? 0;
    for (let k = 0; k < rank; k++) {
      const [left, right] = [lowRank?.b.data[row * rank + k], lowRank?.a.data[k * columns + column]];
      sum += (lowRank?.scale ?? 0) * (left as number) * (right as number);
    }
    return sum;
  });
}

function largestError(actual: Float32Array, expected: readonly number[]): number {
  return Math.max(...expected.map((value, i) => Math.abs(value - (actual[i] as number))));
}

describe('merging', () => {
  // Rows and ranks that are no multiples of what the loop takes at a time.
  for (const [rows, columns, rank] of [
    [6, 32, 4],
    [7, 5, 3],
    [1, 9, 1],
    [5, 64, 9],
  ] as const) {
    it(`adds a product of rank ${rank} to [${rows}, ${columns}]`, () => {
      const tensor = dense([rows, columns], 1, 1);
      const before = tensor.data.slice();
      const lowRank = { a: dense([rank, columns], 1, 2), b: dense([rows, rank], 1, 3), scale: 0.5 };
      const change = { lowRank, difference: dense([rows, columns], 1, 4) };
      const merged = mergeTensor(tensor, change, 8) as DenseTensor;
      assert.equal(merged.kind, 'dense');
      assert.ok(largestError(merged.data, sumOf(tensor, change)) < 1e-6);
      assert.deepEqual(tensor.data, before, 'the base stays as it is');
    });
  }

  const lowRank = { a: dense([2, 64], 1, 2), b: dense([8, 2], 0.1, 3), scale: 1 };
  const cases: [BlockForm, MatrixWidth, Partial<BlockForm> | null, number][] = [
    [{ bits: 4, blockSize: 32, hasOffsets: true }, 'file', { bits: 4, blockSize: 32, hasOffsets: true }, 0.1],
    [{ bits: 4, blockSize: 32, hasOffsets: false }, 'file', { bits: 4, blockSize: 32, hasOffsets: false }, 0.15],
    [{ bits: 4, blockSize: 32, hasOffsets: true }, 8, { bits: 8, blockSize: 32, hasOffsets: false }, 0.006],
    [{ bits: 8, blockSize: 16, hasOffsets: false }, 8, { bits: 8, blockSize: 16, hasOffsets: false }, 0.006],
    [{ bits: 8, blockSize: 32, hasOffsets: true }, 8, { bits: 8, blockSize: 32, hasOffsets: true }, 0.006],
    [{ bits: 4, blockSize: 32, hasOffsets: true }, 'f32', null, 1e-6],
  ];
  for (const [form, width, expected, tolerance] of cases) {
    it(`blocks ${JSON.stringify(form)} at width ${width} become ${JSON.stringify(expected ?? 'dense')}`, () => {
      const tensor = quantiseMatrix(dense([8, 64], 1, 1).data, [8, 64], form);
      const merged = mergeTensor(tensor, { lowRank }, width);
      const { bits, blockSize, offsets } = merged as { bits?: number; blockSize?: number; offsets?: unknown };
      const actual = merged.kind === 'dense' ? null : { bits, blockSize, hasOffsets: offsets !== null };
      assert.deepEqual(actual, expected);
      assert.ok(largestError(toDense(merged).data, sumOf(tensor, { lowRank })) < tolerance);
    });
  }

  it('leaves weights without a change as the base gives them', () => {
    const tensors = new Map<string, WeightTensor>([
      ['a.weight', dense([2, 2], 1, 1)],
      ['b.weight', dense([2], 1, 2)],
    ]);
    const base: Weights = {
      names: [...tensors.keys()],
      has: (name) => tensors.has(name),
      get: (name) => tensors.get(name) as WeightTensor,
    };
    const change = { difference: dense([2], 1, 3) };
    const changes = { names: ['b.weight'], get: (name: string) => (name === 'b.weight' ? change : undefined) };
    const merged = mergedWeights(base, changes, 8);
    assert.deepEqual(merged.names, base.names);
    assert.equal(merged.get('a.weight'), tensors.get('a.weight'));
    const sum = sumOf(tensors.get('b.weight') as WeightTensor, change);
    assert.ok(largestError(toDense(merged.get('b.weight')).data, sum) < 1e-6);
  });

  it('refuses a sum that is no number', () => {
    const difference = { ...dense([2], 1, 1), data: Float32Array.of(0, 3e38) };
    const tensor = { ...difference };
    assert.throws(() => mergeTensor(tensor, { difference }, 8), { code: 'damaged', message: /finite/ });
  });
});
