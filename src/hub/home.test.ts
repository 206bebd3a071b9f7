import assert from 'node:assert/strict';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { describe, it } from 'node:test';
import { bankPath, banksFolder, modelsFolder } from './home.ts';

describe('folders', () => {
  it('are below MEMORY3_HOME, else in the XDG folders', () => {
    assert.equal(modelsFolder({ MEMORY3_HOME: '/m', XDG_CACHE_HOME: '/c' }), '/m/models');
    assert.equal(banksFolder({ MEMORY3_HOME: '/m', XDG_DATA_HOME: '/d' }), '/m/banks');
    assert.equal(modelsFolder({ XDG_CACHE_HOME: '/c' }), '/c/memory3/models');
    assert.equal(banksFolder({ XDG_DATA_HOME: '/d' }), '/d/memory3/banks');
    assert.equal(modelsFolder({}), join(homedir(), '.cache/memory3/models'));
    assert.equal(banksFolder({ XDG_DATA_HOME: 'relative' }), join(homedir(), '.local/share/memory3/banks'));
  });

  it('hold banks by name; paths stand for themselves', () => {
    const env = { MEMORY3_HOME: '/m' };
    assert.equal(bankPath('notes', env), '/m/banks/notes.memory3');
    assert.equal(bankPath('Große Notizen.v2', env), '/m/banks/Große Notizen.v2.memory3');
    assert.equal(bankPath('./notes', env), resolve('notes'));
    assert.equal(bankPath('notes.memory3', env), resolve('notes.memory3'));
    for (const name of ['', '..', '.', '-x', 'a\0b']) assert.throws(() => bankPath(name, env), /is no name for a bank/);
  });
});
