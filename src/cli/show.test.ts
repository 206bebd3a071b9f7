/** The real command line shows and removes documents of a bank by the paths that a shell knows. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { documentOf, identity } from '../../test/crash/library.ts';
import { temporaryFolder } from '../../test/support/temporary.ts';
import { openBank } from '../bank/sqlite.ts';

const launcher = fileURLToPath(new URL('../../bin/memory3.js', import.meta.url));

function memory3(cwd: string, ...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [launcher, ...args], { cwd, encoding: 'utf8' });
  return { code: status, out: stdout, err: stderr };
}

test('show and remove take a relative path, a path through a link, a path of a file that is gone', () => {
  using temporary = temporaryFolder();
  const folder = realpathSync(temporary.path);
  mkdirSync(join(folder, 'notes'));
  symlinkSync('notes', join(folder, 'linked'));
  const bankFile = join(folder, 'bank.memory3');
  const names = ['bees', 'clocks'].map((name) => join(folder, 'notes', `${name}.md`)) as [string, string];
  {
    using bank = openBank(bankFile, { mode: 'write', identity });
    for (const name of names) {
      writeFileSync(name, `Of ${name}.`);
      bank.putDocument(documentOf(name, `Of ${name}.`));
    }
    bank.putDocument(documentOf('notes/bees.md', 'A document of this very name.'));
  }
  const show = (path: string) => memory3(folder, 'show', path, '--text', '--bank', bankFile);
  assert.deepEqual(show('notes/clocks.md'), { code: 0, out: `Of ${names[1]}.\n`, err: '' });
  assert.equal(show('linked/clocks.md').out, `Of ${names[1]}.\n`);
  assert.equal(show('notes/bees.md').out, 'A document of this very name.\n', 'a name comes before a path');
  rmSync(names[0]);
  assert.equal(show('./notes/bees.md').out, `Of ${names[0]}.\n`);
  assert.equal(show('linked/bees.md').out, `Of ${names[0]}.\n`);
  assert.equal(show('notes/nobody.md').code, 3);

  const removed = memory3(folder, 'remove', 'linked/clocks.md', './notes/bees.md', 'nobody', '--bank', bankFile);
  assert.equal(removed.code, 3);
  assert.equal(removed.out, `removed ${names[1]}\nremoved ${names[0]}\n`);
  assert.match(removed.err, /no document "nobody"/);
  using bank = openBank(bankFile, { mode: 'read' });
  assert.deepEqual(
    [...bank.documents()].map(({ name }) => name),
    ['notes/bees.md'],
  );
});
