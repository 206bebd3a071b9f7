/** The results page against runs made by hand. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { recordsOf, storeRun } from '../../../test/support/stored-evaluation.ts';
import { type TemporaryFolder, temporaryFolder } from '../../../test/support/temporary.ts';
import type { ItemRecord } from '../eval/records.ts';
import type { MetricName } from '../tasks/task.ts';
import { resultsPage, writeResultsPage } from './page.ts';
import { type ResultsPlan, resultsPlan, type TasksPart } from './plan.ts';
import { readResults } from './stored.ts';

const planned = (name: string) => resultsPlan.parts.find((part) => part.name === name) as TasksPart;
const general: TasksPart = {
  ...planned('general'),
  tasks: ['arc_easy', 'piqa', 'wikitext2'],
  modes: ['none', 'memory:5', 'rag:5'],
  pairs: [
    ['memory:5', 'none'],
    ['memory:5', 'rag:5'],
  ],
};
const planOf = (...parts: ResultsPlan['parts']): ResultsPlan => ({ ...resultsPlan, parts });

/** Scores of `count` items: the first `right` of them 1, the others 0. */
const first = (right: number, count = 20) => Array.from({ length: count }, (_, index) => (index < right ? 1 : 0));

/** Nats of texts of the same length. */
const texts = (nats: number) => Array.from({ length: 8 }, (_, index) => nats + index / 100);

function records(task: string, metric: MetricName, byMode: Readonly<Record<string, readonly number[]>>): ItemRecord[] {
  return Object.entries(byMode).flatMap(([mode, scores]) => recordsOf(task, mode, metric, scores));
}

function storeGeneral(folder: string, model: 'base' | 'converted', own: readonly ItemRecord[], complete = true): void {
  storeRun(folder, `general-${model}`, {
    ...{ tasks: general.tasks, modes: general.modes, records: own, complete, model: `tiny ${model}` },
    config: { limit: 20, limits: { piqa: 40 } },
  });
}

const convertedRecords = [
  ...records('arc_easy', 'accuracy', { none: first(5), 'memory:5': first(15), 'rag:5': first(10) }),
  ...records('piqa', 'accuracy', { none: first(10), 'memory:5': first(10), 'rag:5': first(20) }),
  ...records('wikitext2', 'perplexity', { none: texts(3), 'memory:5': texts(2), 'rag:5': texts(3) }),
];

/** The line of a page's table that begins with these cells, as cells. */
function row(page: string, ...beginning: string[]): string[] {
  const start = `| ${beginning.join(' | ')} |`;
  const line = page.split('\n').find((one) => one.startsWith(start));
  assert.ok(line, `no line ${start} in\n${page}`);
  return line.slice(2, -2).split(' | ');
}

function pageOf(folder: TemporaryFolder, ...parts: ResultsPlan['parts']): string {
  return resultsPage(readResults(folder.path, planOf(...parts), folder.path));
}

