import assert from 'node:assert/strict';
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { tinyModelFolder } from '../../test/support/evaluation.ts';
import { temporaryFolder } from '../../test/support/temporary.ts';
import { openModel } from './workspace.ts';

const descriptors = '/proc/self/fd';

/** Open files below a folder. */
function openFiles(folder: string): string[] {
  const paths = readdirSync(descriptors).map((name) => {
    try {
      return readlinkSync(join(descriptors, name));
    } catch {
      return '';
    }
  });
  return paths.filter((path) => path.startsWith(folder));
}

test('a model whose chat template cannot be read is closed again', {
  skip: process.platform !== 'linux' && 'open files are only listed on Linux',
}, async () => {
  using folder = temporaryFolder();
  const model = await tinyModelFolder(folder.path);
  const configPath = join(model, 'tokenizer_config.json');
  const config = JSON.parse(readFileSync(configPath, 'utf8'));
  {
    await using _ = await openModel({ model, adapter: null, threads: 1 });
    assert.equal(openFiles(model).length, 1);
  }
  writeFileSync(configPath, JSON.stringify({ ...config, chat_template: '{% if %}' }));
  await assert.rejects(openModel({ model, adapter: null, threads: 1 }), { code: 'unsupported' });
  assert.deepEqual(openFiles(model), []);
});
