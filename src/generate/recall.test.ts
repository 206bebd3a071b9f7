import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openEvaluated, wordEmbedder } from '../../test/support/evaluation.ts';
import { temporaryFolder } from '../../test/support/temporary.ts';
import { openBank } from '../bank/sqlite.ts';
import { putDocument } from './library.ts';
import { MemoryRecall } from './recall.ts';

test('a reference that is removed after it was found is still recalled, and not stored again', async () => {
  using folder = temporaryFolder();
  await using writing = await openEvaluated(folder.path);
  const document = { name: 'note', title: null, mediaType: 'text/plain' };
  await putDocument({ ...writing, embedder: wordEmbedder }, { ...document, text: 'Tolls are taken at noon.' });
  using bank = openBank(writing.bank.path, { mode: 'read' });
  const recall = new MemoryRecall({ ...writing, bank, embedder: wordEmbedder });
  const { hits } = await recall.find('When are tolls taken?', 3);
  const text = hits[0]?.reference.text;
  assert.equal(text, 'Tolls are taken at noon.');
  await putDocument({ ...writing, embedder: wordEmbedder }, { ...document, text: 'Tolls are taken at night.' });
  const loaded = await recall.load(hits);
  assert.deepEqual(
    loaded.map(({ reference, memory }) => [reference.text, memory.kept > 0]),
    hits.map(({ reference }) => [reference.text, true]),
  );
  const stored = [...bank.documents()].reduce((sum, { memories }) => sum + memories, 0);
  assert.ok(stored <= hits.length - 1, `${stored} memories`);
  const { hits: now } = await recall.find('When are tolls taken?', 1);
  assert.equal(now[0]?.reference.text, 'Tolls are taken at night.');
});

test('what a snapshot reads is of one moment', async () => {
  using folder = temporaryFolder();
  await using writing = await openEvaluated(folder.path);
  using bank = openBank(writing.bank.path, { mode: 'read' });
  const [name] = [...bank.documents()].map((document) => document.name);
  const before = bank.stats().references;
  bank.snapshot(() => {
    const [hit] = bank.searchWords('bridge', 1);
    assert.ok(hit);
    writing.bank.removeDocument(name as string);
    assert.equal(bank.stats().references, before);
    assert.ok(bank.document(name as string));
  });
  assert.equal(bank.stats().references, before - 1);
});

test('an interrupted document is not stored, not even in part', async () => {
  using folder = temporaryFolder();
  await using parts = await openEvaluated(folder.path);
  const before = parts.bank.stats();
  const stop = new AbortController();
  const text = Array.from({ length: 4000 }, (_, index) => `Bridge ${index} is closed.`).join('\n\n');
  const embedder = {
    ...wordEmbedder,
    embedPassages(texts: readonly string[]) {
      stop.abort(new Error('enough'));
      return wordEmbedder.embedPassages(texts);
    },
  };
  const document = { name: 'long', title: null, mediaType: 'text/plain', text };
  await assert.rejects(putDocument({ ...parts, embedder }, document, { signal: stop.signal }), /enough/);
  assert.deepEqual(parts.bank.stats(), before);
});
