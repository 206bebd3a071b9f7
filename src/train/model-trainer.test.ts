/**
 * A model under training, on tiny random models of every family: what it computes against inference, its gradients through
 * memories against differences of the loss, and steps that are the same however they are cut.
 */
import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { openFamily } from '../../test/support/families.ts';
import { tokenLikelihoods } from '../../test/support/likelihoods.ts';
import { seededRandom } from '../generate/sampling.ts';
import { GraphBuilder } from '../graph/graph.ts';
import { ReadingContext } from '../memory/context.ts';
import { decodeMemory } from '../memory/format.ts';
import { LanguageModel } from '../memory/model.ts';
import { type MemoryProfile, referenceTokens } from '../memory/profile.ts';
import { writeMemories } from '../memory/writer.ts';
import type { TensorToWrite } from '../model/safetensors-writer.ts';
import { Device } from '../runtime/device.ts';
import type { BatchMemory, TrainingBatch, TrainingSequence } from './batch.ts';
import { ModelTrainer, type ModelTrainerOptions } from './model-trainer.ts';
import type { TrainingState } from './trainable.ts';

const device = new Device({ threads: 1 });
after(() => device[Symbol.asyncDispose]());

const vocabulary = 128;
const header: [number, ...number[]] = [0, 17, 99];

/** Token ids that are the same in every run; no two neighbours are equal. */
function tokens(count: number, seed: number): number[] {
  return Array.from({ length: count }, (_, i) => 2 + ((seed * 31 + i * 37 + ((i * i) % 11)) % (vocabulary - 2)));
}

/** Every token after the first counts. */
function sequence(ids: readonly number[], chunks: TrainingSequence['chunks'] = [[]]): TrainingSequence {
  return { tokens: ids, weights: ids.map((_, i) => (i === 0 ? 0 : 1)), chunks };
}

function memoryOf(changes: Partial<MemoryProfile> = {}, own: Partial<BatchMemory> = {}): BatchMemory {
  const profile: MemoryProfile = {
    layers: [0, 1],
    keptTokens: 2,
    scoring: 'received',
    storage: 'f16',
    header,
    ...changes,
  };
  return { profile, keptTokens: profile.keptTokens, chunkTokens: null, summaryTokens: 0, ...own };
}

/** Bodies of different lengths, so that some are padded. */
const references = [tokens(9, 1), tokens(5, 2), tokens(12, 3)];

/** Two sequences of one chunk, one of which sees two references. */
const whole: TrainingBatch = {
  references,
  sequences: [sequence(tokens(11, 4), [[2, 0]]), sequence(tokens(8, 5), [[1]])],
};

/** Chunks of four tokens with references of their own, in one of them none. */
const chunked: TrainingBatch = {
  references,
  sequences: [sequence(tokens(13, 4), [[0, 1], [], [2]]), sequence(tokens(10, 5), [[1], [0, 2]])],
};

async function openTrainer(family: string, options: Partial<ModelTrainerOptions> = {}): Promise<ModelTrainer> {
  using file = await openFamily(family);
  return ModelTrainer.open(file, device, { lora: null, longest: 64, ...options });
}

/** Sum of the weighted likelihoods in f64: the graph's own sum is rounded to f32. */
async function lossOf(trainer: ModelTrainer, batch: TrainingBatch, memory: BatchMemory | undefined): Promise<number> {
  const { nll } = await trainer.measure(batch, memory);
  const weights = batch.sequences.flatMap((one) => one.weights.slice(1).filter((weight) => weight !== 0));
  return nll.reduce((sum, value, i) => sum + value * (weights[i] as number), 0);
}

const norm = (values: Float32Array) => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));

/** Moves weights by `distance` along a direction. */
function moved({ tensors, values }: TrainingState, direction: ReadonlyMap<string, Float32Array>, distance: number) {
  const changed = new Map(tensors);
  for (const [name, along] of direction) {
    const { shape, data } = tensors.get(`weights:${name}`) as TensorToWrite;
    const sum = (data as Float32Array).map((value, i) => value + distance * (along[i] as number));
    changed.set(`weights:${name}`, { shape, data: sum });
  }
  return { tensors: changed, values };
}

/** A length of 1, half along the gradient and half anywhere. */
function directionNear(gradient: Float32Array, random: () => number): Float32Array {
  const anywhere = gradient.map(() => random() + random() - 1);
  const [ownLength, otherLength] = [norm(gradient), norm(anywhere)];
  const mixed = gradient.map((value, i) => value / (ownLength || 1) + (anywhere[i] as number) / otherLength);
  const length = norm(mixed);
  return mixed.map((value) => value / length);
}

