import assert from 'node:assert/strict';
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, describe, it } from 'node:test';
import fc from 'fast-check';
import {
  dimensions,
  documentOf,
  fails,
  fillBank,
  identity,
  memoryOf,
  problemsOf,
  texts,
  vectorOf,
} from '../../test/crash/library.ts';
import type { MemoryBank } from './bank.ts';
import { rewriteBank } from './rewrite.ts';
import { type OpenBankOptions, openBank } from './sqlite.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'memory3-bank-'));
after(() => rmSync(folder, { recursive: true }));
let banks = 0;

function newPath(): string {
  return path.join(folder, `${banks++}.memory3`);
}

function writeBank(bankPath: string, options: Partial<OpenBankOptions> = {}): MemoryBank {
  return openBank(bankPath, { mode: 'write', identity, ...options });
}

describe('a bank', () => {
  it('gives back what was stored, after it was closed', () => {
    const bankPath = newPath();
    fillBank(bankPath);
    using bank = openBank(bankPath, { mode: 'read', identity });
    assert.deepEqual(
      [...bank.documents()].map(({ name }) => name),
      Object.keys(texts),
    );
    for (const [name, text] of Object.entries(texts)) {
      const stored = bank.document(name);
      assert.ok(stored);
      assert.equal(bank.documentText(stored.id), text);
      const expected = documentOf(name, text);
      const references = bank.references(stored.id);
      assert.deepEqual(
        references.map(({ text, start, end, tokens }) => ({ text, start, end, tokens })),
        expected.references.map(({ text, start, end, tokens }) => ({ text, start, end, tokens })),
      );
      for (const [ordinal, reference] of references.entries()) {
        assert.deepEqual(bank.reference(reference.id), reference);
        assert.deepEqual(bank.vector(reference.id), expected.references[ordinal]?.vector);
        assert.deepEqual(bank.memory(reference.id), reference.id === 1 ? undefined : memoryOf(reference.text));
      }
    }
    const { documents, references, memories, memoryBytes } = bank.stats();
    assert.deepEqual(
      { documents, references, memories, memoryBytes },
      { documents: 5, references: 14, memories: 13, memoryBytes: 39_000 },
    );
    assert.deepEqual([...bank.coldReferences()], [1]);
    assert.deepEqual(problemsOf(bank), []);
  });

  it('stores the same content once, under all its names', () => {
    using bank = writeBank(newPath());
    const text = 'One sentence. And another.';
    assert.equal(bank.compare('a', text), 'added');
    const { documentId } = bank.putDocument(documentOf('a', text));
    assert.equal(bank.compare('a', text), 'unchanged');
    assert.deepEqual(bank.putDocument({ ...documentOf('a', text), references: [] }), {
      outcome: 'unchanged',
      documentId,
    });
    assert.equal(bank.compare('b', text), 'alias');
    assert.deepEqual(bank.putDocument({ ...documentOf('b', text), references: [] }), { outcome: 'alias', documentId });
    assert.equal(bank.stats().documents, 1);
    assert.deepEqual(bank.document('b'), bank.document('a'));
    assert.deepEqual(bank.document('a')?.aliases, ['b']);
    assert.equal(bank.removeDocument('a'), true);
    assert.equal(bank.document('b')?.name, 'b');
    assert.equal(bank.reference(1).documentName, 'b');
    assert.equal(bank.removeDocument('b'), true);
    assert.equal(bank.removeDocument('b'), false);
    const { documents, references } = bank.stats();
    assert.deepEqual({ documents, references }, { documents: 0, references: 0 });
    assert.deepEqual(problemsOf(bank), []);
  });

  it('keeps the memories of what did not change in a changed document', () => {
    using bank = writeBank(newPath());
    bank.putDocument(documentOf('a', 'Old start. The same middle. The old end.'));
    bank.putMemories([1, 2, 3].map((referenceId) => ({ referenceId, bytes: memoryOf(String(referenceId)) })));
    const { outcome, documentId } = bank.putDocument(
      documentOf('a', 'A new and longer start. The same middle. And an end.'),
    );
    assert.equal(outcome, 'replaced');
    const [start, middle, end] = bank.references(documentId);
    assert.equal(middle?.id, 2);
    assert.equal(middle?.text, ' The same middle.');
    assert.deepEqual(bank.memory(2), memoryOf('2'));
    assert.deepEqual([...bank.coldReferences()], [start?.id, end?.id]);
    assert.throws(() => bank.reference(1), fails('not-found', /no reference 1/));
    assert.throws(() => bank.memory(1), fails('not-found', /no reference 1/));
    assert.equal(bank.stats().documents, 1);
    assert.deepEqual(problemsOf(bank), []);
  });

  it('does not take an unchanged reference from a document that another name still needs', () => {
    using bank = writeBank(newPath());
    bank.putDocument(documentOf('a', 'Shared. Text.'));
    bank.putDocument(documentOf('b', 'Shared. Text.'));
    bank.putDocument(documentOf('a', 'Shared. Other.'));
    assert.equal(bank.documentText(bank.document('b')?.id ?? 0), 'Shared. Text.');
    assert.deepEqual(
      bank.references(bank.document('a')?.id ?? 0).map(({ text }) => text),
      ['Shared.', ' Other.'],
    );
    // And back: the name moves to content that is there, and what it left is dropped.
    assert.equal(bank.putDocument(documentOf('a', 'Shared. Text.')).outcome, 'alias');
    assert.equal(bank.stats().documents, 1);
    assert.deepEqual(problemsOf(bank), []);
  });

  it('refuses what it could not give back', () => {
    using bank = writeBank(newPath());
    const sound = documentOf('a', 'Some text.');
    const [reference] = sound.references;
    assert.ok(reference);
    const put = (change: object) => bank.putDocument({ ...sound, references: [{ ...reference, ...change }] });
    assert.throws(() => put({ end: 3 }), fails('usage', /reference 0: its text is not what stands at \[0, 3\)/));
    assert.throws(() => put({ vector: new Float32Array(3) }), fails('usage', /has 3 dimensions, not 48/));
    assert.throws(() => put({ vector: new Float32Array(dimensions) }), fails('usage', /length 0, not 1/));
    assert.throws(() => put({ vector: reference.vector.map(() => Number.NaN) }), fails('usage', /length NaN, not 1/));
    assert.throws(() => put({ tokens: [-1] }), fails('usage', /not token ids/));
    assert.throws(() => bank.putDocument({ ...sound, name: '' }), fails('usage', /name/));
    bank.putDocument(sound);
    const bytes = new Uint8Array(1);
    assert.throws(
      () =>
        bank.putMemories([
          { referenceId: 1, bytes },
          { referenceId: 7, bytes },
        ]),
      fails('not-found', /7/),
    );
    assert.equal(bank.memory(1), undefined, 'all or nothing');
    assert.equal(bank.stats().documents, 1);
    assert.deepEqual(problemsOf(bank), []);
  });

  it('keeps any text, zero characters and emoji included; a lone surrogate becomes U+FFFD', () => {
    using bank = writeBank(newPath());
    let number = 0;
    fc.assert(
      fc.property(fc.string({ unit: 'binary', minLength: 1, maxLength: 40 }), (text) => {
        const vector = vectorOf('x');
        const name = `${number++} ${text.toWellFormed()}`;
        const references = [{ text, start: 0, end: text.length, tokens: [1], vector }];
        const { documentId } = bank.putDocument({
          name,
          title: text.toWellFormed(),
          mediaType: 'text/plain',
          text,
          references,
        });
        assert.equal(bank.documentText(documentId), text.toWellFormed());
        assert.equal(bank.references(documentId)[0]?.text, text.toWellFormed());
        assert.ok(bank.document(name));
      }),
      { numRuns: 30 },
    );
    bank.putDocument({ ...documentOf('lone', 'a\ud800b'), title: null });
    assert.equal(bank.documentText(bank.document('lone')?.id ?? 0), 'a\ufffdb');
    assert.deepEqual(problemsOf(bank), []);
  });
});

