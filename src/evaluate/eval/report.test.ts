/** The report of small runs, whatever their texts are. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type RunToStore, recordsOf, storeRun } from '../../../test/support/stored-evaluation.ts';
import { type TemporaryFolder, temporaryFolder } from '../../../test/support/temporary.ts';
import { escapeHtml } from '../../html.ts';
import type { TaskExamples } from './examples.ts';
import { reportRun, summaryOf } from './report.ts';
import { readStoredRun } from './stored-run.ts';

let folder: TemporaryFolder;
let stored = 0;
before(() => {
  folder = temporaryFolder();
});
after(() => folder[Symbol.dispose]());

const awkward = `</style><script>alert("1' & 2")</script> <b title='x'>桥是谁造的？</b> &amp; <!-- \u2028 https://elsewhere.example/x.js`;

function examplesWith(text: string): TaskExamples[] {
  const given = (mode: string, score: number, references: number[]) => ({
    ...{ mode, answer: text, score, references, leftOut: 1, held: references.length > 0, tooLong: null },
  });
  const example = { id: text, prompts: [text], choices: [], right: [text, text] };
  const right = [given('none', 0, []), given('rag:1', 0, [4]), given('rag:2', 1, [4, 9])];
  const choices = { id: text, prompts: [], choices: [text, 'other'], right: [text] };
  return [
    {
      task: 'squad',
      examples: [
        { ...example, given: right },
        { ...example, given: [{ ...given('none', 0, []), score: null, answer: null, tooLong: 2000 }] },
      ],
      references: [
        { id: 4, title: text, text: text.repeat(9) },
        { id: 9, title: null, text: '' },
      ],
    },
    { task: 'winogrande', examples: [{ ...choices, given: right }], references: [] },
  ];
}

/** A run in which every text is `text`. */
function runWith(text: string): RunToStore {
  const times = (mode: string, items: number, seconds: number) => ({
    task: 'squad',
    mode,
    items,
    tokens: 100,
    seconds,
  });
  const scored = (mode: string, exact: readonly number[]) =>
    recordsOf('squad', mode, 'exact', exact).map((record, index) => ({
      ...record,
      leftOut: mode === 'none' ? 0 : 3,
      held: mode === 'none' ? null : index < 2,
    }));
  return {
    tasks: ['squad', 'winogrande'],
    modes: ['none', 'rag:1', 'rag:2'],
    model: text,
    config: { profile: { name: text }, limits: { squad: 50 } },
    records: [
      ...scored('none', [0, 0, 0, 1, 0, 0, 0, 1]),
      ...scored('rag:1', [0, 1, 0, 1, 0, 1, 0, 1]),
      ...scored('rag:2', [1, 1, 1, 1, 1, 1, 1, 1]),
      ...recordsOf('winogrande', 'none', 'accuracy', [1, 0]),
    ],
    times: [times('none', 1, 8), times('none', 3, 6), times('none', 1, 1)],
    examples: examplesWith(text),
  };
}

async function report(run: RunToStore, other?: RunToStore): Promise<string> {
  const path = storeRun(folder.path, `run-${stored++}`, run);
  const compare = other === undefined ? undefined : storeRun(folder.path, `run-${stored++}`, other);
  const read = readStoredRun(path);
  const { report: file } = await reportRun(read, summaryOf(read), compare);
  assert.equal(file, join(path, 'report.html'));
  assert.deepEqual(
    readdirSync(path).filter((name) => name.includes('unfinished')),
    [],
  );
  return readFileSync(file, 'utf8');
}

