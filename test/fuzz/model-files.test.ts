/** Model files with random and with calculated damage: refused with an error that is meant, cheaply, or harmless. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { Memory3Error } from '../../src/errors.ts';
import { openModelFile } from '../../src/model/open.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { hostileFiles } from './hostile-files.ts';

const families = fileURLToPath(new URL('../golden/families', import.meta.url));
const seed = 20240701;

/** Opens a model and decodes all of it. Anything but success or the two codes for bad files fails the test. */
async function openAndRead(path: string): Promise<void> {
  try {
    using model = await openModelFile(path);
    for (const name of model.weights.names) model.weights.get(name);
  } catch (error) {
    const expected = error instanceof Memory3Error && (error.code === 'damaged' || error.code === 'unsupported');
    if (!expected) throw error;
  }
}

/** Bytes to overwrite, and how much to cut off or to repeat at some place. */
function damage(headerBytes: number) {
  const position = fc.nat(headerBytes - 1);
  const interesting = fc.constantFrom(0, 1, 7, 8, 9, 12, 0x20, 0x22, 0x2c, 0x5b, 0x7b, 0x7d, 0x7f, 0x80, 0xc3, 0xff);
  const value = fc.oneof(interesting, fc.nat(255));
  return fc.record({
    overwrites: fc.array(fc.tuple(position, value), { maxLength: 6 }),
    splice: fc.option(fc.tuple(position, fc.integer({ min: -64, max: 64 })), { freq: 2 }),
    cut: fc.option(fc.nat(), { freq: 3 }),
  });
}
type Damage = ReturnType<typeof damage> extends fc.Arbitrary<infer T> ? T : never;

function damaged(bytes: Uint8Array, { overwrites, splice, cut }: Damage): Uint8Array {
  let result = Uint8Array.from(bytes);
  for (const [position, value] of overwrites) result[position] = value;
  if (splice !== null) {
    const [position, length] = splice;
    const rest = result.subarray(length < 0 ? position - length : position);
    const inserted = result.subarray(position, length > 0 ? position + length : position);
    result = Uint8Array.from([...result.subarray(0, position), ...inserted, ...rest]);
  }
  return cut === null ? result : result.subarray(0, cut % (result.length + 1));
}

for (const family of ['qwen2', 'llama-llama3', 'qwen3-yarn']) {
  test(`a damaged GGUF header of ${family}`, async () => {
    using folder = temporaryFolder();
    const bytes = readFileSync(join(families, family, 'model.gguf'));
    const property = fc.asyncProperty(damage(4500), (change) =>
      openAndRead(folder.write('model.gguf', damaged(bytes, change))),
    );
    await fc.assert(property, { seed, numRuns: 500 });
  });
}

for (const [family, file, headerBytes] of [
  ['qwen2', 'model.safetensors', 2600],
  ['qwen3', 'config.json', 820],
  ['llama-llama3', 'model.safetensors.index.json', 1700],
] as const) {
  test(`a damaged ${file} of ${family}`, async () => {
    using folder = temporaryFolder();
    cpSync(join(families, family), folder.path, { recursive: true });
    const bytes = readFileSync(join(families, family, file));
    const property = fc.asyncProperty(damage(headerBytes), async (change) => {
      writeFileSync(join(folder.path, file), damaged(bytes, change));
      await openAndRead(folder.path);
    });
    await fc.assert(property, { seed, numRuns: 300 });
  });
}

const child = fileURLToPath(new URL('open-in-child.ts', import.meta.url));

for (const [name, bytes] of hostileFiles) {
  test(`${name} costs less than 100 MB`, { skip: process.platform !== 'linux' && 'measured through /proc' }, () => {
    using folder = temporaryFolder();
    const path = folder.write(name, bytes());
    const output = execFileSync(process.execPath, [child, path], { encoding: 'utf8', timeout: 60_000 });
    const { outcome, megabytes } = JSON.parse(output) as { outcome: string; megabytes: number };
    assert.match(outcome, /^(damaged|not-found): /);
    assert.ok(outcome.length < 1000, outcome);
    assert.ok(megabytes < 100, `${megabytes} MB`);
  });
}
