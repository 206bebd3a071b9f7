import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync } from 'node:fs';
import { basename, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { type TemporaryFolder, temporaryFolder } from '../../../test/support/temporary.ts';
import { takeLock } from '../../lock.ts';
import { readDocuments, type TextDocument } from './readers.ts';

let folder: TemporaryFolder;
before(() => {
  folder = temporaryFolder();
});
after(() => folder[Symbol.dispose]());

const lines = (values: readonly object[]) => values.map((value) => `${JSON.stringify(value)}\n`).join('');
const named = (documents: readonly TextDocument[]) =>
  documents.map(({ id, ...rest }) => ({ id: basename(id), ...rest }));

describe('readers', () => {
  it('read JSON Lines and text of a folder in a fixed order, plain and gzip', async () => {
    mkdirSync(join(folder.path, 'corpus'));
    folder.write('corpus/b.jsonl.gz', gzipSync(lines([{ id: 7, title: 'Bees', text: 'Bees dance.' }, { text: '数' }])));
    folder.write('corpus/a.txt', 'One.\r\n\r\nTwo.\n');
    folder.write('corpus/c.md.gz', gzipSync('# Three\n'));
    const documents = await Array.fromAsync(readDocuments(['corpus', 'corpus/*.txt'], { folder: folder.path }));
    assert.deepEqual(named(documents), [
      { id: 'a.txt', text: 'One.\r\n\r\nTwo.\n' },
      { id: 'b.jsonl.gz#7', title: 'Bees', text: 'Bees dance.' },
      { id: 'b.jsonl.gz#2', text: '数' },
      { id: 'c.md.gz', text: '# Three\n' },
    ]);
  });

  it('leave out the folder that is written, unless it is asked for', async () => {
    folder.write('texts/a.txt', 'A');
    folder.write('texts/out/report.json', '{}');
    folder.write('texts/out/b.txt', 'B');
    const options = { folder: join(folder.path, 'texts'), without: 'out' };
    const read = async (inputs: readonly string[]) =>
      named(await Array.fromAsync(readDocuments(inputs, options))).map(({ id }) => id);
    symlinkSync('texts', join(folder.path, 'link'));
    for (const inputs of [['.'], ['**/*'], ['../link'], ['a.txt', '../texts']]) {
      assert.deepEqual(await read(inputs), ['a.txt'], `${inputs}`);
    }
    assert.deepEqual(await read(['out/*.txt']), ['b.txt']);
    // A lock would be lost by reading it.
    using _lock = takeLock(join(folder.path, 'texts/out/prepare.lock'), 'The corpus');
    assert.deepEqual(await read(['.']), ['a.txt']);
    await assert.rejects(read(['out/*.lock']), { code: 'usage', message: /prepare\.lock is being written by this/ });
  });

  it('read fields by other names', async () => {
    const file = folder.write('fields.jsonl', lines([{ key: 'k', heading: 'H', body: 'B', text: 'no' }]));
    const options = { textField: 'body', titleField: 'heading', idField: 'key' };
    assert.deepEqual(named(await Array.fromAsync(readDocuments([file], options))), [
      { id: 'fields.jsonl#k', title: 'H', text: 'B' },
    ]);
  });

  it('name the file and the line that is wrong', async () => {
    const read = (name: string, content: string) => Array.fromAsync(readDocuments([folder.write(name, content)]));
    await assert.rejects(read('wrong.jsonl', `${lines([{ text: 'a' }])}{"txt":1}`), {
      code: 'damaged',
      message: /wrong\.jsonl, line 2: .*text/s,
    });
    await assert.rejects(read('half.jsonl', '{"text":"\\ud83d"}'), {
      code: 'damaged',
      message: /line 1: .*surrogate/s,
    });
    await assert.rejects(read('table.csv', 'a,b'), { code: 'unsupported', message: /table\.csv/ });
    folder.write('mixed/page.html', '<p>a</p>');
    folder.write('mixed/text.txt', 'a');
    const mixed = (input: string) => Array.fromAsync(readDocuments([input], { folder: folder.path }));
    await assert.rejects(mixed('mixed'), {
      message: /page\.html is neither .*\nEvery file in a folder .* "texts\/\*\.txt"/,
    });
    assert.equal((await mixed('mixed/*.txt')).length, 1);
    await assert.rejects(Array.fromAsync(readDocuments(['/no/such/file.txt'])), { code: 'not-found' });
    mkdirSync(join(folder.path, 'partly'));
    symlinkSync('nowhere', join(folder.path, 'partly/lost.txt'));
    const partly = readDocuments([folder.write('whole.txt', 'text'), 'partly'], { folder: folder.path });
    await assert.rejects(partly.next(), { code: 'disk', message: /lost\.txt: it is a link that leads nowhere/ });
  });

  it('cut a long text file into parts, at blank lines where there are any, and lose nothing', async () => {
    const paragraph = 'A line of text.\nAnother one.\n\n';
    const file = folder.write('book.txt', paragraph.repeat(10));
    const parts = await Array.fromAsync(readDocuments([file], { partCharacters: 100 }));
    assert.deepEqual(
      parts.map(({ text }) => text),
      [paragraph.repeat(3), paragraph.repeat(3), paragraph.repeat(3), paragraph],
    );
    assert.deepEqual(
      named(parts).map(({ id }) => id),
      ['book.txt', 'book.txt#2', 'book.txt#3', 'book.txt#4'],
    );
    const texts = fc.string({ unit: fc.constantFrom('a', ' ', '\n', '🐝', '数'), maxLength: 60 });
    await fc.assert(
      fc.asyncProperty(texts, fc.integer({ min: 2, max: 20 }), async (text, partCharacters) => {
        const read = await Array.fromAsync(readDocuments([folder.write('any.txt', text)], { partCharacters }));
        assert.equal(read.map((part) => part.text).join(''), text);
        for (const part of read) assert.ok(part.text.length <= partCharacters && part.text.isWellFormed());
      }),
    );
  });
});
