import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { temporaryFolder } from '../../../test/support/temporary.ts';
import { claimCorpus } from './made-of.ts';

const madeOf = { sets: { 'a.jsonl.gz': null, 'b.jsonl.gz': 160 }, tiny: null };

describe('claimCorpus', () => {
  it('takes a new folder, and the same again before and after it is prepared', () => {
    using folder = temporaryFolder();
    const corpus = join(folder.path, 'new', 'corpus');
    claimCorpus(corpus, madeOf);
    claimCorpus(corpus, madeOf);
    folder.write('new/corpus/prepared.json', '{}');
    claimCorpus(corpus, madeOf);
    assert.deepEqual(JSON.parse(readFileSync(join(corpus, 'made-of.json'), 'utf8')), madeOf);
  });

  it('refuses a corpus made of something else, by name, and one that does not say', () => {
    using folder = temporaryFolder();
    claimCorpus(folder.path, madeOf);
    const other = { sets: { ...madeOf.sets, 'b.jsonl.gz': 4 }, tiny: { documents: 4 } };
    assert.throws(() => claimCorpus(folder.path, other), {
      code: 'mismatch',
      message: /: sets\.b\.jsonl\.gz was 160, is 4; tiny was null, is \{"documents":4\}\.\nName another folder/,
    });
    using silent = temporaryFolder();
    silent.write('prepared.json', '{}');
    assert.throws(() => claimCorpus(silent.path, madeOf), { code: 'mismatch', message: /no made-of\.json/ });
  });
});
