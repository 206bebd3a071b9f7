import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { toDense } from './quantised.ts';
import { type BlockForm, formOf, quantiseMatrix } from './requantise.ts';
import type { BlockMatrix } from './weights.ts';

const forms: readonly BlockForm[] = [4, 8].flatMap((bits) =>
  [16, 32].flatMap((blockSize) => [true, false].map((hasOffsets) => ({ bits, blockSize, hasOffsets }) as BlockForm)),
);
const shape = [24, 96] as const;

/** Roughly normal values, as weights are. */
function weights(seed: number): Float32Array {
  let state = seed;
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  return Float32Array.from({ length: shape[0] * shape[1] }, () => random() + random() + random() - 1.5);
}

function squaredError(data: Float32Array, matrix: BlockMatrix): number {
  const { data: back } = toDense(matrix);
  return data.reduce((sum, value, i) => sum + (value - (back[i] as number)) ** 2, 0);
}

/** The obvious way: the range of each block, from end to end. */
function endToEndError(data: Float32Array, { bits, blockSize, hasOffsets }: BlockForm): number {
  let error = 0;
  for (let at = 0; at < data.length; at += blockSize) {
    const block = data.subarray(at, at + blockSize);
    const least = hasOffsets ? Math.min(...block) : 0;
    const extreme = block.reduce((a, b) => (Math.abs(b) > Math.abs(a) ? b : a));
    const half = 2 ** (bits - 1);
    const scale = hasOffsets ? (Math.max(...block) - least) / (2 * half - 1) : extreme / (bits === 4 ? -8 : -127);
    const [lowest, highest] = hasOffsets ? [0, 2 * half - 1] : [-half, half - 1];
    for (const value of block) {
      const code = Math.min(highest, Math.max(lowest, Math.round((value - least) / scale)));
      error += (value - least - scale * code) ** 2;
    }
  }
  return error;
}

describe('quantising again', () => {
  for (const form of forms) {
    const name = `${form.bits} bits, blocks of ${form.blockSize}, ${form.hasOffsets ? 'with' : 'without'} offsets`;
    it(`${name}: less error than from end to end, in the form asked for`, () => {
      const data = weights(form.blockSize + form.bits);
      const matrix = quantiseMatrix(data, shape, form);
      assert.deepEqual(formOf(matrix), form);
      const ratio = squaredError(data, matrix) / endToEndError(data, form);
      assert.ok(ratio < (form.bits === 4 ? 0.95 : 1.02), `${ratio}`);
    });

    it(`${name}: constant and empty blocks stay exact`, () => {
      const data = new Float32Array(2 * form.blockSize).fill(0.25, form.blockSize);
      const { data: back } = toDense(quantiseMatrix(data, [1, data.length], form));
      for (const [i, value] of back.entries()) assert.ok(Math.abs(value - (data[i] as number)) < 1e-7, `${value}`);
    });
  }

  it('eight bits hold what four bits hold, to half a step of eight', () => {
    const four = toDense(quantiseMatrix(weights(3), shape, { bits: 4, blockSize: 32, hasOffsets: true })).data;
    const eight = quantiseMatrix(four, shape, { bits: 8, blockSize: 32, hasOffsets: false });
    for (const [i, value] of toDense(eight).data.entries()) {
      const step = eight.scales[Math.floor(i / 32)] as number;
      assert.ok(Math.abs(value - (four[i] as number)) <= step * 0.5001, `${i}: ${value} ${four[i]}`);
    }
  });

  it('refuses columns that blocks do not divide', () => {
    const form = { bits: 4, blockSize: 32, hasOffsets: true } as const;
    assert.throws(() => quantiseMatrix(new Float32Array(48), [1, 48], form), { code: 'usage' });
  });
});
