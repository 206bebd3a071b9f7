import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { cardFor, randomTensors, randomValues } from '../../test/support/adapter.ts';
import { openFamily } from '../../test/support/families.ts';
import { type TemporaryFolder, temporaryFolder } from '../../test/support/temporary.ts';
import type { ModelFile } from '../model/open.ts';
import { type TensorToWrite, writeSafetensors } from '../model/safetensors-writer.ts';
import { answerClassifierName, openAdapter, readAdapterCard, summaryTokensName, writeAdapter } from './adapter.ts';
import type { AdapterCard } from './adapter-card.ts';
import { classifierShape } from './answer-classifier.ts';

const matrix = 'model.layers.1.mlp.up_proj.weight';
const norm = 'model.layers.0.input_layernorm.weight';

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

/** Writes an adapter without any check. */
function writeAnything(name: string, card: unknown, tensors: ReadonlyMap<string, TensorToWrite>): string {
  const path = join(folder.path, `${name}.safetensors`);
  writeSafetensors(path, tensors, { format: 'memory3-adapter', card: JSON.stringify(card) });
  return path;
}

describe('an adapter', () => {
  it('comes back as it was written, by its folder and by its file', async () => {
    const card = await cardFor(base, { answerLayers: [0, 1] });
    const tensors = randomTensors(base, [matrix, norm], 3, 0.5);
    const { hiddenSize } = base.config;
    const summary = randomValues(2 * hiddenSize, 1, 9);
    tensors.set(summaryTokensName, { shape: [2, hiddenSize], data: summary });
    const shape = classifierShape(base.config, [0, 1], 3);
    const classifier = randomValues(shape[0] * shape[1], 1, 10);
    tensors.set(answerClassifierName, { shape, data: classifier });
    const file = writeAdapter(join(folder.path, 'whole'), card, tensors, base.config);
    assert.deepEqual(readAdapterCard(file), card);
    for (const path of [join(folder.path, 'whole'), file]) {
      using adapter = await openAdapter(path, base);
      assert.deepEqual(adapter.card, card);
      assert.deepEqual(adapter.changes.names, [matrix, norm]);
      const { lowRank, difference } = adapter.changes.get(matrix) ?? {};
      assert.deepEqual(lowRank?.a.shape, [3, hiddenSize]);
      assert.deepEqual(lowRank?.b.shape, [base.config.mlpSize, 3]);
      assert.equal(lowRank?.scale, 2);
      assert.equal(difference, undefined);
      assert.deepEqual(adapter.changes.get(norm)?.difference?.data, tensors.get(`${norm}.difference`)?.data);
      assert.equal(adapter.changes.get('model.norm.weight'), undefined);
      assert.deepEqual(adapter.summaryTokens?.data, summary);
      assert.deepEqual(adapter.answerClassifier?.weights.data, classifier);
      assert.deepEqual(adapter.answerClassifier?.layers, [0, 1]);
      for (const [name, { shape, data, dtype = 'F32' }] of tensors) {
        const stored = adapter.tensors().get(name);
        assert.deepEqual([stored?.shape, stored?.dtype], [shape, dtype]);
        if (dtype === 'F32') assert.deepEqual(stored?.data, data);
      }
    }
    const readme = readFileSync(join(folder.path, 'whole/README.md'), 'utf8');
    assert.match(readme, /# random\n[\s\S]*\| nothing \| 0 \| CC0-1\.0 \| a random number generator \|/);
    assert.match(readme, /\| mode \| kept \| nll \|/);
  });

  it('has a fingerprint of what it does to the weights, not of what its card tells', async () => {
    const fingerprint = async (changes: Partial<AdapterCard>, largest: number) => {
      const tensors = randomTensors(base, [matrix], 2, largest);
      using adapter = await openAdapter(writeAnything('print', await cardFor(base, changes), tensors), base);
      return adapter.fingerprint;
    };
    const own = await fingerprint({}, 0.5);
    assert.equal(await fingerprint({ results: [], name: 'other' }, 0.5), own);
    assert.notEqual(await fingerprint({}, 0.25), own);
    assert.notEqual(await fingerprint({ scale: 1 }, 0.5), own);
    assert.notEqual(await fingerprint({ matrixWidth: 'file' }, 0.5), own);
  });

  it('of another model is refused, both models named', async () => {
    using other = await openFamily('mistral');
    const path = writeAnything('other', await cardFor(other), randomTensors(other, [matrix], 1, 1));
    await assert.rejects(openAdapter(path, base), (error: { code: string; message: string }) => {
      assert.equal(error.code, 'mismatch');
      assert.match(error.message, /made for mistral \(sha256 [0-9a-f]{12}\), not for llama \(sha256 [0-9a-f]{12}\)/);
      assert.match(error.message, /--no-adapter/);
      return true;
    });
  });

  const half = (shape: number[]): TensorToWrite => ({ shape, data: new Float32Array(shape.reduce((a, b) => a * b)) });
  const faults: [string, (tensors: Map<string, TensorToWrite>, config: ModelFile['config']) => unknown, RegExp][] = [
    ['no tensors', (tensors) => tensors.clear(), /no tensors/],
    ['half a pair', (tensors) => tensors.delete('model.layers.1.mlp.up_proj.lora_B'), /lora_A" lacks ".*lora_B"/],
    ['an unknown weight', (tensors) => tensors.set('model.layers.9.x.difference', half([1])), /changes no weight/],
    ['an unknown kind', (tensors) => tensors.set('extra', half([1])), /"extra" changes no weight/],
    [
      'low rank on a vector',
      (tensors) => tensors.set('model.norm.lora_A', half([1, 4])),
      /"model\.norm\.lora_A" changes a vector/,
    ],
    [
      'different ranks',
      (tensors, { mlpSize }) => tensors.set('model.layers.1.mlp.up_proj.lora_B', half([mlpSize, 3])),
      /lora_B" has the shape \[\d+,3\]; the model needs \[\d+,2\]/,
    ],
    ['a wrong difference', (tensors) => tensors.set(`${norm}.difference`, half([3])), /has the shape \[3\]/],
    [
      'summary tokens of another width',
      (tensors) => tensors.set('summary_tokens', half([2, 3])),
      /has the shape \[2,3\]/,
    ],
    [
      'a classifier for other layers',
      (tensors) => tensors.set(answerClassifierName, half([3])),
      /"answer_classifier" has the shape \[3\]/,
    ],
    ['no summary token', (tensors, { hiddenSize }) => tensors.set('summary_tokens', half([0, hiddenSize])), /\[0,/],
    [
      'NaN',
      (tensors) => (tensors.get('model.layers.1.mlp.up_proj.lora_A') as TensorToWrite).data.fill(Number.NaN, 5, 6),
      /finite/,
    ],
  ];
  for (const [name, spoil, message] of faults) {
    it(`with ${name} is neither written nor opened`, async () => {
      const card = await cardFor(base);
      const tensors = randomTensors(base, [matrix], 2, 0.5);
      spoil(tensors, base.config);
      await assert.rejects(openAdapter(writeAnything('fault', card, tensors), base), { code: 'damaged', message });
      const target = join(folder.path, 'never');
      assert.throws(() => writeAdapter(target, card, tensors, base.config), { code: 'usage', message });
      assert.ok(!existsSync(target));
    });
  }

  it('gives the same model with and without a classifier, which decides about memories only', async () => {
    const card = await cardFor(base);
    const tensors = randomTensors(base, [matrix], 2, 0.5);
    using without = await openAdapter(writeAdapter(join(folder.path, 'without'), card, tensors, base.config), base);
    tensors.set(answerClassifierName, half(classifierShape(base.config, card.profile.layers, 1)));
    using like = await openAdapter(writeAdapter(join(folder.path, 'with'), card, tensors, base.config), base);
    assert.equal(like.fingerprint, without.fingerprint);
  });

  it("takes the place of an earlier one, and of no README.md that is somebody else's", async () => {
    const card = await cardFor(base);
    const tensors = randomTensors(base, [matrix], 2, 0.5);
    const target = join(folder.path, 'thesis');
    mkdirSync(target);
    writeFileSync(join(target, 'README.md'), '# My thesis\n');
    assert.throws(() => writeAdapter(target, card, tensors, base.config), {
      code: 'usage',
      message: /README\.md is no adapter's[\s\S]*--out/,
    });
    assert.deepEqual(readdirSync(target), ['README.md']);
    rmSync(join(target, 'README.md'));
    for (const name of ['first', 'second']) writeAdapter(target, { ...card, name }, tensors, base.config);
    assert.match(readFileSync(join(target, 'README.md'), 'utf8'), /^# second\n/);
    assert.deepEqual(readdirSync(target).sort(), ['README.md', 'adapter.safetensors']);
  });

  it('does not write halves that would become infinite', async () => {
    const tensors = randomTensors(base, [matrix], 2, 70_000);
    const card = await cardFor(base);
    assert.throws(() => writeAdapter(join(folder.path, 'never'), card, tensors, base.config), /lora_A" is not finite/);
  });

  it('with a card that is missing, malformed or for other layers is refused', async () => {
    const card = await cardFor(base);
    const tensors = randomTensors(base, [matrix], 2, 0.5);
    const open = (value: unknown) => openAdapter(writeAnything('card', value, tensors), base);
    await assert.rejects(open({ ...card, formatVersion: 2 }), { code: 'damaged', message: /"formatVersion"/ });
    await assert.rejects(open({ ...card, extra: 1 }), { code: 'damaged', message: /extra/ });
    await assert.rejects(open({ ...card, profile: { ...card.profile, layers: [1, 99] } }), /memory layers, 1,99/);
    await assert.rejects(open({ ...card, profile: { ...card.profile, layers: [1, 1] } }), /memory layers, 1,1/);
    await assert.rejects(open({ ...card, answerLayers: [1, 99] }), /classifier of answers, 1,99/);
    const classified = { ...card.profile, scoring: 'answer-weighted' };
    await assert.rejects(open({ ...card, profile: classified }), /by a classifier of answers, and it has none/);
    const summary = { ...card.profile, scoring: 'summary' };
    await assert.rejects(open({ ...card, profile: summary }), /keeps 8 summary tokens, and it has 0/);
    tensors.set(summaryTokensName, half([2, base.config.hiddenSize]));
    await assert.rejects(open({ ...card, profile: summary }), /keeps 8 summary tokens, and it has 2/);
    using adapter = await open({ ...card, profile: { ...summary, keptTokens: 2 } });
    assert.equal(adapter.card.profile.scoring, 'summary');
    const bare = join(folder.path, 'bare.safetensors');
    writeSafetensors(bare, tensors);
    await assert.rejects(openAdapter(bare, base), { code: 'unsupported', message: /no card/ });
    await assert.rejects(openAdapter(join(folder.path, 'nowhere'), base), { code: 'not-found' });
  });
});
