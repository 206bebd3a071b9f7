import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import { documentOf, fails, identity, memoryOf, problemsOf } from '../../test/crash/library.ts';
import type { MemoryBank } from './bank.ts';
import { rewriteBank } from './rewrite.ts';
import { openBank } from './sqlite.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'memory3-bank-documents-'));
after(() => rmSync(folder, { recursive: true }));

function newBank(name: string): MemoryBank {
  return openBank(path.join(folder, name), { mode: 'write', identity });
}

describe('a document', () => {
  it('with half a character in its title can be read again', () => {
    using bank = newBank('lone');
    bank.putDocument({ ...documentOf('a', 'A text.'), title: 'A\ud83d' });
    assert.equal(bank.document('a')?.title, 'A\ufffd');
    assert.deepEqual(problemsOf(bank), []);
    const other = { ...documentOf('b', 'Another text.'), mediaType: '\ud83d' };
    assert.throws(() => bank.putDocument(other), fails('usage', /media type/));
  });

  it('takes a title that changed outside of its text, if the name is its first', () => {
    using bank = newBank('title');
    const put = (name: string, title: string | null) =>
      bank.putDocument({ ...documentOf(name, 'A text.'), title, references: [] }).outcome;
    bank.putDocument(documentOf('a', 'A text.'));
    assert.equal(put('b', 'Of b'), 'alias');
    assert.equal(put('b', 'Of b'), 'unchanged');
    assert.equal(bank.document('b')?.title, 'About a');
    assert.equal(put('a', 'New'), 'unchanged');
    assert.equal(bank.reference(1).documentTitle, 'New');
    assert.equal(put('a', null), 'unchanged');
    assert.equal(bank.document('a')?.title, null);
    assert.deepEqual(problemsOf(bank), []);
  });

  it('has no reference whose place is none in its text', () => {
    using bank = newBank('places');
    const sound = documentOf('a', 'Some text.');
    const [reference] = sound.references;
    assert.ok(reference);
    const { start, end } = reference;
    for (const place of [{ start: -10 }, { end: end + 5 }, { start: start + 0.5, end: end + 0.5 }]) {
      const document = { ...sound, references: [{ ...reference, ...place }] };
      assert.throws(() => bank.putDocument(document), fails('usage', /its text is not what stands at/));
    }
  });

  it('that was removed or replaced is no longer readable in the file', () => {
    const secrets = Array.from({ length: 300 }, (_, i) => `The password of door ${i} is quokka${i}.`).join(' ');
    {
      using bank = newBank('removed');
      bank.putDocument(documentOf('secret', secrets));
      bank.putDocument(documentOf('letter', 'Yours, Wombat.'));
      bank.putDocument(documentOf('kept', 'A numbat is no secret.'));
    }
    const file = path.join(folder, 'removed');
    assert.ok(readFileSync(file).includes('quokka299'));
    {
      using bank = newBank('removed');
      bank.removeDocument('secret');
      bank.putDocument(documentOf('letter', 'Yours faithfully.'));
      assert.deepEqual(problemsOf(bank), []);
    }
    // Words are in the full-text index too, in lower case and without what they begin with.
    const bytes = readFileSync(file).toString('latin1').toLowerCase();
    assert.equal(existsSync(`${file}-wal`), false);
    for (const word of ['quokka', 'uokka', 'wombat', 'ombat']) assert.equal(bytes.includes(word), false, word);
    assert.ok(bytes.includes('numbat'));
  });

  it('is not readable either if the bank was rewritten before it was removed', () => {
    const file = path.join(folder, 'rewritten');
    const long = (word: string) => Array.from({ length: 300 }, (_, i) => `Door ${i} opens with ${word}${i}.`).join(' ');
    {
      using bank = newBank('rewritten');
      bank.putDocument(documentOf('secret', long('quokka')));
      bank.putDocument({ ...documentOf('kept', long('numbat').repeat(9)), references: [] });
    }
    const other = { ...identity, model: { name: 'model-b', fingerprint: 'e'.repeat(64) } };
    rewriteBank(file, other);
    {
      using bank = openBank(file, { mode: 'write', identity: other });
      bank.removeDocument('secret');
    }
    const bytes = readFileSync(file).toString('latin1').toLowerCase();
    assert.deepEqual([bytes.includes('quokka'), bytes.includes('numbat')], [false, true]);
  });
});

describe('a rewrite', () => {
  it('makes the file smaller by the memories that it drops', () => {
    const file = path.join(folder, 'smaller');
    {
      using bank = newBank('smaller');
      bank.putDocument(documentOf('a', 'One. Two. Three.'));
      const ids = [...bank.coldReferences()];
      bank.putMemories(ids.map((referenceId) => ({ referenceId, bytes: memoryOf(`${referenceId}`, 200_020) })));
    }
    const before = statSync(file).size;
    assert.ok(before > 600_000);
    rewriteBank(file, { ...identity, profile: { name: 'profile-b', fingerprint: 'd'.repeat(64) } });
    assert.ok(statSync(file).size < before / 4, `${statSync(file).size} of ${before}`);
    using bank = openBank(file, { mode: 'read' });
    assert.deepEqual(problemsOf(bank), []);
    assert.equal(bank.stats().references, 3);
  });
});
