import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../../test/support/temporary.ts';
import { rewriteBank } from '../bank/rewrite.ts';
import { openBank } from '../bank/sqlite.ts';
import { addDocuments, addSources, type LibraryEvent, rewriteLibrary, type SourceText } from './library.ts';
import { openWorkspace } from './workspace.ts';

const document = (name: string, text: string): SourceText => ({ name, title: null, mediaType: 'text/plain', text });
const sentence = 'Bees dance to show the others where flowers are, and how far they have to fly. ';
const long = Array.from({ length: 80 }, (_, number) => `${number}: ${sentence}`).join('');

async function collect(events: AsyncIterable<LibraryEvent>): Promise<LibraryEvent[]> {
  const all: LibraryEvent[] = [];
  for await (const event of events) all.push(event);
  return all;
}

const outcomes = (events: readonly LibraryEvent[]) =>
  events.flatMap((event) => (event.kind === 'document' ? [event.outcome] : []));

test('documents become references and memories; interrupted it goes on where it stopped', async () => {
  using folder = temporaryFolder();
  // As a writer leaves it that is killed before it has made a bank of the file.
  const path = folder.write('bank.memory3', '');
  const sources = [document('long', long), document('short', 'Wax is made by bees.')];
  {
    await using workspace = await openWorkspace({ bank: path, bankMode: 'write' });
    const stop = new AbortController();
    const events: LibraryEvent[] = [];
    const run = async () => {
      for await (const event of addDocuments(workspace, sources, { signal: stop.signal })) {
        events.push(event);
        if (event.kind === 'memories') stop.abort(new Error('enough'));
      }
    };
    await assert.rejects(run, /enough/);
    assert.deepEqual(outcomes(events), ['added', 'added']);
    const written = events.flatMap((event) => (event.kind === 'memories' ? event.referenceIds : []));
    const { references, memories } = workspace.bank.stats();
    assert.equal(memories, written.length);
    assert.ok(memories > 0 && memories < references, `${memories} of ${references}`);
    for (const id of written) assert.ok(workspace.bank.memory(id), `memory ${id} was reported`);
  }
  {
    await using workspace = await openWorkspace({ bank: path, bankMode: 'write' });
    const before = workspace.bank.stats();
    const events = await collect(addDocuments(workspace, sources));
    assert.deepEqual(outcomes(events), ['unchanged', 'unchanged']);
    const written = events.flatMap((event) => (event.kind === 'memories' ? event.referenceIds : []));
    assert.equal(written.length, before.references - before.memories);
    assert.equal(workspace.bank.stats().memories, before.references);
    const last = events.at(-1);
    assert.ok(last?.kind === 'memories' && last.done === last.total && last.secondsLeft === 0);

    const changed = [document('short', 'Honey is made by bees.'), document('copy', long)];
    assert.deepEqual(outcomes(await collect(addDocuments(workspace, changed, { memories: false }))), [
      'replaced',
      'alias',
    ]);
    const after = workspace.bank.stats();
    assert.equal(after.references - after.memories, 1, 'the new reference is cold');
    assert.equal(workspace.bank.document('short')?.references, 1);
  }

  {
    // What a rewrite leaves that is interrupted before its first document: there for another embedder, and back.
    using bank = openBank(path, { mode: 'read' });
    const { identity } = bank;
    rewriteBank(path, { ...identity, embedder: { ...identity.embedder, fingerprint: 'another' } });
    rewriteBank(path, identity);
    const notices: string[] = [];
    await using workspace = await openWorkspace({ bank: path, onNotice: (notice) => notices.push(notice) });
    assert.equal(workspace.bank.stats().pending, 2);
    assert.match(notices.join(), /^2 documents of .*bank\.memory3 wait .*memory3 rewrite/);
  }

  const events = await Array.fromAsync(rewriteLibrary({ bank: path, profile: { layers: 'last-2', keptTokens: 4 } }));
  assert.deepEqual(events[0]?.kind === 'rewrite' && events[0].changed, ['profile']);
  // What it was written with need not be said again.
  await using rewritten = await openWorkspace({ bank: path });
  const { references, memories } = rewritten.bank.stats();
  assert.equal(memories, references);
  const { layers, keptTokens } = rewritten.profile;
  assert.deepEqual([layers, keptTokens], [[28, 29], 4]);
  for (const other of [{ profile: { keptTokens: 8 } }, { profile: { layers: 'all' } }, { adapter: null }] as const) {
    await assert.rejects(openWorkspace({ bank: path, ...other }), { code: 'mismatch' });
  }
  // The command that is named does what was asked for.
  await assert.rejects(openWorkspace({ bank: path, profile: { keptTokens: 8 } }), {
    message: /memory3 rewrite \S+ --layers 28,29 --kept 8 --scoring answer-weighted --storage int8`/,
  });
});

test('what is skipped is reported and the others go on', async () => {
  using folder = temporaryFolder();
  await using workspace = await openWorkspace({ bank: join(folder.path, 'b.memory3'), bankMode: 'write' });
  const sources = [{ skipped: 'scan.pdf', reason: 'there is no text in it' }, document('a', 'Wax is made by bees.')];
  const events = await collect(addDocuments(workspace, sources, { memories: false }));
  assert.deepEqual(events[0], { kind: 'skipped', name: 'scan.pdf', reason: 'there is no text in it' });
  assert.deepEqual(outcomes(events), ['added']);
});

test('a folder that holds the bank itself can be added, and the bank keeps its locks', async () => {
  using folder = temporaryFolder();
  folder.write('bees.txt', 'Wax is made by bees.');
  const path = join(folder.path, 'b.memory3');
  await using workspace = await openWorkspace({ bank: path, bankMode: 'write' });
  const events = await collect(addSources(workspace, [folder.path], { memories: false }));
  const skipped = events.flatMap((event) => (event.kind === 'skipped' ? [`${event.name}: ${event.reason}`] : []));
  for (const file of [path, `${path}-wal`, `${path}.lock`]) {
    assert.ok(skipped.includes(`${file}: it belongs to a memory bank or run that is open here`), skipped.join('\n'));
  }
  assert.deepEqual(outcomes(events), ['added']);
  // Only another process can tell: within one, SQLite knows of all its locks.
  const script = `
    const { openBank } = await import(${JSON.stringify(import.meta.resolve('../bank/sqlite.ts'))});
    try { openBank(${JSON.stringify(path)}, { mode: 'write' }); } catch (error) { console.log(error.code); }`;
  const child = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
  assert.equal(child.stdout, 'locked\n', child.stderr);
});
