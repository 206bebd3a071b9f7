/** Both fine-tunings on a tiny random model: what they compute, and that they learn and go on exactly. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { comparableLog } from '../../../test/support/small-network.ts';
import { temporaryFolder } from '../../../test/support/temporary.ts';
import { type TinyModel, tinyModel } from '../../../test/support/tiny-trained.ts';
import { seededRandom } from '../../generate/sampling.ts';
import type { TensorToWrite } from '../../model/safetensors-writer.ts';
import { Device, type TensorData } from '../../runtime/device.ts';
import { batchInputs, targetNames } from '../batch.ts';
import { crossEntropyObjective, ModelTrainer, type ModelTrainerOptions, type Objective } from '../model-trainer.ts';
import { runTraining } from '../run.ts';
import { readRunCheckpoint } from '../run-folder.ts';
import type { Pass } from '../step.ts';
import type { Trainable } from '../trainable.ts';
import { type FineTuningMemory, packedBatch, sideBySideBatch } from './batches.ts';
import { encodeConversation, type TrainingSample } from './chat-examples.ts';
import { DirectPreference, type FrozenPair, pairLikelihoods } from './dpo.ts';
import { preferenceInputs, preferenceNames, preferenceObjective } from './preference-objective.ts';
import { encodePreference } from './preferences.ts';
import type { SampleRecall } from './sample-recall.ts';
import { type PackedSamples, packAll, SupervisedFineTuning } from './sft.ts';

let tiny: TinyModel;
let device: Device;
before(async () => {
  tiny = await tinyModel();
  device = new Device({ threads: 1 });
});
after(() => device[Symbol.asyncDispose]());

const origin = 'test';
const allWeights: ModelTrainerOptions = { lora: null, longest: 512 };
const lora: ModelTrainerOptions = { lora: { rank: 4, scale: 2 }, longest: 512 };

function sample(question: string, answer: string): TrainingSample {
  const messages = [
    { role: 'user', content: question },
    { role: 'assistant', content: answer },
  ] as const;
  return encodeConversation({ template: null, tokenizer: tiny.tokenizer }, messages, { origin });
}

/** Some samples, of one to three chunks; the third asks about nothing that is known. */
function samples(): TrainingSample[] {
  return [
    sample('Who wrote the theory?', 'She wrote it in the winter.'),
    sample(`${'What is the question about? '.repeat(4)}`, 'It is about the theory of things, and of the answers.'),
    sample('nothing', 'No reference is known.'),
    sample('Where?', 'Here.'),
  ];
}

/** References by what is in a sample's text; another `variant`, other references. */
function textRecall(variant = 0): SampleRecall & { calls: number } {
  const reference = (id: number) => ({
    id,
    tokens: tiny.tokenizer.encode(` note ${(id + variant) % 10}: the thing ${'abcdefghij'[id % 10]} is of the theory`),
  });
  return {
    calls: 0,
    async recall(given) {
      this.calls++;
      const longest = given.reduce((a, b) => (b.tokens.length > a.tokens.length ? b : a));
      const text = tiny.tokenizer.decode([...longest.tokens]);
      const chunks = Math.ceil(longest.tokens.length / 64);
      if (text.includes('nothing')) return Array.from({ length: chunks }, () => []);
      const first = text.length;
      return Array.from({ length: chunks }, (_, chunk) => [0, 1].map((i) => reference(first + chunk + i)));
    },
  };
}

function memoryOf(recall: SampleRecall): FineTuningMemory {
  return { profile: tiny.profile, recall };
}

function pairs(): FrozenPair['pair'][] {
  const preference = (messages: string, chosen: string, rejected: string) =>
    encodePreference(
      { template: null, tokenizer: tiny.tokenizer },
      { messages: [{ role: 'user', content: messages }], chosen, rejected, cutRounds: 0, origin },
    );
  return [
    preference('Who wrote the theory?', 'She did.', 'Nobody knows who did it, or when.'),
    preference('Where?', 'Here, in the winter of the theory.', 'There.'),
    preference('nothing', 'Good.', 'Bad.'),
  ];
}

async function frozen(trainer: ModelTrainer, memory: FineTuningMemory | null): Promise<FrozenPair[]> {
  const result: FrozenPair[] = [];
  for (const pair of pairs()) result.push({ pair, frozen: await pairLikelihoods(trainer, pair, memory) });
  return result;
}

