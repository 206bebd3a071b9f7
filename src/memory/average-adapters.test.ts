import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { cardFor, randomTensors } from '../../test/support/adapter.ts';
import { openFamily } from '../../test/support/families.ts';
import { type TemporaryFolder, temporaryFolder } from '../../test/support/temporary.ts';
import { loraNames } from '../graph/parameters.ts';
import type { ModelFile } from '../model/open.ts';
import { answerClassifierName, openAdapter, writeAdapter } from './adapter.ts';
import type { AdapterCard } from './adapter-card.ts';
import { classifierShape } from './answer-classifier.ts';
import { averageAdapters } from './average-adapters.ts';

const matrix = 'model.layers.1.mlp.up_proj.weight';
const norm = 'model.layers.0.input_layernorm.weight';
const { a, b } = loraNames(matrix);

let base: ModelFile;
let folder: TemporaryFolder;
before(async () => {
  base = await openFamily('llama');
  folder = temporaryFolder();
});
after(() => {
  base[Symbol.dispose]();
  folder[Symbol.dispose]();
});

/** An adapter whose numbers are those of a random one, times `factor`. */
async function scaled(name: string, factor: number, names: readonly string[], changes: Partial<AdapterCard> = {}) {
  const tensors = [...randomTensors(base, names, 2, 0.5)].map(
    ([key, { shape, data }]) => [key, { shape, data: data.map((value) => factor * value) }] as const,
  );
  writeAdapter(join(folder.path, name), await cardFor(base, changes), new Map(tensors), base.config);
  return join(folder.path, name);
}
const options = (name: string) => ({
  out: join(folder.path, name),
  card: { name, training: 'a test', results: [] },
});

describe('the mean of adapters', () => {
  it('has the mean of each of their tensors, and the data of all', async () => {
    const row = { licence: 'CC0-1.0', source: 'nobody' };
    const paths = [
      await scaled('one', 1, [matrix, norm], { data: [{ name: 'x', examples: 3, ...row }] }),
      await scaled('two', 2, [matrix, norm], { data: [{ name: 'x', examples: 5, ...row }] }),
      await scaled('three', 6, [matrix, norm], { data: [{ name: 'y', examples: 1, ...row }] }),
    ];
    await averageAdapters(paths, base, options('mean'));
    using mean = await openAdapter(join(folder.path, 'mean'), base);
    const one = randomTensors(base, [matrix, norm], 2, 0.5);
    const { lowRank, difference } = { ...mean.changes.get(matrix), ...mean.changes.get(norm) };
    for (const [found, name] of [
      [lowRank?.a, a],
      [lowRank?.b, b],
      [difference, `${norm}.difference`],
    ] as const) {
      const expected = one.get(name)?.data as Float32Array;
      assert.equal(found?.data.length, expected.length);
      for (const [i, value] of expected.entries()) {
        assert.ok(Math.abs((found?.data[i] as number) - 3 * value) < 2e-3 * Math.abs(value) + 1e-6);
      }
    }
    assert.deepEqual(mean.card.data, [
      { name: 'x', examples: 5, ...row },
      { name: 'y', examples: 1, ...row },
    ]);
    assert.deepEqual([mean.card.name, mean.card.training], ['mean', 'a test']);
  });

  it('leaves out classifiers of answers, which are no mean of each other', async () => {
    const profile = { keptTokens: 'all', scoring: 'answer-weighted', storage: 'int8' } as const;
    const card = await cardFor(base, { profile: { ...profile, layers: [1] }, answerLayers: [0] });
    const shape = classifierShape(base.config, [0], 1);
    const tensors = randomTensors(base, [matrix], 2, 0.5);
    tensors.set(answerClassifierName, { shape, data: new Float32Array(shape[1]).fill(1) });
    const path = writeAdapter(join(folder.path, 'classified'), card, tensors, base.config);
    await averageAdapters([path, path], base, options('unclassified'));
    using mean = await openAdapter(join(folder.path, 'unclassified'), base);
    assert.equal(mean.answerClassifier, null);
    assert.deepEqual(mean.card.profile, { ...profile, layers: [1], scoring: 'received' });
    assert.equal(mean.card.answerLayers, undefined);
    assert.deepEqual(mean.changes.names, [matrix]);
  });

  it('is refused of what does not fit together, and nothing is written then', async () => {
    const whole = await scaled('whole', 1, [matrix, norm]);
    const part = await scaled('part', 1, [matrix]);
    const rescaled = await scaled('rescaled', 1, [matrix, norm], { scale: 7 });
    const mean = (paths: readonly string[]) => averageAdapters(paths, base, options('none'));
    await assert.rejects(mean([whole]), { code: 'usage' });
    await assert.rejects(mean([whole, part]), { code: 'mismatch', message: /input_layernorm/ });
    await assert.rejects(mean([part, whole]), { code: 'mismatch', message: /part.* and .*whole.*input_layernorm/ });
    await assert.rejects(mean([whole, rescaled]), { code: 'mismatch', message: /scale/ });
    assert.equal(existsSync(join(folder.path, 'none')), false);
  });
});
