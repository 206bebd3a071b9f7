import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { familyCases, openFamily } from '../../../test/support/families.ts';
import { temporaryFolder } from '../../../test/support/temporary.ts';
import { ReadingContext } from '../../memory/context.ts';
import { LanguageModel } from '../../memory/model.ts';
import { type ModelFile, openModelFile } from '../../model/open.ts';
import { openTokenizer } from '../../model/open-tokenizer.ts';
import type { TensorToWrite } from '../../model/safetensors-writer.ts';
import { Device } from '../../runtime/device.ts';
import { type TokenizerFiles, trainBytePairs } from './byte-pair-encoding.ts';
import {
  createModel,
  initialWeights,
  type ModelShape,
  newModelConfig,
  parameterCount,
  scratchShapes,
} from './new-model.ts';
import { checkModelFolder, saveModel } from './save-model.ts';

const tiny: ModelShape = {
  layers: 2,
  hiddenSize: 64,
  heads: 4,
  kvHeads: 2,
  headDim: 16,
  mlpSize: 96,
  contextLength: 256,
  ropeBase: 50_000,
};

let tokenizer: TokenizerFiles;
before(async () => {
  tokenizer = (await trainBytePairs(['the theory of the thing'], { vocabularySize: 270 })).files;
});

async function logitsOf(file: ModelFile, ids: readonly number[]): Promise<Float32Array> {
  await using device = new Device();
  const model = new LanguageModel(file, device, { precision: 'f32' });
  await using context = await ReadingContext.open(model, { memory: null });
  return (await context.extend([ids], 'all')).data.slice();
}

function weightsOf({ weights }: ModelFile): Map<string, TensorToWrite> {
  return new Map(
    weights.names.map((name) => {
      const tensor = weights.get(name);
      assert.ok(tensor.kind === 'dense');
      return [name, { shape: tensor.shape, data: tensor.data }];
    }),
  );
}

describe('createModel', () => {
  it('writes a folder that opens and computes', async () => {
    using folder = temporaryFolder();
    const path = join(folder.path, 'runs', 'tiny');
    const { config, parameters } = createModel(path, tiny, tokenizer, 1);
    using file = await openModelFile(path);
    assert.deepEqual(file.config, config);
    const { encode, bosTokenId, endTokenIds } = openTokenizer(file.tokenizerSource());
    assert.equal(endTokenIds.length, 1);
    const stored = [...weightsOf(file).values()].reduce((sum, { data }) => sum + data.length, 0);
    assert.equal(parameters.total, stored);
    assert.equal(parameters.withoutEmbeddings, stored - config.vocabularySize * 64);
    const logits = await logitsOf(file, [bosTokenId, ...encode('the thing')]);
    assert.ok(logits.every(Number.isFinite));
    assert.ok(new Set(logits).size > config.vocabularySize);
    assert.deepEqual(readdirSync(join(folder.path, 'runs')), ['tiny']);
  });

  it('gives the same bytes for the same seed, others for another', async () => {
    using folder = temporaryFolder();
    const fingerprint = async (name: string, seed: number): Promise<string> => {
      createModel(join(folder.path, name), tiny, tokenizer, seed);
      using file = await openModelFile(join(folder.path, name));
      return file.fingerprint();
    };
    const first = await fingerprint('a', 7);
    assert.equal(await fingerprint('b', 7), first);
    assert.notEqual(await fingerprint('c', 8), first);
  });

  it('refuses a folder that holds something, and shapes that no model has', () => {
    using folder = temporaryFolder();
    folder.write('notes.txt', 'mine');
    assert.throws(() => createModel(folder.path, tiny, tokenizer, 1), { code: 'usage', message: /not this model/ });
    assert.throws(() => createModel(join(folder.path, 'notes.txt'), tiny, tokenizer, 1), { code: 'usage' });
    assert.deepEqual(readdirSync(folder.path), ['notes.txt']);
    mkdirSync(join(folder.path, 'empty'));
    createModel(join(folder.path, 'empty'), tiny, tokenizer, 1);
    assert.throws(() => newModelConfig({ ...tiny, kvHeads: 3 }, 300), { code: 'usage', message: /4 query heads/ });
    assert.throws(() => newModelConfig({ ...tiny, headDim: 15 }, 300), { code: 'usage', message: /odd/ });
    assert.throws(() => newModelConfig({ ...tiny, layers: 0 }, 300), { code: 'usage', message: /layers/ });
  });
});

