import assert from 'node:assert/strict';
import {
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import { gunzipSync, gzipSync } from 'node:zlib';
import { documentOf, fails, identity, memoryOf, texts } from '../../test/crash/library.ts';
import type { BankIdentity, MemoryBank, NewReference } from './bank.ts';
import { rewriteBank } from './rewrite.ts';
import { openBank } from './sqlite.ts';
import { exportBank, importBank } from './transfer.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'memory3-transfer-'));
after(() => rmSync(folder, { recursive: true }));
const source = path.join(folder, 'source');
const file = path.join(folder, 'bank.jsonl.gz');
{
  using bank = openBank(source, { mode: 'write', identity });
  for (const [name, text] of Object.entries(texts)) bank.putDocument(documentOf(name, text));
  bank.putDocument({ ...documentOf('other name', texts['river.txt'] ?? ''), references: [] });
  bank.putMemories([2, 3, 9].map((referenceId) => ({ referenceId, bytes: memoryOf(String(referenceId)) })));
}

/** Everything but ids and dates. */
function contents(bankPath: string) {
  using bank = openBank(bankPath, { mode: 'read' });
  return [...bank.documents()].map(({ id, addedAt, ...document }) => ({
    document,
    text: bank.documentText(id),
    references: bank.references(id).map(({ id: referenceId, documentId, ...reference }) => ({
      reference,
      vector: bank.vector(referenceId),
      memory: bank.memory(referenceId),
    })),
  }));
}

describe('a bank as one file', () => {
  it('is the same bank after the way there and back', async () => {
    const target = path.join(folder, 'target');
    const counts = { documents: 5, references: 14, memories: 3 };
    assert.deepEqual(await exportBank(source, file), counts);
    const added = await importBank(file, target);
    assert.deepEqual(added, {
      ...counts,
      otherwiseCut: 0,
      outcomes: { added: 5, unchanged: 0, replaced: 0, alias: 0 },
    });
    assert.deepEqual(contents(target), contents(source));
    const again = await importBank(file, target);
    assert.deepEqual(again.outcomes, { added: 0, unchanged: 5, replaced: 0, alias: 0 });
    assert.deepEqual(contents(target), contents(source));
    using bank = openBank(target, { mode: 'read', identity });
    assert.deepEqual([...bank.verify()], []);
    assert.deepEqual(
      readdirSync(folder).filter((name) => name.endsWith('.tmp')),
      [],
    );
  });

  it('replaces an earlier export, and nothing else', async () => {
    const target = path.join(folder, 'export target');
    await exportBank(source, target);
    await exportBank(source, target);
    // An export that was cut off is one nevertheless.
    writeFileSync(target, readFileSync(target).subarray(0, -9));
    await exportBank(source, target);
    const bank = path.join(folder, 'target of mistake');
    copyFileSync(source, bank);
    for (const content of [readFileSync(source), 'my notes', gzipSync('my notes\n'), '']) {
      writeFileSync(bank, content);
      await assert.rejects(exportBank(source, bank), fails('usage', /is not an exported bank/));
      assert.deepEqual(readFileSync(bank), Buffer.from(content));
    }
    await assert.rejects(exportBank(source, source), fails('usage', /is not an exported bank/));
    mkdirSync(path.join(folder, 'a folder'));
    await assert.rejects(exportBank(source, path.join(folder, 'a folder')), fails('usage', /is not an exported bank/));
  });

  it('goes where a link leads', { skip: process.platform === 'win32' }, async () => {
    const target = path.join(folder, 'behind a link');
    const link = path.join(folder, 'link');
    symlinkSync('behind a link', link);
    await exportBank(source, link);
    const { ino } = statSync(target, { bigint: true });
    await exportBank(source, link);
    assert.ok(lstatSync(link).isSymbolicLink());
    assert.notEqual(statSync(target, { bigint: true }).ino, ino, 'it is another file');
  });

  it('is tested as a whole before anything is stored', async () => {
    await exportBank(source, file);
    const bytes = readFileSync(file);
    const lines = gunzipSync(bytes).toString().trimEnd().split('\n');
    const changed = (change: (lines: string[]) => string[]) => gzipSync(`${change([...lines]).join('\n')}\n`);
    const damages: [Uint8Array, RegExp][] = [
      [bytes.subarray(0, bytes.length - 9), /line \d+: its gzip data ends here.*\n.*Export/],
      [bytes.subarray(0, 0), /is not an exported bank: it is empty\.\nName .*memory3 add/],
      [bytes.map((byte, index) => (index === bytes.length >> 1 ? byte ^ 4 : byte)), /is damaged/],
      [Buffer.from('plain text'), /is not an exported bank: its line 1 is not JSON\./],
      [
        Buffer.from('{"kind":"note","text":"a"}\n'),
        /not an exported bank: its line 1 .* not of the kind "memory3-bank"\./,
      ],
      [Buffer.from('[1]\n'), /not an exported bank: its line 1 /],
      [changed((all) => all.with(0, (all[0] ?? '').replace('"version":1', '"version":2'))), /is damaged: line 1: /],
      [Buffer.of(0xff, 0x0a), /not valid UTF-8/],
      [changed((all) => all.slice(0, -1)), /its end is missing/],
      [changed((all) => all.slice(1)), /line 1 is out of place/],
      [changed((all) => all.toSpliced(8, 1)), /its sum is wrong/],
      [changed((all) => all.with(1, (all[1] ?? '').replace('tower', 'power'))), /its sum is wrong/],
      [changed((all) => all.with(2, '{"kind":"reference"}')), /line 3: /],
      [changed((all) => all.with(2, '{')), /line 3 is not JSON/],
      [
        changed((all) => all.map((line) => line.replace(/"end":\d+/, '"end":9999'))),
        /line 3: .*no characters \[0, 9999\)/,
      ],
      [changed((all) => all.map((line) => line.replace(/"vector":"\w+/, '"vector":"'))), /line 3: /],
      [
        changed((all) => all.with(2, (all[2] ?? '').replace(/"vector":".*?"/, '"vector":"AAAA"'))),
        /0 dimensions, not 48/,
      ],
      [changed((all) => [...all, all[0] ?? '']), /follows the end/],
      [changed((all) => [all[0] ?? '', ...all.slice(2)]), /line 2 is out of place/],
      // Memory 1 of the first document before its reference 2.
      [changed((all) => [...all.slice(0, 4), all[5] ?? '', all[4] ?? '', ...all.slice(6)]), /line 6 is out of place/],
      [changed((all) => all.map((line) => line.replace('"ordinal":1', '"ordinal":9'))), /has no reference 9/],
    ];
    const target = path.join(folder, 'never');
    for (const [damage, pattern] of damages) {
      const damagedFile = path.join(folder, 'damaged.gz');
      writeFileSync(damagedFile, damage);
      await assert.rejects(importBank(damagedFile, target), fails('damaged', pattern), String(pattern));
    }
    await assert.rejects(importBank(path.join(folder, 'no such file'), target), fails('not-found', /no such file/));
    await assert.rejects(importBank(folder, target), fails('disk', /^.* is a folder, where a file is expected\.\n/));
    assert.equal(existsSync(target), false);
  });

  it('brings no memory to a reference of other tokens', async () => {
    await exportBank(source, file);
    const target = path.join(folder, 'otherwise cut');
    const text = texts['tower.txt'] ?? '';
    const whole = {
      text,
      start: 0,
      end: text.length,
      tokens: [1],
      vector: documentOf('x', 'tower').references[0]?.vector,
    };
    {
      using bank = openBank(target, { mode: 'write', identity });
      bank.putDocument({ ...documentOf('tower.txt', text), references: [whole as NewReference] });
    }
    const { otherwiseCut, memories } = await importBank(file, target);
    assert.deepEqual({ otherwiseCut, memories }, { otherwiseCut: 2, memories: 1 });
    using bank = openBank(target, { mode: 'read' });
    assert.equal(bank.document('tower.txt')?.memories, 0);
    assert.equal(bank.stats().memories, 1);
  });

  it('goes into no bank of another model', async () => {
    await exportBank(source, file);
    const target = path.join(folder, 'of another');
    openBank(target, { mode: 'write', identity: { ...identity, model: other('model') } })[Symbol.dispose]();
    await assert.rejects(importBank(file, target), fails('mismatch', /model-b/));
  });
});

describe('rewriting', () => {
  const rewritten = (name: string, change: Partial<BankIdentity>) => {
    const target = path.join(folder, name);
    copyFileSync(source, target);
    const wanted = { ...identity, ...change };
    using reader = openBank(target, { mode: 'read', identity });
    reader.stats();
    const result = rewriteBank(target, wanted);
    assert.throws(() => reader.reference(1), fails('mismatch', /./));
    assert.throws(() => reader.memory(2), fails('mismatch', /./));
    assert.throws(() => openBank(target, { mode: 'read', identity }), fails('mismatch', /memory3 rewrite/));
    return { target, wanted, result };
  };
  const putAgain = (bank: MemoryBank) => {
    for (const { id, name, pending } of bank.documents()) {
      assert.equal(pending, true);
      const text = bank.documentText(id);
      assert.equal(bank.compare(name, text), 'replaced');
      assert.deepEqual(bank.putDocument(documentOf(name, text)), { outcome: 'replaced', documentId: id });
      assert.equal(bank.compare(name, text), 'unchanged');
    }
  };

  it('for another profile makes references cold', () => {
    const { target, wanted, result } = rewritten('profile', { profile: other('profile') });
    assert.deepEqual(result, { changed: ['profile'], dropped: { references: 0, vectors: 0, memories: 3 } });
    using bank = openBank(target, { mode: 'write', identity: wanted });
    assert.equal([...bank.coldReferences()].length, 14);
    assert.equal(bank.stats().pending, 0);
    assert.deepEqual([...bank.verify()], []);
  });

  it('for another embedder keeps the memories', () => {
    const { target, wanted, result } = rewritten('embedder', { embedder: { ...other('embedder'), dimensions: 48 } });
    assert.deepEqual(result, { changed: ['embedder'], dropped: { references: 0, vectors: 14, memories: 0 } });
    using bank = openBank(target, { mode: 'write', identity: wanted });
    assert.equal(bank.stats().pending, 5);
    assert.deepEqual([...bank.verify()], []);
    putAgain(bank);
    assert.deepEqual(bank.memory(9), memoryOf('9'));
    assert.deepEqual(contents(target), contents(source));
    assert.deepEqual([...bank.verify()], []);
  });

  it('for another model keeps the documents, and an interrupted rewrite is known', async () => {
    const { target, wanted, result } = rewritten('model', { model: other('model') });
    assert.deepEqual(result, { changed: ['model'], dropped: { references: 14, vectors: 14, memories: 3 } });
    await assert.rejects(exportBank(target, file), fails('mismatch', /5 documents .* wait/));
    using bank = openBank(target, { mode: 'write', identity: wanted });
    assert.deepEqual(bank.searchWords('tower', 5), []);
    putAgain(bank);
    assert.equal(bank.stats().references, 14);
    assert.equal([...bank.coldReferences()].length, 14);
    assert.equal(bank.searchWords('tower', 5).length, 1);
    assert.deepEqual([...bank.verify()], []);
  });

  it('for the same identity changes nothing', () => {
    const target = path.join(folder, 'same');
    copyFileSync(source, target);
    assert.deepEqual(rewriteBank(target, identity).changed, []);
    assert.deepEqual(contents(target), contents(source));
  });
});

function other(part: string) {
  return { name: `${part}-b`, fingerprint: 'e'.repeat(64) };
}