const tagsOf = (page: string) =>
  page.match(/<[^>]*>?/g)?.map((tag) => tag.replace(/ (aria-label|transform|d)="[^"]*"/g, ''));
const textOf = (page: string) =>
  page
    .replace(/<style>[\s\S]*<\/style>/, '')
    .replaceAll(/<[^>]*>/g, ' ')
    .replaceAll(/\s+/g, ' ');
const section = (page: string, id: string) =>
  page.match(new RegExp(`<section id="${id}">[\\s\\S]*?</section>`))?.[0] ?? '';

describe('the report of a run', () => {
  it('has no unescaped text, whatever the texts are, and asks for nothing from elsewhere', async () => {
    const page = await report(runWith(awkward), { ...runWith(awkward), parameters: 2000 });
    const plain = await report(runWith('text'), { ...runWith('text'), parameters: 2000 });
    assert.deepEqual(tagsOf(page), tagsOf(plain));
    assert.ok(page.includes(`<blockquote dir="auto">${escapeHtml(awkward)}</blockquote>`));
    assert.ok(page.includes('桥是谁造的？'));
    for (const tag of tagsOf(page) ?? [])
      assert.doesNotMatch(tag, /https?:|href|src=|url\(| on\w+=|<script|<link|<img/i);
    const style = page.match(/<style>([\s\S]*?)<\/style>/)?.[1] ?? 'no style';
    assert.doesNotMatch(style, /https?:|url\(|@import/);
    assert.match(page, /Content-Security-Policy" content="default-src 'none'/);
    assert.doesNotMatch(plain, /https?:/);
  });

  it('fits a phone, a sheet of paper, light and dark', async () => {
    const page = await report(runWith('text'));
    assert.match(page, /<meta name="viewport" content="width=device-width/);
    assert.match(page, /color-scheme: light dark/);
    assert.match(page, /@media print/);
    assert.doesNotMatch(page.replaceAll(/<div class="scroll"><table>[\s\S]*?<\/table><\/div>/g, ''), /<table/);
    const svg = page.match(/<svg[\s\S]*?<\/svg>/g) ?? [];
    assert.equal(svg.length, 2, 'exact of squad and accuracy of winogrande: f1 and contains were not measured');
    for (const one of svg) assert.doesNotMatch(one, /fill="(white|black|#fff|#000)/);
    assert.match(svg[0] ?? '', /aria-label="squad, exact: value, low, high of none 0\.250, /);
  });

  it('says what came out, in words and numbers', async () => {
    const page = await report(runWith('text'));
    // rag:2 against none: six items better by 1, two alike: a resample is all alike with probability 4^-8.
    const short = textOf(section(page, 'short'));
    assert.match(short, /rag:2 against none : better in 1, worse in 0, within noise in 0 of 1 task/);
    assert.match(short, /rag:1 against none : better in 0, worse in 0, within noise in 1 of 1 task/);
    const scores = textOf(section(page, 'scores'));
    assert.match(scores, /squad, exact none 0\.250 0\.000 to 0\.\d{3} 8 /);
    assert.match(scores, /rag:2 1\.000 1\.000 to 1\.000 8 better than none: \+0\.750/);
    assert.match(scores, /within noise of none: \+0\.250/);
    const leftOut = textOf(section(page, 'left-out'));
    assert.match(leftOut, /squad none 8 .* rag:2 8 0 0 24 0 0 2 of 8 winogrande/);
    // Items of 8, 2, 2, 2 and 1 seconds, 300 tokens in 15 seconds.
    assert.match(textOf(section(page, 'times')), /squad 2\.00 s, 20\/s - - winogrande - - - all 2\.00 s, 20\/s/);
    const about = textOf(section(page, 'about'));
    assert.match(about, /Bank general: 9 references of 3 documents/);
    assert.match(about, /at most 200 of each task, 50 of squad, drawn by seed 0/);
    assert.match(about, /rag:2 2 references as text before the prompt/);
  });

  it('shows items with what each mode answered and had', async () => {
    const page = textOf(section(await report(runWith('text')), 'examples'));
    assert.match(page, /none text wrong rag:1 text wrong rag:2 text right/);
    assert.match(page, /2 references of rag:1 \(the first 1\), rag:2; one of them holds a right answer; 1 left out/);
    assert.match(page, /\[4\] text texttext.* \[9\] no longer in the bank/);
    assert.match(page, /not measured: 2000 tokens are too long/);
    assert.match(page, /text \(right\) other/);
  });

  it('says that a run is not finished', async () => {
    const { examples: _, ...run } = runWith('text');
    const page = await report({ ...run, complete: false });
    assert.match(page, /Not finished: this is what was measured so far, 26 items in modes/);
    assert.match(page, /None: the run was ended before it could write any/);
    const empty = await report({ ...run, records: [], times: [], complete: false });
    assert.match(empty, /There is nothing to compare/);
    const [first] = run.tasks;
    const begun = run.records.filter(({ task }) => task === first);
    const some = await report({ ...run, records: begun, complete: false });
    assert.match(some, new RegExp(`Nothing is measured yet of ${run.tasks.slice(1).join(', ')}\\.`));
    assert.doesNotMatch(textOf(section(some, 'scores')), /no item in common|- to -/, 'no rows of what is not measured');
    assert.doesNotMatch(await report(runWith('text')), /Not finished/);
  });

  it('puts another run beside it, with the effective size', async () => {
    const none = recordsOf('squad', 'none', 'exact', [1, 1, 1, 1, 1, 1, 1, 1]);
    const larger = { tasks: ['squad'], modes: ['none'], model: 'larger', parameters: 3000, records: none };
    const page = textOf(section(await report(runWith('text'), larger), 'comparison'));
    assert.match(page, /squad, exact none 0\.250 1\.000 8 worse: -0\.750/);
    // Memory closes the whole gap: (1 - 0.25) / (1 - 0.25), so 1000 + 1 * 2000 parameters.
    assert.match(page, /squad, exact rag:1 .* rag:2 0\.250 1\.000 1\.000 8 100 % \(100 % to 100 %\) 0\.0030 M/);
    assert.match(page, /Effective size: \(score with references - score without\)/);
    assert.match(page, /Only run-\d+ has the tasks winogrande/);
  });

  it('leaves the old report where a new one cannot be made', async () => {
    const path = storeRun(folder.path, `run-${stored++}`, runWith('text'));
    const run = readStoredRun(path);
    await reportRun(run, summaryOf(run));
    const before = readFileSync(join(path, 'report.html'), 'utf8');
    await assert.rejects(reportRun(run, summaryOf(run), join(folder.path, 'none')), { code: 'not-found' });
    assert.equal(readFileSync(join(path, 'report.html'), 'utf8'), before);
    assert.ok(!existsSync(join(path, 'report.html.unfinished')));
  });
});
