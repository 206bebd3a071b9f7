/** Pretraining on made-up sequences with tiny models: which references a chunk sees, the order, other profiles. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { seededRandom } from '../../generate/sampling.ts';
import { type MemoryProfile, memoryLayers } from '../../memory/profile.ts';
import { Device } from '../../runtime/device.ts';
import { sequenceOrder } from '../data/order.ts';
import { ModelTrainer } from '../model-trainer.ts';
import { newModelConfig } from '../scratch/new-model.ts';
import { lossNames, Pretraining, type PretrainingMemory, sequenceLosses } from './pretraining.ts';
import { type SequenceSource, sequenceBatch } from './sequences.ts';
import { newModelSource } from './stage.ts';

const vocabulary = 48;
const documentStart = 1;
const header = [documentStart, 2, 3] as const;
const repeatPrompt = [4, 5];
const chunk = 64;

const random = seededRandom(5);
const randomTokens = (length: number) => Array.from({ length }, () => 4 + Math.floor(random() * (vocabulary - 4)));

interface MadeReference {
  readonly id: number;
  readonly tokens: readonly number[];
}

/** Sequences of `chunks` chunks; `found` has what each chunk of each sequence found. */
function madeSource(sequences: readonly number[][], found: readonly (MadeReference | null)[][]): SequenceSource {
  return {
    tokens: {
      count: sequences.length,
      documentStart,
      sequence: (index) => Uint32Array.from(sequences[index] as number[]),
    },
    references: {
      choices: (index) => (found[index] as (MadeReference | null)[]).map((reference) => ({ reference, refused: 0 })),
    },
  };
}

const reference = (id: number): MadeReference => ({ id, tokens: randomTokens(20) });

function profileOf(layers: number, choice: string, changes: Partial<MemoryProfile> = {}): MemoryProfile {
  return {
    layers: memoryLayers(choice, layers),
    keptTokens: 8,
    scoring: 'received',
    storage: 'f16',
    header: [...header],
    ...changes,
  };
}

let device: Device;
before(() => {
  device = new Device({ threads: 1 });
});
after(() => device[Symbol.asyncDispose]());

function openTrainer(layers: number): Promise<ModelTrainer> {
  const shape = { layers, hiddenSize: 32, heads: 4, kvHeads: 2, headDim: 8, mlpSize: 48, contextLength: 1024 };
  const config = newModelConfig(shape, vocabulary);
  return ModelTrainer.open(newModelSource(config, 3), device, { lora: null, longest: 8 * chunk });
}

describe('sequenceBatch', () => {
  it('gives each chunk its own reference and those of the four before it, each once, none where none was found', () => {
    const [a, b, c, d, e, f] = Array.from({ length: 6 }, (_, id) => reference(10 + id)) as MadeReference[];
    const found = [a, b, a, null, c, d, e, f].map((one) => one ?? null);
    const source = madeSource([randomTokens(8 * chunk), randomTokens(chunk)], [found, [a ?? null]]);
    const { references, sequences } = sequenceBatch(source, [0, 1], true);
    assert.deepEqual(
      references,
      [a, b, c, d, e, f].map((one) => one?.tokens),
    );
    assert.deepEqual(sequences[0]?.chunks, [
      [0],
      [1, 0],
      [0, 1],
      [0, 1],
      [2, 0, 1],
      [3, 2, 0, 1],
      [4, 3, 2, 0],
      [5, 4, 3, 2],
    ]);
    assert.deepEqual(sequences[1]?.chunks, [[0]]);
  });

  it('predicts every token once, behind the document-start token', () => {
    const source = madeSource([randomTokens(chunk)], [[null]]);
    const { references, sequences } = sequenceBatch(source, [0], false);
    assert.deepEqual(references, []);
    assert.deepEqual(sequences[0]?.tokens, [documentStart, ...source.tokens.sequence(0)]);
    assert.deepEqual(sequences[0]?.weights, [0, ...new Array(chunk).fill(1)]);
    assert.deepEqual(sequences[0]?.chunks, []);
  });
});

