/** The real command line builds a bank for evaluation with a tiny model, once. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { bankData } from '../../test/support/bank-data.ts';
import { tinyModelFolder } from '../../test/support/evaluation.ts';
import { temporaryFolder } from '../../test/support/temporary.ts';

const launcher = fileURLToPath(new URL('../../bin/memory3.js', import.meta.url));

test('eval bank builds a bank, says when it is finished, refuses another; its flags stand behind its name', async () => {
  using data = bankData();
  using folder = temporaryFolder();
  const memory3 = (...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [launcher, 'eval', ...args], { encoding: 'utf8' });
    return { code: status, err: stderr, out: stdout };
  };
  const model = ['--model', await tinyModelFolder(folder.path), '--no-adapter', '--threads', '1', '--offline'];
  const bank = join(folder.path, 'passages.memory3');
  const args = ['bank', 'general', '--data', data.path, '--bank', bank, '--sources', 'squad,cuad', ...model];

  const built = memory3(...args, '--limit', '9,cuad=2');
  assert.equal(built.code, 0, built.err);
  assert.match(built.err, /Estimated from a few of them, written here: 11 references to store, [\d.]+ KB, \d+ s/);
  assert.match(built.err, /squad documents 9 \/ 9\n/);
  assert.match(built.err, /cuad memories 2 \/ 2 \d+ tokens\/s/);
  assert.match(built.out, /^source +documents +shared +references +tokens +memories/);
  assert.match(built.out, /cuad +2 +0 +2 .* 2 of 5 +CC BY 4.0\n/);
  const again = memory3(...args, '--limit', '9,cuad=2', '--json');
  assert.match(again.err, /is finished: there is nothing to do/);
  const lines = again.out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  assert.deepEqual(
    lines.map(({ kind, source, documents, limit, available }) => [kind, source, documents, limit, available]),
    [
      ['source', 'squad', 9, 9, 27],
      ['source', 'cuad', 2, 2, 5],
      ['end', undefined, 11, undefined, undefined],
    ],
  );
  const other = memory3(...args, '--limit', 'cuad=2');
  assert.equal(other.code, 6);
  assert.match(other.err, /sources.squad.limit was 9, is null/);
  assert.match(memory3(...args, '--limit', '9,cuad=2,cuad=3').err, /cuad is there twice/);
  const fewer = memory3(...args, '--limit', '9,cuad=2', '--kept', '8');
  assert.equal(fewer.code, 6);
  assert.match(fewer.err, /all tokens by received, int8 .*, not with profile .*8 tokens/);
  const misplaced = memory3('--data', data.path, 'bank', 'general', '--bank', bank);
  assert.equal(misplaced.code, 2);
  assert.match(misplaced.err, /--data stands in front of "bank"/);
  assert.match(memory3('bank', 'general', '--bank', bank).err, /--data <folder> is missing/);
});
