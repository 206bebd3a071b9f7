/** Tokens chosen by weights under training against those that the merged model keeps when it writes. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { openFamily } from '../../test/support/families.ts';
import { pretendTrained, trainedModel } from '../../test/support/trained.ts';
import { LanguageModel } from '../memory/model.ts';
import { type MemoryProfile, scorings } from '../memory/profile.ts';
import { encodeReferences, selectAll } from '../memory/writer.ts';
import type { ModelFile } from '../model/open.ts';
import { Device } from '../runtime/device.ts';
import { chooseTokens } from './choose-tokens.ts';
import { ConversionTraining, type ConversionTrainingOptions } from './conversion/training.ts';
import { ModelTrainer } from './model-trainer.ts';

const repeatPrompt = [7, 8, 11];
const references = [17, 3, 40, 9].map((length, index) => Array.from({ length }, (_, i) => (37 * i + 23 * index) % 128));
const profileOf = (changes: Partial<MemoryProfile>): MemoryProfile => ({
  ...{ layers: [0, 1], keptTokens: 4, scoring: 'received', storage: 'f16', header: [0, 5, 9] },
  ...changes,
});

describe('choosing tokens while a model is trained', () => {
  let file: ModelFile;
  let device: Device;
  let trainer: ModelTrainer;
  before(async () => {
    file = await openFamily('qwen3');
    device = new Device({ threads: 1 });
    trainer = await ModelTrainer.open(file, device, { lora: { rank: 2, scale: 1.5 }, longest: 16, decay: 0 });
    await pretendTrained(trainer);
  });
  after(async () => {
    await device[Symbol.asyncDispose]();
    file[Symbol.dispose]();
  });

  const written = async (model: LanguageModel, profile: MemoryProfile) => {
    const bodies = references.map((tokens) => ({ tokens }));
    const encoded = await encodeReferences(model, profile, bodies, repeatPrompt);
    return encoded.map((one, i) => selectAll(model, profile, one, bodies[i] as { tokens: number[] }));
  };

  for (const scoring of scorings.filter((each) => each !== 'summary' && each !== 'answer-weighted')) {
    for (const keptTokens of [4, 'all'] as const) {
      it(`by ${scoring}, ${keptTokens} are those that the merged model keeps`, async () => {
        const profile = profileOf({ scoring, keptTokens });
        const chosen = await chooseTokens(trainer, references, { profile, keptTokens }, repeatPrompt);
        const { source } = await trainedModel(file, trainer);
        assert.deepEqual(chosen, await written(new LanguageModel(source, device, { precision: 'f32' }), profile));
        if (keptTokens === 'all' || scoring === 'random') return;
        const base = await written(new LanguageModel(file, device, { precision: 'f32' }), profile);
        assert.notDeepEqual(chosen, base, 'the companions decide too');
      });
    }
  }

  it('follows the weights', async () => {
    const choice = { profile: profileOf({ layers: [1], scoring: 'reconstruction' }), keptTokens: 4 };
    const choose = () => chooseTokens(trainer, references, choice, repeatPrompt);
    const before = await choose();
    await pretendTrained(trainer, 100);
    const changed = await choose();
    await pretendTrained(trainer);
    assert.notDeepEqual(changed, before);
    assert.deepEqual(await choose(), before);
  });

  it('takes references of full length, whatever the longest sequence', async () => {
    const full = [Array.from({ length: 125 }, (_, i) => (37 * i) % 128)];
    const choice = { profile: profileOf({ scoring: 'reconstruction' }), keptTokens: 4 };
    assert.equal((await chooseTokens(trainer, full, choice, repeatPrompt))[0]?.length, 4);
    await assert.rejects(chooseTokens(trainer, [[...(full[0] as number[]), 1]], choice, repeatPrompt), {
      code: 'too-long',
    });
  });

  it('is what a conversion learns with', async () => {
    for (const scoring of ['reconstruction', 'random'] as const) {
      const profile = profileOf({ scoring });
      const tokens = references[0] as number[];
      const context = { kind: 'question', tokens, weights: tokens.map(() => 1), references: [1, 2] } as const;
      const group = { references, contexts: [context], cut: 0 };
      const options: ConversionTrainingOptions = {
        ...{ trainer, stream: { group: () => group }, memory: { profile, summaryTokens: 0 }, kept: [4] },
        ...{ validation: [group], sequenceTokens: 20, passTokens: 100, repeatPrompt },
      };
      const chosen = await chooseTokens(trainer, references, { profile, keptTokens: 4 }, repeatPrompt);
      const sequences = [{ tokens, weights: context.weights, chunks: [context.references] }];
      const memory = { profile, keptTokens: 4, chunkTokens: null, summaryTokens: 0, chosen };
      const { sum, weight } = await trainer.measure({ references, sequences }, memory);
      const training = new ConversionTraining(options);
      assert.deepEqual(await training.validate(), { 'questions, 4 kept': sum / weight });
      const { loss } = await training.step(0);
      assert.ok(Math.abs(loss - sum / weight) < 1e-5);
      const { repeatPrompt: _, ...without } = options;
      if (scoring === 'reconstruction') assert.throws(() => new ConversionTraining(without), { code: 'usage' });
      else new ConversionTraining(without);
    }
  });

  it('is asked for where a training graph cannot choose', async () => {
    const sequences = [{ tokens: [1, 2, 3], weights: [0, 1, 1], chunks: [[0]] }];
    for (const scoring of ['reconstruction', 'random', 'summary'] as const) {
      const memory = { profile: profileOf({ scoring }), keptTokens: 4, chunkTokens: null, summaryTokens: 0 };
      await assert.rejects(trainer.measure({ references, sequences }, memory), { code: 'usage' });
    }
  });
});