describe('the results page', () => {
  it('says of every part that it is not measured, and has no number then', () => {
    using folder = temporaryFolder();
    const page = pageOf(folder, ...resultsPlan.parts);
    for (const { title } of resultsPlan.parts) assert.ok(page.includes(`## ${title}`));
    assert.match(page, /Nothing is measured yet/);
    assert.equal(page.match(/- Not measured yet: the base model\./g)?.length, 4);
    const cells = page.split('\n').filter((line) => line.startsWith('| ') && !line.startsWith('| task'));
    assert.ok(cells.length > 30);
    for (const line of cells) assert.match(line, /^\| [\w, ]+( \| (–|38\.8|57\.7|56\.6|36\.0))+ \|$/, line);
    assert.doesNotMatch(page, /NaN|undefined|null|Infinity/);
  });

  it('has scores, intervals, means, differences, verdicts and sentences that follow from the items', () => {
    using folder = temporaryFolder();
    storeGeneral(folder.path, 'converted', convertedRecords);
    const page = pageOf(folder, general);
    assert.match(page, /- Not measured yet: the base model\./);
    assert.doesNotMatch(page, /the converted model\. So far/);
    assert.match(page, /At most 20 items of each task, 40 of piqa, drawn by seed 0; no solved items/);
    assert.match(page, /Bank general: 9 references of 3 documents/);
    const easy = row(page, 'arc_easy');
    assert.deepEqual(easy.slice(1, 6), ['20', '–', '–', '–', '–']);
    assert.match(easy[6] as string, /^25\.0 ± 1\d\.\d$/);
    assert.match(easy[7] as string, /^\*\*75\.0 ± 1\d\.\d\*\*$/, 'better than both others beyond noise');
    assert.match(row(page, 'piqa')[8] as string, /^\*\*100\.0 ± 0\.0\*\*$/);
    assert.match(
      row(page, 'wikitext2, perplexity')[7] as string,
      /^\*\*7\.65 ± 0\.\d\d\*\*$/,
      'exp(2.035), lower is better',
    );
    assert.deepEqual(row(page, 'mean of 2 tasks, accuracy').slice(1, 6), ['40', '–', '–', '–', '–']);
    assert.match(row(page, 'mean of 2 tasks, accuracy')[7] as string, /^62\.5 ± /);
    const [, tasks, mean, against, difference, better, worse, noise] = row(
      page,
      'converted, memory 5 against converted, RAG 5',
    );
    assert.deepEqual([tasks, mean, against, better, worse, noise], ['2', '62.5', '75.0', '2', '1', '0']);
    assert.match(difference as string, /^-12\.5 \(-\d+\.\d to \+\d\.\d\), within noise$/);
    assert.match(
      page,
      /The converted model with five memories: compared with no references it is better in 2 of 3 tasks, worse in 0, within noise in 1 \(on average \+25\.0 points, \+\d+\.\d to \+\d+\.\d: better\); compared with five references as text it is better in 2 of 3/,
    );
    assert.doesNotMatch(page, /The base model with/);
    assert.doesNotMatch(page, /converted, none against base/);
    assert.match(page, /58\.23 with/);
  });

  it('compares the two models over the items that both have, in the tasks that both have', () => {
    using folder = temporaryFolder();
    storeGeneral(folder.path, 'converted', convertedRecords);
    const some = records('arc_easy', 'accuracy', { none: first(5), 'memory:5': first(0, 10) });
    storeGeneral(folder.path, 'base', some, false);
    const page = pageOf(folder, general);
    assert.match(page, /Not measured yet, or not all of it: the base model\. So far there are items of 1 of 3 tasks/);
    assert.match(row(page, 'arc_easy')[4] as string, /^0\.0 ± 0\.0 \(10\)$/, 'fewer items than the row');
    const compared = row(page, 'converted, memory 5 against base, memory 5');
    assert.deepEqual(compared.slice(1, 4), ['1', '100.0', '0.0'], 'over ten items');
    assert.equal(row(page, 'converted, none against base, none')[4], '0.0 (0.0 to 0.0), within noise');
    assert.doesNotMatch(page, /mean of/, 'one task in common is no mean');
  });

  it('calls nothing better that has hardly any items, and gives them no interval', () => {
    using folder = temporaryFolder();
    const single = records('arc_easy', 'accuracy', { none: [0], 'memory:5': [1], 'rag:5': [0] });
    const few = records('piqa', 'accuracy', { none: first(0, 5), 'memory:5': first(5, 5), 'rag:5': first(0, 5) });
    storeGeneral(folder.path, 'converted', [...single, ...few]);
    const page = pageOf(folder, general);
    assert.deepEqual(row(page, 'arc_easy').slice(6), ['0.0', '100.0', '0.0']);
    assert.deepEqual(row(page, 'piqa').slice(6), ['0.0', '100.0', '0.0']);
    assert.match(
      page,
      /better in 0 of 2 tasks, worse in 0, within noise in 2 \(on average \+100\.0 points, .*: within noise\)/,
    );
  });

  it('tells what was replaced, short, too long or without a passage, and how many references held the answer', () => {
    using folder = temporaryFolder();
    const part: TasksPart = { ...planned('answers'), tasks: ['squad', 'gsm8k'] };
    const scored = (mode: string, values: readonly number[]) =>
      recordsOf('squad', mode, 'f1', values).map((one) => ({
        ...one,
        scores: { f1: one.scores.f1 ?? 0, contains: 1 },
      }));
    const memory = scored('memory:5', first(4, 8)).map((one, index) => ({ ...one, held: index < 3, leftOut: 2 }));
    const rag = scored('rag:5', first(4, 8)).map((one, index) =>
      index === 0 ? { ...one, scores: {}, tooLong: 9000, references: [1, 2, 3, 4, 5] } : one,
    );
    const gold = scored('memory:gold:5', first(8, 8)).map((one, index) =>
      index === 7
        ? { ...one, scores: {}, gold: null, references: [] }
        : { ...one, gold: { given: 1, leftOut: 0 }, references: [] },
    );
    storeRun(folder.path, 'answers-converted', {
      ...{ tasks: part.tasks, modes: part.modes },
      records: [...scored('none', first(4, 8)), ...memory, ...rag, ...gold],
    });
    const page = pageOf(folder, part);
    const squad = row(page, 'squad, f1');
    assert.deepEqual(squad.slice(1, 3), ['8', '3 of 8']);
    assert.match(squad[8] as string, /\(7\)$/, 'RAG without the one that is too long');
    assert.match(squad[9] as string, /^100\.0 ± 0\.0 \(7\)$/);
    assert.equal(row(page, 'squad, contains')[6], '100.0 ± 0.0');
    assert.deepEqual(row(page, 'gsm8k, exact').slice(1, 3), ['–', '–']);
    assert.match(
      page,
      /converted, memory 5: 16 references replaced, for overlap with the item; 8 items with fewer references\./,
    );
    assert.match(
      page,
      /converted, RAG 5: 7 items with fewer references; 1 item too long for the model, not measured\./,
    );
    assert.match(page, /converted, memory, own passage: 1 item without a passage, not measured\./);
  });

  it('tells apart the items of which a recalled reference holds the answer, all tasks together', () => {
    using folder = temporaryFolder();
    const part: TasksPart = { ...planned('answers'), tasks: ['squad', 'nq_open'] };
    const scored = (task: string, byMode: readonly [number, number, number], held: number) =>
      ['none', 'memory:5', 'rag:5'].flatMap((mode, index) =>
        recordsOf(task, mode, 'f1', first(byMode[index] as number, 10)).map((one, item) => ({
          ...one,
          held: mode === 'none' ? null : item < held,
        })),
      );
    storeRun(folder.path, 'answers-converted', {
      ...{ tasks: part.tasks, modes: part.modes },
      records: [...scored('squad', [0, 8, 2], 8), ...scored('nq_open', [5, 0, 5], 0)],
    });
    const page = pageOf(folder, part);
    const [, ...yes] = row(page, 'converted: yes');
    assert.deepEqual(yes.slice(0, 4), ['8', '0.0', '100.0', '25.0']);
    assert.equal(yes[4], '+100.0 (+100.0 to +100.0)');
    assert.match(yes[5] as string, /^\+75\.0 \(/);
    const [, ...no] = row(page, 'converted: no');
    assert.deepEqual(no.slice(0, 4), ['12', '41.7', '0.0', '41.7'], 'two of squad, ten of nq_open');
    assert.doesNotMatch(page, /base: yes/);
  });

  it('holds thresholds of overlap against the paper’s, which another part has measured', () => {
    using folder = temporaryFolder();
    storeGeneral(folder.path, 'converted', convertedRecords);
    storeRun(folder.path, 'overlap-none-converted', {
      ...{ tasks: ['arc_easy'], modes: ['memory:5'] },
      records: records('arc_easy', 'accuracy', { 'memory:5': first(20) }),
      config: { overlap: null },
    });
    const overlap = resultsPlan.parts.find((part) => part.kind === 'overlap');
    assert.ok(overlap?.kind === 'overlap');
    const page = pageOf(folder, { ...overlap, tasks: ['arc_easy'] }, general);
    assert.match(page, /- Not measured yet: above 0\.8 left out\./);
    const easy = row(page, 'arc_easy');
    assert.match(easy.join(), /^arc_easy,20,–,25\.0 ± .*,75\.0 ± .*,–,100\.0 ± 0\.0$/);
    assert.match(
      page,
      /Compared with "above 2\/3 left out", "no filter" is better in 1 of 1 task, worse in 0, within noise in 0 \(on average \+25\.0 points/,
    );
  });

  it('has a row of throughput for each batch and mode, and what recall leaves', () => {
    using folder = temporaryFolder();
    const line = (mode: object, tokensPerSecond: number, ratio: number) => ({
      ...{ batch: 32, engine: 'memory3', mode, tokensPerSecond, ratio },
      ...{ firstTokenMs: 1234.5, promptTokens: 128, flops: 34.5e9 },
    });
    const rows = [
      line({ kind: 'none' }, 100, 1),
      line({ kind: 'memory' }, 61.25, 0.6125),
      line({ kind: 'rag', references: 1 }, 70, 0.7),
      line({ kind: 'rag', references: 5 }, 30, 0.3),
    ];
    const stored = {
      format: 'memory3 results throughput 2',
      measured: {},
      complete: true,
      machine: { processor: 'A processor', cores: 2, threads: 0 },
      report: {
        model: { name: 'tiny', adapter: true },
        promptTokens: 128,
        newTokens: 64,
        rounds: 3,
        fromDisk: false,
        rows,
      },
    };
    folder.write('throughput.json', JSON.stringify(stored));
    const page = pageOf(folder, ...resultsPlan.parts);
    assert.deepEqual(row(page, '32', 'memory3', 'five memories a chunk').slice(3), [
      '128',
      '61.3',
      '0.613',
      '1235',
      '34.5',
    ]);
    assert.match(
      page,
      /Batch 32: recall leaves 0\.613 of the rate without; RAG 1 0\.700, RAG 5 0\.300: 1 of 2 of these are slower/,
    );
    assert.match(
      page,
      /128 tokens in and 64 out; tiny with adapter; A processor, 2 cores, all of them used; medians of 3 rounds/,
    );
    assert.match(page, /could not drop its copy/);
    assert.match(page, /llama\.cpp was not there/);
    assert.doesNotMatch(page, /Not all of it/);
    folder.write('throughput.json', JSON.stringify({ ...stored, complete: false }));
    const unfinished = pageOf(folder, ...resultsPlan.parts);
    assert.match(unfinished, /Not all of it is measured yet\./);
    assert.doesNotMatch(unfinished, /llama\.cpp was not there/);
    folder.write('throughput.json', '{"format":"memory3 results throughput 2"}');
    assert.throws(() => pageOf(folder, ...resultsPlan.parts), { code: 'damaged', message: /throughput\.json/ });
  });
});

describe('remarks in the results page', () => {
  const page = (folder: TemporaryFolder) => join(folder.path, 'docs', 'results.md');
  const write = (folder: TemporaryFolder) =>
    writeResultsPage(page(folder), readResults(folder.path, planOf(general), folder.path));

  it('stay when it is written anew, at their places', () => {
    using folder = temporaryFolder();
    write(folder);
    const empty = readFileSync(page(folder), 'utf8');
    const remark = 'Memory loses here.\n\n- because | of this';
    writeFileSync(
      page(folder),
      empty.replace('<!-- remarks:general -->\n', `<!-- remarks:general -->\n\n${remark}\n\n`),
    );
    storeGeneral(folder.path, 'converted', convertedRecords);
    write(folder);
    const text = readFileSync(page(folder), 'utf8');
    assert.ok(text.includes(`<!-- remarks:general -->\n${remark}\n<!-- /remarks -->`));
    assert.match(text, /75\.0/);
    write(folder);
    assert.equal(readFileSync(page(folder), 'utf8'), text, 'the same of the same');
  });

  it('are not lost: a page without places, or with broken ones, is refused and stays', () => {
    using folder = temporaryFolder();
    write(folder);
    const good = readFileSync(page(folder), 'utf8');
    const cases: [string, string, RegExp][] = [
      ['# Mine\n', 'mismatch', /no page of results/],
      [good.replace('<!-- /remarks -->', 'Mine.'), 'damaged', /no other one|no end/],
      [good.replace('<!-- remarks:general -->', '<!-- remarks:lost -->\nMine.'), 'damaged', /no place .* "lost"/],
      [`${good}<!-- remarks:all -->\n<!-- /remarks -->\n`, 'damaged', /"all" are there twice/],
    ];
    for (const [text, code, message] of cases) {
      writeFileSync(page(folder), text);
      assert.throws(() => write(folder), { code, message });
      assert.equal(readFileSync(page(folder), 'utf8'), text);
    }
  });
});

describe('scripts/results.ts', () => {
  const script = fileURLToPath(new URL('../../../scripts/results.ts', import.meta.url));
  const run = (...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...args], { encoding: 'utf8' });
    return { code: status, out: stdout, err: stderr };
  };

  it('writes the page of what is measured without data, and names what is wrong', () => {
    using folder = temporaryFolder();
    const docs = join(folder.path, 'results.md');
    const written = run('--out', folder.path, '--docs', docs);
    assert.equal(written.code, 0, written.err);
    assert.match(readFileSync(docs, 'utf8'), /^# Results\n[\s\S]*## Throughput \(Table 21\)/);
    const unknown = run('--out', folder.path, '--docs', docs, '--data', folder.path, '--parts', 'general,poems');
    assert.equal(unknown.code, 2);
    assert.match(unknown.err, /no part "poems"; there are general, answers/);
    writeFileSync(docs, 'Mine.');
    const other = run('--out', folder.path, '--docs', docs, '--data', folder.path);
    assert.equal(other.code, 6);
    assert.equal(readFileSync(docs, 'utf8'), 'Mine.');
  });
});
