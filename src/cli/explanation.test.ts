import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../../test/support/temporary.ts';
import { savePage } from './explanation.ts';

test('a page replaces the one before, and leaves nothing where it cannot be written', () => {
  using folder = temporaryFolder();
  const path = folder.write('why.html', 'before');
  savePage(path, 'after');
  assert.equal(readFileSync(path, 'utf8'), 'after');
  const blocked = folder.write('folder/why.html/file', '');
  assert.throws(() => savePage(join(blocked, '..'), 'page'), { code: 'disk', message: /why\.html/ });
  assert.throws(() => savePage(join(folder.path, 'nowhere', 'why.html'), 'page'), { code: 'disk' });
  assert.deepEqual(readdirSync(folder.path).sort(), ['folder', 'why.html']);
  assert.deepEqual(readdirSync(join(folder.path, 'folder')), ['why.html']);
});
