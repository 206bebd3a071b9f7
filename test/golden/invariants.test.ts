/** What must hold of explicit memory whatever the model: checked on the default model, in f32. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { ReadingContext } from '../../src/memory/context.ts';
import { decodeMemory, type ExplicitMemory } from '../../src/memory/format.ts';
import type { LanguageModel } from '../../src/memory/model.ts';
import type { MemoryProfile } from '../../src/memory/profile.ts';
import { encodeReferences, gather, selectAll, writeMemories } from '../../src/memory/writer.ts';
import { readGolden } from '../support/golden.ts';
import { type DefaultModel, openDefaultModel } from '../support/model.ts';

interface Texts {
  readonly header: [number, ...number[]];
  readonly context: readonly number[];
  readonly references: readonly (readonly number[])[];
}

const texts = readGolden<Texts>('memory.json');
const references = texts.references.map((tokens) => ({ tokens }));
const allLayers = Array.from({ length: 30 }, (_, layer) => layer) as [number, ...number[]];
const everything: MemoryProfile = {
  layers: allLayers,
  keptTokens: 'all',
  scoring: 'received',
  storage: 'f16',
  header: texts.header,
};
const eight: MemoryProfile = { ...everything, layers: allLayers.slice(10) as [number, ...number[]], keptTokens: 8 };

let opened: DefaultModel;
let model: LanguageModel;
before(async () => {
  opened = await openDefaultModel();
  model = opened.model('f32');
});
after(() => opened[Symbol.asyncDispose]());

describe('a context with memories', () => {
  it('is the ordinary model on header, reference and context, if every layer and token is kept', async () => {
    // It fills all positions of the interval, so that those of the context run on.
    const full = { tokens: texts.references.flat().slice(0, 125) };
    const [encoded] = await encodeReferences(model, everything, [full], []);
    assert.ok(encoded);
    const memory = gather(model, everything, encoded, selectAll(model, everything, encoded, full));
    const withMemory = await readAll(everything, [memory], texts.context);

    await using plain = await ReadingContext.open(model, { memory: null });
    await plain.extend([[...texts.header, ...full.tokens]]);
    const { data } = await plain.extend([texts.context], 'all');
    assert.ok(largestDifference(withMemory, data) < 1e-3, `off by ${largestDifference(withMemory, data)}`);
  });

  it('does not care about the order of its memories', async () => {
    const memories = (await writeMemories(model, eight, references)).map(decodeMemory);
    const one = await readAll(eight, memories, texts.context);
    const other = await readAll(eight, memories.toReversed(), texts.context);
    assert.ok(largestDifference(one, other) < 1e-4);
  });

  it('changes when a memory is left out, and leaves the memory as it was', async () => {
    const [bytes] = await writeMemories(model, eight, references.slice(0, 1));
    assert.ok(bytes);
    const copy = bytes.slice();
    const memory = decodeMemory(bytes);
    const values = memory.keysValues.slice();
    const withIt = await readAll(eight, [memory], texts.context);
    const without = await readAll(eight, [], texts.context);
    assert.ok(largestDifference(withIt, without) > 0.1);
    assert.deepEqual(bytes, copy);
    assert.deepEqual(memory.keysValues, values);
  });

  it('can drop its memories and load others half-way', async () => {
    const memories = (await writeMemories(model, eight, references)).map(decodeMemory);
    await using context = await ReadingContext.open(model, { memory: { profile: eight, memories: 5 } });
    await context.useMemories(memories.slice(0, 5));
    await context.extend([texts.context.slice(0, 10)]);
    await context.useMemories(memories.slice(3, 4));
    await context.useMemories([]);
    await context.useMemories(memories.slice(1, 3));
    const changed = (await context.extend([texts.context.slice(10)])).data;

    await using other = await ReadingContext.open(model, { memory: { profile: eight, memories: 5 } });
    await other.useMemories(memories.slice(0, 5));
    await other.extend([texts.context.slice(0, 10)]);
    await other.useMemories(memories.slice(1, 3));
    assert.ok(largestDifference(changed, (await other.extend([texts.context.slice(10)])).data) < 1e-4);
  });

  it('gives n sequences side by side what each gets alone', async () => {
    const memories = (await writeMemories(model, eight, references)).map(decodeMemory);
    const inputs = [texts.context, texts.context.slice(0, 7), texts.context.slice(2, 15)];
    await using batch = await ReadingContext.open(model, { batch: 3, memory: { profile: eight, memories: 5 } });
    for (const [element] of inputs.entries()) await batch.useMemories(memories.slice(0, element + 2), element);
    const first = await batch.extend(inputs);
    const second = await batch.extend([[100], [200], [300]]);
    const width = model.config.vocabularySize;
    for (const [element, tokens] of inputs.entries()) {
      await using alone = await ReadingContext.open(model, { memory: { profile: eight, memories: 5 } });
      await alone.useMemories(memories.slice(0, element + 2));
      const row = (data: Float32Array) => data.subarray(element * width, (element + 1) * width);
      assert.ok(largestDifference(row(first.data), (await alone.extend([tokens])).data) < 1e-4);
      assert.ok(largestDifference(row(second.data), (await alone.extend([[100 * (element + 1)]])).data) < 1e-4);
    }
  });

  it('begins with constant tokens as if they had been read, from the second time on too', async () => {
    const memories = (await writeMemories(model, eight, references.slice(0, 2))).map(decodeMemory);
    await using read = await ReadingContext.open(model, { memory: { profile: eight, memories: 5 } });
    await read.extend([texts.context.slice(0, 6)]);
    await read.useMemories(memories);
    const expected = (await read.extend([texts.context.slice(6)])).data;
    for (let time = 0; time < 2; time++) {
      await using begun = await ReadingContext.open(model, { batch: 2, memory: { profile: eight, memories: 5 } });
      await begun.begin(texts.context.slice(0, 6));
      for (const element of [0, 1]) await begun.useMemories(memories, element);
      const { data } = await begun.extend([texts.context.slice(6), texts.context.slice(6)]);
      assert.ok(largestDifference(data, Float32Array.of(...expected, ...expected)) < 1e-4);
      await assert.rejects(begun.begin([1]), { code: 'usage' });
    }
  });

  it('reads tokens in pieces as it reads them at once', async () => {
    const long = Array.from({ length: 150 }, (_, i) => 1000 + i);
    await using atOnce = await ReadingContext.open(model, { memory: null });
    await using pieces = await ReadingContext.open(model, { memory: null });
    const whole = (await atOnce.extend([long])).data;
    await pieces.extend([long.slice(0, 63)]);
    await pieces.extend([long.slice(63, 149)]);
    assert.ok(largestDifference(whole, (await pieces.extend([long.slice(149)])).data) < 1e-4);
    pieces.rewind(63);
    await pieces.extend([long.slice(63, 149)]);
    assert.ok(largestDifference(whole, (await pieces.extend([long.slice(149)])).data) < 1e-4);
  });
});

describe('writing', () => {
  it('gives a reference the same bytes alone and in a batch, for every way to choose tokens', async () => {
    for (const scoring of ['received', 'received-unnormalised', 'value-norm', 'reconstruction', 'random'] as const) {
      const profile: MemoryProfile = { ...eight, layers: [10, 20], scoring, storage: 'int8' };
      const repeat = opened.tokenizer.encode('\n\nRepeat the reference:');
      const together = await writeMemories(model, profile, references, repeat);
      const [alone] = await writeMemories(model, profile, references.slice(1, 2), repeat);
      const [a, b] = [decodeMemory(together[1] as Uint8Array), decodeMemory(alone as Uint8Array)];
      assert.deepEqual(a.positions, b.positions, scoring);
      assert.ok(largestDifference(a.keysValues, b.keysValues) < 0.1, scoring);
      await model.releaseSessions();
    }
  });

  it('refuses a reference that is empty or too long', async () => {
    await assert.rejects(writeMemories(model, eight, [{ tokens: [] }]), { code: 'usage' });
    const long = Array.from({ length: 126 }, () => 100);
    await assert.rejects(writeMemories(model, eight, [{ tokens: long }]), { code: 'too-long' });
  });
});

async function readAll(profile: MemoryProfile, memories: ExplicitMemory[], tokens: readonly number[]) {
  await using context = await ReadingContext.open(model, { memory: { profile, memories: 5 } });
  await context.useMemories(memories);
  return (await context.extend([tokens], 'all')).data;
}

function largestDifference(a: Float32Array, b: Float32Array): number {
  assert.equal(a.length, b.length);
  let largest = 0;
  for (const [index, value] of a.entries()) largest = Math.max(largest, Math.abs(value - (b[index] as number)));
  return largest;
}
