import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { cardFor, randomTensors } from '../../test/support/adapter.ts';
import { openFamily } from '../../test/support/families.ts';
import { exactMemories, likelihoodsOf } from '../../test/support/reading.ts';
import { temporaryFolder } from '../../test/support/temporary.ts';
import { pretendTrained } from '../../test/support/trained.ts';
import { mergeAdapter } from '../memory/adapted-model.ts';
import { openAdapter, writeAdapter } from '../memory/adapter.ts';
import type { AdapterCard } from '../memory/adapter-card.ts';
import { LanguageModel } from '../memory/model.ts';
import type { MemoryProfile } from '../memory/profile.ts';
import { mergedWeights } from '../model/merged-weights.ts';
import type { ModelFile } from '../model/open.ts';
import type { TensorToWrite } from '../model/safetensors-writer.ts';
import { Device } from '../runtime/device.ts';
import { adapterState, adapterTensors } from './adapter-tensors.ts';
import type { TrainingBatch } from './batch.ts';
import { ModelTrainer } from './model-trainer.ts';

const scale = 1.5;
const tokens = (count: number, first: number) => Array.from({ length: count }, (_, i) => (37 * i + first) % 128);
const batch: TrainingBatch = {
  references: [tokens(17, 3), tokens(40, 50)],
  sequences: [{ tokens: tokens(20, 40), weights: new Array<number>(20).fill(1), chunks: [[0, 1]] }],
};

describe('the adapter of a trained model', () => {
  let file: ModelFile;
  let device: Device;
  before(async () => {
    file = await openFamily('llama');
    device = new Device({ threads: 1 });
  });
  after(async () => {
    await device[Symbol.asyncDispose]();
    file[Symbol.dispose]();
  });

  // Companions, summary tokens, and both.
  for (const [projections, summary] of [
    [['q_proj', 'down_proj'], 0],
    [[], 3],
    [['q_proj', 'down_proj'], 3],
  ] as const) {
    it(`gives the likelihoods that the trainer measures: ${projections.length} projections, ${summary} summary tokens`, async () => {
      const profile: MemoryProfile = {
        ...{ layers: [0, 1], keptTokens: summary || 4, storage: 'f16', header: [0, 5, 9] },
        scoring: summary > 0 ? 'summary' : 'received',
      };
      const lora = { rank: 2, scale, projections };
      await using trainer = await ModelTrainer.open(file, device, { lora, summaryTokens: summary, longest: 64 });
      await pretendTrained(trainer);
      const memory = { profile, keptTokens: profile.keptTokens, chunkTokens: null, summaryTokens: summary };
      const { nll } = await trainer.measure(batch, memory);

      using folder = temporaryFolder();
      const { header: _, ...written } = profile;
      const card = await cardFor(file, { scale, profile: written, matrixWidth: 'file' });
      const tensors = await adapterTensors(trainer);
      assert.ok([...tensors.values()].every(({ dtype }) => dtype === 'F16'));
      const path = writeAdapter(folder.path, card, tensors, file.config);
      // Merged at full width, and as everything opens it: the file's matrices are f32 too.
      using adapter = await openAdapter(path, file);
      const weights = mergedWeights(file.weights, adapter.changes, 'f32');
      const base = await openFamily('llama');
      using merged = mergeAdapter(base, await openAdapter(path, base), { cacheFolder: folder.path });
      for (const source of [{ config: file.config, weights }, merged]) {
        const { summaryTokens } = adapter;
        const model = new LanguageModel(source, device, { precision: 'f32', summaryTokens });
        const memories = await exactMemories(model, profile, batch.references, []);
        const likelihoods = await likelihoodsOf(model, profile, batch, memories);
        for (const [i, likelihood] of likelihoods.entries()) {
          assert.ok(Math.abs((nll[i] as number) - likelihood) < 1e-4, `token ${i}: ${likelihood}, not ${nll[i]}`);
        }
        assert.equal(likelihoods.length, nll.length);
        await model.releaseSessions();
      }
    });
  }

  it('is not gone on from where a part of it would be lost', async () => {
    const opened = async (tensors: ReadonlyMap<string, TensorToWrite>, profile: Partial<AdapterCard['profile']>) => {
      const folder = temporaryFolder();
      const card = await cardFor(file, { scale });
      const whole = { ...card, profile: { ...card.profile, ...profile } };
      writeAdapter(folder.path, whole, tensors, file.config);
      return { folder, adapter: await openAdapter(folder.path, file) };
    };
    const lora = { rank: 2, scale, projections: ['q_proj'] } as const;
    await using trainer = await ModelTrainer.open(file, device, { lora, longest: 64 });
    const companions = await adapterTensors(trainer);
    {
      await using withSummary = await ModelTrainer.open(file, device, { lora, summaryTokens: 3, longest: 64 });
      const profile = { scoring: 'summary', keptTokens: 3 } as const;
      const { folder, adapter } = await opened(await adapterTensors(withSummary), profile);
      using _ = folder;
      using __ = adapter;
      assert.throws(() => adapterState(adapter, trainer), { code: 'mismatch', message: /--summary-tokens 3/ });
      assert.ok(adapterState(adapter, withSummary).tensors.size > 0);
    }
    for (const name of ['model.norm.weight', 'model.layers.0.mlp.down_proj.weight']) {
      const { folder, adapter } = await opened(new Map([...companions, ...randomTensors(file, [name], 2, 0.1)]), {});
      using _ = folder;
      using __ = adapter;
      assert.throws(() => adapterState(adapter, trainer), {
        code: 'mismatch',
        message: new RegExp(`"${name}".*\n.*--from`),
      });
    }
  });

  it('is none where all weights were trained', async () => {
    await using trainer = await ModelTrainer.open(file, device, { lora: null, longest: 64 });
    await assert.rejects(adapterTensors(trainer), { code: 'usage' });
  });
});