/** Compares a batch's gradient with differences of its loss, along one direction for all weights and one for each. */
async function checkGradient(trainer: ModelTrainer, batch: TrainingBatch, memory: BatchMemory | undefined) {
  const state = await trainer.state();
  await trainer.accumulate(batch, memory);
  const gradients = await trainer.gradients();
  const random = seededRandom(5);
  const directions = new Map(
    [...gradients].map(([name, { data }]) => [name, directionNear(data as Float32Array, random)] as const),
  );
  const slope = (names: readonly string[]) =>
    names.reduce((sum, name) => {
      const { data } = gradients.get(name) as TensorToWrite;
      return (
        sum + (directions.get(name) as Float32Array).reduce((own, along, i) => own + along * (data[i] as number), 0)
      );
    }, 0);
  const step = 2e-3;
  const measured = async (names: readonly string[]) => {
    const chosen = new Map(names.map((name) => [name, directions.get(name) as Float32Array]));
    await trainer.restore(moved(state, chosen, step));
    const above = await lossOf(trainer, batch, memory);
    await trainer.restore(moved(state, chosen, -step));
    const below = await lossOf(trainer, batch, memory);
    return (above - below) / (2 * step);
  };
  const names = [...gradients.keys()];
  const all = await measured(names);
  assert.ok(Math.abs(all - slope(names)) < 5e-3 * Math.abs(all), `all: ${slope(names)}, differences say ${all}`);
  const largest = Math.max(...names.map((name) => Math.abs(slope([name]))));
  for (const name of names) {
    const expected = await measured([name]);
    const off = Math.abs(expected - slope([name]));
    assert.ok(
      off < 3e-3 * Math.abs(expected) + 2e-4 * largest,
      `${name}: ${slope([name])}, differences say ${expected}`,
    );
  }
  await trainer.restore(state);
}

describe('the gradient through', () => {
  const cases: Readonly<Record<string, { family: string; batch: TrainingBatch; memory?: BatchMemory }>> = {
    'plain sequences of llama': { family: 'llama', batch: whole },
    'plain sequences of mistral, further than its window': { family: 'mistral-window', batch: whole },
    'two kept tokens in the first half of llama': { family: 'llama', batch: whole, memory: memoryOf({ layers: [0] }) },
    'two kept tokens in the last half of llama': { family: 'llama', batch: whole, memory: memoryOf({ layers: [1] }) },
    'two kept tokens in all layers of llama': { family: 'llama', batch: whole, memory: memoryOf() },
    'all tokens in all layers of qwen3': { family: 'qwen3', batch: whole, memory: memoryOf({ keptTokens: 'all' }) },
    'tokens kept by value-norm in chunks of qwen3': {
      family: 'qwen3',
      batch: chunked,
      memory: memoryOf({ scoring: 'value-norm', layers: [0] }, { chunkTokens: 4 }),
    },
    'tokens kept unnormalised in chunks of qwen2': {
      family: 'qwen2',
      batch: chunked,
      memory: memoryOf({ scoring: 'received-unnormalised', keptTokens: 3 }, { chunkTokens: 4 }),
    },
    'all tokens in chunks of mistral with its window': {
      family: 'mistral-window',
      batch: chunked,
      memory: memoryOf({ keptTokens: 'all', layers: [1] }, { chunkTokens: 4 }),
    },
    'tokens of llama that were chosen beforehand': {
      family: 'llama',
      batch: whole,
      memory: memoryOf({}, { chosen: references.map((_, i) => [0, 1, 2, 3].map((plane) => [(i + plane) % 3, 4])) }),
    },
  };
  for (const [name, { family, batch, memory }] of Object.entries(cases)) {
    it(`${name}, of all weights`, async () => {
      await using trainer = await openTrainer(family);
      await checkGradient(trainer, batch, memory);
    });
  }

  it('summary tokens, and by their embeddings', async () => {
    await using trainer = await openTrainer('qwen3', { summaryTokens: 3, seed: 4 });
    assert.ok(trainer.trained.some(({ name }) => name === 'summary_tokens'));
    await checkGradient(trainer, chunked, memoryOf({ layers: [1] }, { summaryTokens: 3, chunkTokens: 4 }));
  });

  for (const family of ['llama', 'qwen2']) {
    it(`memories of ${family}, of low-rank companions`, async () => {
      await using trainer = await openTrainer(family, { lora: { rank: 3, scale: 1.5 } });
      assert.ok(trainer.trained.every(({ name }) => name.includes('lora')));
      // B begins at zero, where A has no gradient.
      const { tensors, values } = await trainer.state();
      const random = seededRandom(8);
      const begun = [...tensors].map(([name, { shape, data }]): [string, TensorToWrite] =>
        name.startsWith('weights:')
          ? [name, { shape, data: data.map(() => 0.3 * (random() - 0.5)) }]
          : [name, { shape, data }],
      );
      await trainer.restore({ tensors: new Map(begun), values });
      await checkGradient(trainer, chunked, memoryOf({}, { chunkTokens: 4 }));
    });
  }

  it('layers that are computed again is the same', async () => {
    await using kept = await openTrainer('llama');
    await using recomputed = await openTrainer('llama', { recompute: true });
    const memory = memoryOf({ layers: [0] }, { chunkTokens: 4 });
    for (const trainer of [kept, recomputed]) await trainer.accumulate(chunked, memory);
    const expected = await kept.gradients();
    for (const [name, { data }] of await recomputed.gradients()) {
      const other = expected.get(name)?.data as Float32Array;
      const off = norm((data as Float32Array).map((value, i) => value - (other[i] as number)));
      assert.ok(off <= 1e-6 * norm(other), `${name} differs by ${off}`);
    }
  });
});

