import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { Memory3Error } from '../errors.ts';
import { placeFile } from './place.ts';
import { writeSeal } from './seal.ts';

async function* chunks(...sizes: number[]): AsyncIterable<Uint8Array> {
  for (const size of sizes) yield new Uint8Array(size).fill(size % 251);
}

describe('placing a file', () => {
  let folder: string;
  let target: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'memory3-place-'));
    target = join(folder, 'model.bin');
    await writeFile(target, 'old');
  });
  afterEach(() => rm(folder, { recursive: true }));

  async function assertUntouched(): Promise<void> {
    assert.deepEqual(await readdir(folder), ['model.bin']);
    assert.equal(await readFile(target, 'utf8'), 'old');
  }

  it('replaces the old file by the whole new one', async () => {
    const placed = await placeFile(target, chunks(10, 100_000, 0, 7), { name: 'model' });
    assert.equal(placed.bytes, 100_017);
    assert.equal((await readFile(target)).length, 100_017);
    assert.deepEqual(await readdir(folder), ['model.bin']);
  });

  it('keeps the old file when bytes are missing, wrong, or stop coming', async () => {
    await assert.rejects(placeFile(target, chunks(10), { name: 'model', bytes: 11 }), /ended after 10 of 11 bytes/);
    await assertUntouched();
    await assert.rejects(placeFile(target, chunks(10), { name: 'model', sha256: 'f'.repeat(64) }), /expected f{64}/);
    await assertUntouched();
    async function* breaking(): AsyncIterable<Uint8Array> {
      yield* chunks(10);
      throw new Error('the line is dead');
    }
    await assert.rejects(placeFile(target, breaking(), { name: 'model' }), /the line is dead/);
    await assertUntouched();
  });

  it('names a disk that takes no more, and keeps the old file', async () => {
    // A limit on the size of files stops a write in its midst, as a full disk does.
    const program = `
      const { placeFile } = await import(${JSON.stringify(new URL('./place.ts', import.meta.url).href)});
      async function* chunks() { for (;;) yield new Uint8Array(100_000); }
      await placeFile(${JSON.stringify(target)}, chunks(), { name: 'model' }).catch((error) => {
        console.log(JSON.stringify({ code: error.code, message: error.message }));
      });`;
    const shell = ['-c', 'ulimit -f 2000; exec "$0" --input-type=module -e "$1"', process.execPath, program];
    const { stdout } = await promisify(execFile)('/bin/sh', shell);
    const { code, message } = JSON.parse(stdout);
    assert.equal(code, 'disk');
    assert.match(message, /model cannot be written to .*model\.bin: no space left\.\nFree some space/);
    await assertUntouched();
  });

  // On Windows such a folder refuses as one without permission does.
  const posixOnly = { skip: process.platform === 'win32' };
  it('names a seal that cannot be written, and leaves no part of it', posixOnly, async () => {
    await mkdir(`${target}.seal.json`);
    await assert.rejects(
      writeSeal(target, 'f'.repeat(64), 'model'),
      (error) =>
        error instanceof Memory3Error && error.code === 'disk' && /model cannot be written/.test(error.message),
    );
    assert.deepEqual((await readdir(folder)).sort(), ['model.bin', 'model.bin.seal.json']);
  });

  it('names a folder that cannot be written', async () => {
    await rm(target);
    await writeFile(join(folder, 'file'), '');
    await assert.rejects(
      placeFile(join(folder, 'file', 'model.bin'), chunks(1), { name: 'model' }),
      (error) => error instanceof Memory3Error && error.code === 'disk' && /cannot be written/.test(error.message),
    );
  });
});