function close(actual: number, expected: number, tolerance: number): void {
  assert.ok(Math.abs(actual - expected) <= tolerance, `${actual} is not ${expected} up to ${tolerance}`);
}

describe('packed samples', () => {
  for (const withMemory of [false, true]) {
    it(`have the losses that they have alone, ${withMemory ? 'with' : 'without'} references`, async () => {
      await using trainer = await ModelTrainer.open(tiny, device, allWeights);
      const memory = withMemory ? memoryOf(textRecall()) : null;
      const all = samples();
      const packed = await packAll(all, { length: 448, memory: withMemory });
      assert.equal(packed.sequences.length, 1);
      const { nll, sum, weight } = await measure(trainer, packed, memory);
      const order = packed.sequences[0]?.segments.map((segment) => segment.sample) ?? [];
      const alone: number[] = [];
      for (const number of order) {
        const one = await packAll([all[number] as TrainingSample], { length: 448, memory: withMemory });
        alone.push(...(await measure(trainer, one, memory)).nll);
      }
      assert.equal(nll.length, weight);
      assert.equal(alone.length, nll.length);
      for (const [i, value] of nll.entries()) close(value, alone[i] as number, 1e-4);
      close(
        sum,
        alone.reduce((a, b) => a + b, 0),
        1e-2,
      );
    });
  }

  it('see the references of their own chunks only', async () => {
    await using trainer = await ModelTrainer.open(tiny, device, allWeights);
    const [first, second] = [samples()[0] as TrainingSample, samples()[1] as TrainingSample];
    const packed = await packAll([first, second], { length: 448, memory: true });
    const both = textRecall();
    const changed = textRecall(1);
    const mixed: SampleRecall = { recall: (given) => (given[0] === first ? changed : both).recall(given) };
    const before = await measure(trainer, packed, memoryOf(both));
    const after = await measure(trainer, packed, memoryOf(mixed));
    const without = await measure(trainer, packed, null);
    // The longer sample comes first.
    const own = second.weights.filter((weight) => weight > 0).length;
    assert.deepEqual(after.nll.slice(0, own), before.nll.slice(0, own));
    assert.ok(Math.abs((after.nll[own] as number) - (before.nll[own] as number)) > 1e-4);
    assert.ok(Math.abs((without.nll[0] as number) - (before.nll[0] as number)) > 1e-4);
  });
});

async function measure(trainer: ModelTrainer, { samples, sequences }: PackedSamples, memory: FineTuningMemory | null) {
  assert.equal(sequences.length, 1);
  const { batch, memory: own } = await packedBatch(trainer, sequences[0] as never, samples, memory);
  const { nll, sum, weight } = await trainer.measure(batch, own);
  return { nll: [...nll], sum, weight };
}

describe('preference loss', () => {
  for (const [name, options] of [
    ['all weights', allWeights],
    ['LoRA', lora],
  ] as const) {
    it(`is ln 2 before the first step: ${name}`, async () => {
      for (const memory of [null, memoryOf(textRecall())]) {
        await using trainer = await ModelTrainer.open(tiny, device, options);
        const training = await frozen(trainer, memory);
        const dpo = new DirectPreference({
          trainer,
          training,
          validation: training,
          memory,
          beta: 0.01,
          batch: 3,
          seed: 1,
        });
        close((await dpo.validate()).preferences as number, Math.LN2, 1e-5);
        close((await dpo.step(1e-3)).loss, Math.LN2, 1e-5);
        assert.ok(((await dpo.validate()).preferences as number) < Math.LN2 - 1e-5);
      }
    });
  }

  it('is what the formula says of other likelihoods, and sums over pairs', async () => {
    await using trainer = await ModelTrainer.open(tiny, device, allWeights);
    const beta = 0.3;
    const given = await frozen(trainer, null);
    // A frozen model of another opinion.
    const shifts = [4, -7, 0.5];
    let expected = 0;
    for (const shift of shifts) expected += Math.log1p(Math.exp(beta * shift));
    const two = [given[0], given[1], given[2]] as FrozenPair[];
    const batch = {
      references: [],
      sequences: two.flatMap(({ pair }) =>
        [pair.chosen, pair.rejected].map(({ tokens, weights }) => ({
          tokens: [...tokens],
          weights: [...weights],
          chunks: [[]],
        })),
      ),
    };
    const { inputs } = batchInputs(tiny.config, batch, undefined);
    const rows = two.map(({ pair, frozen: { chosen, rejected } }, i) => ({
      chosen: pair.chosen.weights.filter((weight) => weight > 0).length,
      rejected: pair.rejected.weights.filter((weight) => weight > 0).length,
      frozen: chosen - rejected + (shifts[i] as number),
    }));
    const { [targetNames.weights]: _, ...own } = inputs;
    const outputs = await trainer.measureObjective(
      preferenceObjective(beta),
      { ...own, ...preferenceInputs(rows) },
      undefined,
      [preferenceNames.loss, preferenceNames.scores],
    );
    close(outputs[preferenceNames.loss]?.data[0] as number, expected, 1e-4);
    for (const [i, shift] of shifts.entries()) {
      close(outputs[preferenceNames.scores]?.data[i] as number, -beta * shift, 1e-4);
    }
  });
});

