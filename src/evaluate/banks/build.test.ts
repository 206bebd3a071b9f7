/** Banks of small data sets: built, killed and gone on with, refused. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { bankData, buildTinyBank, lines } from '../../../test/support/bank-data.ts';
import { tinyModelFolder } from '../../../test/support/evaluation.ts';
import { type TemporaryFolder, temporaryFolder } from '../../../test/support/temporary.ts';
import { openBank } from '../../bank/sqlite.ts';
import { type BuildEvent, finishedBank } from './build.ts';
import { bankWords, describeBank } from './holdings.ts';
import { checkBuilt, planBank, type SourceCounts } from './plan.ts';

let data: TemporaryFolder;
let folder: TemporaryFolder;
before(async () => {
  data = bankData();
  folder = temporaryFolder();
  await tinyModelFolder(folder.path);
});
after(() => {
  data[Symbol.dispose]();
  folder[Symbol.dispose]();
});

const pathOf = (name: string) => join(folder.path, `${name}.memory3`);
const build = (name: string, ...planned: Parameters<typeof planBank>) =>
  buildTinyBank(folder.path, pathOf(name), planBank(...planned));

function countsOf(events: readonly BuildEvent[]): Record<string, SourceCounts> {
  return Object.fromEntries(events.flatMap((event) => (event.kind === 'source' ? [[event.source, event]] : [])));
}

/** Everything that a bank holds, without when it came there. */
function contents(name: string): unknown {
  using bank = openBank(pathOf(name), { mode: 'read' });
  assert.deepEqual([...bank.verify()], []);
  return [...bank.documents()].map(({ id, addedAt, ...document }) => ({
    ...document,
    id,
    memories: bank.references(id).map(({ id: reference, text }) => [text, bank.memory(reference)]),
  }));
}

const kinds = (events: readonly BuildEvent[]) => [...new Set(events.map(({ kind }) => kind))];

