/** Tokens chosen by weights under training against those that the merged model keeps when it writes. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { openFamily } from '../../test/support/families.ts';
import { pretendTrained, trainedModel } from '../../test/support/trained.ts';
import { type AnswerClassifier, classifierShape } from '../memory/answer-classifier.ts';
import { LanguageModel, type ModelSource } from '../memory/model.ts';
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
  let answerClassifier: AnswerClassifier;
  before(async () => {
    file = await openFamily('qwen3');
    device = new Device({ threads: 1 });
    trainer = await ModelTrainer.open(file, device, { lora: { rank: 2, scale: 1.5 }, longest: 16, decay: 0 });
    await pretendTrained(trainer);
    const shape = classifierShape(file.config, [0, 1], 1);
    const data = Float32Array.from({ length: shape[1] }, (_, i) => 0.5 * Math.sin(3 * i + 1));
    answerClassifier = { layers: [0, 1], weights: { kind: 'dense', shape, data } };
  });
  after(async () => {
    await device[Symbol.asyncDispose]();
    file[Symbol.dispose]();
  });

  it('refuses to choose by a classifier that there is not', async () => {
    const choice = { profile: profileOf({ scoring: 'answer-weighted' }), keptTokens: 4 };
    await assert.rejects(chooseTokens(trainer, references, choice), { code: 'usage', message: /no classifier/ });
  });

  const written = async (model: LanguageModel, profile: MemoryProfile) => {
    const bodies = references.map((tokens) => ({ tokens }));
    const encoded = await encodeReferences(model, profile, bodies, repeatPrompt);
    return encoded.map((one, i) => selectAll(model, profile, one, bodies[i] as { tokens: number[] }));
  };

  for (const scoring of scorings.filter((each) => each !== 'summary')) {
    for (const keptTokens of [4, 'all'] as const) {
      it(`by ${scoring}, ${keptTokens} are those that the merged model keeps`, async () => {
        const profile = profileOf({ scoring, keptTokens });
        const choice = { profile, keptTokens, answerClassifier };
        const chosen = await chooseTokens(trainer, references, choice, repeatPrompt);
        const { source } = await trainedModel(file, trainer);
        const modelOf = (from: ModelSource) => new LanguageModel(from, device, { precision: 'f32', answerClassifier });
        assert.deepEqual(chosen, await written(modelOf(source), profile));
        if (keptTokens === 'all' || scoring === 'random') return;
        const base = await written(modelOf(file), profile);
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
    for (const scoring of ['reconstruction', 'random', 'answer-weighted'] as const) {
      const profile = profileOf({ scoring });
      const tokens = references[0] as number[];
      const context = { kind: 'question', tokens, weights: tokens.map(() => 1), references: [1, 2] } as const;
      const group = { references, contexts: [context], cut: 0 };
      const options: ConversionTrainingOptions = {
        ...{ trainer, stream: { group: () => group }, kept: [4] },
        memory: { profile, summaryTokens: 0, answerClassifier },
        ...{ validation: [group], sequenceTokens: 20, passTokens: 100, repeatPrompt },
      };
      const choice = { profile, keptTokens: 4, answerClassifier };
      const chosen = await chooseTokens(trainer, references, choice, repeatPrompt);
      const sequences = [{ tokens, weights: context.weights, chunks: [context.references] }];
      const memory = { profile, keptTokens: 4, chunkTokens: null, summaryTokens: 0, chosen };
      const { sum, weight } = await trainer.measure({ references, sequences }, memory);
      const training = new ConversionTraining(options);
      assert.deepEqual(await training.validate(), { 'questions, 4 kept': sum / weight });
      await assert.rejects(training.validate(AbortSignal.abort()), { name: 'AbortError' });
      const { loss } = await training.step(0);
      assert.ok(Math.abs(loss - sum / weight) < 1e-5);
      const { repeatPrompt: _, ...without } = options;
      if (scoring === 'reconstruction') assert.throws(() => new ConversionTraining(without), { code: 'usage' });
      else new ConversionTraining(without);
    }
  });

  it('is asked for where a training graph cannot choose', async () => {
    const sequences = [{ tokens: [1, 2, 3], weights: [0, 1, 1], chunks: [[0]] }];
    for (const scoring of ['reconstruction', 'random', 'answer-weighted', 'summary'] as const) {
      const memory = { profile: profileOf({ scoring }), keptTokens: 4, chunkTokens: null, summaryTokens: 0 };
      await assert.rejects(trainer.measure({ references, sequences }, memory), { code: 'usage' });
    }
  });
});
