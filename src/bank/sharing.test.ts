/** One bank for several processes, names and users. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import { documentOf, fails, fillBank, identity, memoryOf, problemsOf } from '../../test/crash/library.ts';
import type { MemoryBank } from './bank.ts';
import { openBank } from './sqlite.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'memory3-sharing-'));
after(() => rmSync(folder, { recursive: true }));
const posixOnly = { skip: process.platform === 'win32' };

/** In a folder of its own. */
function newPath(): string {
  return path.join(mkdtempSync(path.join(folder, 'own-')), 'bank');
}

function writeBank(bankPath: string): MemoryBank {
  return openBank(bankPath, { mode: 'write', identity });
}

describe('a bank for several', () => {
  it('lets one write and names it to the others, who can read', () => {
    const bankPath = newPath();
    using writer = writeBank(bankPath);
    writer.putDocument(documentOf('a', 'One. Two.'));
    using reader = openBank(bankPath, { mode: 'read', identity });
    assert.equal(reader.stats().references, 2);
    assert.throws(() => writeBank(bankPath), fails('locked', new RegExp(`process ${process.pid}`)));
    const script = `
      const { openBank } = await import(${JSON.stringify(import.meta.resolve('./sqlite.ts'))});
      try { openBank(${JSON.stringify(bankPath)}, { mode: 'write' }); } catch (error) { console.log(error.code, error.message); }`;
    const child = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
    assert.match(child.stdout, new RegExp(`^locked .*process ${process.pid}`), child.stderr);
    writer.putDocument(documentOf('b', 'Three.'));
    assert.equal(reader.stats().references, 3);
    assert.deepEqual(
      reader.searchWords('three', 5).map(({ referenceId }) => referenceId),
      [3],
    );
    assert.throws(() => reader.removeDocument('a'), fails('usage', /for reading only/));
  });

  it('is one bank under all its names: one lock, one log, one index', posixOnly, () => {
    const place = mkdtempSync(path.join(folder, 'links-'));
    mkdirSync(path.join(place, 'real'));
    const bankPath = path.join(place, 'real', 'bank');
    symlinkSync('real', path.join(place, 'linked'));
    symlinkSync(path.join('linked', 'bank'), path.join(place, 'link'));
    const names = [bankPath, path.join(place, 'link'), path.join(place, 'linked', 'bank')];
    // The first time there is no file yet.
    for (const name of [...names, ...names].slice(1)) {
      using writer = writeBank(name);
      writer.putDocument(documentOf(name, `About ${name}.`));
      for (const other of names) assert.throws(() => writeBank(other), fails('locked', /another process/));
    }
    assert.deepEqual(readdirSync(place).sort(), ['link', 'linked', 'real']);
    assert.deepEqual(readdirSync(path.dirname(bankPath)).sort(), ['bank', 'bank.lock']);
    using bank = openBank(path.join(place, 'link'), { mode: 'read' });
    assert.equal(bank.path, realpathSync(bankPath));
    assert.deepEqual(problemsOf(bank), []);
  });

  it('is not called damaged for a lock file that is, and a reader goes on', () => {
    const bankPath = newPath();
    fillBank(bankPath);
    // As a power failure leaves a file that was never synchronised.
    writeFileSync(`${bankPath}.lock`, new Uint8Array(4096));
    assert.throws(
      () => writeBank(bankPath),
      fails('disk', /its lock file .*bank\.lock is damaged\.\nRemove the lock file/),
    );
    {
      using reader = openBank(bankPath, { mode: 'read', identity });
      assert.equal(reader.tryPutMemories([{ referenceId: 1, bytes: memoryOf('x') }]), false);
    }
    rmSync(`${bankPath}.lock`);
    using bank = writeBank(bankPath);
    assert.deepEqual(problemsOf(bank), []);
  });

  it('keeps its totals when somebody deleted the lock and wrote', posixOnly, () => {
    const bankPath = newPath();
    using first = writeBank(bankPath);
    first.putDocument(documentOf('a', 'One. Two.'));
    rmSync(`${bankPath}.lock`);
    using second = writeBank(bankPath);
    second.putDocument(documentOf('b', 'Three.'));
    first.putDocument(documentOf('c', 'Four.'));
    second.removeDocument('a');
    assert.equal(first.stats().references, 2);
    assert.deepEqual(problemsOf(first), []);
  });

  it('stores what a reader wrote for a cold reference when nobody else is writing', () => {
    const bankPath = newPath();
    fillBank(bankPath);
    using reader = openBank(bankPath, { mode: 'read', identity });
    const cold = { referenceId: 1, bytes: memoryOf('cold') };
    {
      using writer = writeBank(bankPath);
      assert.equal(reader.tryPutMemories([cold]), false);
      assert.equal(writer.memory(1), undefined);
    }
    const taken = { referenceId: 2, bytes: memoryOf('must not replace') };
    assert.equal(reader.tryPutMemories([cold, taken, { referenceId: 999, bytes: memoryOf('gone') }]), true);
    assert.deepEqual(reader.memory(1), memoryOf('cold'));
    assert.deepEqual(reader.memory(2), memoryOf(reader.reference(2).text));
    assert.deepEqual(problemsOf(reader), []);
  });

  it('stores nothing for a reader whose bank was deleted, nor in another bank of its name', posixOnly, () => {
    const bankPath = newPath();
    fillBank(bankPath);
    using reader = openBank(bankPath, { mode: 'read', identity });
    for (const ending of ['', '-wal', '-shm']) rmSync(`${bankPath}${ending}`, { force: true });
    const cold = { referenceId: 1, bytes: memoryOf('cold') };
    assert.equal(reader.tryPutMemories([cold]), false);
    assert.equal(existsSync(bankPath), false);
    fillBank(bankPath);
    assert.equal(reader.tryPutMemories([cold]), false);
    using other = openBank(bankPath, { mode: 'read' });
    assert.equal(other.memory(1), undefined);
  });
});