/** Likelihoods of each sequence's tokens after the first, by the graphs that answer questions. */
async function inferenceLikelihoods(family: string, batch: TrainingBatch, memory: BatchMemory): Promise<number[]> {
  using file = await openFamily(family);
  const model = new LanguageModel(file, device, { precision: 'f32' });
  const profile = { ...memory.profile, keptTokens: memory.keptTokens };
  const written = await writeMemories(
    model,
    profile,
    batch.references.map((body) => ({ tokens: body })),
  );
  const memories = written.map(decodeMemory);
  const likelihoods: number[] = [];
  for (const { tokens: ids, chunks } of batch.sequences) {
    const seesReferences = chunks.some(({ length }) => length > 0);
    await using context = await ReadingContext.open(model, {
      memory: seesReferences ? { profile, memories: 2 } : null,
    });
    const chunk = memory.chunkTokens ?? referenceTokens;
    const logits: number[] = [];
    for (let start = 0; start + 1 < ids.length; start += chunk) {
      const recalled = chunks[memory.chunkTokens === null ? 0 : start / chunk] ?? [];
      if (seesReferences) await context.useMemories(recalled.map((index) => memories[index] as (typeof memories)[0]));
      const { data } = await context.extend([ids.slice(start, Math.min(start + chunk, ids.length - 1))], 'all');
      logits.push(...data);
    }
    likelihoods.push(...tokenLikelihoods({ rows: ids.length - 1, data: Float32Array.from(logits) }, ids));
  }
  await model.releaseSessions();
  return likelihoods;
}

describe('the forward pass of training', () => {
  const withPlain = (batch: TrainingBatch) => ({ ...batch, sequences: [...batch.sequences, sequence(tokens(9, 6))] });
  for (const [family, profile, batch, chunkTokens] of [
    ['llama', { keptTokens: 2 }, whole, null],
    ['llama', { keptTokens: 2, layers: [0] }, chunked, 4],
    ['qwen3', { keptTokens: 'all', layers: [1] }, chunked, 4],
    ['qwen3', { keptTokens: 4, scoring: 'value-norm' }, chunked, 4],
    ['qwen2', { keptTokens: 3, scoring: 'received-unnormalised' }, chunked, 4],
    ['mistral-window', { keptTokens: 'all' }, chunked, 4],
    ['mistral-window', { keptTokens: 7, layers: [1] }, whole, null],
  ] as const) {
    it(`is what ${family} says with memories (${JSON.stringify(profile)}, chunks of ${chunkTokens})`, async () => {
      const memory = memoryOf(profile, { chunkTokens });
      const mixed = withPlain(batch);
      await using trainer = await openTrainer(family);
      const { nll } = await trainer.measure(mixed, memory);
      const expected = await inferenceLikelihoods(family, mixed, memory);
      assert.equal(nll.length, expected.length);
      const difference = (other: readonly number[] | Float32Array) =>
        Math.max(...other.map((value, i) => Math.abs(value - (nll[i] as number))));
      // Inference keeps memories in half precision.
      assert.ok(difference(expected) < 5e-3, `${difference(expected)}`);
      const { nll: without } = await trainer.measure(mixed);
      assert.ok(difference(without) > 0.1, 'memories change what the model says');
    });
  }
});

