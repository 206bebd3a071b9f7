/** The real command line measures how fast a tiny model is scored. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { evaluationData, tinyModelFolder } from '../../test/support/evaluation.ts';
import { temporaryFolder } from '../../test/support/temporary.ts';
import type { LikelihoodSpeedReport } from '../evaluate/likelihood-speed.ts';

const launcher = fileURLToPath(new URL('../../bin/memory3.js', import.meta.url));

test('bench likelihoods prints rates of tasks and of reading', async () => {
  using folder = temporaryFolder();
  using data = evaluationData();
  const model = await tinyModelFolder(folder.path);
  const bench = (...args: string[]) => {
    const flags = ['--data', data.path, '--model', model, '--no-adapter', '--threads', '1', '--rounds', '2', ...args];
    const { status, stdout, stderr } = spawnSync(process.execPath, [launcher, 'bench', 'likelihoods', ...flags], {
      env: { ...process.env, MEMORY3_HOME: folder.path, MEMORY3_OFFLINE: '1' },
      encoding: 'utf8',
    });
    return { code: status, out: stdout, err: stderr };
  };
  const json = bench('--tasks', 'arc_easy, lambada', '--limit', '4', '--json');
  assert.equal(json.code, 0, json.err);
  const { prefill, tasks, all, rounds } = JSON.parse(json.out) as LikelihoodSpeedReport;
  assert.equal(rounds, 2);
  assert.deepEqual(
    tasks.map(({ task, items }) => [task, items]),
    [
      ['arc_easy', 4],
      ['lambada', 3],
    ],
  );
  for (const { tokensPerSecond, ratio } of [...tasks, all]) {
    assert.ok(tokensPerSecond > 0 && Math.abs(ratio - tokensPerSecond / prefill) < 1e-9);
  }
  const [first, second] = tasks;
  assert.equal(all.items, 7);
  assert.equal(all.tokens, (first?.tokens ?? 0) + (second?.tokens ?? 0));
  const seconds = tasks.reduce((sum, { tokens, tokensPerSecond }) => sum + tokens / tokensPerSecond, 0);
  assert.ok(Math.abs(all.tokens / all.tokensPerSecond - seconds) < 1e-9 * seconds);

  const wrong = bench('--tasks', 'squad');
  assert.equal(wrong.code, 2);
  assert.match(wrong.err, /squad is not scored by the likelihoods/);
});
