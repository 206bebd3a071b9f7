/** Reading against the plain transformer, which sees the same header and memories in front: tiny models, every family. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { heldInMemory, openFamily } from '../../test/support/families.ts';
import { type InFront, type PlainLayer, runPlainTransformer } from '../../test/support/plain-transformer.ts';
import { Memory3Error } from '../errors.ts';
import { Device } from '../runtime/device.ts';
import { ReadingContext } from './context.ts';
import { decodeMemory, type ExplicitMemory } from './format.ts';
import { LanguageModel, type ModelSource } from './model.ts';
import { type MemoryProfile, referenceTokens } from './profile.ts';
import { writeMemories } from './writer.ts';

const profile: MemoryProfile = {
  layers: [1],
  keptTokens: 4,
  scoring: 'received',
  storage: 'f16',
  header: [0, 5, 9],
};
const tokens = (count: number, first: number) => Array.from({ length: count }, (_, i) => (37 * i + first) % 128);
// The last one is shorter than what is kept of the others.
const references = [tokens(17, 3), tokens(40, 50), tokens(9, 71), tokens(2, 20)].map((each) => ({ tokens: each }));

/** What stands in front of a context: the header in every layer, the memories in memory layers. */
function inFront(model: ModelSource, memories: readonly ExplicitMemory[]) {
  const header = runPlainTransformer(model, profile.header).layers;
  return (layer: number, kvHead: number): InFront => {
    const { keys, values } = header[layer] as PlainLayer;
    const vectors = (part: number) =>
      memories.flatMap(({ layers, kvHeads, kept, headDim, keysValues }) => {
        const memoryLayer = profile.layers.indexOf(layer);
        assert.equal(layers, profile.layers.length);
        return Array.from({ length: memoryLayer < 0 ? 0 : kept }, (_, token) => {
          const start = (((memoryLayer * 2 + part) * kvHeads + kvHead) * kept + token) * headDim;
          return [...keysValues.subarray(start, start + headDim)];
        });
      });
    return {
      keys: [...(keys[kvHead] as number[][]), ...vectors(0)],
      values: [...(values[kvHead] as number[][]), ...vectors(1)],
    };
  };
}

describe('a context with memories is the plain transformer with them in front', () => {
  for (const family of ['llama', 'llama-llama3', 'mistral-window', 'qwen2', 'qwen2-yarn', 'qwen3']) {
    it(family, async () => {
      using file = await openFamily(family);
      await using device = new Device({ threads: 1 });
      const source = heldInMemory(file);
      const model = new LanguageModel(file, device, { precision: 'f32' });
      const memories = (await writeMemories(model, profile, references)).map(decodeMemory);
      const used = [memories.slice(0, 3), memories.slice(3), []];
      const inputs = [tokens(13, 1), tokens(30, 40), tokens(70, 90)];

      await using context = await ReadingContext.open(model, { batch: 3, memory: { profile, memories: 4 } });
      for (const [element, own] of used.entries()) await context.useMemories(own, element);
      // In two pieces, the second with more slots than there were at first.
      const cut = 9;
      const first = await context.extend(
        inputs.map((input) => input.slice(0, cut)),
        'all',
      );
      const second = await context.extend(
        inputs.map((input) => input.slice(cut)),
        'all',
      );
      const rows = { first: 0, second: 0 };
      for (const [element, input] of inputs.entries()) {
        const options = { start: referenceTokens, inFront: inFront(source, used[element] as ExplicitMemory[]) };
        for (const [index, expected] of runPlainTransformer(source, input, options).logits.entries()) {
          const [data, row] = index < cut ? [first.data, rows.first++] : [second.data, rows.second++];
          for (const [token, logit] of expected.entries()) {
            const actual = data[row * expected.length + token] as number;
            assert.ok(Math.abs(actual - logit) < 5e-4, `sequence ${element}, token ${index}: ${actual}, not ${logit}`);
          }
        }
      }
    });
  }

  it('and refuses what does not fit, by name', async () => {
    using file = await openFamily('llama');
    await using device = new Device({ threads: 1 });
    const model = new LanguageModel(file, device, { precision: 'f32' });
    const memories = (await writeMemories(model, profile, references)).map(decodeMemory);
    await using context = await ReadingContext.open(model, { memory: { profile, memories: 2 } });
    const refused = (code: string, message: RegExp) => (error: unknown) => {
      assert.ok(error instanceof Memory3Error);
      assert.equal(error.code, code);
      assert.match(error.message, message);
      return true;
    };
    await assert.rejects(context.useMemories(memories.slice(0, 3)), refused('usage', /3 memories .* made for 2/));
    const wide = (await writeMemories(model, { ...profile, layers: [0, 1] }, references)).map(decodeMemory);
    await assert.rejects(
      context.useMemories(wide.slice(0, 1)),
      refused('mismatch', /2 layers x 2 heads x 4 tokens x 12 does not fit a context of 1 memory layers/),
    );
    await context.extend([[1, 2, 3]]);
    assert.throws(() => context.rewind(4), refused('usage', /3 tokens cannot go back to 4/));
  });
});