describe('a bank that somebody else owns', posixOnly, () => {
  /** Runs `script` as somebody who owns neither the bank nor its folder; returns what it printed. */
  const asSomebody = (bankPath: string, script: string): string => {
    const started = `
      const { openBank } = await import(${JSON.stringify(import.meta.resolve('./sqlite.ts'))});
      const { exportBank } = await import(${JSON.stringify(import.meta.resolve('./transfer.ts'))});
      const bankPath = ${JSON.stringify(bankPath)};
      if (process.getuid() === 0) process.setuid(65534);
      ${script}`;
    const child = spawnSync(process.execPath, ['--input-type=module', '-e', started], { encoding: 'utf8' });
    assert.equal(child.status, 0, child.stderr);
    return child.stdout;
  };
  const foreignPath = (): string => {
    const bankPath = newPath();
    for (const above of [folder, path.dirname(bankPath)]) chmodSync(above, 0o755);
    return bankPath;
  };
  const readAll = `
    using bank = openBank(bankPath, { mode: 'read' });
    console.log(bank.stats().references, bank.searchWords('otters', 1).length, [...bank.verify()].length,
      bank.tryPutMemories([{ referenceId: 1, bytes: new Uint8Array(1) }]));`;

  it('reads in a folder that cannot be written', () => {
    const bankPath = foreignPath();
    fillBank(bankPath);
    chmodSync(path.dirname(bankPath), 0o555);
    assert.equal(asSomebody(bankPath, readAll), '14 1 0 false\n');
    chmodSync(path.dirname(bankPath), 0o755);
  });

  it('in such a folder says who can merge a log that was left', () => {
    const bankPath = foreignPath();
    fillBank(bankPath);
    const left = foreignPath();
    using writer = writeBank(bankPath);
    writer.putDocument(documentOf('in the log', 'One. Two.'));
    for (const end of ['', '-wal']) copyFileSync(bankPath + end, left + end);
    chmodSync(path.dirname(left), 0o555);
    const open =
      "try { openBank(bankPath, { mode: 'read' }); } catch (error) { console.log(error.code, error.message); }";
    assert.match(asSomebody(left, open), /^disk .* has a log .*\n.*memory3 add/);
    chmodSync(path.dirname(left), 0o755);
    writeBank(left)[Symbol.dispose]();
    chmodSync(path.dirname(left), 0o555);
    assert.equal(asSomebody(left, readAll), '16 1 0 false\n');
    chmodSync(path.dirname(left), 0o755);
  });

  it('reads, recalls and exports a bank whose files belong to somebody else', () => {
    for (const foreign of ['', '.lock']) {
      const bankPath = foreignPath();
      fillBank(bankPath);
      for (const end of ['', '.lock']) chmodSync(bankPath + end, end === foreign ? 0o444 : 0o666);
      chmodSync(path.dirname(bankPath), 0o777);
      const script = `${readAll}\nconsole.log((await exportBank(bankPath, bankPath + '.gz')).documents);`;
      assert.equal(asSomebody(bankPath, script), '14 1 0 false\n5\n', `${foreign} of somebody else`);
    }
  });
});
