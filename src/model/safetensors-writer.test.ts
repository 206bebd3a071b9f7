import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../../test/support/temporary.ts';
import { floatsFromF16 } from '../half.ts';
import { openSafetensors } from './safetensors.ts';
import { writeSafetensors } from './safetensors-writer.ts';

test('what is written is read back by the strict reader', () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'a.safetensors');
  const data = Float32Array.of(1.5, -2, 3e-5, 4, 0.1, 6);
  writeSafetensors(
    path,
    new Map([
      ['whole', { shape: [2, 3], data }],
      ['half', { shape: [6], data, dtype: 'F16' as const }],
      ['scalar', { shape: [], data: Float32Array.of(7) }],
    ]),
    { note: 'ä' },
  );
  using file = openSafetensors(path);
  const read = (name: string) => file.readTensor(file.tensors.get(name) as never);
  assert.deepEqual(new Float32Array(read('whole').buffer.slice(0)), data);
  assert.deepEqual(floatsFromF16(read('half')), Float32Array.from(new Float16Array(data)));
  assert.deepEqual(file.tensors.get('scalar')?.shape, []);
  assert.deepEqual([...file.metadata], [['note', 'ä']]);
});

test('a file that cannot be put in place leaves what was there and nothing beside it', () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'taken');
  mkdirSync(path);
  writeFileSync(join(path, 'inside'), 'old');
  assert.throws(() => writeSafetensors(path, new Map([['a', { shape: [1], data: Float32Array.of(1) }]])), {
    code: 'disk',
  });
  assert.equal(readFileSync(join(path, 'inside'), 'utf8'), 'old');
  assert.deepEqual(readdirSync(folder.path), ['taken']);
  assert.ok(existsSync(path));
});

test('a header that no reader would believe is not written', () => {
  using folder = temporaryFolder();
  const note = 'x'.repeat(9 * 1024 * 1024);
  assert.throws(
    () => writeSafetensors(join(folder.path, 'a'), new Map(), { note }),
    /header of .* would have 94\d+ bytes/,
  );
  assert.deepEqual(readdirSync(folder.path), []);
});