describe('a context', () => {
  it('begins with constant tokens as they are behind its own header, not behind another of the same length', async () => {
    using file = await openFamily('llama');
    await using device = new Device({ threads: 1 });
    const model = new LanguageModel(file, device, { precision: 'f32' });
    const logits = async (header: MemoryProfile['header'], begin: boolean) => {
      const memory = { profile: { ...profile, header }, memories: 1 };
      await using context = await ReadingContext.open(model, { memory });
      const opening = tokens(5, 60);
      if (begin) await context.begin(opening);
      return (await context.extend([begin ? [7] : [...opening, 7]])).data;
    };
    await logits([0, 5, 9], true);
    const [begun, read] = [await logits([0, 90, 33], true), await logits([0, 90, 33], false)];
    for (const [token, logit] of read.entries()) assert.ok(Math.abs((begun[token] as number) - logit) < 5e-4);
  });

  it('begins with many tokens piece by piece, the same in every sequence of a batch', async () => {
    using file = await openFamily('llama');
    await using device = new Device({ threads: 1 });
    const model = new LanguageModel(file, device, { precision: 'f32' });
    const beginning = tokens(300, 60);
    const memory = { profile, memories: 1 };
    await using read = await ReadingContext.open(model, { memory });
    const { data: expected } = await read.extend([[...beginning, 7]]);
    await using begun = await ReadingContext.open(model, { memory, batch: 3 });
    await begun.begin(beginning);
    const { data } = await begun.extend([[7], [7], [7]]);
    assert.deepEqual([begun.length(0), data.length], [301, 3 * expected.length]);
    for (const [i, logit] of data.entries()) {
      assert.ok(Math.abs((expected[i % expected.length] as number) - logit) < 5e-4);
    }
  });

  it('that cannot be opened leaves nothing in the device', async () => {
    using file = await openFamily('llama');
    await using device = new Device({ threads: 1 });
    const model = new LanguageModel(file, device);
    await model.readerSession(profile.layers);
    const before = await device.state([]);
    const memory = { profile: { ...profile, header: [0, 4000] as [number, number] }, memories: 1 };
    await assert.rejects(ReadingContext.open(model, { memory }), /no row 4000/);
    assert.equal(await device.state([]), before + 2);
    await assert.rejects(device.read(before + 1, []), /no state/);
  });

  it('on a device that ended fails with the reason, not with that of its own closing', async () => {
    using file = await openFamily('llama');
    await using device = new Device({ threads: 1 });
    const model = new LanguageModel(file, device);
    const read = async () => {
      await using context = await ReadingContext.open(model, { memory: null });
      await device[Symbol.asyncDispose]();
      await context.extend([[1]]);
    };
    await assert.rejects(read(), { name: 'Error', message: 'the device was closed' });
  });
});