describe('initialWeights', () => {
  const config = newModelConfig({ ...scratchShapes.small, tiedHead: false }, 1000);
  const weights = initialWeights(config, 3);
  const dataOf = (name: string) => (weights.get(name) as TensorToWrite).data;
  const moments = (data: Float32Array) => {
    const mean = data.reduce((sum, value) => sum + value, 0) / data.length;
    const central = (power: number) => data.reduce((sum, value) => sum + (value - mean) ** power, 0) / data.length;
    return { mean, deviation: Math.sqrt(central(2)), kurtosis: central(4) / central(2) ** 2 };
  };

  it('are normal, those into the residual stream smaller, norms one', () => {
    for (const [name, { shape, data }] of weights) {
      if (shape.length === 1) {
        assert.ok(data.every((value) => value === 1));
        continue;
      }
      const expected = /o_proj|down_proj/.test(name) ? 0.02 / Math.sqrt(2 * config.layers) : 0.02;
      const { mean, deviation, kurtosis } = moments(data);
      // Six standard errors of each, over more than 16 000 numbers.
      const error = 6 / Math.sqrt(data.length);
      assert.ok(Math.abs(mean) < error * expected, `${name}: mean ${mean}`);
      assert.ok(Math.abs(deviation / expected - 1) < error, `${name}: deviation ${deviation}`);
      assert.ok(Math.abs(kurtosis - 3) < 5 * error, `${name}: kurtosis ${kurtosis}`);
    }
  });

  it('differ from tensor to tensor, and are those of a deeper model too', () => {
    const names = [...weights.keys()].filter((name) => (weights.get(name) as TensorToWrite).shape.length === 2);
    assert.equal(new Set(names.map((name) => dataOf(name)[0])).size, names.length);
    const deeper = initialWeights({ ...config, layers: config.layers + 1 }, 3);
    const name = 'model.layers.0.self_attn.q_proj.weight';
    assert.deepEqual(deeper.get(name)?.data, dataOf(name));
  });
});

describe('scratchShapes', () => {
  it('have the sizes that they are named for', () => {
    const small = parameterCount(newModelConfig(scratchShapes.small, 4096)).withoutEmbeddings;
    const double = parameterCount(newModelConfig(scratchShapes.double, 4096)).withoutEmbeddings;
    assert.ok(small >= 3e6 && small <= 6e6);
    assert.ok(Math.abs(double / small - 2) < 0.005, `${double / small}`);
  });
});

describe('saveModel', () => {
  it("writes what Hugging Face's own folder says, so that the logits are the same", async () => {
    using folder = temporaryFolder();
    const path = join(folder.path, 'copy');
    using original = await openFamily('llama');
    const source = original.tokenizerSource();
    assert.ok(source.kind === 'json');
    saveModel(path, { config: original.config, tokenizer: source, chatTemplate: 'Hi' }, weightsOf(original));
    using copy = await openModelFile(path);
    assert.deepEqual(copy.config, original.config);
    assert.equal(copy.chatTemplate, 'Hi');
    const { ids, first, logits } = familyCases('llama')[0] as ReturnType<typeof familyCases>[number];
    const actual = await logitsOf(copy, ids);
    for (const [row, expected] of logits.entries()) {
      for (const [token, logit] of expected.entries()) {
        const value = actual[(first + row) * copy.config.vocabularySize + token] as number;
        assert.ok(Math.abs(value - logit) < 1e-3, `row ${row}, token ${token}`);
      }
    }
  });

  it('replaces the weights of the same model, and no other model', async () => {
    using folder = temporaryFolder();
    const path = join(folder.path, 'model');
    const { config } = createModel(path, tiny, tokenizer, 1);
    const others = initialWeights(config, 2);
    saveModel(path, { config, tokenizer }, others);
    using file = await openModelFile(path);
    assert.deepEqual(weightsOf(file), others);
    const another = newModelConfig({ ...tiny, ropeBase: 40_000 }, config.vocabularySize);
    const refusal = { code: 'usage', message: /that is not this model\.\nMove .*model away; the same command/ };
    assert.throws(() => saveModel(path, { config: another, tokenizer }, others), refusal);
    assert.throws(() => checkModelFolder(path, { config: another, tokenizer }), refusal);
    checkModelFolder(path, { config, tokenizer });
    checkModelFolder(join(folder.path, 'none'), { config: another, tokenizer });
  });

  it('writes no weights that are not finite, and leaves what was there', () => {
    using folder = temporaryFolder();
    const path = join(folder.path, 'model');
    const { config } = createModel(path, tiny, tokenizer, 1);
    const before = readFileSync(join(path, 'model.safetensors'));
    const broken = initialWeights(config, 2);
    (broken.get('model.norm.weight') as TensorToWrite).data[3] = Number.NaN;
    assert.throws(() => saveModel(path, { config, tokenizer }, broken), { code: 'damaged', message: /model\.norm/ });
    assert.deepEqual(readFileSync(join(path, 'model.safetensors')), before);
    broken.delete('model.norm.weight');
    assert.throws(() => saveModel(join(folder.path, 'new'), { config, tokenizer }, broken), /model\.norm\.weight/);
    assert.ok(!existsSync(join(folder.path, 'new')));
  });

  it('knows the base of any rotary embedding, and refuses a scaled one', async () => {
    using folder = temporaryFolder();
    for (const [index, ropeBase] of [10_000, 100_000, 500_000, 1_000_000, 12_345.678].entries()) {
      for (const headDim of [2, 16, 64, 80, 128]) {
        const path = join(folder.path, `${index}-${headDim}`);
        const { config } = createModel(path, { ...tiny, layers: 1, ropeBase, headDim }, tokenizer, 1);
        using file = await openModelFile(path);
        assert.deepEqual(file.config.rope, config.rope);
      }
    }
    using scaled = await openFamily('llama-linear');
    const source = scaled.tokenizerSource();
    assert.ok(source.kind === 'json');
    const model = { config: scaled.config, tokenizer: source };
    assert.throws(() => saveModel(join(folder.path, 'scaled'), model, weightsOf(scaled)), { code: 'unsupported' });
  });
});
