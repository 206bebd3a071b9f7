/** The real command line evaluates a tiny model, and goes on with what it has. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { evaluationData, tinyModelFolder } from '../../test/support/evaluation.ts';
import { recordsOf, storeRun } from '../../test/support/stored-evaluation.ts';
import { temporaryFolder } from '../../test/support/temporary.ts';

const launcher = fileURLToPath(new URL('../../bin/memory3.js', import.meta.url));

test('eval prints cells as a table or as JSON; bench ability measures the same', async () => {
  using folder = temporaryFolder();
  using data = evaluationData();
  const memory3 = (...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [launcher, ...args], {
      env: { ...process.env, MEMORY3_HOME: folder.path, MEMORY3_OFFLINE: '1' },
      encoding: 'utf8',
    });
    return { code: status, err: stderr, out: stdout };
  };
  const model = ['--model', await tinyModelFolder(folder.path), '--no-adapter', '--threads', '1', '--data', data.path];
  const run = join(folder.path, 'run');
  const evaluation = ['eval', '--run', run, ...model];
  const args = [
    ...evaluation,
    '--tasks',
    'arc_easy,squad',
    '--modes',
    'none',
    '--limit',
    '4,squad=3',
    '--no-document-start',
  ];
  const first = memory3(...args);
  assert.equal(first.code, 0, first.err);
  assert.match(first.out, /^task +metric +mode +value/);
  assert.match(first.out, /arc_easy +normalised-accuracy +none +[01]\.\d{3} +\d\.\d{3} to \d\.\d{3} +4/);
  assert.match(first.err, /Measuring/);
  assert.match(first.err, /Report: .*report\.html/);
  const again = memory3(...args, '--json');
  assert.equal(again.code, 0, again.err);
  const cells = again.out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  assert.deepEqual(
    cells.map(({ task, metric, items }) => [task, metric, items]),
    [
      ['arc_easy', 'accuracy', 4],
      ['arc_easy', 'normalised-accuracy', 4],
      ['squad', 'exact', 3],
      ['squad', 'f1', 3],
      ['squad', 'contains', 3],
    ],
  );
  const ability = memory3('bench', 'ability', ...model, '--limit', '4', '--json');
  assert.equal(ability.code, 0, ability.err);
  const row = ability.out.split('\n').find((line) => line.includes('arc_easy')) ?? '{}';
  assert.equal((JSON.parse(row) as { value: number }).value, cells[0]?.value);

  const changed = memory3(...args, '--shots', '1');
  assert.equal(changed.code, 6);
  assert.match(changed.err, /shots was 0, is 1/);
  const unknown = memory3(...evaluation, '--tasks', 'nothing', '--bank', join(folder.path, 'missing'));
  assert.equal(unknown.code, 2);
  assert.match(unknown.err, /There is no task "nothing"/);
  assert.equal(memory3(...evaluation, '--modes', 'some').code, 2);
  const idle = memory3(...evaluation, '--tasks', 'arc_easy', '--modes', 'none,memory:gold', '--bank', 'b');
  assert.equal(idle.code, 2);
  assert.match(idle.err, /--bank: no mode recalls from a bank\.\n/);
  const plain = [...evaluation, '--tasks', 'arc_easy', '--modes'];
  for (const [modes, flag, ...value] of [
    ['none', '--kept', '8'],
    ['none', '--scoring', 'random'],
    ['none', '--memories', '3'],
    ['none,rag:gold', '--storage', 'f16'],
    ['none,rag:gold', '--layers', 'all'],
  ] as const) {
    const refused = memory3(...plain, modes, flag, ...value);
    assert.equal(refused.code, 2, `${modes} ${flag}`);
    assert.match(refused.err, new RegExp(`${flag}: no mode has `));
  }
  // What a bank must be is chosen by them, and this one is not there.
  assert.equal(memory3(...plain, 'rag', '--kept', '8', '--bank', join(folder.path, 'missing')).code, 3);
  assert.match(memory3(...plain, 'none', '--limit', '2,copa=3,copa=4').err, /copa is there twice/);
  assert.match(memory3('eval', ...model).err, /--run <folder> is missing/);

  const other = storeRun(folder.path, 'other', {
    ...{ tasks: ['squad'], modes: ['none'], model: 'larger', parameters: 1e9 },
    records: recordsOf(
      'squad',
      'none',
      'f1',
      new Array(9).fill(1),
      [...Array(9).keys()].map((n) => `squad-${n}`),
    ),
  });
  const compared = memory3('eval', '--run', run, '--compare', other, '--json');
  assert.equal(compared.code, 0, compared.err);
  const kinds = compared.out.split('\n').map((line) => (JSON.parse(line || '{}') as { kind?: string }).kind);
  assert.deepEqual(kinds.slice(0, 2), ['comparison', 'compared']);
  const table = memory3('eval', '--run', run, '--compare', other);
  assert.match(table.out, /This run: run, .*\. Other run: other, larger/);
  assert.match(table.out, /Only run has the tasks arc_easy/);
  assert.match(memory3('eval', '--run', run).out, /arc_easy +accuracy +none/);
  assert.match(memory3('eval', '--run', run, '--seed', '1').err, /--data <folder> is missing/);
  rmSync(join(run, 'summary.json'));
  assert.match(memory3('eval', '--run', run, '--compare', other).err, /is not finished/);
});