describe('opening', () => {
  it('refuses a bank of another model, naming both sides and the command', () => {
    const bankPath = newPath();
    fillBank(bankPath);
    const other = { ...identity, model: { name: 'model-b', fingerprint: 'd'.repeat(64) } };
    const refused = fails(
      'mismatch',
      /model model-a \(aaaaaaaaaaaa\), not with model model-b \(dddddddddddd\).\n.*memory3 rewrite/,
    );
    assert.throws(() => openBank(bankPath, { mode: 'read', identity: other }), refused);
    assert.throws(() => openBank(bankPath, { mode: 'write', identity: other }), refused);
    using bank = openBank(bankPath, { mode: 'write' });
    assert.deepEqual(bank.identity, identity);
  });

  it('refuses what is not a bank, and does not touch it', () => {
    const bankPath = newPath();
    const file = newPath();
    writeFileSync(file, '');
    for (const nowhere of [bankPath, path.join(folder, 'no folder', 'bank'), path.join(file, 'bank')]) {
      for (const mode of ['read', 'write'] as const) {
        assert.throws(() => openBank(nowhere, { mode }), fails('not-found', /no memory bank/));
      }
      assert.throws(() => rewriteBank(nowhere, identity), fails('not-found', /no memory bank/));
      for (const end of ['', '.lock']) assert.equal(existsSync(nowhere + end), false);
    }
    for (const options of [{ mode: 'read' }, { mode: 'write' }, { mode: 'write', identity }] as const) {
      assert.throws(() => openBank(folder, options), fails('not-found', /is a folder, not a memory bank/));
    }
    assert.equal(existsSync(`${folder}.lock`), false);
    writeFileSync(bankPath, 'not a database at all, but long enough for a header '.repeat(20));
    assert.throws(() => openBank(bankPath, { mode: 'read' }), fails('damaged', /is not a memory bank.*not a database/));
    rmSync(bankPath);
    using foreign = new DatabaseSync(bankPath);
    foreign.exec('CREATE TABLE somebodys (data TEXT)');
    const before = readFileSync(bankPath);
    for (const mode of ['read', 'write'] as const) {
      assert.throws(() => openBank(bankPath, { mode, identity }), fails('damaged', /not a memory bank/));
    }
    assert.deepEqual(readFileSync(bankPath), before);
  });
});

