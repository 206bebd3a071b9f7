/** Whole adaptations of a tiny model. */
import assert from 'node:assert/strict';
import { appendFileSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { adaptationRequest, wordOf } from '../../../test/crash/adapt.ts';
import { adaptationData } from '../../../test/support/adaptation.ts';
import { tinyModelFolder } from '../../../test/support/evaluation.ts';
import { type TemporaryFolder, temporaryFolder } from '../../../test/support/temporary.ts';
import { openBank } from '../../bank/sqlite.ts';
import { openModel } from '../../generate/workspace.ts';
import { readJsonLines } from '../../json-lines.ts';
import { ReadingContext } from '../../memory/context.ts';
import { parseMemory } from '../../memory/format.ts';
import type { LanguageModel } from '../../memory/model.ts';
import { exactMatch } from '../answers.ts';
import { negativeLogLikelihood } from '../likelihood.ts';
import { type AdaptRequest, adapt, type DomainReport } from './adapt.ts';
import { type AnswerRecord, type Arm, answerSchema, arms, timeSchema } from './records.ts';
import { tunedAdapter } from './tune.ts';

let data: TemporaryFolder;
let folder: TemporaryFolder;
let model: string;
let whole: string;
let reports: DomainReport[];
let records: AnswerRecord[];
const words: string[] = [];

before(async () => {
  data = adaptationData();
  folder = temporaryFolder();
  model = await tinyModelFolder(folder.path);
  whole = join(folder.path, 'whole');
  const onEvent: AdaptRequest['onEvent'] = (event) => words.push(wordOf(event) ?? '');
  reports = await adapt({ ...request(whole), onEvent });
  records = readJsonLines(join(whole, 'answers.jsonl'), answerSchema);
});
after(() => {
  folder[Symbol.dispose]();
  data[Symbol.dispose]();
});

const request = (path: string) => adaptationRequest(model, data.path, path);
const contents = (path: string, file: string) => readFileSync(join(path, file), 'utf8');
const one = (id: string, arm: Arm) => records.find((record) => record.id === id && record.arm === arm) as AnswerRecord;
const near = (actual: number | undefined, expected: number) =>
  assert.ok(Math.abs((actual ?? Number.NaN) - expected) < 1e-3, `${actual} is not ${expected}`);

describe('an adaptation', () => {
  it('asks the same questions of every arm, of one domain after the other', () => {
    assert.deepEqual(
      reports.map(({ domain, questions, documents, validationDocuments }) => [
        domain,
        questions,
        documents,
        validationDocuments,
      ]),
      [
        ['policies', 3, 2, 1],
        ['textbook', 2, 2, 1],
      ],
    );
    assert.deepEqual(
      records.map(({ arm }) => arm),
      Array.from({ length: 5 }, () => [...arms]).flat(),
    );
    const byQuestion = Map.groupBy(records, ({ domain, id }) => `${domain} ${id}`);
    for (const [, own] of byQuestion) {
      const [none, memory, tuned, rag] = own;
      assert.deepEqual([none?.references, tuned?.references], [[], []]);
      assert.equal(memory?.references.length, 2);
      assert.deepEqual(memory?.references, rag?.references, 'the same recall');
      assert.equal(none?.promptTokens, memory?.promptTokens);
      assert.ok((rag?.promptTokens ?? 0) > (none?.promptTokens ?? 0));
      assert.equal(new Set(own.map(({ scores }) => scores.nats)).size, 4, 'every arm computes something else');
    }
    for (const { scores } of records.filter(({ domain }) => domain === 'textbook')) assert.ok('accuracy' in scores);
    assert.ok(words.includes('write policies 8') && words.includes('step textbook 6'), `${words}`);
  });

  it('scores what the arms give, each computed by itself', async () => {
    const { id } = records.find(({ domain }) => domain === 'policies') as AnswerRecord;
    const [site, index] = id.split('/') as [string, string];
    const question = `${site}: ${index === '0' ? 'When is my data deleted?' : 'Who is told?'}`;
    const prompt = `Question: ${question}\nAnswer:`;
    await using opened = await openModel({ model, adapter: null, threads: 1, profile: { layers: 'last-1' } });
    const { tokenizer, profile, file } = opened;
    using bank = openBank(join(whole, 'policies', 'bank.memory3'), { mode: 'read' });
    const references = one(id, 'memory').references.map((reference) => bank.reference(reference));
    for (const reference of references) assert.match(reference.text, /^[a-z.]+: (We (delete|tell)|It is) /);
    const stored = references.map((reference) => parseMemory(bank.memory(reference.id) as Uint8Array));
    const passages = bank.documentText(bank.document(site)?.id as number);
    const answer = (index === '0' ? /every (\w+)\./ : /to the (\w+) and/).exec(passages)?.[1] as string;
    const held = references.some((reference) => reference.text.includes(answer));
    assert.deepEqual([one(id, 'memory').held, one(id, 'rag').held, one(id, 'tuned').held], [held, held, null]);
    const nats = async (reader: LanguageModel, before: string, memories: typeof stored) => {
      const memory = memories.length === 0 ? null : { profile, memories: 2 };
      await using context = await ReadingContext.open(reader, { memory });
      await context.useMemories(memories);
      const own = tokenizer.encode(` ${answer}`, { continuation: true });
      const read = [tokenizer.bosTokenId, ...tokenizer.encode(`${before}${prompt}`)];
      const logits = await context.extend([[...read, ...own.slice(0, -1)]], 'all');
      const sum = own.reduce((all, token, i) => all + negativeLogLikelihood(logits, read.length - 1 + i, token), 0);
      return sum / own.length;
    };
    const text = references.map((reference) => `Reference: ${reference.text}\n\n`).join('');
    near(one(id, 'before').scores.nats, await nats(opened.model, '', []));
    near(one(id, 'memory').scores.nats, await nats(opened.model, '', stored));
    near(one(id, 'rag').scores.nats, await nats(opened.model, text, []));
    await using tuned = await openModel({
      model: file.path,
      adapter: tunedAdapter(join(whole, 'policies', 'training')),
      threads: 1,
    });
    near(one(id, 'tuned').scores.nats, await nats(tuned.model, '', []));
    assert.equal(one(id, 'before').scores.exact, exactMatch(one(id, 'before').answer, [answer]));
  });

  it('learns its texts: the loss of held-out ones falls, and the best checkpoint is taken', () => {
    for (const { tuning } of reports) {
      assert.equal(tuning.steps, 6);
      assert.ok(tuning.validation.best < tuning.validation.before - 0.05, JSON.stringify(tuning));
      assert.ok(tuning.validation.best <= tuning.validation.last);
      assert.ok([2, 4, 6].includes(tuning.bestStep));
    }
  });

  it('counts what each arm keeps and the time of each part', () => {
    const [policies] = reports;
    using bank = openBank(join(whole, 'policies', 'bank.memory3'), { mode: 'read' });
    const { memories, memoryBytes, identity } = bank.stats();
    assert.equal(memories, policies?.references);
    const [none, memory, tuned, rag] = (policies as DomainReport).arms.map(({ bytes }) => bytes);
    const texts = [...bank.documents()].flatMap(({ id }) => bank.references(id)).map(({ text }) => text);
    assert.equal(rag, Buffer.byteLength(texts.join('')) + memories * identity.embedder.dimensions * 4);
    assert.equal(memory, (rag ?? 0) + memoryBytes);
    assert.equal(none, 0);
    assert.ok((tuned ?? 0) > 0 && (tuned ?? 0) < 2 * statSync(join(whole, 'policies/training/best.safetensors')).size);
    const times = readJsonLines(join(whole, 'times.jsonl'), timeSchema);
    assert.equal(times.filter(({ kind }) => kind === 'answer').length, records.length);
    for (const { times: own } of reports) {
      const [atOnce, written, trained, indexed] = own;
      assert.equal(atOnce?.adapt, 0);
      assert.ok((written?.adapt ?? 0) > (indexed?.adapt ?? Number.POSITIVE_INFINITY));
      assert.deepEqual(Object.keys(trained?.parts ?? {}), ['train', 'merge']);
      assert.ok(own.every(({ answer }) => (answer?.ninetieth ?? 0) >= (answer?.median ?? 1)));
    }
    const page = contents(whole, 'report.html');
    assert.match(page, /<h2>policies<\/h2>[\s\S]*<svg[\s\S]*<h2>textbook<\/h2>[\s\S]*fine-tuned/);
  });

  it('goes on where it was interrupted, or cut off, and ends the same', async () => {
    const path = join(folder.path, 'interrupted');
    for (const stop of ['index policies 4', 'write policies 8', 'step policies 5', 'answer policies 2']) {
      const controller = new AbortController();
      const onEvent: AdaptRequest['onEvent'] = (event) => {
        if (wordOf(event) === stop) controller.abort(new Error('stop'));
      };
      await assert.rejects(adapt({ ...request(path), signal: controller.signal, onEvent }), /stop/);
    }
    appendFileSync(join(path, 'answers.jsonl'), `${contents(whole, 'answers.jsonl').split('\n')[8]}\n{"domain":"pol`);
    const done: string[] = [];
    await adapt({ ...request(path), onEvent: (event) => done.push(wordOf(event) ?? '') });
    assert.ok(!done.some((word) => /^(index|write|step) policies/.test(word)), `${done}`);
    assert.deepEqual(
      done.filter((word) => word.startsWith('answer policies')),
      ['answer policies 3'],
    );
    for (const file of ['config.json', 'answers.jsonl', 'summary.json']) {
      assert.equal(contents(path, file), contents(whole, file), file);
    }
    // Whole, it does nothing.
    done.length = 0;
    await adapt({ ...request(path), onEvent: (event) => done.push(wordOf(event) ?? '') });
    assert.deepEqual(done, []);
  });

  it('is refused in the folder of another, with wrong domains, without data', async () => {
    const changed = (settings: Partial<AdaptRequest['settings']>) => ({
      ...request(whole),
      settings: { ...request(whole).settings, ...settings },
    });
    await assert.rejects(adapt(changed({ limit: 4 })), { code: 'mismatch', message: /limit was 3, is 4/ });
    await assert.rejects(adapt(changed({ domains: ['poems'] })), { code: 'usage', message: /no domain "poems"/ });
    await assert.rejects(adapt(changed({ domains: ['policies', 'policies'] })), { code: 'usage', message: /twice/ });
    await assert.rejects(adapt(changed({ limit: 0 })), { code: 'usage', message: /limit/ });
    const empty = join(folder.path, 'empty');
    await assert.rejects(adapt({ ...request(empty), data: '/nowhere' }), { code: 'not-found', message: /policyqa/ });
    const other = join(folder.path, 'other');
    appendFileSync(folder.write('other/answers.jsonl', ''), 'text\n');
    await assert.rejects(adapt(request(other)), { code: 'mismatch' });
    rmSync(other, { recursive: true });
  });
});
