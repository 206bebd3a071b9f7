/** The real command line measures the throughput of a tiny model. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { temporaryFolder } from '../../test/support/temporary.ts';
import { tinyModel } from '../../test/support/tiny-trained.ts';
import { saveModel } from '../train/scratch/save-model.ts';

const launcher = fileURLToPath(new URL('../../bin/memory3.js', import.meta.url));

test('bench throughput prints a row for each batch and mode', async () => {
  using folder = temporaryFolder();
  const model = join(folder.path, 'model');
  const { config, files, tensors } = await tinyModel();
  saveModel(model, { config, tokenizer: files }, tensors);
  const bench = (...args: string[]) => {
    const all = [launcher, 'bench', 'throughput', '--model', model, '--threads', '1', '--no-llama-cpp', ...args];
    const { status, stdout, stderr } = spawnSync(process.execPath, all, { encoding: 'utf8' });
    return { code: status, out: stdout, err: stderr };
  };
  const run = bench(...'--batches 2 --references 1,2 --input 20 --output 3 --rounds 1'.split(' '));
  assert.equal(run.code, 0, run.err);
  const [, ...rows] = run.out.trimEnd().split('\n');
  const given = ['nothing', 'five memories a chunk', '1 as text', '2 as text'];
  assert.equal(rows.length, given.length);
  for (const [index, row] of rows.entries()) {
    assert.match(row, new RegExp(`^ +2 +memory3 +${given[index]} +\\d+ .* ms `));
  }
  const wrong = bench('--batches', '1;2');
  assert.equal(wrong.code, 2);
  assert.match(wrong.err, /'--batches <list>' argument '1;2' is invalid. Whole numbers with commas/);
});
