/**
 * Training sees what inference will see: for every way to choose kept tokens, and for summary tokens, the likelihoods of a
 * training graph with companions are those of memories that are written and read by the merged model. Tiny random models.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { LanguageModel } from '../../src/memory/model.ts';
import { type MemoryProfile, scorings } from '../../src/memory/profile.ts';
import type { ModelFile } from '../../src/model/open.ts';
import { Device } from '../../src/runtime/device.ts';
import type { BatchMemory, TrainingBatch } from '../../src/train/batch.ts';
import { withChosenTokens } from '../../src/train/choose-tokens.ts';
import { ModelTrainer } from '../../src/train/model-trainer.ts';
import { openFamily } from '../support/families.ts';
import { exactMemories, likelihoodsOf, storedMemories } from '../support/reading.ts';
import { pretendTrained, type Trained, trainedModel } from '../support/trained.ts';

const header: [number, ...number[]] = [0, 5, 9];
const repeatPrompt = [7, 8, 11];
const kept = 4;
const tokens = (count: number, first: number) => Array.from({ length: count }, (_, i) => (37 * i + first) % 128);
const sequence = (count: number, first: number, references: readonly number[]) => ({
  tokens: tokens(count, first),
  weights: new Array<number>(count).fill(1),
  chunks: [references],
});
/** Two references, one (shorter than what is kept), none. */
const batch: TrainingBatch = {
  references: [tokens(17, 3), tokens(40, 50), tokens(2, 71)],
  sequences: [sequence(13, 1, [1, 0]), sequence(20, 40, [2]), sequence(9, 90, [])],
};

for (const family of ['llama', 'qwen2', 'qwen3', 'mistral-window']) {
  describe(`${family}: memories in training are those of inference`, () => {
    let file: ModelFile;
    let device: Device;
    let trainer: ModelTrainer;
    let trained: Trained;
    let model: LanguageModel;
    before(async () => {
      file = await openFamily(family);
      device = new Device({ threads: 1 });
      const lora = { rank: 2, scale: 1.5 };
      trainer = await ModelTrainer.open(file, device, { lora, summaryTokens: kept, longest: 64 });
      await pretendTrained(trainer);
      trained = await trainedModel(file, trainer);
      const { summaryTokens } = trained;
      model = new LanguageModel(trained.source, device, { precision: 'f32', summaryTokens });
    });
    after(async () => {
      await device[Symbol.asyncDispose]();
      file[Symbol.dispose]();
    });

    // A classifier of answers is fitted to a model that is trained.
    const trainable = scorings.filter((scoring) => scoring !== 'answer-weighted');
    const cases = [...trainable.map((scoring) => [scoring, kept] as const), ['random', 'all'] as const];
    for (const [scoring, keptTokens] of cases) {
      // Seen from the second copy of a reference, the first one is outside of the window.
      if (family === 'mistral-window' && scoring === 'reconstruction') continue;
      it(`${keptTokens} kept by ${scoring}`, async () => {
        const profile: MemoryProfile = { layers: [0, 1], keptTokens, scoring, storage: 'f16', header };
        const summaryTokens = scoring === 'summary' ? kept : 0;
        const unchosen: BatchMemory = { profile, keptTokens, chunkTokens: null, summaryTokens };
        const memory = await withChosenTokens(trainer, batch, unchosen, repeatPrompt);
        const { nll } = await trainer.measure(batch, memory);
        const exact = await exactMemories(model, profile, batch.references, repeatPrompt);
        assertClose(nll, await likelihoodsOf(model, profile, batch, exact), 1e-4);
        const stored = await storedMemories(model, profile, batch.references, repeatPrompt);
        assertClose(nll, await likelihoodsOf(model, profile, batch, stored), 1e-2);
        // Neither half of the equation is the model that was not trained, or reads no memories.
        const untrained = new LanguageModel(file, device, { precision: 'f32', summaryTokens: trained.summaryTokens });
        const own = await exactMemories(untrained, profile, batch.references, repeatPrompt);
        assert.ok(largestDifference(nll, await likelihoodsOf(untrained, profile, batch, own)) > 0.1);
        await untrained.releaseSessions();
        const none = { ...batch, sequences: batch.sequences.map((one) => ({ ...one, chunks: [[]] })) };
        assert.ok(largestDifference(nll, await likelihoodsOf(model, profile, none, [])) > 0.1);
      });
    }
  });
}

function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  assert.equal(a.length, b.length);
  return Math.max(...Array.from(a, (value, i) => Math.abs(value - (b[i] as number))));
}

function assertClose(actual: Float32Array, expected: readonly number[], tolerance: number): void {
  const difference = largestDifference(actual, expected);
  assert.ok(difference < tolerance, `a likelihood is ${difference} off`);
}