describe('what a chunk sees', () => {
  // In a model of one layer nothing passes from one place to a later one but the tokens themselves.
  it('is its own reference and those of the four chunks before it, and nothing else', async () => {
    await using trainer = await openTrainer(1);
    const sequence = randomTokens(8 * chunk);
    const found = Array.from({ length: 8 }, (_, id) => reference(id));
    const memory = { profile: profileOf(1, 'all'), keptTokens: 8, chunkTokens: chunk, summaryTokens: 0 };
    const likelihoods = async (references: readonly MadeReference[]) => {
      const { nll } = await trainer.measure(
        sequenceBatch(madeSource([sequence], [[...references]]), [0], true),
        memory,
      );
      assert.equal(nll.length, 8 * chunk);
      return Array.from({ length: 8 }, (_, c) => [...nll.subarray(c * chunk, (c + 1) * chunk)]);
    };
    const before = await likelihoods(found);
    for (const changed of [0, 2, 7]) {
      const other = await likelihoods(found.map((one, c) => (c === changed ? reference(100) : one)));
      for (let c = 0; c < 8; c++) {
        const sees = c >= changed && c <= changed + 4;
        const same = (before[c] as number[]).filter((value, i) => value === other[c]?.[i]).length;
        // Of the tokens that see a changed reference hardly one keeps its likelihood to the last bit.
        assert.ok(sees ? same < chunk / 4 : same === chunk, `reference ${changed}, chunk ${c}: ${same} of 64 same`);
      }
    }
  });

  it('is nothing in a sequence whose chunks found nothing: the ordinary model, whatever stands beside it', async () => {
    await using trainer = await openTrainer(2);
    const sequences = [randomTokens(2 * chunk), randomTokens(2 * chunk)];
    const profile = profileOf(2, 'first-half');
    const source = madeSource(sequences, [
      [null, null],
      [reference(1), null],
    ]);
    const measure = (memory: PretrainingMemory | null, passSequences: number) =>
      sequenceLosses(trainer, source, { memory, count: 2, passSequences });
    const plain = await measure(null, 1);
    for (const passSequences of [1, 2]) {
      const withMemories = await measure({ profile, repeatPrompt }, passSequences);
      assert.ok(Math.abs((withMemories[0] as number) - (plain[0] as number)) < 1e-5);
      assert.ok(Math.abs((withMemories[1] as number) - (plain[1] as number)) > 1e-4);
    }
  });
});

describe('Pretraining', () => {
  // The knowledge is what the texts repeat: a sequence is a reference said again and again.
  const count = 6;
  const bodies = Array.from({ length: count }, (_, id) => reference(id));
  const sequences = bodies.map(({ tokens }) => Array.from({ length: 2 * chunk }, (_, i) => tokens[i % 20] as number));
  const source = madeSource(
    sequences,
    bodies.map((body) => [body, body]),
  );

  async function train(trainer: ModelTrainer, memory: MemoryProfile | null, options: { steps: number; pass?: number }) {
    const read: number[] = [];
    const spied: SequenceSource = {
      ...source,
      tokens: {
        ...source.tokens,
        sequence: (index) => {
          read.push(index);
          return source.tokens.sequence(index);
        },
      },
    };
    const training = new Pretraining({
      trainer,
      source: spied,
      validation: source,
      order: sequenceOrder(1, count),
      firstDraw: 0,
      stepSequences: 3,
      passSequences: options.pass ?? 3,
      memory: memory === null ? null : { profile: memory, repeatPrompt },
      validationSequences: 4,
    });
    const losses: number[] = [];
    for (let step = 0; step < options.steps; step++) losses.push((await training.step(0.01)).loss);
    return { training, losses, read };
  }

  it('sees the same sequences in the same order with memories and without', async () => {
    await using first = await openTrainer(2);
    await using second = await openTrainer(2);
    const plain = await train(first, null, { steps: 4 });
    const memory = await train(second, profileOf(2, 'first-half'), { steps: 4, pass: 1 });
    assert.equal(plain.read.length, 12);
    assert.deepEqual(memory.read, plain.read);
    assert.deepEqual(plain.read.slice(0, 6).toSorted(), [0, 1, 2, 3, 4, 5]);
    assert.deepEqual(Object.keys(await plain.training.validate()), [lossNames.plain]);
    assert.deepEqual(Object.keys(await memory.training.validate()), [lossNames.plain, lossNames.memory]);
    await assert.rejects(memory.training.validate(AbortSignal.abort()), { name: 'AbortError' });
  });

  it('of sequences in several passes is that of all in one', async () => {
    await using first = await openTrainer(2);
    await using second = await openTrainer(2);
    const profile = profileOf(2, 'first-half');
    const together = await train(first, profile, { steps: 3 });
    const apart = await train(second, profile, { steps: 3, pass: 2 });
    for (const [step, loss] of together.losses.entries()) {
      assert.ok(Math.abs(loss - (apart.losses[step] as number)) < 1e-4, `step ${step + 1}`);
    }
  });

  for (const profile of [
    profileOf(2, 'last-half', { scoring: 'value-norm', keptTokens: 3 }),
    profileOf(2, 'all', { scoring: 'received-unnormalised', keptTokens: 'all' }),
    profileOf(2, 'all', { scoring: 'reconstruction', keptTokens: 4 }),
    profileOf(2, 'first-half', { scoring: 'random' }),
  ]) {
    it(`learns with memories in the layers ${profile.layers}, by ${profile.scoring}`, async () => {
      await using trainer = await openTrainer(2);
      const { losses, training } = await train(trainer, profile, { steps: 12 });
      assert.ok((losses.at(-1) as number) < (losses[0] as number) - 0.3, `${losses}`);
      const validation = await training.validate();
      assert.ok((validation[lossNames.memory] as number) < Math.log(vocabulary) - 0.3);
    });
  }

  it('is refused to go on from a state without a position', async () => {
    await using trainer = await openTrainer(1);
    const { training } = await train(trainer, null, { steps: 0 });
    const { tensors, values } = await training.state();
    const { draw, ...rest } = values;
    assert.equal(draw, 0);
    await assert.rejects(training.restore({ tensors, values: rest }), { code: 'damaged', message: /position/ });
  });
});
