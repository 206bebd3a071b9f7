/** Training's gradients and AdamW against PyTorch (test/golden/README.md, gradients.json and adamw.json), in f32, all weights. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { TrainingBatch } from '../../src/train/batch.ts';
import { ModelTrainer } from '../../src/train/model-trainer.ts';
import { readGolden } from '../support/golden.ts';
import { type DefaultModel, openDefaultModel } from '../support/model.ts';

interface GoldenGradients {
  readonly ids: readonly (readonly number[])[];
  readonly loss: number;
  readonly grads: Readonly<Record<string, { shape: readonly number[]; norm: number; head: readonly number[] }>>;
}

const golden = readGolden<GoldenGradients>('gradients.json');
const adamw = readGolden<{ loss_before_each_step: readonly number[]; ids: GoldenGradients['ids']; lr: number }>(
  'adamw.json',
);

/** Every token after the first counts, all alike. */
function batchOf(ids: GoldenGradients['ids']): TrainingBatch {
  const sequences = ids.map((tokens) => ({ tokens, weights: tokens.map((_, i) => (i === 0 ? 0 : 1)), chunks: [] }));
  return { references: [], sequences };
}

let opened: DefaultModel;
before(async () => {
  opened = await openDefaultModel();
});
after(() => opened[Symbol.asyncDispose]());

describe('the default model under training', () => {
  for (const recompute of [false, true]) {
    it(`has PyTorch's gradients${recompute ? ', layers computed again' : ''}`, async () => {
      await using trainer = await ModelTrainer.open(opened.file, opened.device, { lora: null, recompute });
      const { sum, weight } = await trainer.accumulate(batchOf(golden.ids));
      assert.ok(Math.abs(sum / weight - golden.loss) < 1e-4, `the loss is ${sum / weight}`);
      const gradients = await trainer.gradients();
      assert.deepEqual([...gradients.keys()].sort(), Object.keys(golden.grads).sort());
      for (const [name, expected] of Object.entries(golden.grads)) {
        const { shape, data } = gradients.get(name) as { shape: readonly number[]; data: Float32Array };
        assert.deepEqual(shape, expected.shape, name);
        let [squares, largest] = [0, 0];
        for (const value of data) {
          squares += (value / weight) ** 2;
          largest = Math.max(largest, Math.abs(value / weight));
        }
        const norm = Math.sqrt(squares);
        assert.ok(Math.abs(norm - expected.norm) < 1e-3 * expected.norm, `${name}: ${norm}, not ${expected.norm}`);
        for (const [i, value] of expected.head.entries()) {
          const own = (data[i] as number) / weight;
          assert.ok(Math.abs(own - value) < 1e-3 * largest, `${name}[${i}]: ${own}, not ${value}`);
        }
      }
    });
  }

  it("has PyTorch's losses in ten steps of AdamW", async () => {
    const options = { lora: null, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, decay: 0.1, decayVectors: true, clip: 1 };
    await using trainer = await ModelTrainer.open(opened.file, opened.device, options);
    for (const [step, expected] of adamw.loss_before_each_step.entries()) {
      const { sum, weight } = await trainer.accumulate(batchOf(adamw.ids));
      await trainer.update(adamw.lr);
      assert.ok(Math.abs(sum / weight - expected) < 2e-3, `step ${step + 1}: ${sum / weight}, not ${expected}`);
    }
  });
});
