/** Layers measured for a conversion of a tiny model. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { article, conversionData, lines } from '../../test/support/conversion-data.ts';
import { temporaryFolder } from '../../test/support/temporary.ts';
import { openModel } from '../generate/workspace.ts';
import { trainBytePairs } from '../train/scratch/byte-pair-encoding.ts';
import { createModel } from '../train/scratch/new-model.ts';
import { measureLayers } from './measure-layers.ts';

const shape = { layers: 2, hiddenSize: 32, heads: 4, kvHeads: 2, headDim: 8, mlpSize: 48, contextLength: 512 };

test('layers are surveyed, compared and kept; what was kept is not measured again', async () => {
  using data = conversionData();
  using folder = temporaryFolder();
  const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
  const { files } = await trainBytePairs([readme], { vocabularySize: 400 });
  createModel(join(folder.path, 'model'), shape, files, 1);
  const run = join(folder.path, 'run');
  const signal = new AbortController().signal;
  const notices: string[] = [];
  const options = { data: data.path, folder: run, signal, onNotice: (notice: string) => notices.push(notice) };
  // The data has few long texts; the same again are enough to survey.
  const book = join(data.path, 'openstax_textbooks');
  for (const name of ['c', 'd']) {
    writeFileSync(join(book, `${name}.jsonl.gz`), readFileSync(join(book, 'anatomy.jsonl.gz')));
    writeFileSync(join(book, `${name}${name}.jsonl.gz`), readFileSync(join(book, 'biology.jsonl.gz')));
  }
  await using opened = await openModel({ model: join(folder.path, 'model'), adapter: null });
  const layers = await measureLayers(opened, options);
  const kept = JSON.parse(readFileSync(join(run, 'layers.json'), 'utf8'));
  assert.deepEqual(layers, kept.chosen.layers);
  const choices = kept.candidates.map(({ choice }: { choice: string }) => choice);
  assert.ok(choices.includes('first-half') && choices.includes('all'));
  const heads = readFileSync(join(run, 'heads.jsonl'), 'utf8').trim().split('\n');
  assert.equal(heads.length, 1 + 1 + 2 + 8, 'the survey, the model as it is, each layer, each head');
  notices.length = 0;
  assert.deepEqual(await measureLayers(opened, options), layers);
  assert.deepEqual(notices, []);
  const scored = { ...opened, profile: { ...opened.profile, scoring: 'random' as const } };
  await assert.rejects(measureLayers(scored, options), { code: 'mismatch', message: /scoring was "\w+", is "random"/ });
  createModel(join(folder.path, 'another'), shape, files, 2);
  await using another = await openModel({ model: join(folder.path, 'another'), adapter: null });
  await assert.rejects(measureLayers(another, options), { code: 'mismatch', message: /json were.* model was/ });
  const books = readFileSync(join(book, 'c.jsonl.gz'));
  writeFileSync(join(book, 'anatomy.jsonl.gz'), lines([{ text: `First of all. ${article}` }]));
  await assert.rejects(measureLayers(opened, options), { code: 'mismatch', message: /data was/ });
  writeFileSync(join(book, 'anatomy.jsonl.gz'), books);
  writeFileSync(join(run, 'layers.json'), '{"chosen":{"layers":[]}}');
  await assert.rejects(measureLayers(opened, options), { code: 'damaged' });
  const begun = join(folder.path, 'begun');
  mkdirSync(begun);
  writeFileSync(join(begun, 'config.json'), '{}');
  await assert.rejects(measureLayers(opened, { ...options, folder: begun }), {
    code: 'mismatch',
    message: /was begun with layers that were not measured in it/,
  });
});