describe('searching', () => {
  for (const [name, exactBelow] of [
    ['exactly', 1000],
    ['by graph', 0],
  ] as const) {
    it(`finds the nearest vectors ${name}, also after changes by others`, () => {
      const bankPath = newPath();
      fillBank(bankPath);
      using reader = openBank(bankPath, { mode: 'read', identity, exactBelow });
      const nearest = (query: string) => reader.searchVectors(vectorOf(query), 3);
      const text = 'Painters climb it every seven years.';
      const [best] = nearest(text);
      assert.equal(reader.reference(best?.referenceId ?? 0).text.trim(), text);
      assert.ok(Math.abs((best?.score ?? 0) - 1) < 1e-6);
      {
        using writer = writeBank(bankPath);
        writer.removeDocument('tower.txt');
        writer.putDocument(documentOf('new.txt', 'Mountaineers climb it every year.'));
      }
      assert.equal(reader.reference(nearest(text)[0]?.referenceId ?? 0).documentName, 'new.txt');
      assert.equal(reader.searchVectors(vectorOf(text), 100).length, 12);
      assert.throws(() => reader.searchVectors(new Float32Array(dimensions), 1), fails('usage', /query vector/));
    });
  }

  it('finds words in Chinese, with other accents, and does not take a query for an expression', () => {
    const bankPath = newPath();
    fillBank(bankPath);
    using bank = openBank(bankPath, { mode: 'read', identity });
    const found = (query: string) =>
      bank.searchWords(query, 3).map(({ referenceId }) => bank.reference(referenceId).text);
    assert.deepEqual(found('长城在哪里?'), ['长城在北京的北面。']);
    assert.deepEqual(found('首都'), ['北京是中国的首都。']);
    assert.deepEqual(found('NAIVE CAFE'), ['A naïve café owner called his dog Zoë.']);
    assert.deepEqual(found('otters" "body: -{ ^*) ('), [' Otters have come back.']);
    assert.deepEqual(found('unheard'), []);
    assert.deepEqual(found(''), []);
    const scores = bank.searchWords('the hot oven and the dough of rye', 5).map(({ score }) => score);
    assert.deepEqual(
      scores,
      scores.toSorted((a, b) => b - a),
    );
    assert.ok(scores.every((score) => score > 0));
  });

  it('builds a lost, foreign or damaged index again, and says so', () => {
    const bankPath = newPath();
    const index = `${bankPath}.index`;
    fillBank(bankPath);
    const search = () => {
      const notices: string[] = [];
      using bank = openBank(bankPath, {
        mode: 'read',
        identity,
        exactBelow: 0,
        onNotice: (text) => notices.push(text),
      });
      bank.prepareSearch();
      return { notices, hits: bank.searchVectors(vectorOf('The dough of rye is sour.'), 5) };
    };
    const first = search();
    assert.match(first.notices.join(), /is missing; it is built/);
    assert.deepEqual(search(), { notices: [], hits: first.hits });
    const bytes = readFileSync(index);
    const flipped = Uint8Array.from(bytes);
    flipped[100] = (flipped[100] ?? 0) ^ 1;
    writeFileSync(index, flipped);
    {
      using bank = openBank(bankPath, { mode: 'read' });
      assert.match(problemsOf(bank).join(), /\.index: its checksum is wrong/);
    }
    const repaired = search();
    assert.match(repaired.notices.join(), /damaged \(its checksum is wrong\); it is built again/);
    assert.deepEqual(repaired.hits, first.hits);
    writeFileSync(index, bytes.subarray(0, bytes.length / 2));
    assert.match(search().notices.join(), /damaged/);
    const other = newPath();
    fillBank(other);
    copyFileSync(index, `${other}.index`);
    const notices: string[] = [];
    using bank = openBank(other, { mode: 'read', exactBelow: 0, onNotice: (text) => notices.push(text) });
    bank.prepareSearch();
    assert.match(notices.join(), /out of date; it is built/);
  });
});

