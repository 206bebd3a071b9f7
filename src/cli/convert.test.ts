/** The real command line refuses flags of a conversion that would change nothing. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const launcher = fileURLToPath(new URL('../../bin/memory3.js', import.meta.url));

test('convert refuses numbers of kept tokens where something else decides them', () => {
  const cases: [string[], RegExp][] = [
    [['--summary-tokens', '4', '--learn', '8,all'], /'--summary-tokens <n>' cannot be used with option '--learn/],
    [['--summary-tokens', '4', '--scoring', 'random'], /cannot be used with option '--scoring/],
    [['--mode', 'rag', '--learn', '8'], /--learn: with --mode rag no memories are trained\.\n.*--mode memory/],
    [['--mode', 'none', '--summary-tokens', '4'], /--summary-tokens: with --mode none/],
    [['--scoring', 'answer-weighted'], /--scoring answer-weighted: .*none is named\.\n.*--from/],
  ];
  for (const [flags, message] of cases) {
    const args = ['convert', '--data', 'nowhere', '--run', 'nowhere', '--out', 'nowhere', '--offline', ...flags];
    const { status, stdout, stderr } = spawnSync(process.execPath, [launcher, ...args], { encoding: 'utf8' });
    assert.match(stderr, message);
    assert.deepEqual([status, stdout], [2, '']);
  }
});
