/**
 * WebGPU against the CPU: the graphs of tiny models, writing by every scoring and reading with memories, give the same
 * numbers, and nothing but the arithmetic of shapes is left to the CPU.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { ReadingContext } from '../../src/memory/context.ts';
import { decodeMemory } from '../../src/memory/format.ts';
import { LanguageModel, type ModelSource } from '../../src/memory/model.ts';
import type { MemoryProfile } from '../../src/memory/profile.ts';
import { encodeReferences, writeMemories } from '../../src/memory/writer.ts';
import { Device } from '../../src/runtime/device.ts';
import { takeProfiles } from '../../src/runtime/profile.ts';
import { openFamily } from '../support/families.ts';
import { quantised } from '../support/quantise.ts';
import { type TemporaryFolder, temporaryFolder } from '../support/temporary.ts';
import { openWebgpu } from '../support/webgpu.ts';

const tokens = (count: number, first: number) => Array.from({ length: count }, (_, i) => (37 * i + first) % 128);
const references = [tokens(17, 3), tokens(40, 50), tokens(9, 71)].map((each) => ({ tokens: each }));
const repeatPrompt = [7, 8, 11];
const profile: MemoryProfile = {
  layers: [0, 1],
  keptTokens: 4,
  scoring: 'received',
  storage: 'f16',
  header: [0, 5, 9],
};

let webgpu: Device | string;
let cpu: Device;
let folder: TemporaryFolder;
before(async () => {
  webgpu = await openWebgpu();
  cpu = new Device({ threads: 1 });
  folder = temporaryFolder();
});
after(async () => {
  if (typeof webgpu !== 'string') await webgpu[Symbol.asyncDispose]();
  await cpu[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

describe('on WebGPU', () => {
  for (const family of ['llama', 'qwen3']) {
    it(`${family} writes and reads as on the CPU`, (test) =>
      compare(test, family, (file) => file, async (model, expected) => {
        for (const scoring of ['received', 'received-unnormalised', 'reconstruction'] as const) {
          await compareWriting(model, expected, { ...profile, scoring });
        }
        await compareReading(model, expected, [tokens(9, 1), tokens(70, 90)]);
      }));
  }

  // In software, products with blocks are slow: a few tokens are enough.
  it('llama with matrices in blocks reads as on the CPU', (test) =>
    compare(test, 'llama', quantised, (model, expected) => compareReading(model, expected, [tokens(5, 1), tokens(3, 90)])));
});

/** Runs `check` with one model on both, then looks at what ran where. */
async function compare(
  test: TestContext,
  family: string,
  change: (file: ModelSource) => ModelSource,
  check: (webgpu: LanguageModel, cpu: LanguageModel) => Promise<void>,
): Promise<void> {
  if (typeof webgpu === 'string') return test.skip(webgpu);
  using file = await openFamily(family);
  const source = change(file);
  const profilePrefix = join(folder.path, test.name.replaceAll(/\W+/g, '-'));
  const model = new LanguageModel(source, webgpu, { profilePrefix });
  // The CPU's product with blocks rounds activations to 8 bits, so there the same blocks are unpacked.
  await check(model, new LanguageModel(source, cpu, { precision: 'f32' }));
  await model.releaseSessions();
  const profiles = takeProfiles(profilePrefix);
  assert.ok(profiles.some(({ provider }) => provider === 'WebGpuExecutionProvider'));
  const onCpu = profiles.filter(({ provider }) => provider === 'CPUExecutionProvider');
  test.diagnostic(`on the CPU: ${onCpu.map(({ operator, nodes }) => `${nodes} ${operator}`).join(', ')}`);
  for (const { operator, shapes } of onCpu) assert.ok(shapes, `${operator} fell to the CPU`);
}

async function compareWriting(webgpu: LanguageModel, cpu: LanguageModel, own: MemoryProfile): Promise<void> {
  const expected = await encodeReferences(cpu, own, references, repeatPrompt);
  const actual = await encodeReferences(webgpu, own, references, repeatPrompt);
  for (const [index, { keysValues, scores }] of actual.entries()) {
    assertClose(keysValues, expected[index]?.keysValues, `key-values of reference ${index}`);
    assertClose(scores, expected[index]?.scores, `${own.scoring} scores of reference ${index}`);
  }
}

/** Two sequences with different memories, one of which changes them after the prompt. */
async function compareReading(
  webgpu: LanguageModel,
  cpu: LanguageModel,
  prompts: readonly (readonly number[])[],
): Promise<void> {
  const memories = (await writeMemories(cpu, profile, references)).map(decodeMemory);
  const read = async (model: LanguageModel) => {
    await using context = await ReadingContext.open(model, { batch: 2, memory: { profile, memories: 2 } });
    await context.useMemories(memories.slice(0, 2), 0);
    await context.useMemories(memories.slice(2), 1);
    const { data: prompt } = await context.extend(prompts, 'all');
    await context.useMemories(memories.slice(1, 2), 0);
    const { data: next } = await context.extend([[100], [101]]);
    return { prompt, next };
  };
  const expected = await read(cpu);
  const actual = await read(webgpu);
  assertClose(actual.prompt, expected.prompt, 'logits of the prompt');
  assertClose(actual.next, expected.next, 'logits of the next token');
}

function assertClose(actual: Float32Array | undefined, expected: Float32Array | undefined, what: string): void {
  assert.equal(actual?.length, expected?.length, what);
  for (const [i, value] of expected?.entries() ?? []) {
    const difference = Math.abs((actual?.[i] as number) - value);
    assert.ok(difference < 1e-3, `${what}: value ${i} is ${actual?.[i]}, not ${value}`);
  }
}