describe('gradients', () => {
  it('of both losses are central differences, with and without references', async () => {
    const packed = await packAll(samples(), { length: 448, memory: true });
    await using trainer = await ModelTrainer.open(tiny, device, allWeights);
    const memory = memoryOf(textRecall());
    for (const own of [null, memory]) {
      const supervised = await packedBatch(trainer, packed.sequences[0] as never, packed.samples, own);
      const { inputs } = batchInputs(tiny.config, supervised.batch, supervised.memory);
      await checkDirections(crossEntropyObjective, 'loss', inputs, supervised);
      const [pair] = pairs() as [FrozenPair['pair']];
      const likelihoods = await pairLikelihoods(trainer, pair, own);
      const preference = await sideBySideBatch(trainer, [pair.chosen, pair.rejected], own);
      const { inputs: pairInputs } = batchInputs(tiny.config, preference.batch, preference.memory);
      const { [targetNames.weights]: _, ...rest } = pairInputs;
      const rows = {
        chosen: pair.chosen.weights.filter((weight) => weight > 0).length,
        rejected: pair.rejected.weights.filter((weight) => weight > 0).length,
        // Of another opinion, so that the loss is curved here.
        frozen: likelihoods.chosen - likelihoods.rejected + 3,
      };
      await checkDirections(
        preferenceObjective(0.2),
        preferenceNames.loss,
        { ...rest, ...preferenceInputs([rows]) },
        preference,
      );
    }
  });
});

/** The derivatives along the gradient, and along its values with random signs. */
async function checkDirections(
  objective: Objective,
  lossName: string,
  inputs: Readonly<Record<string, TensorData>>,
  { memory }: Pass,
): Promise<void> {
  await using trainer = await ModelTrainer.open(tiny, device, allWeights);
  await trainer.accumulateObjective(objective, inputs, 1, memory, [lossName]);
  const gradients = [...(await trainer.gradients())].map(([name, { data }]) => ({ name, data }));
  const squares = gradients.reduce((sum, { data }) => sum + data.reduce((part, value) => part + value * value, 0), 0);
  const norm = Math.sqrt(squares);
  assert.ok(norm > 1e-3);
  const random = seededRandom(7);
  const directions = [
    gradients.map(({ data }) => data.map((value) => value / norm)),
    gradients.map(({ data }) => data.map((value) => ((random() < 0.5 ? -1 : 1) * value) / norm)),
  ];
  const begun = await trainer.state();
  const lossAt = async (direction: readonly Float32Array[], length: number) => {
    const tensors = new Map(begun.tensors);
    for (const [i, { name }] of gradients.entries()) {
      const { shape, data } = begun.tensors.get(`weights:${name}`) as TensorToWrite;
      const moved = data.map((value, j) => value + length * ((direction[i] as Float32Array)[j] as number));
      tensors.set(`weights:${name}`, { shape, data: moved });
    }
    await trainer.restore({ tensors, values: begun.values });
    return (await trainer.measureObjective(objective, inputs, memory, [lossName]))[lossName]?.data[0] as number;
  };
  for (const direction of directions) {
    const slope = direction.reduce(
      (sum, data, i) => sum + data.reduce((part, value, j) => part + value * (gradients[i]?.data[j] as number), 0),
      0,
    );
    const length = 2e-3;
    const difference = ((await lossAt(direction, length)) - (await lossAt(direction, -length))) / (2 * length);
    close(difference, slope, 1e-4 * norm);
  }
}

