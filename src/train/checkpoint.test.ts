import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../../test/support/temporary.ts';
import { type Checkpoint, readCheckpoint, writeCheckpoint } from './checkpoint.ts';

const checkpoint: Checkpoint = {
  progress: {
    step: 7,
    tokens: 700,
    seconds: 1.25,
    rateFactor: 0.5,
    returns: 1,
    returnedTo: 4,
    validated: null,
    best: { step: 5, loss: 0.1 },
    losses: { losses: [0.1 + 0.2, 3], tooHigh: 0 },
    logBytes: 12,
  },
  state: {
    tensors: new Map([
      ['2', { shape: [2, 2], data: Float32Array.of(0.1, -0, 3e-41, 4), dtype: 'F32' as const }],
      ['1', { shape: [1], data: Float32Array.of(1.5), dtype: 'F16' as const }],
      ['scalar', { shape: [], data: Float32Array.of(9), dtype: 'F32' as const }],
    ]),
    values: { order: [3, 1, 2], position: { file: 'ä "quoted"', byte: 2 ** 52 + 1 } },
  },
};

test('a checkpoint comes back as it was written', () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'a.safetensors');
  writeCheckpoint(path, checkpoint);
  const read = readCheckpoint(path);
  assert.deepEqual(read.progress, checkpoint.progress);
  assert.deepEqual(read.state.values, checkpoint.state.values);
  assert.equal(read.state.tensors.size, 3);
  for (const [name, tensor] of checkpoint.state.tensors) assert.deepEqual(read.state.tensors.get(name), tensor);
});

test('every bit that is not as it was written is noticed', () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'a.safetensors');
  writeCheckpoint(path, checkpoint);
  const bytes = readFileSync(path);
  for (let position = 0; position < bytes.length; position++) {
    const changed = Buffer.from(bytes);
    changed[position] = (changed[position] as number) ^ (1 << (position % 8));
    const damaged = folder.write('b.safetensors', changed);
    assert.throws(() => readCheckpoint(damaged), { code: 'damaged' }, `byte ${position}`);
  }
  for (const length of [0, 7, 100, bytes.length - 1]) {
    const cut = folder.write('c.safetensors', bytes.subarray(0, length));
    assert.throws(() => readCheckpoint(cut), { code: 'damaged' }, `${length} bytes`);
  }
});

test('values that JSON would change are refused before anything is written', () => {
  using folder = temporaryFolder();
  for (const value of [Number.NaN, undefined, new Date(0), new Map()]) {
    const state = { ...checkpoint.state, values: { value } };
    assert.throws(() => writeCheckpoint(join(folder.path, 'a'), { ...checkpoint, state }), /are not JSON/);
  }
});
