/** Comparisons of runs against numbers computed by hand. */
import assert from 'node:assert/strict';
import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type RunToStore, recordsOf, storeRun } from '../../../test/support/stored-evaluation.ts';
import { type TemporaryFolder, temporaryFolder } from '../../../test/support/temporary.ts';
import { type Comparison, compareRuns } from './compare.ts';
import { describeParameters, describeSize, notesOf } from './comparison-words.ts';
import { readStoredRun } from './stored-run.ts';
import { describeComparison } from './words.ts';

let folder: TemporaryFolder;
let stored = 0;
before(() => {
  folder = temporaryFolder();
});
after(() => folder[Symbol.dispose]());

const near = (actual: number | undefined, expected: number) =>
  assert.ok(Math.abs((actual ?? Number.NaN) - expected) < 1e-9, `${actual}, not ${expected}`);
const store = (run: RunToStore) => storeRun(folder.path, `run-${stored++}`, run);
const compared = (here: RunToStore, there: RunToStore): Comparison =>
  compareRuns(readStoredRun(store(here)), readStoredRun(store(there)));
const repeated = (score: number, count: number) => new Array<number>(count).fill(score);

describe('two runs side by side', () => {
  it('over the items that both have; what only one has is counted and named', () => {
    const [tasks, modes] = [
      ['squad', 'gsm8k'],
      ['none', 'rag:2'],
    ];
    const comparison = compared(
      {
        ...{ tasks, modes },
        records: [
          ...recordsOf(
            'squad',
            'none',
            'f1',
            [...repeated(0.5, 4), ...repeated(0.25, 4), 1],
            [...'abcdefgh', 'only here'],
          ),
          ...recordsOf('squad', 'rag:2', 'f1', [1, 1, 1], ['a', 'b', 'only here']),
          ...recordsOf('gsm8k', 'none', 'exact', [1]),
        ],
      },
      {
        ...{ tasks: ['squad', 'piqa'], modes: ['none', 'memory:5'] },
        config: { shots: 3, data: [{ task: 'squad', file: 'squad.jsonl', hash: 'another' }] },
        complete: false,
        records: recordsOf('squad', 'none', 'f1', [...repeated(0.75, 4), ...repeated(0.5, 4), 0, 0], [...'abcdefghxy']),
      },
    );
    const row = comparison.rows.find(({ metric }) => metric === 'f1');
    assert.deepEqual(row && [row.tasks, row.mode, row.onlyHere, row.onlyThere], [['squad'], 'none', 1, 2]);
    assert.deepEqual([row?.here, row?.there], [(0.5 + 0.25) / 2, (0.75 + 0.5) / 2]);
    // All items are worse by a quarter, so every resample is.
    assert.deepEqual(row?.difference, { value: -0.25, low: -0.25, high: -0.25, noise: false, items: 8 });
    assert.equal(row && describeComparison(row), 'worse: -0.250 (-0.250 to -0.250)');
    const exact = comparison.rows.find(({ metric }) => metric === 'exact');
    assert.deepEqual([exact?.difference.items, exact && describeComparison(exact)], [0, 'no item in common']);
    assert.deepEqual(comparison.onlyHere, { tasks: ['gsm8k'], modes: ['rag:2'] });
    assert.deepEqual(comparison.onlyThere, { tasks: ['piqa'], modes: ['memory:5'] });
    assert.deepEqual(comparison.otherData, ['squad']);
    assert.deepEqual(comparison.settings, [{ field: 'shots', from: 0, to: 3 }]);
    const notes = notesOf(comparison).join('\n');
    const { here, there } = comparison;
    assert.match(notes, new RegExp(`${there.name} is not finished`));
    assert.match(notes, new RegExp(`Only ${here.name} has the tasks gsm8k.\nOnly ${here.name} has the modes rag:2.`));
    assert.match(notes, /The data files of squad differ/);
    assert.match(notes, /shots: 0 here, 3 there/);
  });

  it('a difference whose interval holds 0 is noise', () => {
    const run = (scores: readonly number[]): RunToStore => ({
      ...{ tasks: ['squad'], modes: ['none'], records: recordsOf('squad', 'none', 'exact', scores) },
    });
    const { rows } = compared(run([1, 0, 1, 1]), run([0, 1, 0, 1]));
    assert.equal(rows[0]?.difference.value, 0.25);
    assert.equal(rows[0]?.difference.noise, true);
    assert.match(rows.map(describeComparison)[0] ?? '', /^within noise: \+0\.250/);
  });

  it('means over tasks, each of which counts the same', () => {
    const run = (squad: number, gsm8k: number): RunToStore => ({
      ...{ tasks: ['squad', 'gsm8k'], modes: ['none'] },
      records: [
        ...recordsOf('squad', 'none', 'exact', repeated(squad, 6)),
        ...recordsOf('gsm8k', 'none', 'exact', repeated(gsm8k, 30)),
      ],
    });
    const mean = compared(run(1, 0.5), run(0, 0.25)).rows.find(({ tasks }) => tasks.length === 2);
    near(mean?.here, 0.75);
    near(mean?.there, 0.125);
    assert.deepEqual(mean?.difference, { value: 0.625, low: 0.625, high: 0.625, noise: false, items: 36 });
  });
});

