/** The real command line explains the answer of a tiny model. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { temporaryFolder } from '../../test/support/temporary.ts';
import { tinyModel } from '../../test/support/tiny-trained.ts';
import type { Explanation } from '../evaluate/explain.ts';
import { defaultEmbedder } from '../hub/catalogue.ts';
import { fetchModel } from '../hub/fetch.ts';
import { modelsFolder } from '../hub/home.ts';
import { saveModel } from '../train/scratch/save-model.ts';

const launcher = fileURLToPath(new URL('../../bin/memory3.js', import.meta.url));

test('ask --explain: tables, JSON, a page', async () => {
  using folder = temporaryFolder();
  await fetchModel(defaultEmbedder);
  symlinkSync(modelsFolder(), join(folder.path, 'models'));
  const memory3 = (...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [launcher, ...args], {
      env: { ...process.env, MEMORY3_HOME: folder.path, MEMORY3_OFFLINE: '1' },
      encoding: 'utf8',
    });
    return { code: status, out: stdout, err: stderr };
  };
  const model = join(folder.path, 'model');
  const { config, files, tensors } = await tinyModel();
  saveModel(model, { config, tokenizer: files }, tensors);
  const common = ['--model', model, '--threads', '1'];
  const bees = folder.write('bees.txt', 'The queen <b>of the bees</b> is called Isolde.');
  const clocks = folder.write('clocks.txt', 'Clocks are wound by the porter.');
  assert.equal(memory3('add', bees, clocks, ...common).code, 0);

  const question = 'Who is <i>the queen</i>?';
  const ask = ['ask', '--max-tokens', '6', '--seed', '1', '--temperature', '1', ...common];
  const page = join(folder.path, 'why.html');
  const explained = memory3(...ask, question, '--json', '--explain', page);
  assert.equal(explained.code, 0, explained.err);
  const lines = explained.out.trimEnd().split('\n');
  assert.equal(lines.length, 2, 'the answer, its explanation');
  const { text } = JSON.parse(lines[0] as string) as { text: string };
  const explanation = JSON.parse(lines[1] as string) as Explanation;
  assert.deepEqual(explanation.memories.map(({ document }) => document).sort(), [bees, clocks]);
  assert.equal(explanation.answerTokens, 6);
  assert.ok(explanation.memories.every(({ worth }) => Number.isFinite(worth) && worth !== 0));
  const markup = readFileSync(page, 'utf8');
  assert.ok(markup.includes('Who is &lt;i&gt;the queen&lt;/i&gt;?'));
  assert.ok(markup.includes('The queen &lt;b&gt;of the bees&lt;/b&gt; is called Isolde.'));

  // The flag before the question has nothing to take for a file.
  const first = memory3(...ask, '--explain', question);
  assert.equal(first.code, 0, first.err);
  assert.ok(first.out.startsWith(text));
  for (const { referenceId, worth } of explanation.memories) {
    assert.match(first.out, new RegExp(`\\[${referenceId}\\] +[+-]${Math.abs(worth).toFixed(2).replace('.', '\\.')} `));
  }
  assert.match(first.out, /Attention of the answer[^\n]*\n *layer +header/);
});