describe('a bank for evaluation', () => {
  it('has every source once, passages that several share once, all of it counted', async () => {
    const events = await build('general', 'general', data.path);
    const counts = countsOf(events);
    assert.deepEqual(
      Object.values(counts).map(({ source, documents, shared, skipped, available }) => [
        source,
        documents,
        shared,
        skipped,
        available,
      ]),
      [
        ['wiki_demo', 3, 0, 0, 3],
        ['openstax_biology', 2, 0, 0, 2],
        ['openstax_anatomy', 1, 0, 1, 1],
        ['squad', 20, 7, 0, 27],
        ['xquad', 1, 2, 0, 3],
        ['nq_openbook_short', 1, 0, 0, 1],
        ['policyqa', 2, 0, 0, 2],
        ['cuad', 5, 0, 0, 5],
      ],
    );
    using bank = openBank(pathOf('general'), { mode: 'read' });
    const stats = bank.stats();
    const total = (of: 'references' | 'bytes' | 'documents') =>
      Object.values(counts).reduce((sum, one) => sum + one[of], 0);
    assert.deepEqual(
      [total('documents'), total('references'), total('bytes')],
      [stats.documents, stats.references, stats.memoryBytes],
    );
    assert.equal(stats.memories, stats.references);
    assert.ok((counts.wiki_demo?.references ?? 0) > 3, 'long articles are cut');
    assert.equal(bank.document('squad/dev-v2.0.contexts#c/0')?.title, 'The thing');
    const [estimate] = events;
    assert.ok(estimate?.kind === 'estimate');
    assert.ok(Math.abs(estimate.references - stats.references) <= 2, `${estimate.references} were estimated`);
    assert.ok(estimate.seconds > 0 && estimate.bytes > stats.memoryBytes / 2);
  });

  it('is estimated by the references of each source, where the first has the longest', async () => {
    using other = bankData();
    const contexts = Array.from({ length: 60 }, (_, index) => ({
      context_id: `c/${index}`,
      title: '',
      text: `${index}.`,
    }));
    for (const file of ['dev-v1.1', 'dev-v2.0']) other.write(`squad/${file}.contexts.jsonl.gz`, lines(contexts));
    const plan = planBank('general', other.path, { sources: ['wiki_demo', 'squad'] });
    const [fresh] = await buildTinyBank(folder.path, pathOf('lengths'), plan, { memories: false });
    const [cold] = await buildTinyBank(folder.path, pathOf('lengths'), plan);
    assert.ok(fresh?.kind === 'estimate' && cold?.kind === 'estimate');
    const [whole] = await buildTinyBank(folder.path, pathOf('lengths at once'), plan);
    assert.ok(whole?.kind === 'estimate');
    using bank = openBank(pathOf('lengths'), { mode: 'read' });
    const { memoryBytes } = bank.stats();
    const near = (bytes: number) =>
      assert.ok(Math.abs(bytes / memoryBytes - 1) < 0.1, `${bytes} were estimated, ${memoryBytes} written`);
    near(cold.bytes);
    near(whole.bytes - fresh.bytes);
  });

  it('professional: abstracts without conclusions, snippets once, statutes by name', async () => {
    const counts = countsOf(await build('professional', 'professional', data.path));
    assert.deepEqual([counts.bioasq?.documents, counts.bioasq?.shared], [3, 1]);
    using bank = openBank(pathOf('professional'), { mode: 'read' });
    const texts = [...bank.documents()].map(({ id }) => bank.documentText(id));
    assert.ok(texts.includes('We tried.\n\nIt did.') && texts.includes('民法第一条：为了保护民事权益。'));
  });

  it('of some sources, of some documents each, and says so', async () => {
    const plan = ['general', data.path, { sources: ['squad', 'cuad'], limit: 4, limits: { cuad: 2 } }] as const;
    const counts = countsOf(await build('part', ...plan));
    assert.deepEqual(
      Object.values(counts).map(({ source, documents, limit, available }) => [source, documents, limit, available]),
      [
        ['squad', 4, 4, 27],
        ['cuad', 2, 2, 5],
      ],
    );
    using bank = openBank(pathOf('part'), { mode: 'read' });
    const described = describeBank(bank);
    assert.deepEqual(described.holds, [
      { source: 'squad', documents: 4, references: 4, of: 27 },
      { source: 'cuad', documents: 2, references: 2, of: 5 },
    ]);
    assert.match(
      bankWords(described),
      /^part: 6 references of 6 documents \(squad 4 of 27, cuad 2 of 5\), memories of /,
    );
    assert.equal((await finishedBank(pathOf('part'), planBank(...plan)))?.documents, 6);
    const less = planBank(plan[0], plan[1], { sources: ['squad', 'cuad'], limit: 4 });
    await assert.rejects(finishedBank(pathOf('part'), less), {
      code: 'mismatch',
      message: /sources.cuad.limit was 2, is 4/,
    });
  });

  it('goes on after an interruption and after SIGKILL, and is then what it would have been', async () => {
    const interrupted = new AbortController();
    const plan = planBank('general', data.path);
    await assert.rejects(
      buildTinyBank(folder.path, pathOf('interrupted'), plan, {
        signal: interrupted.signal,
        onEvent: (event) => {
          if (event.kind === 'progress' && event.source === 'squad') interrupted.abort();
        },
      }),
      { name: 'AbortError' },
    );
    for (const [name, word] of [
      ['interrupted', null],
      ['documents', 'document'],
      ['memories', 'memories'],
    ] as const) {
      if (word !== null) await buildAndKill(name, word);
      assert.equal(await finishedBank(pathOf(name), plan), null);
      assert.throws(() => checkBuilt(pathOf(name)), { code: 'usage', message: /not finished/ });
      const events = await buildTinyBank(folder.path, pathOf(name), plan);
      assert.deepEqual(contents(name), contents('general'));
      checkBuilt(pathOf(name));
      assert.ok(events.some((event) => event.kind === 'progress' && event.event.kind === 'document'));
    }
  });

  it('is finished: nothing is done again, whatever of it is asked for a second time', async () => {
    const plan = planBank('general', data.path);
    const finished = await finishedBank(pathOf('general'), plan);
    assert.equal(finished?.documents, 35);
    const again = await buildTinyBank(folder.path, pathOf('general'), plan);
    const [estimate] = again;
    assert.ok(estimate?.kind === 'estimate');
    assert.deepEqual([estimate.references, estimate.cold, estimate.seconds], [0, 0, 0]);
    assert.ok(!again.some((event) => event.kind === 'progress' && event.event.kind === 'memories'));
    assert.deepEqual(
      again.flatMap((event) =>
        event.kind === 'progress' && event.event.kind === 'document' ? [event.event.outcome] : [],
      ),
      Array.from({ length: 44 }, () => 'unchanged'),
    );
  });

  it('without memories at first, then with them', async () => {
    const plan = planBank('general', data.path, { sources: ['squad'] });
    const cold = countsOf(await buildTinyBank(folder.path, pathOf('cold'), plan, { memories: false }));
    assert.equal(cold.squad?.bytes, 0);
    assert.notEqual(await finishedBank(pathOf('cold'), plan, { memories: false }), null);
    assert.equal(await finishedBank(pathOf('cold'), plan), null);
    const events = await buildTinyBank(folder.path, pathOf('cold'), plan);
    assert.deepEqual(kinds(events), ['estimate', 'progress', 'source', 'end']);
    assert.ok(events[0]?.kind === 'estimate' && events[0].cold === 20 && events[0].seconds > 0);
    assert.ok((countsOf(events).squad?.bytes ?? 0) > 0);
  });

  it('says what has changed in the data, and does not touch the bank', async () => {
    using other = bankData();
    const rows = ['The theory of thing 0 is the answer to question 0.', 'New is this one.', 'Another text.'];
    const changed = rows.map((text, index) => ({ context_id: `c/${[0, 'new', 2][index]}`, title: '', text }));
    other.write('squad/dev-v1.1.contexts.jsonl.gz', lines(changed));
    await assert.rejects(finishedBank(pathOf('general'), planBank('general', other.path)), (error: Error) => {
      assert.match(error.message, /sources.squad.files.squad\/dev-v1.1.contexts.jsonl.gz was "[0-9a-f]{8}...", is "/);
      assert.match(error.message, /1 new \(squad\/dev-v1.1.contexts#c\/new\), 1 changed \(.*#c\/2\), 18 gone/);
      return true;
    });
    await assert.rejects(build('general', 'general', other.path), { code: 'mismatch' });
    await assert.rejects(build('general', 'professional', data.path), {
      code: 'mismatch',
      message: /kind was "general"/,
    });
    assert.notEqual(await finishedBank(pathOf('general'), planBank('general', data.path)), null);
  });

  it('refuses a bank of somebody else, and one that was changed; a bank that was removed is built anew', async () => {
    const plan = planBank('general', data.path, { sources: ['policyqa'] });
    await buildTinyBank(folder.path, pathOf('own'), plan);
    {
      using bank = openBank(pathOf('own'), { mode: 'write' });
      bank.removeDocument('policyqa/dev.contexts#c/0');
    }
    await assert.rejects(finishedBank(pathOf('own'), plan), {
      message: /had 2 documents when it was built, and has 1/,
    });
    rmSync(`${pathOf('own')}.sources.json`);
    await assert.rejects(buildTinyBank(folder.path, pathOf('own'), plan), { message: /did not put there/ });
    await buildTinyBank(folder.path, pathOf('gone'), plan);
    rmSync(pathOf('gone'));
    const other = planBank('general', data.path, { sources: ['cuad'] });
    assert.equal(await finishedBank(pathOf('gone'), other), null);
    assert.equal(countsOf(await buildTinyBank(folder.path, pathOf('gone'), other)).cuad?.documents, 5);
  });

  it('names what is missing or wrong', async () => {
    using other = bankData();
    other.write('cuad/contracts.contexts.jsonl.gz', lines([{ context_id: 'c', title: 't' }]));
    await assert.rejects(build('wrong', 'general', other.path, { sources: ['cuad'] }), {
      code: 'damaged',
      message: /cuad\/contracts.contexts.jsonl.gz, line 1: .*text/,
    });
    rmSync(join(other.path, 'squad/dev-v2.0.contexts.jsonl.gz'));
    assert.throws(() => planBank('general', other.path), {
      code: 'not-found',
      message: /dev-v2.0.contexts.jsonl.gz is missing.\n.*--sources/,
    });
    assert.throws(() => planBank('general', data.path, { limits: { bioasq: 2 } }), { code: 'usage' });
    assert.throws(() => planBank('general', data.path, { sources: ['squad'], limits: { cuad: 2 } }), {
      code: 'usage',
      message: /limit for cuad/,
    });
    assert.throws(() => planBank('general', data.path, { sources: ['bioasq'] }), {
      code: 'usage',
      message: /there are wiki/,
    });
  });
});

const program = join(import.meta.dirname, '../../../test/support/bank-data.ts');

/** Builds in another process, and kills it when it says a word. */
async function buildAndKill(name: string, word: string): Promise<void> {
  const child = spawn(process.execPath, [program, folder.path, data.path, pathOf(name)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  child.stdout.setEncoding('utf8').on('data', (said: string) => {
    if (said.split('\n').includes(word)) child.kill('SIGKILL');
  });
  const signal = await new Promise((resolve) => child.on('close', (_, by) => resolve(by)));
  assert.equal(signal, 'SIGKILL', 'it ended before it was killed');
}
