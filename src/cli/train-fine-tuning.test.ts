/** The real command line fine-tunes a tiny model. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { temporaryFolder } from '../../test/support/temporary.ts';
import { tinyShape } from '../../test/support/tiny-trained.ts';
import { trainBytePairs } from '../train/scratch/byte-pair-encoding.ts';
import { createModel } from '../train/scratch/new-model.ts';

const launcher = fileURLToPath(new URL('../../bin/memory3.js', import.meta.url));

test('train sft and train dpo make adapters that follow each other', async () => {
  using folder = temporaryFolder();
  const memory3 = (...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [launcher, 'train', ...args], {
      env: { ...process.env, MEMORY3_HOME: folder.path, MEMORY3_OFFLINE: '1' },
      encoding: 'utf8',
    });
    return { code: status, out: stdout, err: stderr };
  };
  const model = join(folder.path, 'model');
  const { files } = await trainBytePairs(['who wrote the theory of the thing'], { vocabularySize: 270 });
  createModel(model, tinyShape, files, 1);
  const chats = folder.write('chats.jsonl', '{"prompt": "Who wrote it?", "answers": ["She did."]}\n');
  const pairs = folder.write('pairs.jsonl', '{"prompt": "Who wrote it?", "chosen": "She.", "rejected": "Nobody."}\n');
  const common = ['--model', model, '--no-memory', '--threads', '1', '--batch', '1', '--steps', '2', '--json'];

  const first = join(folder.path, 'first');
  const sft = memory3('sft', '--data', chats, '--run', first, '--licence', 'CC0-1.0', ...common);
  assert.equal(sft.code, 0, sft.err);
  const events = sft.out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  assert.deepEqual(
    events.map(({ kind }) => kind),
    ['checkpoint', 'step', 'step', 'checkpoint', 'end'],
  );
  assert.deepEqual(events.at(-1)?.saved, { kind: 'adapter', path: join(first, 'adapter') });

  const second = ['--data', pairs, '--run', join(folder.path, 'second'), '--adapter', join(first, 'adapter')];
  const dpo = memory3('dpo', ...second, ...common);
  assert.equal(dpo.code, 0, dpo.err);
  assert.match(dpo.out, /"loss":0\.693147/);

  const wrong = memory3('sft', '--data', chats, '--run', first, ...common, '--rate', '1e-3');
  assert.equal(wrong.code, 6);
  assert.match(wrong.err, /schedule\.rate was 0\.00005, is 0\.001/);
  assert.equal(memory3('dpo', '--data', pairs).code, 2);
});
