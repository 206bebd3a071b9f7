/** The real command line measures the quality of a tiny model, and refuses flags that would do nothing. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { tinyModelFolder } from '../../test/support/evaluation.ts';
import { temporaryFolder } from '../../test/support/temporary.ts';
import type { QualityRow } from '../evaluate/quality.ts';
import { adapterCardSchema } from '../memory/adapter-card.ts';
import { readCardResults } from './card-results.ts';

const launcher = fileURLToPath(new URL('../../bin/memory3.js', import.meta.url));

function bench(home: string, ...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [launcher, 'bench', ...args], {
    env: { ...process.env, MEMORY3_HOME: home, MEMORY3_OFFLINE: '1' },
    encoding: 'utf8',
  });
  return { code: status, out: stdout, err: stderr };
}

test('bench quality measures the layers and the kept tokens that it is asked for', async () => {
  using folder = temporaryFolder();
  const model = await tinyModelFolder(folder.path);
  const text = 'The answer to the question of the theory is a thing.';
  const question = { id: 1, question: 'What?', context_id: 1, answers: ['a thing'], answer_starts: [44] };
  const contexts = folder.write('contexts.jsonl', `${JSON.stringify({ context_id: 1, text })}\n`);
  const questions = folder.write('questions.jsonl', `${JSON.stringify(question)}\n`);
  const common = ['--contexts', contexts, '--questions', questions, '--model', model, '--no-adapter', '--threads', '1'];
  const { code, out, err } = bench(folder.path, 'quality', ...common, '--layers', '0, 1', '--kept', '8', '--json');
  assert.equal(code, 0, err);
  const rows = out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as QualityRow);
  assert.deepEqual(
    rows.map(({ mode, layers, kept }) => [mode, layers, kept]),
    [
      ['none', null, null],
      ['rag', null, null],
      ['memory', '0, 1', 8],
    ],
  );
  // What the card of an adapter is given is this output.
  const cells = readCardResults(folder.write('rows.jsonl', out));
  const share = rows[2]?.share;
  assert.deepEqual([cells[2]?.share, cells[2]?.['share, high']], [share?.value, share?.high]);
  assert.deepEqual(adapterCardSchema.shape.results.parse(cells), cells);
});

test('flags that would do nothing are refused', () => {
  using folder = temporaryFolder();
  const files = ['--contexts', 'c.jsonl', '--questions', 'q.jsonl'];
  for (const [args, message] of [
    [['quality', ...files, '--held-out'], /'--held-out' cannot be used with option '--contexts/],
    [['quality', ...files, '--sets', 'squad-v1.1'], /'--sets <names>' cannot be used with option '--contexts/],
    [['quality', '--data', 'd', '--choices', 'all', '--layers', 'all'], /'--choices <layers>' cannot be used with/],
    [['quality', '--data', 'd', '--keep', '8', '--kept', '8'], /'--keep <n>' cannot be used with option '--kept/],
    [['layers', '--data', 'd', '--kept', '8'], /unknown option '--kept'/],
    [['ability', '--data', 'd', '--layers', 'all'], /unknown option '--layers'/],
    [['likelihoods', '--data', 'd', '--embedder', 'x'], /unknown option '--embedder'/],
  ] as const) {
    const { code, err } = bench(folder.path, ...args);
    assert.equal(code, 2);
    assert.match(err, message);
  }
});
