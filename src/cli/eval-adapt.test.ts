/** The real command line adapts a tiny model to a domain. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { adaptationData } from '../../test/support/adaptation.ts';
import { tinyModelFolder } from '../../test/support/evaluation.ts';
import { temporaryFolder } from '../../test/support/temporary.ts';

const launcher = fileURLToPath(new URL('../../bin/memory3.js', import.meta.url));

test('eval adapt prints what each arm is worth and costs, as tables or as JSON, and goes on', async () => {
  using folder = temporaryFolder();
  using data = adaptationData();
  const run = join(folder.path, 'run');
  const model = ['--model', await tinyModelFolder(folder.path), '--no-adapter', '--threads', '1', '--layers', 'last-1'];
  const adapt = (...args: string[]) => {
    const all = [launcher, 'eval', 'adapt', '--data', data.path, '--run', run, '--offline', ...model, ...args];
    const { status, stdout, stderr } = spawnSync(process.execPath, all, { encoding: 'utf8' });
    return { code: status, err: stderr, out: stdout };
  };
  const args = ['--domain', 'textbook', '--limit', '1', '--texts', '1', '--steps', '1', '--memories', '1'];
  const first = adapt(...args);
  assert.equal(first.code, 0, first.err);
  assert.match(first.out, /^textbook: .*; 1 documents, \d+ references, \d+ tokens, 1 questions\nNot seen/);
  assert.match(first.out, /accuracy per character +RAG +[01]\.000/);
  assert.match(first.out, /fine-tuned +.* train .* \+ merge /);
  assert.match(first.out, /memory +.* index .* \+ write .* answer in a reference: [01]/);
  assert.match(first.err, /textbook: training[\s\S]*report\.html/);
  assert.ok(existsSync(join(run, 'report.html')));
  const again = adapt(...args, '--json');
  assert.equal(again.code, 0, again.err);
  const report = JSON.parse(again.out) as { domain: string; seenInConversion: boolean; arms: { arm: string }[] };
  assert.deepEqual([report.domain, report.seenInConversion], ['textbook', false]);
  assert.deepEqual(
    report.arms.map(({ arm }) => arm),
    ['before', 'memory', 'tuned', 'rag'],
  );
  assert.match(adapt(...args, '--seed', '1').err, /seed was 0, is 1/);
  const unknown = adapt('--domain', 'poems');
  assert.equal(unknown.code, 2);
  assert.match(unknown.err, /policies, contracts, textbook/);
  assert.match(adapt(...args, '--steps', '4', '--passes', '9').err, /--passes: with --steps they are not counted/);
});