describe('damage', () => {
  const changes: readonly [string, string, (bank: MemoryBank) => unknown][] = [
    ['a document', `UPDATE document SET title = 'x' WHERE id = 1`, (bank) => bank.document('tower.txt')],
    ['a text', `UPDATE content SET text = replace(text, 'tower', 'power')`, (bank) => bank.documentText(1)],
    ['a name', 'UPDATE name SET document_id = 2 WHERE id = 1', (bank) => bank.document('tower.txt')],
    ['a reference', 'UPDATE reference SET tokens = zeroblob(4) WHERE id = 1', (bank) => bank.reference(1)],
    [
      'a vector',
      'UPDATE vector SET data = (SELECT data FROM vector WHERE reference_id = 2) WHERE reference_id = 1',
      (bank) => bank.vector(1),
    ],
    ['a memory', 'UPDATE memory SET data = zeroblob(3000) WHERE reference_id = 2', (bank) => bank.memory(2)],
    ['a lost reference', 'DELETE FROM reference WHERE id = 2', (bank) => bank.references(1)],
    ['a lost vector', 'DELETE FROM vector WHERE reference_id = 2', (bank) => bank.searchVectors(vectorOf('x'), 1)],
  ];
  for (const [what, sql, read] of changes) {
    it(`is named when ${what} is read, and by verify`, () => {
      const bankPath = newPath();
      fillBank(bankPath);
      using database = new DatabaseSync(bankPath);
      database.exec(sql);
      using bank = openBank(bankPath, { mode: 'read', identity });
      assert.throws(() => read(bank), fails('damaged', /is damaged/));
      assert.notDeepEqual(problemsOf(bank), []);
    });
  }

  it('of words and of whole rows is named by verify', () => {
    for (const sql of [
      `UPDATE words SET body = 'other words' WHERE rowid = 1`,
      'DELETE FROM words WHERE rowid = 3',
      `INSERT INTO words (rowid, body) VALUES (99, 'too much')`,
      'DELETE FROM memory WHERE reference_id = 5',
      'UPDATE sqlite_sequence SET seq = 1',
    ]) {
      const bankPath = newPath();
      fillBank(bankPath);
      using database = new DatabaseSync(bankPath);
      database.exec(sql);
      using bank = openBank(bankPath, { mode: 'read', identity });
      assert.notDeepEqual(problemsOf(bank), [], sql);
    }
  });

  it('that was stored as it is, is named by verify: memories that are none or hold no numbers', () => {
    const bankPath = newPath();
    fillBank(bankPath);
    using bank = writeBank(bankPath);
    const noNumber = memoryOf('any');
    // The last half, NaN.
    noNumber.set([0, 0x7e], noNumber.length - 2);
    bank.putMemories([
      { referenceId: 2, bytes: noNumber },
      { referenceId: 3, bytes: new Uint8Array(9) },
    ]);
    const [first, second, ...others] = problemsOf(bank);
    assert.equal(first, 'memory 2: a value of its layer 0, head 0, is not finite (document tower.txt)');
    assert.match(second ?? '', /^memory 3: .* does not start as a memory/);
    assert.deepEqual(others, []);
  });

  it('does not keep a document from being removed', () => {
    const bankPath = newPath();
    fillBank(bankPath);
    {
      using database = new DatabaseSync(bankPath);
      database.exec('UPDATE memory SET data = zeroblob(3000) WHERE reference_id = 2');
    }
    using bank = writeBank(bankPath);
    const named = /^memory 2: The bank .* the checksum of row 2 of table memory is wrong\. \(document tower\.txt\)$/;
    assert.match(problemsOf(bank).join('\n'), named, 'with what it is of, without a remedy');
    assert.equal(bank.removeDocument('tower.txt'), true);
    assert.deepEqual(problemsOf(bank), []);
  });
});