describe('effective size', () => {
  const small = (metric: 'f1' | 'perplexity', none: readonly number[], memory: readonly number[]): RunToStore => {
    const task = metric === 'f1' ? 'squad' : 'wikitext2';
    return {
      ...{ tasks: [task], modes: ['none', 'memory:5'], model: 'small', parameters: 7e9 },
      records: [...recordsOf(task, 'none', metric, none), ...recordsOf(task, 'memory:5', metric, memory)],
    };
  };
  const large = (metric: 'f1' | 'perplexity', none: readonly number[]): RunToStore => {
    const task = metric === 'f1' ? 'squad' : 'wikitext2';
    const records = recordsOf(task, 'none', metric, none);
    return { tasks: [task], modes: ['none'], model: 'large', parameters: 13e9, records };
  };

  it('2.51 points by memory where a model of 13B instead of 7B has 4.91 more: 51 %', () => {
    const own = small('f1', repeated(0.608, 6), repeated(0.6331, 6));
    const [size] = compared(own, large('f1', repeated(0.6571, 6))).sizes;
    near(size?.share?.value, 2.51 / 4.91);
    near(size?.share?.low, 2.51 / 4.91);
    assert.equal(size?.parameters, Math.round(7e9 + (2.51 / 4.91) * 6e9));
    assert.deepEqual([size?.metric, size?.mode, size?.items], ['f1', 'memory:5', 6]);
    assert.equal(describeParameters(size?.parameters ?? null), '10.07 B');
    assert.equal(size && describeSize(size), '51 % (51 % to 51 %)');
  });

  it('has an interval over items, and counts those that all three have', () => {
    // Of 100 items the larger model has all, memory every other one: 50 % +- 1.96 * 0.05.
    const scores = Array.from({ length: 100 }, (_, index) => index % 2);
    const { sizes } = compared(small('f1', repeated(0, 101), scores), large('f1', repeated(1, 100)));
    near(sizes[0]?.share?.value, 0.5);
    assert.equal(sizes[0]?.items, 100);
    assert.ok(Math.abs((sizes[0]?.share?.low ?? 0) - 0.402) < 0.03);
    assert.ok(Math.abs((sizes[0]?.share?.high ?? 0) - 0.598) < 0.03);
  });

  it('of perplexity, which is better when it is lower', () => {
    const own = small('perplexity', repeated(2, 6), repeated(1.5, 6));
    const comparison = compared(own, large('perplexity', repeated(1, 6)));
    near(comparison.sizes[0]?.share?.value, (Math.E ** 2 - Math.E ** 1.5) / (Math.E ** 2 - Math.E));
    assert.match(notesOf(comparison).join('\n'), /Perplexity of wikitext2 is per token: .* same tokenizer/);
    assert.doesNotMatch(notesOf(compared(own, { ...own, modes: ['none'] })).join('\n'), /tokenizer/);
  });

  it('is none where the larger model is not better beyond noise, or parameters are not known', () => {
    const own = small('f1', [0, 1, 0, 1, 0, 1], repeated(1, 6));
    const [noise] = compared(own, large('f1', [1, 0, 1, 0, 1, 0])).sizes;
    assert.deepEqual([noise?.share, noise?.parameters], [null, null]);
    const [few] = compared(small('f1', repeated(0, 5), repeated(1, 5)), large('f1', repeated(1, 5))).sizes;
    assert.deepEqual([few?.share, few?.items], [null, 5]);
    assert.equal(noise && describeSize(noise), 'the larger model is not better beyond noise');
    const unknown = compared({ ...own, parameters: null }, large('f1', repeated(1, 4)));
    assert.deepEqual(unknown.sizes, []);
    assert.match(notesOf(unknown).join('\n'), /No effective size: run-\d+ does not say its model's parameters/);
    assert.deepEqual(compared({ ...own, parameters: 13e9 }, large('f1', repeated(1, 4))).sizes, [], 'not larger');
  });
});

describe('a run that is no run', () => {
  const run: RunToStore = { tasks: ['squad'], modes: ['none'], records: recordsOf('squad', 'none', 'exact', [1]) };

  it('is refused, and said why', () => {
    const empty = join(folder.path, 'empty');
    mkdirSync(empty);
    assert.throws(() => readStoredRun(empty), { code: 'not-found', message: /empty holds no evaluation: it has no/ });
    assert.throws(() => readStoredRun(join(folder.path, 'no')), {
      code: 'not-found',
      message: /there is no such folder/,
    });
    const other = (name: string, config: string) => {
      const path = join(folder.path, name);
      mkdirSync(path);
      writeFileSync(join(path, 'config.json'), config);
      return path;
    };
    const training = other('training', '{"format":"memory3 run 1","settings":{},"config":{}}');
    assert.throws(() => readStoredRun(training), { code: 'mismatch', message: /its format is "memory3 run 1"/ });
    const alien = other('alien', '{"hello":1}');
    assert.throws(() => readStoredRun(alien), { code: 'mismatch', message: /holds no evaluation of tasks in modes/ });
    assert.throws(() => readStoredRun(other('text', 'hello')), { code: 'damaged', message: /config.json/ });
    const poor = other('poor', '{"format":"memory3 eval 1","config":{"tasks":["squad"]}}');
    assert.throws(() => readStoredRun(poor), { code: 'damaged', message: /config.*modes/ });
  });

  it('with itself, without a common task, mode or item', () => {
    const own = readStoredRun(store(run));
    assert.throws(() => compareRuns(own, own), { code: 'usage', message: /with itself/ });
    const other = { ...run, tasks: ['piqa'], records: [] };
    assert.throws(() => compared(run, other), {
      code: 'mismatch',
      message: /none of their tasks in common.*squad.*piqa/,
    });
    assert.throws(() => compared(run, { ...run, modes: ['rag:1'] }), {
      code: 'mismatch',
      message: /none of their modes in common.*none.*rag:1/,
    });
    const items = recordsOf('squad', 'none', 'exact', [1], ['another']);
    assert.throws(() => compared(run, { ...run, records: items }), { code: 'mismatch', message: /no measured item/ });
  });

  it('reads a run that is still being written', () => {
    const path = store({ ...run, complete: false });
    appendFileSync(join(path, 'items.jsonl'), '{"task":"squad","mo');
    const { records, complete } = readStoredRun(path);
    assert.deepEqual([records.length, complete], [1, false]);
  });
});