describe('a step', () => {
  const memory = memoryOf({}, { chunkTokens: 4 });

  it('of packed samples has the loss and the gradient of the same samples alone', async () => {
    const samples = [tokens(6, 1), tokens(4, 2), tokens(7, 3)];
    const packed: TrainingSequence = {
      tokens: samples.flat(),
      weights: samples.flatMap((ids) => ids.map((_, i) => (i === 0 ? 0 : 1))),
      samples: samples.flatMap((ids, sample) => ids.map(() => sample)),
      chunks: [[]],
    };
    for (const family of ['llama', 'mistral-window']) {
      await using trainer = await openTrainer(family);
      const alone = { references: [], sequences: samples.map((ids) => sequence(ids)) };
      const together = { references: [], sequences: [packed] };
      const [expected, actual] = [await trainer.measure(alone), await trainer.measure(together)];
      for (const [i, value] of expected.nll.entries()) assert.ok(Math.abs(value - (actual.nll[i] as number)) < 1e-4);
      assert.ok(Math.abs(expected.sum - actual.sum) < 1e-3);
      assert.equal(expected.weight, actual.weight);
      await gradientsAgree(trainer, [alone], [together], undefined);
    }
  });

  it('of samples that share their beginning has the loss and the gradient of the same samples alone', async () => {
    const beginning = tokens(7, 1);
    const ends = [tokens(4, 2), tokens(1, 3), tokens(6, 4)];
    const weights = (ids: readonly number[]) => ids.map((_, i) => i + 1);
    const nothing = beginning.map(() => 0);
    const alone = {
      references: [],
      sequences: ends.map((end) => ({
        tokens: [...beginning, ...end],
        weights: [...nothing, ...weights(end)],
        chunks: [[]],
      })),
    };
    const shared: TrainingSequence = {
      tokens: [...beginning, ...ends.flat()],
      weights: [...nothing, ...ends.flatMap(weights)],
      samples: [...nothing, ...ends.flatMap((end, sample) => end.map(() => sample))],
      shared: beginning.length,
      chunks: [[]],
    };
    const together = { references: [], sequences: [shared, sequence(tokens(5, 9))] };
    const separate = { references: [], sequences: [...alone.sequences, sequence(tokens(5, 9))] };
    for (const family of ['llama', 'mistral-window']) {
      await using trainer = await openTrainer(family);
      const [expected, actual] = [await trainer.measure(separate), await trainer.measure(together)];
      for (const [i, value] of expected.nll.entries()) assert.ok(Math.abs(value - (actual.nll[i] as number)) < 1e-4);
      assert.equal(expected.weight, actual.weight);
      await gradientsAgree(trainer, [separate], [together], undefined);
      await assert.rejects(trainer.measure({ ...together, references }, memory), { code: 'usage' });
    }
  });

  it('of packed samples with references, each in chunks of its own, is that of the same samples alone', async () => {
    const samples = [tokens(8, 1), tokens(4, 2), tokens(9, 3)];
    const own = [[[0, 1], [2]], [[1]], [[0], [], [2]]];
    const packed: TrainingSequence = {
      tokens: samples.flat(),
      weights: samples.flatMap((ids) => ids.map((_, i) => (i === 0 ? 0 : 1))),
      samples: samples.flatMap((ids, sample) => ids.map(() => sample)),
      chunks: own.flat(),
    };
    await using trainer = await openTrainer('qwen3');
    const alone = { references, sequences: samples.map((ids, i) => sequence(ids, own[i] as number[][])) };
    const together = { references, sequences: [packed] };
    const [expected, actual] = [await trainer.measure(alone, memory), await trainer.measure(together, memory)];
    for (const [i, value] of expected.nll.entries()) assert.ok(Math.abs(value - (actual.nll[i] as number)) < 1e-4);
    await gradientsAgree(trainer, [alone], [together], memory);
  });

  it('over two halves is that over the whole batch', async () => {
    await using trainer = await openTrainer('llama');
    const halves = chunked.sequences.map((one) => ({ references, sequences: [one] }));
    await gradientsAgree(trainer, [chunked], halves, memory);
    const begin = await trainer.state();
    const update = async (batches: readonly TrainingBatch[]) => {
      await trainer.restore(begin);
      for (const batch of batches) await trainer.accumulate(batch, memory);
      return { length: await trainer.update(1e-2), weights: await trainer.tensors() };
    };
    const [one, two] = [await update([chunked]), await update(halves)];
    assert.ok(Math.abs(one.length - two.length) < 1e-5 * one.length);
    for (const [name, { data }] of one.weights) {
      const other = two.weights.get(name)?.data as Float32Array;
      const off = norm((data as Float32Array).map((value, i) => value - (other[i] as number)));
      // The first step of Adam is the sign of the gradient, also of numbers that are all but zero.
      assert.ok(off < 1e-2 * norm(other), `${name} differs by ${off}`);
    }
  });

  it('after a state was put back is the uninterrupted one, bit for bit', async () => {
    const options = { lora: { rank: 2, scale: 1 }, summaryTokens: 2 };
    const summary = memoryOf({}, { chunkTokens: 4, summaryTokens: 2 });
    const step = async (trainer: ModelTrainer, batch: TrainingBatch) => {
      const { sum } = await trainer.accumulate(batch, memory);
      const again = await trainer.accumulate(batch, summary);
      return [sum, again.sum, await trainer.update(3e-3)];
    };
    await using first = await openTrainer('llama', options);
    await step(first, chunked);
    const state = await first.state();
    assert.deepEqual(state.values, { updates: 1 });
    // What is kept is a copy.
    const kept = structuredClone(state);
    const expected = [
      await step(first, { ...chunked, sequences: chunked.sequences.toReversed() }),
      await first.state(),
    ];
    assert.deepEqual(state, kept);
    await using second = await openTrainer('llama', { ...options, seed: 9 });
    // Gradients from before are not part of the state.
    await second.accumulate(chunked, memory);
    for (const trainer of [second, first]) {
      await trainer.restore(state);
      const actual = [
        await step(trainer, { ...chunked, sequences: chunked.sequences.toReversed() }),
        await trainer.state(),
      ];
      assert.deepEqual(actual, expected);
    }
  });

  it('lowers the loss, and leaves frozen weights alone', async () => {
    for (const lora of [null, { rank: 4, scale: 1 }]) {
      await using trainer = await openTrainer('qwen3', { lora });
      const before = await lossOf(trainer, chunked, memory);
      for (let i = 0; i < 5; i++) {
        await trainer.accumulate(chunked, memory);
        await trainer.update(1e-2);
      }
      assert.ok((await lossOf(trainer, chunked, memory)) < 0.8 * before);
      assert.equal(
        trainer.trained.some(({ name }) => name === 'model.norm.weight'),
        lora === null,
      );
    }
  });

  it('is AdamW by the mean gradient, clipped; vectors do not decay', async () => {
    const [rate, decay, clip] = [1e-2, 0.5, 0.3];
    await using trainer = await openTrainer('llama', { decay, clip });
    const before = await trainer.tensors();
    const { weight } = await trainer.accumulate(whole);
    const gradients = await trainer.gradients();
    let squares = 0;
    for (const { data } of gradients.values())
      for (const value of data as Float32Array) squares += (value / weight) ** 2;
    const length = await trainer.update(rate);
    assert.ok(Math.abs(length - Math.sqrt(squares)) < 1e-6 * length);
    assert.ok(length > clip, 'the gradient is clipped');
    for (const [name, { shape, data }] of await trainer.tensors()) {
      const old = before.get(name)?.data as Float32Array;
      const gradient = gradients.get(name)?.data as Float32Array;
      const shrink = shape.length === 1 ? 1 : 1 - rate * decay;
      for (const [i, value] of (data as Float32Array).entries()) {
        const g = ((gradient[i] as number) / weight) * (clip / length);
        // In the first step m / c1 = g and v / c2 = g².
        const expected = shrink * (old[i] as number) - (rate * g) / (Math.abs(g) + 1e-8);
        assert.ok(Math.abs(value - expected) < 1e-5, `${name}[${i}] is ${value}, not ${expected}`);
      }
    }
    for (const { data } of (await trainer.gradients()).values()) assert.ok(data.every((value) => value === 0));
  });
});

