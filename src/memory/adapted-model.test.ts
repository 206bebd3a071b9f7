import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { cardFor, randomTensors } from '../../test/support/adapter.ts';
import { openFamily } from '../../test/support/families.ts';
import { temporaryFolder } from '../../test/support/temporary.ts';
import { mergedWeights } from '../model/merged-weights.ts';
import type { ModelFile } from '../model/open.ts';
import { quantiseMatrix } from '../model/requantise.ts';
import { mergeAdapter } from './adapted-model.ts';
import { openAdapter, writeAdapter } from './adapter.ts';

const names = ['model.layers.0.self_attn.q_proj.weight', 'model.layers.1.mlp.down_proj.weight', 'model.norm.weight'];

/** The tiny model, one of its matrices in 4-bit blocks, so that everything that can be stored is. */
async function openBase(): Promise<ModelFile> {
  const file = await openFamily('llama');
  const get = (name: string) => {
    const tensor = file.weights.get(name);
    if (name !== names[0] || tensor.kind !== 'dense') return tensor;
    const form = { bits: 4, blockSize: 16, hasOffsets: true } as const;
    return quantiseMatrix(tensor.data, tensor.shape as [number, number], form);
  };
  return { ...file, weights: { ...file.weights, get }, [Symbol.dispose]: () => file[Symbol.dispose]() };
}

async function merge(adapterPath: string, cacheFolder: string | null, notices: string[] = []): Promise<ModelFile> {
  const base = await openBase();
  return mergeAdapter(base, await openAdapter(adapterPath, base), {
    cacheFolder,
    onNotice: (text) => notices.push(text),
  });
}

async function writeRandom(folder: string, largest = 0.1, matrixWidth: 'file' | 8 = 'file'): Promise<string> {
  using base = await openBase();
  const tensors = randomTensors(base, names, 2, largest);
  return writeAdapter(folder, await cardFor(base, { matrixWidth }), tensors, base.config);
}

describe('a model with an adapter', () => {
  it('has the merged weights whether they are computed, written, or read again, and a name and fingerprint of its own', async () => {
    using folder = temporaryFolder();
    const cache = join(folder.path, 'merged');
    for (const width of ['file', 8] as const) {
      const path = await writeRandom(join(folder.path, width === 8 ? 'eight' : 'file'), 0.1, width);
      const notices: string[] = [];
      using computed = await merge(path, null, notices);
      assert.deepEqual(notices, []);
      using written = await merge(path, cache, notices);
      assert.match(notices.join(), /^Merging random into the model/);
      using again = await merge(path, cache, notices);
      assert.equal(notices.length, 1);
      using base = await openBase();
      using adapter = await openAdapter(path, base);
      const expected = mergedWeights(base.weights, adapter.changes, width);
      for (const model of [computed, written, again]) {
        assert.equal(model.name, 'llama + random');
        assert.equal(await model.fingerprint(), adapter.fingerprint);
        assert.notEqual(await model.fingerprint(), await base.fingerprint());
        for (const name of model.weights.names) assert.deepEqual(model.weights.get(name), expected.get(name), name);
      }
      // Each get gives arrays of the caller's own: they are handed over to the device.
      const [name] = names as [string];
      assert.notEqual(again.weights.get(name), again.weights.get(name));
    }
  });

  it('is merged again where its file is damaged', async () => {
    using folder = temporaryFolder();
    const path = await writeRandom(join(folder.path, 'adapter'));
    (await merge(path, folder.path))[Symbol.dispose]();
    const [cached] = readdirSync(folder.path).filter((name) => name.endsWith('.merged.safetensors'));
    const file = join(folder.path, cached as string);
    const whole = readFileSync(file);
    for (const position of [3, 20, whole.length - 1000, whole.length - 1]) {
      const damaged = Buffer.from(whole);
      damaged.writeUInt8(damaged.readUInt8(position) ^ 0x10, position);
      writeFileSync(file, damaged);
      const notices: string[] = [];
      (await merge(path, folder.path, notices))[Symbol.dispose]();
      assert.match(notices[0] ?? '', /It is made again/, `byte ${position}`);
      assert.deepEqual(readFileSync(file), whole);
    }
  });

  it('keeps only the latest merged models', async () => {
    using folder = temporaryFolder();
    const cache = join(folder.path, 'merged');
    const kept: string[] = [];
    // One was killed in the middle long ago; another is being written.
    const [killed, other] = [
      folder.write('merged/a.merged.safetensors.1.unfinished', ''),
      'b.merged.safetensors.2.unfinished',
    ];
    utimesSync(killed, 1, 1);
    folder.write(`merged/${other}`, '');
    kept.push(other);
    for (let i = 1; i <= 6; i++) {
      (await merge(await writeRandom(join(folder.path, `${i}`), i / 100), cache))[Symbol.dispose]();
      const fresh = readdirSync(cache).find((name) => !kept.includes(name)) as string;
      utimesSync(join(cache, fresh), i, i);
      kept.push(fresh);
    }
    assert.deepEqual(readdirSync(cache).sort(), [other, ...kept.slice(-4)].sort());
  });

  it('works where nothing can be kept, and says so', async () => {
    using folder = temporaryFolder();
    const path = await writeRandom(join(folder.path, 'adapter'));
    const taken = folder.write('taken', 'a file, not a folder');
    const notices: string[] = [];
    using model = await merge(path, join(taken, 'merged'), notices);
    assert.match(notices.join('\n'), /cannot be kept/);
    assert.equal(model.weights.get(names[1] as string).kind, 'dense');
    assert.ok(statSync(taken).isFile());
  });
});
