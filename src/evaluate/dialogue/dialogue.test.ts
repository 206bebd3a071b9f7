/** Dialogues of a tiny model with a small bank, scored by a real server. */
import assert from 'node:assert/strict';
import { cpSync, existsSync, globSync, readFileSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { openEvaluated } from '../../../test/support/evaluation.ts';
import { type JudgeServer, openJudgeServer, saying, scoring } from '../../../test/support/judge-server.ts';
import { type TemporaryFolder, temporaryFolder } from '../../../test/support/temporary.ts';
import { readJsonLines } from '../../json-lines.ts';
import { writeBankRecord } from '../banks/plan.ts';
import { parseModes } from '../eval/modes.ts';
import { type DialogueEvent, type DialogueRequest, evaluateDialogues } from './dialogue.ts';
import { openJudge } from './judge.ts';
import type { DialogueQuestion } from './questions.ts';
import { answerSchema, judgementSchema } from './records.ts';

const questions: readonly DialogueQuestion[] = [
  { id: 'bridge', category: 'stem', turns: [{ text: 'Who built bridge 3?' }, { text: 'And bridge 4?' }] },
  {
    id: 'sum',
    category: 'math',
    turns: [
      { text: '2 + 2?', reference: '4' },
      { text: 'Twice that?', reference: '8' },
    ],
  },
];

let folder: TemporaryFolder;
let server: JudgeServer;
let evaluated: Awaited<ReturnType<typeof openEvaluated>>;
before(async () => {
  folder = temporaryFolder();
  server = await openJudgeServer(scoring);
  evaluated = await openEvaluated(folder.path);
});
beforeEach(() => {
  server.respond = scoring;
});
after(async () => {
  await evaluated[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

type Changes = Partial<Omit<DialogueRequest, 'modes' | 'folder'>> & { readonly modes?: string };

async function run(name: string, { modes = 'none,memory,rag', ...changes }: Changes = {}): Promise<DialogueEvent[]> {
  const judge = openJudge({ url: server.url, key: 'sk-secret', retries: 1, firstWaitSeconds: 0.001 });
  const request = { folder: join(folder.path, name), modes: parseModes(modes, 2), judge, questions, maxTokens: 12 };
  return await Array.fromAsync(evaluateDialogues(evaluated, { ...request, ...changes }));
}

const contents = (name: string, file: string) => readFileSync(join(folder.path, name, file), 'utf8');
const answersIn = (name: string) => readJsonLines(join(folder.path, name, 'answers.jsonl'), answerSchema);
const judgementsIn = (name: string) => readJsonLines(join(folder.path, name, 'judgements.jsonl'), judgementSchema);
const files = ['config.json', 'answers.jsonl', 'judgements.jsonl', 'summary.json', 'report.html'];

describe('an evaluation of dialogues', () => {
  it('answers both turns in every mode, and has each scored by itself', async () => {
    const first = server.requests.length;
    const events = await run('whole');
    assert.deepEqual(
      events.map((event) => (event.kind === 'question' ? [event.mode, event.id, event.done, event.total] : event.kind)),
      [
        // In the order of the categories.
        ...['none', 'memory:2', 'rag:2'].flatMap((mode, index) => [
          [mode, 'sum', 2 * index + 1, 6],
          [mode, 'bridge', 2 * index + 2, 6],
        ]),
        'summary',
      ],
    );
    assert.equal(server.requests.length - first, 3 * 2 * 2);
    const answers = answersIn('whole');
    const [none, memory, rag] = ['none', 'memory:2', 'rag:2'].map((mode) =>
      answers.find((one) => one.mode === mode && one.id === 'bridge'),
    );
    assert.deepEqual(
      none?.turns.map(({ references }) => references),
      [[], []],
    );
    // The bank holds the first question itself.
    for (const one of [memory, rag]) {
      assert.ok((one?.turns[0].leftOut ?? 0) >= 1);
      const texts = one?.turns[0].references.map((id) => evaluated.bank.reference(id).text) ?? [];
      assert.equal(texts.length, 2);
      assert.ok(!texts.includes('Who built bridge 3?'));
    }
    const judgements = judgementsIn('whole');
    assert.equal(judgements.length, 12);
    const last = server.requests.at(-1)?.body.messages[1]?.content ?? '';
    const [one, two] = rag?.turns ?? [];
    for (const text of ['Who built bridge 3?', one?.answer, 'And bridge 4?', two?.answer]) {
      assert.ok(last.includes(`\n${text}\n`), `${text}`);
    }
    const summary = events.at(-1);
    const cells = summary?.kind === 'summary' ? summary.cells : [];
    const scores = judgements.filter(({ mode }) => mode === 'none').map(({ score }) => score);
    const all = cells.find(({ category, turn, mode }) => category === 'all' && turn === 'both' && mode === 'none');
    assert.equal(all?.value, scores.reduce((sum, score) => sum + score, 0) / scores.length);
    assert.deepEqual([all?.items, all?.cut], [2, 4]);
    const report = contents('whole', 'report.html');
    assert.ok(summary?.kind === 'summary' && summary.report === join(folder.path, 'whole', 'report.html'));
    assert.equal(report.match(/<article/g)?.length, 3 * 2, 'a card for each dialogue');
    assert.equal(report.match(/<summary>Score \d/g)?.length, 12);
    for (const { turns } of questions) for (const turn of turns) assert.ok(report.includes(turn.text));
    assert.doesNotMatch(report, /<script|https?:|src=/);
    for (const name of globSync('*', { cwd: join(folder.path, 'whole') })) {
      assert.ok(!readFileSync(join(folder.path, 'whole', name)).includes('sk-secret'), `${name} has the key`);
    }
  });

  it('keeps the filter off where that is asked for', async () => {
    const loads = () => {
      const { cacheHits = 0, cacheMisses = 0 } = evaluated.recall?.counts ?? {};
      return cacheHits + cacheMisses;
    };
    const before = loads();
    await run('open', { modes: 'rag', overlap: null });
    assert.equal(loads(), before, 'text needs no memories');
    await run('open-memory', { modes: 'memory', overlap: null });
    assert.ok(loads() >= before + 2 * 2 * 2, 'two of them in each of four turns');
    const bridge = answersIn('open').find(({ id }) => id === 'bridge');
    const texts = bridge?.turns[0].references.map((id) => evaluated.bank.reference(id).text);
    assert.ok(texts?.includes('Who built bridge 3?'));
    assert.equal(bridge?.turns[0].leftOut, 0);
  });

  it('stops when the judge gives no score, keeps what is done, and goes on to the same end', async () => {
    let left = 5;
    server.respond = (request) => (left-- > 0 ? scoring(request) : saying('I would rather not.'));
    const stopped = { code: 'network', message: /asked 2 times and gave no score: no line .*"I would rather not\."/ };
    await assert.rejects(run('stopped'), stopped);
    assert.deepEqual([answersIn('stopped').length, judgementsIn('stopped').length], [3, 5]);
    assert.ok(!existsSync(join(folder.path, 'stopped', 'summary.json')));
    server.respond = scoring;
    const before = server.requests.length;
    await run('stopped');
    assert.equal(server.requests.length - before, 7, 'nothing is asked twice');
    for (const file of files) assert.equal(contents('stopped', file), contents('whole', file), file);
  });

  it('goes on where it was cut off, at any byte of either file', async () => {
    for (const [index, file] of ['answers.jsonl', 'judgements.jsonl'].entries()) {
      for (const share of [0.01, 0.6]) {
        const name = `cut-${index}-${share}`;
        cpSync(join(folder.path, 'whole'), join(folder.path, name), { recursive: true });
        const length = Math.floor(share * Buffer.byteLength(contents(name, file)));
        truncateSync(join(folder.path, name, file), length);
        await run(name);
        for (const each of files) assert.equal(contents(name, each), contents('whole', each), `${name} ${each}`);
      }
    }
    const before = server.requests.length;
    const events = await run('whole');
    assert.deepEqual(
      events.map(({ kind }) => kind),
      ['summary'],
    );
    assert.equal(server.requests.length, before);
  });

  it('refuses a folder of another judge, other questions, or other records', async () => {
    const judge = openJudge({ url: server.url, model: 'other' });
    await assert.rejects(run('whole', { judge }), { code: 'mismatch', message: /judge\.model was null, is "other"/ });
    await assert.rejects(run('whole', { limit: 1 }), { code: 'mismatch', message: /limit was 2, is 1/ });
    cpSync(join(folder.path, 'whole'), join(folder.path, 'swapped'), { recursive: true });
    const path = join(folder.path, 'swapped', 'judgements.jsonl');
    const lines = readFileSync(path, 'utf8').trimEnd().split('\n');
    folder.write('swapped/judgements.jsonl', `${lines.toReversed().join('\n')}\n`);
    await assert.rejects(run('swapped'), { code: 'damaged', message: /judgements\.jsonl, line 1: .* not expected/ });
    folder.write('swapped/judgements.jsonl', `${[...lines, lines[0]].join('\n')}\n`);
    await assert.rejects(run('swapped'), { code: 'damaged', message: /judgements\.jsonl, line 13: .* not expected/ });
  });

  it('does not measure what does not fit the model, and counts it', async () => {
    const long: DialogueQuestion = {
      id: 'long',
      category: 'stem',
      turns: [{ text: 'Why?' }, { text: 'very '.repeat(600) }],
    };
    const never: DialogueQuestion = { ...long, id: 'never', turns: [long.turns[1], { text: 'Why?' }] };
    const events = await run('long', { questions: [long, never], modes: 'none' });
    const answers = answersIn('long').map(({ turns }) => turns.map(({ answer }) => answer === null));
    assert.deepEqual(answers, [
      [false, true],
      [true, true],
    ]);
    assert.equal(judgementsIn('long').length, 1);
    const summary = events.at(-1);
    const counts =
      summary?.kind === 'summary' ? summary.cells.slice(0, 3).map(({ items, tooLong }) => [items, tooLong]) : [];
    assert.deepEqual(counts, [
      [1, 1],
      [0, 2],
      [0, 3],
    ]);
  });

  it('asks for a bank where a mode needs one, and for modes that it has', async () => {
    const without = { ...evaluated, recall: null };
    const judge = openJudge({ url: server.url });
    const request = { folder: join(folder.path, 'x'), modes: parseModes('rag', 1), judge };
    await assert.rejects(evaluateDialogues(without, request).next(), { code: 'usage', message: /need a bank/ });
    await assert.rejects(run('x', { modes: 'memory:2:kept=4' }), {
      code: 'usage',
      message: /in the mode memory:2:kept=4/,
    });
  });

  it('refuses a bank that is still being built, where it is recalled from', async () => {
    const { path } = evaluated.bank;
    const plan = { kind: 'general', data: folder.path, sources: [] } as const;
    try {
      writeBankRecord(path, plan, null);
      await assert.rejects(run('unfinished', { modes: 'none,memory' }), { code: 'usage', message: /is not finished/ });
      assert.ok(!existsSync(join(folder.path, 'unfinished')), 'said before anything is measured');
    } finally {
      writeBankRecord(path, plan, { documents: 0, references: 0, sources: [] });
    }
  });
});
