import assert from 'node:assert/strict';
import { linkSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../test/support/temporary.ts';
import { holdDatabase, isHeld } from './held-files.ts';

test('the files of an open database are known by every name, until it is closed as often as it was opened', {
  skip: process.platform === 'win32' && 'symbolic links need rights there',
}, () => {
  using folder = temporaryFolder();
  const path = folder.write('bank', '');
  const log = folder.write('bank-wal', '');
  const other = folder.write('notes.txt', '');
  const alias = join(folder.path, 'alias');
  symlinkSync(path, alias);
  linkSync(log, join(folder.path, 'linked'));
  symlinkSync('circle', join(folder.path, 'circle'));
  const held = () =>
    [
      path,
      log,
      alias,
      join(folder.path, 'linked'),
      other,
      join(folder.path, 'nowhere'),
      join(folder.path, 'circle'),
    ].map(isHeld);
  const first = holdDatabase(path);
  const second = holdDatabase(path);
  assert.deepEqual(held(), [true, true, true, true, false, false, false]);
  first[Symbol.dispose]();
  assert.equal(isHeld(path), true);
  second[Symbol.dispose]();
  assert.equal(held().includes(true), false);
});
