import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Memory3Error } from '../errors.ts';
import { bankError, damaged, notABank, withinVerify } from './failure.ts';

describe('an error of SQLite', () => {
  it('says that the bank is damaged only where its bytes are at fault', () => {
    const codeOf = (errcode: number): unknown => {
      const error = bankError('bank', Object.assign(new Error('what'), { code: 'ERR_SQLITE_ERROR', errcode }));
      assert.ok(error instanceof Memory3Error && error.remedy !== undefined);
      return error.code;
    };
    // Primary codes, and extended ones: SQLITE_BUSY_SNAPSHOT, SQLITE_CORRUPT_VTAB.
    const expected = { 5: 'locked', 517: 'locked', 15: 'locked', 7: 'unsupported', 18: 'unsupported', 13: 'disk' };
    for (const [errcode, code] of Object.entries(expected)) assert.equal(codeOf(Number(errcode)), code);
    for (const errcode of [1, 11, 26, 267]) assert.equal(codeOf(errcode), 'damaged');
  });
});

describe('an error of a damaged bank', () => {
  it('does not name verify within verify, and says what to do there too', () => {
    const error = damaged('bank', 'a page is malformed');
    assert.match(error.message, /\n`memory3 verify bank` lists the damage\. Restore the bank /);
    const within = withinVerify(error);
    assert.ok(within instanceof Memory3Error && within.code === 'damaged');
    assert.match(within.message, /^The bank bank is damaged: a page is malformed\.\nRestore the bank /);
    const other = notABank('bank');
    assert.equal(withinVerify(other), other);
  });
});