/** Asserts that two lists of batches add up to the same gradient; nothing is left of it. */
async function gradientsAgree(
  trainer: ModelTrainer,
  some: readonly TrainingBatch[],
  others: readonly TrainingBatch[],
  memory: BatchMemory | undefined,
): Promise<void> {
  const begin = await trainer.state();
  const accumulated = async (batches: readonly TrainingBatch[]) => {
    for (const batch of batches) await trainer.accumulate(batch, memory);
    const gradients = await trainer.gradients();
    await trainer.restore(begin);
    return gradients;
  };
  const expected = await accumulated(some);
  for (const [name, { data }] of await accumulated(others)) {
    const other = expected.get(name)?.data as Float32Array;
    const off = norm((data as Float32Array).map((value, i) => value - (other[i] as number)));
    assert.ok(off < 1e-5 * norm(other) + 1e-7, `${name} differs by ${off} of ${norm(other)}`);
  }
}

describe('a trainer', () => {
  it('refuses to update without a gradient', async () => {
    await using trainer = await openTrainer('llama');
    await assert.rejects(trainer.update(1e-3), { code: 'usage', message: /nothing to learn from/ });
    const silent = { references: [], sequences: [{ ...sequence(tokens(5, 1)), weights: [0, 0, 0, 0, 0] }] };
    const { sum, weight } = await trainer.accumulate(silent);
    assert.deepEqual([sum, weight], [0, 0]);
    await assert.rejects(trainer.update(1e-3), { code: 'usage' });
    const before = await trainer.tensors();
    assert.ok([...before.values()].every(({ data }) => data.every((value) => !Number.isNaN(value))));
  });

  it('refuses sequences that are longer than its tables', async () => {
    await using trainer = await openTrainer('llama', { longest: 8 });
    const batchOf = (count: number) => ({ references, sequences: [sequence(tokens(count, 1), [[0]])] });
    await trainer.measure(batchOf(9), memoryOf());
    const refusal = { code: 'too-long', message: /position 136, the trainer's positions end at 136/ };
    await assert.rejects(trainer.measure(batchOf(10), memoryOf()), refusal);
    await assert.rejects(trainer.accumulate(batchOf(10), memoryOf()), refusal);
  });

  it('refuses states that are not its own', async () => {
    await using trainer = await openTrainer('llama', { lora: { rank: 2, scale: 1 } });
    await using other = await openTrainer('llama', { lora: { rank: 3, scale: 1 } });
    const { tensors, values } = await trainer.state();
    await assert.rejects(other.restore({ tensors, values }), {
      code: 'damaged',
      message: /no weights of ".*lora_A" \[3,48\]/,
    });
    await assert.rejects(trainer.restore({ tensors, values: {} }), { code: 'damaged', message: /number of updates/ });
    const without = new Map([...tensors].filter(([name]) => !name.startsWith('square:')));
    await assert.rejects(trainer.restore({ tensors: without, values }), { code: 'damaged', message: /no square of/ });
    await trainer.accumulate(whole);
    await trainer.update(1e-3);
  });

  it('says what could not be compiled, and closes', async () => {
    const failing = async () => {
      await using trainer = await openTrainer('llama');
      const builder = new GraphBuilder('broken');
      builder.output(builder.apply('NoSuchOperator', []), 'nothing', 'float32', [1]);
      await trainer.runGraph('broken', () => builder.finish(), {}, ['nothing']);
    };
    await assert.rejects(failing, { name: 'Memory3Error', message: /NoSuchOperator/ });
  });

  it('refuses tokens to keep that its graph cannot choose, or that do not fit', async () => {
    await using trainer = await openTrainer('llama');
    for (const scoring of ['random', 'reconstruction'] as const) {
      await assert.rejects(trainer.measure(whole, memoryOf({ scoring })), /beforehand/);
    }
    const chosen = (planes: readonly (readonly number[])[]) => memoryOf({}, { chosen: references.map(() => planes) });
    await assert.rejects(
      trainer.measure(
        whole,
        chosen([
          [0, 1],
          [0, 1],
          [0, 1],
        ]),
      ),
      { code: 'mismatch' },
    );
    await assert.rejects(trainer.measure(whole, chosen([[0, 1], [0, 1], [0, 1], [0]])), { code: 'mismatch' });
    await assert.rejects(
      trainer.measure(
        whole,
        chosen([
          [0, 1],
          [0, 1],
          [0, 1],
          [0, 5],
        ]),
      ),
      { code: 'mismatch' },
    );
  });
});
