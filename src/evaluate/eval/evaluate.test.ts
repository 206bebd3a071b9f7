/** Evaluations of a tiny model with a small bank. */
import assert from 'node:assert/strict';
import {
  appendFileSync,
  copyFileSync,
  cpSync,
  existsSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import { evaluationData, openEvaluated, wordEmbedder } from '../../../test/support/evaluation.ts';
import { type TemporaryFolder, temporaryFolder } from '../../../test/support/temporary.ts';
import { putDocument } from '../../generate/library.ts';
import { readJsonLines } from '../../json-lines.ts';
import { ReadingContext } from '../../memory/context.ts';
import { parseMemory } from '../../memory/format.ts';
import { writeMemories } from '../../memory/writer.ts';
import { bodyTokens } from '../../retrieval/chunks.ts';
import { measureAbility } from '../ability.ts';
import { bankWords } from '../banks/holdings.ts';
import { writeBankRecord } from '../banks/plan.ts';
import { continuationLikelihoods, encodeContinuations } from './continuations.ts';
import { type EvaluationEvent, type EvaluationRequest, evaluate } from './evaluate.ts';
import { parseModes } from './modes.ts';
import { type ItemRecord, recordSchema } from './records.ts';
import type { Cell } from './summary.ts';
import { remarks } from './words.ts';

let data: TemporaryFolder;
let folder: TemporaryFolder;
let evaluated: Awaited<ReturnType<typeof openEvaluated>>;
before(async () => {
  data = evaluationData();
  folder = temporaryFolder();
  evaluated = await openEvaluated(folder.path);
});
after(async () => {
  await evaluated[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
  data[Symbol.dispose]();
});

type Changes = Partial<Omit<EvaluationRequest, 'modes' | 'folder'>> & { readonly modes?: string };

async function run(name: string, changes: Changes = {}): Promise<{ events: EvaluationEvent[]; records: ItemRecord[] }> {
  const { modes = 'none,memory,rag', ...rest } = changes;
  const path = join(folder.path, name);
  const request = { folder: path, data: data.path, tasks: ['arc_easy'], modes: parseModes(modes, 2), ...rest };
  const events: EvaluationEvent[] = [];
  for await (const event of evaluate(evaluated, request as EvaluationRequest)) events.push(event);
  return { events, records: readJsonLines(join(path, 'items.jsonl'), recordSchema) };
}

/** The bank and what writes into it. */
const library = () => ({ ...evaluated, embedder: wordEmbedder });

const cellsOf = (events: readonly EvaluationEvent[]): readonly Cell[] => {
  const last = events.at(-1);
  return last?.kind === 'summary' ? last.cells : [];
};

const contents = (name: string, file: string) => readFileSync(join(folder.path, name, file), 'utf8');

/** The likelihoods of one question by itself. */
async function alone(prompt: string, choices: readonly string[], use?: (context: ReadingContext) => Promise<void>) {
  const { model, tokenizer, profile } = evaluated;
  const memory = use === undefined ? null : { profile, memories: 2 };
  await using context = await ReadingContext.open(model, { memory });
  await context.begin([tokenizer.bosTokenId]);
  await use?.(context);
  const [likelihoods = []] = await continuationLikelihoods(context, [encodeContinuations(tokenizer, prompt, choices)]);
  return likelihoods.map(({ logLikelihood }) => logLikelihood);
}

function assertNear(actual: readonly number[] | undefined, expected: readonly number[]): void {
  assert.equal(actual?.length, expected.length);
  for (const [index, value] of expected.entries()) assert.ok(Math.abs((actual?.[index] as number) - value) < 1e-3);
}

const choices = [' red', ' green and yellow', ' blue', ' as black as a night without a moon'];

describe('an evaluation', () => {
  it('scores in batches what each question scores alone, without references, with memories, with their text', async () => {
    const { records } = await run('modes', { overlap: null });
    assert.equal(records.length, 3 * 9);
    const { bank } = evaluated;
    for (const index of [2, 7]) {
      const prompt = `Question: What colour is the roof of house ${index}?\nAnswer:`;
      const [none, memory, rag] = ['none', 'memory:2', 'rag:2'].map((mode) =>
        records.find((record) => record.mode === mode && record.id === `arc-${index}`),
      );
      assertNear(none?.logLikelihoods, await alone(prompt, choices));
      assert.equal(memory?.references.length, 2);
      assert.deepEqual(memory?.references, rag?.references, 'the same retrieval');
      const references = (memory?.references ?? []).map((id) => bank.reference(id));
      const text = references.map((reference) => `Reference: ${reference.text}\n\n`).join('');
      assertNear(rag?.logLikelihoods, await alone(`${text}${prompt}`, choices));
      const stored = references.map(({ id }) => parseMemory(bank.memory(id) as Uint8Array));
      assertNear(memory?.logLikelihoods, await alone(prompt, choices, (context) => context.useMemories(stored)));
      assert.notDeepEqual(memory?.logLikelihoods, none?.logLikelihoods);
    }
  });

  it('leaves out references that overlap an item, counts them, and takes the next ones', async () => {
    const tasks: [string] = ['squad'];
    const [filtered, open] = [
      await run('filtered', { tasks, modes: 'none,rag:1,rag:3' }),
      await run('open', { tasks, modes: 'none,rag:1,rag:3', overlap: null }),
    ];
    const bridge3 = (records: readonly ItemRecord[], mode: string) =>
      records.find((record) => record.id === 'squad-3' && record.mode === mode);
    const text = (record: ItemRecord | undefined) =>
      record?.references.map((id) => evaluated.bank.reference(id).text) ?? [];
    assert.ok(text(bridge3(open.records, 'rag:3')).includes('Who built bridge 3?'));
    assert.equal(bridge3(open.records, 'rag:3')?.leftOut, 0);
    const kept = bridge3(filtered.records, 'rag:3');
    assert.equal(kept?.leftOut, 1);
    assert.equal(kept?.references.length, 3);
    assert.ok(!text(kept).includes('Who built bridge 3?'));
    assert.equal(kept?.held, true, 'a reference names Ann');
    const cell = cellsOf(filtered.events).find(({ mode, metric }) => mode === 'rag:3' && metric === 'exact');
    assert.equal(cell?.items, 9);
    assert.ok((cell?.leftOut ?? 0) >= 1);
    assert.deepEqual(
      cell?.differences.map(({ to, items }) => [to, items]),
      [
        ['none', 9],
        ['rag:1', 9],
      ],
    );
  });

  it('gives items their own passages, as memories and as text, without a bank', async () => {
    const { bank: _, ...without } = evaluated;
    const path = join(folder.path, 'gold');
    const request = {
      folder: path,
      data: data.path,
      tasks: ['boolq', 'squad', 'copa'] as [string, ...string[]],
      modes: parseModes('none,memory:gold,rag:gold', 2),
    };
    const events = await Array.fromAsync(evaluate({ ...without, recall: null }, request));
    const records = readJsonLines(join(path, 'items.jsonl'), recordSchema);
    const of = (mode: string, id: string) => records.find((record) => record.mode === mode && record.id === id);

    const [passage, asked] = ['House 1 has a green roof.', 'Question: is the roof of house 1 green?\nAnswer:'];
    const words = [' no', ' yes'];
    const { model, profile, tokenizer, repeatPrompt } = evaluated;
    const body = { tokens: bodyTokens(tokenizer, passage) };
    const stored = (await writeMemories(model, profile, [body], repeatPrompt)).map(parseMemory);
    const recalled = await alone(asked, words, (context) => context.useMemories(stored));
    assertNear(of('memory:gold:2', 'boolq-1')?.logLikelihoods, recalled);
    assertNear(of('rag:gold:2', 'boolq-1')?.logLikelihoods, await alone(`Reference: ${passage}\n\n${asked}`, words));
    assertNear(of('none', 'boolq-1')?.logLikelihoods, await alone(`${passage}\n${asked}`, words));

    for (const mode of ['memory:gold:2', 'rag:gold:2']) {
      const { gold, held, references } = of(mode, 'squad-0') ?? {};
      assert.deepEqual([gold, held, references], [{ given: 1, leftOut: 0 }, true, []]);
      const long = of(mode, 'squad-7');
      assert.equal(long?.gold?.given, 2);
      assert.ok((long.gold?.leftOut ?? 0) > 0 && long.held === false, 'the answer stood at the end');
      const none = of(mode, 'squad-8');
      assert.deepEqual([none?.gold, none?.scores, none?.held, none?.tooLong], [null, {}, null, null]);
    }
    assert.equal(of('none', 'squad-0')?.gold, undefined);
    const cells = cellsOf(events).filter(
      ({ mode, metric }) => mode === 'memory:gold:2' && /exact|accuracy/.test(metric),
    );
    assert.deepEqual(
      cells.map(({ task, items, noGold, short, held, heldOf }) => [task, items, noGold, short, held, heldOf]),
      [
        ['boolq', 3, 0, 0, null, 0],
        ['squad', 8, 1, 0, 7, 8],
        ['copa', 0, 3, 0, null, 0],
      ],
    );
    assert.ok((cells[1]?.goldLeftOut ?? 0) > 0);
    assert.deepEqual(remarks(cells[2] as Cell), ['no gold passages']);
    assert.deepEqual(
      cells[1]?.differences.map(({ to, items }) => [to, items]),
      [['none', 8]],
    );
    assert.equal((await Array.fromAsync(evaluate({ ...without, recall: null }, request))).length, 1, 'all is measured');
    data.write('squad/dev-v1.1.contexts.jsonl.gz', gzipSync('{"context_id":"c-0","title":"","text":"Other."}\n'));
    await assert.rejects(evaluate({ ...without, recall: null }, request).next(), {
      code: 'mismatch',
      message: /"goldHash":/,
    });
  });

  it('names its bank, and what it holds; an unfinished one is refused', async () => {
    const { events } = await run('bank', { modes: 'rag:1', limit: 1 });
    const last = events.at(-1);
    assert.ok(last?.kind === 'summary' && last.bank !== null);
    assert.match(bankWords(last.bank), /^bank: 11 references of 11 documents \(other texts 11\), memories of /);
    const plan = { kind: 'general', data: data.path, sources: [] } as const;
    writeBankRecord(evaluated.bank.path, plan, null);
    await assert.rejects(run('unfinished', { modes: 'rag:1' }), { code: 'usage', message: /is not finished/ });
    writeBankRecord(evaluated.bank.path, plan, { documents: 11, references: 11, sources: [] });
    await run('bank', { modes: 'rag:1', limit: 1 });
  });

  it('is not gone on with when the bank has other texts, nor when it was not written down which it had', async () => {
    const { bank } = evaluated;
    const put = (text: string) => putDocument(library(), { name: 'door', title: null, mediaType: 'text/plain', text });
    const again = () => run('texts', { modes: 'rag:1', limit: 1 });
    const refused = { code: 'mismatch', message: /bank\.contents was / };
    try {
      await put('The door is old.');
      await again();
      await put('The door is new.');
      await assert.rejects(again(), refused);
      await put('The door is old.');
      await again();
    } finally {
      bank.removeDocument('door');
    }
    await run('before', { modes: 'rag:1', limit: 1 });
    const config = join(folder.path, 'before', 'config.json');
    writeFileSync(config, readFileSync(config, 'utf8').replace(/ *"contents": "\w+",\n/, ''));
    await assert.rejects(run('before', { modes: 'rag:1', limit: 1 }), refused);
  });

  it('says in how many items a reference holds the answer, of choices as texts and of letters', async () => {
    const { bank } = evaluated;
    const text = 'The roof of house 2 is blue, and so is the door.';
    const name = 'blue';
    await putDocument(library(), { name, title: null, mediaType: 'text/plain', text });
    try {
      const tasks: [string, ...string[]] = ['arc_easy', 'mmlu', 'boolq'];
      const { records } = await run('held', { tasks, modes: 'none,rag:3', overlap: null });
      const held = (mode: string, id: string) => records.find((one) => one.mode === mode && one.id === id)?.held;
      assert.deepEqual([held('rag:3', 'arc-2'), held('rag:3', 'arc-1')], [true, false]);
      assert.deepEqual([held('rag:3', 'mmlu-2'), held('rag:3', 'boolq-0'), held('none', 'arc-2')], [true, null, null]);
    } finally {
      bank.removeDocument(name);
    }
  });

  it('goes on where it was cut off, at any byte, and ends the same', async () => {
    const changes: Changes = {
      tasks: ['arc_easy', 'squad', 'wikitext2'],
      limit: 4,
      modes: 'none,memory:2:storage=f16',
    };
    await run('whole', changes);
    const [items, summary] = [contents('whole', 'items.jsonl'), contents('whole', 'summary.json')];
    const withoutTimes = (name: string) =>
      contents(name, 'report.html').replace(/<section id="times">[\s\S]*?<\/section>/, '');
    const report = withoutTimes('whole');
    assert.match(report, /What colour is the roof of house/);
    assert.doesNotMatch(report, /Not finished/);
    for (const share of [0.02, 0.4, 0.77]) {
      const name = `cut-${share}`;
      cpSync(join(folder.path, 'whole'), join(folder.path, name), { recursive: true });
      truncateSync(join(folder.path, name, 'items.jsonl'), Math.floor(share * Buffer.byteLength(items)));
      writeFileSync(join(folder.path, name, 'summary.json.unfinished'), 'half');
      for (const file of ['report.html', 'examples.json']) rmSync(join(folder.path, name, file));
      const { events } = await run(name, changes);
      assert.ok(events.length > 1);
      assert.equal(contents(name, 'items.jsonl'), items);
      assert.equal(contents(name, 'summary.json'), summary);
      assert.equal(withoutTimes(name), report);
    }
    const { events } = await run('whole', changes);
    assert.deepEqual(
      events.map(({ kind }) => kind),
      ['summary'],
      'nothing is measured twice',
    );
  });

  it('reports what it has when it is interrupted, and is compared with another run when it is done', async () => {
    const changes: Changes = { tasks: ['squad'], modes: 'none,rag:1', limit: 3 };
    const interrupt = new AbortController();
    const path = join(folder.path, 'interrupted');
    const request = { folder: path, data: data.path, tasks: ['squad'] as [string], limit: 3 };
    const modes = parseModes('none,rag:1', 2);
    const measure = async () => {
      for await (const _ of evaluate(evaluated, { ...request, modes, signal: interrupt.signal })) interrupt.abort();
    };
    await assert.rejects(measure(), { name: 'AbortError' });
    assert.match(contents('interrupted', 'report.html'), /Not finished: this is what was measured so far, 3 items/);
    assert.ok(!existsSync(join(path, 'summary.json')));

    await assert.rejects(run('other', { ...changes, compare: data.path }), { code: 'not-found' });
    await assert.rejects(run('other', { ...changes, tasks: ['arc_easy'], compare: path }), {
      code: 'mismatch',
      message: /none of their tasks in common/,
    });
    assert.ok(!existsSync(join(folder.path, 'other')), 'said before anything is measured');
    await assert.rejects(run('interrupted', { ...changes, compare: path }), { code: 'usage', message: /with itself/ });
    assert.match(contents('interrupted', 'report.html'), /Not finished/);
    const { events } = await run('other', { ...changes, shots: 1, compare: path });
    const last = events.at(-1);
    const comparison = last?.kind === 'summary' ? last.comparison : null;
    assert.deepEqual(
      comparison?.settings.map(({ field, from, to }) => [field, from, to]),
      [['shots', 1, 0]],
    );
    assert.equal(comparison?.here.complete, true);
    assert.equal(comparison?.there.complete, false);
    assert.equal(comparison?.there.parameters, comparison?.here.parameters);
    assert.match(contents('other', 'report.html'), /This run beside interrupted/);
  });

  it('refuses the folder of another evaluation, and one whose items are others', async () => {
    await run('first', { modes: 'none', limit: 3 });
    const refused = { code: 'mismatch', message: /limit was 3, is 4/ };
    await assert.rejects(run('first', { modes: 'none', limit: 4 }), refused);
    await run('second', { modes: 'none', limit: 3, seed: 5 });
    copyFileSync(join(folder.path, 'second', 'items.jsonl'), join(folder.path, 'first', 'items.jsonl'));
    await assert.rejects(run('first', { modes: 'none', limit: 3 }), {
      code: 'damaged',
      message: /items.jsonl, line \d/,
    });
  });

  it('refuses items that it has not measured', async () => {
    await run('third', { modes: 'none', limit: 3 });
    const [first] = contents('third', 'items.jsonl').split('\n');
    appendFileSync(join(folder.path, 'third', 'items.jsonl'), `${first}\n`);
    await assert.rejects(run('third', { modes: 'none', limit: 3 }), { code: 'damaged', message: /line 4/ });
  });

  it('puts solved items of the same subject first', async () => {
    const { records } = await run('shots', { tasks: ['mmlu'], shots: 2, modes: 'none,memory' });
    assert.equal(records.length, 12);
    const plain = await run('no-shots', { tasks: ['mmlu'], modes: 'none,memory' });
    assert.notDeepEqual(records[0]?.logLikelihoods, plain.records[0]?.logLikelihoods);
    await assert.rejects(run('many', { tasks: ['mmlu'], shots: 5 }), { code: 'usage', message: /3 shots for mmlu/ });
  });

  it('does not measure what does not fit, and counts it', async () => {
    const { records, events } = await run('long', { tasks: ['arc_easy'], shots: 4, limit: 2, modes: 'none' });
    assert.deepEqual(
      records.map(({ tooLong }) => tooLong),
      [null, null],
    );
    const long = evaluationData();
    using _ = long;
    const line = { id: 'long', question: 'very '.repeat(600), choices: ['yes', 'no'], answer: 0 };
    long.write('copa/validation.jsonl.gz', `${JSON.stringify(line)}\n`);
    const given = await run('too-long', { tasks: ['copa'], data: long.path, modes: 'none' });
    assert.ok((given.records[0]?.tooLong ?? 0) > 1024);
    assert.deepEqual(given.records[0]?.scores, {});
    const [cell] = cellsOf(given.events);
    assert.deepEqual([cell?.items, cell?.tooLong], [0, 1]);
    assert.equal(cellsOf(events)[0]?.items, 2);
  });

  it('asks for a bank where a mode needs one, and knows its tasks', async () => {
    const request = { data: data.path, modes: parseModes('rag', 1), tasks: ['copa'] as [string] };
    const without = { ...evaluated, recall: null };
    await assert.rejects(evaluate(without, { ...request, folder: join(folder.path, 'x') }).next(), { code: 'usage' });
    await assert.rejects(run('z', { tasks: ['copa', 'copa'] }), { code: 'usage', message: /twice/ });
    await assert.rejects(run('y', { tasks: ['none_such'] }), { code: 'usage', message: /there are arc_easy/ });
  });
});

it('bench ability measures the same tasks without a document start', async () => {
  const rows = await Array.fromAsync(
    measureAbility(evaluated.model, evaluated.tokenizer, data.path, { limit: 9, seed: 0 }),
  );
  assert.deepEqual(
    rows.map(({ task, items }) => [task, items]),
    [
      ['wikitext2', 3],
      ['arc_easy', 9],
      ['piqa', 3],
      ['hellaswag', 3],
      ['boolq', 3],
    ],
  );
  const tasks: [string, ...string[]] = ['wikitext2', 'arc_easy', 'piqa', 'hellaswag', 'boolq'];
  const { events } = await run('ability', { tasks, modes: 'none', limit: 9, documentStart: false });
  const leading = cellsOf(events).filter(
    ({ task, metric }) => rows.find((row) => row.task === task)?.metric === metric,
  );
  assert.deepEqual(
    leading.map(({ value }) => value),
    rows.map(({ value }) => value),
  );
});
