import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../../test/support/temporary.ts';
import { openRecordFolder } from './record-folder.ts';

const options = { format: 'memory3 test 1', config: { limit: 3 } };

test('a folder that is refused stays as it is', () => {
  using folder = temporaryFolder();
  folder.write('notes.jsonl', '{}\n');
  folder.write('novel.unfinished', 'Chapter 1');
  assert.throws(() => openRecordFolder(folder.path, options), { code: 'mismatch', message: /a folder of its own/ });
  assert.deepEqual(readdirSync(folder.path).sort(), ['notes.jsonl', 'novel.unfinished']);
});

test('a folder is gone on with by the same measurement alone', () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'run');
  {
    using _ = openRecordFolder(path, options);
  }
  {
    using _ = openRecordFolder(path, options);
    assert.throws(() => openRecordFolder(path, options), { code: 'locked' });
  }
  const other = { ...options, config: { limit: 4 } };
  assert.throws(() => openRecordFolder(path, other), { code: 'mismatch', message: /limit was 3, is 4/ });
  folder.write('run/config.json', '{');
  assert.throws(() => openRecordFolder(path, options), { code: 'damaged', message: /is not JSON[\s\S]*Restore/ });
});
