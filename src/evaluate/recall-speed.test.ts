/** A bank that is being filled can be given up, and leaves nothing behind. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { tinyModelFolder, wordEmbedder } from '../../test/support/evaluation.ts';
import { temporaryFolder } from '../../test/support/temporary.ts';
import { openModel } from '../generate/workspace.ts';
import { cutIntoChunks } from '../retrieval/chunks.ts';
import { measureRecall } from './recall-speed.ts';

test('an interruption is heard while the bank is filled, and its folder is deleted', async (t) => {
  using folder = temporaryFolder();
  using scratch = temporaryFolder();
  await using opened = await openModel({ model: await tinyModelFolder(folder.path), adapter: null, threads: 1 });
  const chunks = [...cutIntoChunks('The theory of the thing is the answer.', opened.tokenizer, { maxTokens: 32 })];
  const before = process.env.TMPDIR;
  process.env.TMPDIR = scratch.path;
  t.after(() => {
    if (before === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = before;
  });
  const interrupt = new AbortController();
  let filling: string[] = [];
  const onNotice = () => {
    filling = readdirSync(scratch.path);
    setTimeout(() => interrupt.abort(), 1);
  };
  await assert.rejects(measureRecall(opened, wordEmbedder, chunks, 20_000, { onNotice, signal: interrupt.signal }), {
    name: 'AbortError',
  });
  assert.equal(filling.length, 1);
  assert.deepEqual(readdirSync(scratch.path), []);
});