describe('runs', () => {
  const makers: Readonly<Record<string, (trainer: ModelTrainer) => Promise<Trainable>>> = {
    async sft(trainer) {
      const training = await packAll(samples(), { length: 192, memory: true });
      assert.ok(training.sequences.length > 1);
      const memory = memoryOf(textRecall());
      return new SupervisedFineTuning({ trainer, training, validation: training, memory, batch: 2, seed: 3 });
    },
    async dpo(trainer) {
      const memory = memoryOf(textRecall());
      const training = await frozen(trainer, memory);
      return new DirectPreference({ trainer, training, validation: training, memory, beta: 0.5, batch: 2, seed: 3 });
    },
  };
  for (const [name, make] of Object.entries(makers)) {
    it(`of ${name} learn, and go on bit for bit where they stopped`, async () => {
      using whole = temporaryFolder();
      using parts = temporaryFolder();
      const run = async (folder: string, stopAfter: number | null) => {
        await using trainer = await ModelTrainer.open(tiny, device, lora);
        const trainable = await make(trainer);
        const stop = new AbortController();
        return await runTraining(trainable, {
          folder,
          config: {},
          steps: 8,
          schedule: { kind: 'cosine', rate: 0.02 },
          checkpointEvery: 2,
          validateEvery: 4,
          signal: stop.signal,
          onEvent: (event) => {
            if (event.kind === 'step' && event.step === stopAfter) stop.abort();
          },
        });
      };
      await run(whole.path, null);
      assert.equal((await run(parts.path, 3)).finished, false);
      assert.equal((await run(parts.path, null)).finished, true);
      assert.deepEqual(comparableLog(parts.path), comparableLog(whole.path));
      const [a, b] = [readRunCheckpoint(whole.path), readRunCheckpoint(parts.path)];
      assert.deepEqual(b.state, a.state);
      const log = comparableLog(whole.path) as { kind: string; losses?: Record<string, number> }[];
      const losses = log.flatMap((event) => (event.losses === undefined ? [] : [Object.values(event.losses)[0]]));
      assert.equal(losses.length, 3);
      assert.ok((losses[2] as number) < 0.9 * (losses[0] as number), `${losses}`);
    });
  }

  it('without memory recall nothing', async () => {
    await using trainer = await ModelTrainer.open(tiny, device, allWeights);
    const training = await packAll(samples(), { length: 192, memory: false });
    const sft = new SupervisedFineTuning({ trainer, training, validation: training, memory: null, batch: 1, seed: 0 });
    const before = (await sft.validate()).answers as number;
    let counted = 0;
    for (const { tokens, weights } of samples()) {
      const { batch } = {
        batch: { references: [], sequences: [{ tokens: [...tokens], weights: [...weights], chunks: [[]] }] },
      };
      counted += (await trainer.measure(batch)).sum;
    }
    const weight = samples().reduce((sum, { weights }) => sum + weights.reduce((a, b) => a + b, 0), 0);
    close(before, counted / weight, 1e-5);
    for (let i = 0; i < 4; i++) await sft.step(0.01);
    assert.ok(((await sft.validate()).answers as number) < before);
  });

  it('end a validation between two passes', async () => {
    await using trainer = await ModelTrainer.open(tiny, device, lora);
    const packed = await packAll(samples(), { length: 192, memory: true });
    assert.ok(packed.sequences.length > 1);
    const validation = await frozen(trainer, null);
    const tunings = [
      (memory: FineTuningMemory) =>
        new SupervisedFineTuning({ trainer, training: packed, validation: packed, memory, batch: 1, seed: 0 }),
      (memory: FineTuningMemory) =>
        new DirectPreference({ trainer, training: validation, validation, memory, beta: 0.1, batch: 1, seed: 0 }),
    ];
    for (const tuning of tunings) {
      const interrupt = new AbortController();
      const recall = textRecall();
      const first: SampleRecall = {
        async recall(given) {
          interrupt.abort();
          return await recall.recall(given);
        },
      };
      await assert.rejects(tuning(memoryOf(first)).validate(interrupt.signal), { name: 'AbortError' });
      assert.equal(recall.calls, 1);
    }
  });

  it('refuse a set with nothing to learn from', async () => {
    await using trainer = await ModelTrainer.open(tiny, device, lora);
    const training = await packAll([samples()[1] as TrainingSample], { length: 64, memory: true });
    assert.deepEqual(training.leftOut, [0]);
    const options = { trainer, memory: null, batch: 1, seed: 0 };
    assert.throws(() => new SupervisedFineTuning({ ...options, training, validation: null }), { code: 'usage' });
    assert.throws(() => new DirectPreference({ ...options, training: [], validation: [], beta: 0.01 }), {
      code: 'usage',
    });
  });
});
