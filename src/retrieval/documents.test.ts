import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readFile, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { Memory3Error } from '../errors.ts';
import { readSources, type Source, type SourceOptions } from './documents.ts';

const fixtures = fileURLToPath(new URL('../../test/fixtures/documents/', import.meta.url));

let folder: string;
before(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'memory3-documents-')));
});
after(() => rm(folder, { recursive: true }));

async function read(inputs: readonly string[], options: SourceOptions = {}): Promise<Source[]> {
  return Array.fromAsync(readSources(inputs, { folder, ...options }));
}

async function readOne(name: string, bytes: string | Uint8Array): Promise<Source> {
  await writeFile(join(folder, name), bytes);
  const sources = await read([name]);
  assert.equal(sources.length, 1);
  return sources[0] as Source;
}

function textOf(source: Source): string {
  assert.ok('text' in source, 'skipped' in source ? source.reason : '');
  return source.text;
}

function reasonOf(source: Source): string {
  assert.ok('skipped' in source);
  return source.reason;
}

describe('formats', () => {
  it('HTML: text without markup, scripts, menus; entities, lists, tables; the title', async () => {
    const [page] = await read([join(fixtures, 'lighthouse.html')]);
    assert.deepEqual(page, {
      name: join(fixtures, 'lighthouse.html'),
      title: 'Norrey & its light',
      mediaType: 'text/html',
      text:
        'The Lighthouse of Norrey\n\nThe lighthouse of Norrey was built in 1871 by Ada\u00a0Lindqvist.\n\n' +
        'Its lamp burned rape oil.\n\n- Height: 31 m\n- Range: 18 nautical miles\n\nYear | Lamp\n1923 | electric',
    });
  });

  it('HTML that is nested too deeply is skipped, and the others go on', async () => {
    await mkdir(join(folder, 'pages'));
    await writeFile(join(folder, 'pages/a.html'), `${'<div>'.repeat(50_000)}text`);
    await writeFile(join(folder, 'pages/b.html'), '<p>text</p>');
    const [deep, flat] = await read(['pages']);
    assert.match(reasonOf(deep as Source), /^the HTML cannot be read: /);
    assert.equal(textOf(flat as Source), 'text');
  });

  it('PDF: pages and title', async () => {
    const [paper] = await read([join(fixtures, 'lighthouse.pdf')]);
    assert.deepEqual(paper, {
      name: join(fixtures, 'lighthouse.pdf'),
      title: 'Norrey in brief',
      mediaType: 'application/pdf',
      text:
        'The Lighthouse of Norrey\nThe lighthouse of Norrey was built in 1871 by Ada Lindqvist.\nIts lamp burned rape oil.' +
        '\n\nIn 1923 the lamp was replaced by an electric one.\nThe keeper’s house is a museum today.',
    });
    assert.match(reasonOf(await readOne('broken.pdf', '%PDF-1.4 nothing')), /the PDF cannot be read: Invalid PDF/);
  });

  it('PDF: pages without text are named', async () => {
    const pdf = await readFile(join(fixtures, 'lighthouse.pdf'), 'latin1');
    const emptied = pdf.replace(/BT(?:(?!ET).)*1871.*?ET/s, (page) => ' '.repeat(page.length));
    assert.notEqual(emptied, pdf);
    await writeFile(join(folder, 'scanned.pdf'), emptied, 'latin1');
    const [paper, lost] = await read(['scanned.pdf']);
    assert.match(textOf(paper as Source), /^\s*In 1923/);
    assert.deepEqual(lost, {
      skipped: `${join(folder, 'scanned.pdf')}, page 1`,
      reason: 'there is no text there; scanned pages need text recognition first',
    });
    const all = emptied.replace(/BT(?:(?!ET).)*1923.*?ET/s, (page) => ' '.repeat(page.length));
    assert.equal(
      reasonOf(await readOne('all.pdf', Buffer.from(all, 'latin1'))),
      'there is no text in it; scanned pages need text recognition first',
    );
  });

  it('docx: lines within a paragraph, notes behind the paragraph that refers to them', async () => {
    const [notes] = await read([join(fixtures, 'notes.docx')]);
    assert.equal(
      textOf(notes as Source),
      'The keeper was paid in oil.\n\nRape oil, forty litres a year.\n\nYear | Lamp\n\n' +
        'He left in 1901.\n\nParish register, page 12.\n\nNorrey\nNorth Sea\n\n',
    );
  });

  it('docx: paragraphs', async () => {
    const [letter] = await read([join(fixtures, 'lighthouse.docx')]);
    assert.match(textOf(letter as Source), /^The Lighthouse of Norrey\n\nThe lighthouse .*\n\n.*\n\nIn 1923 the lamp/);
    assert.match(reasonOf(await readOne('broken.docx', 'PK nothing')), /the Word document cannot be read/);
  });

  it('text in UTF-8 and UTF-16, the byte order mark dropped', async () => {
    const text = 'Grüße, 猫 🐈\r\n';
    assert.equal(textOf(await readOne('a.txt', text)), text);
    assert.equal(textOf(await readOne('b.txt', `\ufeff${text}`)), text);
    const little = Buffer.from(`\ufeff${text}`, 'utf16le');
    assert.equal(textOf(await readOne('c.txt', little)), text);
    assert.equal(textOf(await readOne('d', Buffer.from(little).swap16())), text);
    assert.match(reasonOf(await readOne('e.txt', Buffer.from([0xff, 0xfe, 0x00, 0xd8]))), /not valid UTF-16LE/);
  });

  it('what is no text is skipped with its reason', async () => {
    const invalid = Buffer.concat([Buffer.from('ok \ufffd '), Buffer.from([0xe9, 0x21])]);
    assert.match(reasonOf(await readOne('latin.txt', invalid)), /not valid UTF-8: byte 0xe9 at position 7/);
    assert.equal(
      reasonOf(await readOne('picture.png', Buffer.from([0x89, 0x50, 0x4e, 0x47, 0, 1]))),
      'it is a binary file',
    );
    assert.match(reasonOf(await readOne('archive.gz', gzipSync('text'))), /binary/);
    assert.equal(reasonOf(await readOne('zero.txt', 'a\0b')), 'it is a binary file');
    assert.equal(reasonOf(await readOne('empty.txt', ' \n')), 'there is no text in it');
  });
});

describe('inputs', () => {
  const names = (sources: readonly Source[]) =>
    sources.map((source) => ('name' in source ? source.name : source.skipped).replace(folder, ''));

  before(async () => {
    await mkdir(join(folder, 'tree/sub/deep'), { recursive: true });
    await mkdir(join(folder, 'tree/.git'));
    await writeFile(join(folder, 'tree/b.txt'), 'b');
    await writeFile(join(folder, 'tree/sub/a [1].txt'), 'a');
    await writeFile(join(folder, 'tree/sub/deep/c.md'), 'c');
    await writeFile(join(folder, 'tree/sub/deep/d.bin'), Buffer.from([0]));
    await writeFile(join(folder, 'tree/.git/config'), 'hidden');
    await symlink('.', join(folder, 'tree/loop'));
  });

  it('folders with their subfolders, in a fixed order, each file once', async () => {
    const files = ['/tree/b.txt', '/tree/sub/a [1].txt', '/tree/sub/deep/c.md', '/tree/sub/deep/d.bin'];
    assert.deepEqual(names(await read(['tree', 'tree/b.txt', 'tree/loop'])), files);
  });

  it('globs, and names that look like globs', async () => {
    assert.deepEqual(names(await read(['tree/sub/**/*.md'])), ['/tree/sub/deep/c.md']);
    assert.deepEqual(names(await read(['tree/sub/a [1].txt'])), ['/tree/sub/a [1].txt']);
  });

  it('that do not exist are named before anything is read', async () => {
    for (const missing of ['', 'nowhere.txt', 'tree/*.xyz', 'tree/b.txt/c']) {
      await assert.rejects(read(['tree/b.txt', missing]), (error) => {
        assert.ok(error instanceof Memory3Error && error.code === 'not-found');
        return error.message.includes(missing);
      });
    }
  });

  it('what a folder or a glob would take and cannot read is skipped with its reason', async () => {
    const closed = join(folder, 'partly/closed');
    await mkdir(closed, { recursive: true });
    await mkdir(join(folder, 'partly/.hidden'));
    await writeFile(join(folder, 'partly/a.md'), 'a');
    await writeFile(join(closed, 'b.md'), 'b');
    await symlink('nowhere', join(folder, 'partly/broken.txt'));
    await symlink('self', join(folder, 'partly/self'));
    await symlink('nowhere', join(folder, 'partly/.hidden/broken.txt'));
    const asNobody = process.geteuid?.() === 0;
    await chmod(folder, 0o755);
    await chmod(closed, 0);
    // Root may read everything.
    if (asNobody) process.seteuid?.(65_534);
    try {
      const [lost, broken, self, a] = await read(['partly']);
      assert.deepEqual(names([lost, broken, self, a] as Source[]), [
        ...['/partly/closed', '/partly/broken.txt', '/partly/self', '/partly/a.md'],
      ]);
      assert.match(reasonOf(lost as Source), /^it cannot be read: EACCES/);
      assert.equal(reasonOf(broken as Source), 'it is a link that leads nowhere');
      assert.match(reasonOf(self as Source), /^it cannot be read: ELOOP/);
      assert.deepEqual(names(await read(['partly/*.md'])), ['/partly/a.md'], 'a glob is told of what it names only');
      const glob = 'partly/*/*.md';
      assert.deepEqual(names(await read([glob, glob])), ['/partly/closed']);
    } finally {
      if (asNobody) process.seteuid?.(0);
      await chmod(closed, 0o755);
    }
  });

  const unixOnly = { skip: process.platform === 'win32' };
  it('pipes, sockets and links to them are skipped with that reason, where they are asked for', unixOnly, async () => {
    await mkdir(join(folder, 'special'));
    await writeFile(join(folder, 'special/a.txt'), 'a');
    execFileSync('mkfifo', [join(folder, 'special/pipe.txt')]);
    await symlink('pipe.txt', join(folder, 'special/link.txt'));
    const server = createServer().listen(join(folder, 'special/socket'));
    await once(server, 'listening');
    try {
      const sources = await read(['special']);
      assert.deepEqual(names(sources), ['/special/link.txt', '/special/pipe.txt', '/special/socket', '/special/a.txt']);
      assert.deepEqual(sources.slice(0, 3).map(reasonOf), [
        ...['it is a named pipe, not a file', 'it is a named pipe, not a file', 'it is a socket, not a file'],
      ]);
      assert.deepEqual(names(await read(['special/*.txt', 'special/a.*'])), [
        '/special/link.txt',
        '/special/pipe.txt',
        '/special/a.txt',
      ]);
    } finally {
      server.close();
    }
  });

  const linuxOnly = { skip: process.platform !== 'linux' };
  it('files and folders whose names are no UTF-8 are skipped with that reason', linuxOnly, async () => {
    await mkdir(join(folder, 'latin'));
    const named = (name: string) => Buffer.from(`${folder}/latin/${name}`, 'latin1');
    await writeFile(named('caf\xe9.txt'), 'lost');
    await mkdir(named('\xe9t\xe9'));
    await writeFile(named('\xe9t\xe9/a.txt'), 'lost');
    const sources = await read(['latin', 'latin/*/*.txt']);
    assert.deepEqual(names(sources), ['/latin/\ufffdt\ufffd', '/latin/caf\ufffd.txt']);
    for (const source of sources) assert.match(reasonOf(source), /its name is not valid UTF-8/);
  });

  it('standard input, by its name and type', async () => {
    const stdin = () => Readable.from([Buffer.from('<p>Hi</p>')]);
    assert.deepEqual(await read(['-'], { stdin: stdin() }), [
      { name: 'stdin', title: null, mediaType: 'text/plain', text: '<p>Hi</p>' },
    ]);
    const [page] = await read(['-'], { stdin: stdin(), stdinName: 'page', stdinType: 'text/html' });
    assert.deepEqual(page, { name: 'page', title: null, mediaType: 'text/html', text: 'Hi' });
  });

  it('more than the largest file is skipped from standard input too, and of JSON Lines a line alone', async () => {
    const piece = Buffer.alloc(2 ** 24, 'x');
    const stdin = () =>
      Readable.from(
        (function* () {
          yield Buffer.from('{"text": "first"}\n');
          for (let count = 0; count < 17; count++) yield piece;
          yield Buffer.from('\n{"text": "third"}');
        })(),
      );
    const [whole] = await read(['-'], { stdin: stdin(), stdinName: 'page' });
    assert.deepEqual(whole, {
      skipped: 'page',
      reason: 'it has more than 268435456 bytes, which is the most; split it',
    });
    const lines = await read(['-'], { stdin: stdin(), stdinType: 'application/x-ndjson' });
    assert.deepEqual(names(lines), ['stdin#1', 'stdin:2', 'stdin#3']);
    assert.equal(reasonOf(lines[1] as Source), 'it is longer than 268435456 bytes');
  });

  it('one document at a time', async () => {
    const sources = readSources(['tree/b.txt', 'tree/later.txt'].slice(0, 1).concat('tree/sub'), { folder });
    await sources.next();
    // The next file is read only now.
    await writeFile(join(folder, 'tree/sub/a [1].txt'), 'changed');
    const { value } = await sources.next();
    assert.equal(textOf(value as Source), 'changed');
    await sources.return();
  });
});

describe('JSON Lines', () => {
  it('one document a line, named by id or line', async () => {
    await writeFile(
      join(folder, 'a.jsonl'),
      '{"id": "x", "title": "T", "text": "one"}\r\n\n{"text": "two\\nlines", "n": 1}',
    );
    const path = join(folder, 'a.jsonl');
    assert.deepEqual(await read(['a.jsonl']), [
      { name: `${path}#x`, title: 'T', mediaType: 'text/plain', text: 'one' },
      { name: `${path}#3`, title: null, mediaType: 'text/plain', text: 'two\nlines' },
    ]);
  });

  it('fields by other names', async () => {
    const stdin = Readable.from([
      Buffer.from('{"key": 7, "body": "caf'),
      Buffer.from([0xc3]),
      Buffer.from([0xa9, 0x22, 0x7d]),
    ]);
    const options = { stdin, stdinType: 'application/x-ndjson', textField: 'body', idField: 'key' } as const;
    assert.deepEqual(await read(['-'], options), [
      { name: 'stdin#7', title: null, mediaType: 'text/plain', text: 'café' },
    ]);
  });

  it('a line with the name of an earlier one is skipped: it would replace that one', async () => {
    const lines = ['{"id": "3", "text": "a"}', '{"id": "x", "text": "b"}', '{"text": "c"}', '{"id": "x", "text": "d"}'];
    lines.push('{"id": 3, "text": "e"}', '{"id": "y", "text": " "}', '{"id": "y", "text": "f"}');
    await writeFile(join(folder, 'twice.jsonl'), lines.join('\n'));
    const path = join(folder, 'twice.jsonl');
    const sources = await read(['twice.jsonl']);
    assert.deepEqual(
      sources.map((source) => ('name' in source ? source.name : source.skipped)),
      [`${path}#3`, `${path}#x`, `${path}:3`, `${path}:4`, `${path}:5`, `${path}:6`, `${path}#y`],
    );
    const reasons = [2, 3, 4].map((index) => reasonOf(sources[index] as Source));
    assert.match(
      reasons[0] as string,
      /^without "id" its name is its line's number, "3", which already names line 1 of/,
    );
    assert.match(reasons[1] as string, /^its "id" is "x", which already names line 2 of .*twice\.jsonl/);
    assert.match(reasons[2] as string, /^its "id" is "3", which already names line 1/);
  });

  it('an id is its digits, also of a number too large to be exact', async () => {
    const ids = ['9007199254740993', '9007199254740992', '-9007199254740993', '0.10000000000000000001', '0.1', '1e400'];
    const lines = ids.map((id) => `{"meta": {"id": 7}, "id": ${id}, "text": "a", "more": [{"id": 8}]}`);
    await writeFile(join(folder, 'large.jsonl'), [...lines, '{"id": 7.0, "text": "b"}'].join('\n'));
    const path = join(folder, 'large.jsonl');
    assert.deepEqual(
      (await read(['large.jsonl'])).map((source) => ('name' in source ? source.name : source.reason)),
      [...ids, '7'].map((id) => `${path}#${id}`),
    );
  });

  it('as gzip, whatever the file is called, and from standard input', async () => {
    const packed = gzipSync('{"id": "x", "text": "one"}\n{"id": "y", "text": "two"}\n');
    for (const name of ['packed.jsonl', 'packed.jsonl.gz', 'packed.NDJSON.GZ']) {
      await writeFile(join(folder, name), packed);
      assert.deepEqual((await read([name])).map(textOf), ['one', 'two'], name);
    }
    const bytewise = Readable.from([...packed].map((byte) => Buffer.of(byte)));
    const stdin = await read(['-'], { stdin: bytewise, stdinType: 'application/x-ndjson' });
    assert.deepEqual(stdin.map(textOf), ['one', 'two']);
  });

  it('as gzip that is cut off: the lines before, and where it ends', async () => {
    const line = (n: number) => `{"text": "line ${n} ${Math.sin(n)}"}\n`;
    const packed = gzipSync(Array.from({ length: 2000 }, (_, n) => line(n)).join(''));
    await writeFile(join(folder, 'cut.jsonl.gz'), packed.subarray(0, -200));
    const sources = await read(['cut.jsonl.gz']);
    const last = sources.pop() as Source;
    assert.ok(sources.length > 0 && sources.every((source) => 'text' in source));
    assert.match(reasonOf(last), /^its gzip data ends here: unexpected end of file/);
    assert.equal('skipped' in last && last.skipped, `${join(folder, 'cut.jsonl.gz')}:${sources.length + 1}`);
  });

  it('names file and line of each fault and goes on', async () => {
    const lines = [
      '{"text": "ok"}',
      '{"text": ',
      '[1]',
      '{"body": "x", "n": 1}',
      '{"text": "  "}',
      '{"text": "t", "id": {}}',
    ];
    lines.push(
      '{"text": "t", "title": 1}',
      '{"text": "\\ud83d"}',
      '{"text": "last"}',
      '{"text": "t", "id": "\\ud83d"}',
    );
    await writeFile(
      join(folder, 'b.jsonl'),
      Buffer.concat([Buffer.from(lines.join('\n')), Buffer.from('\n"\xff"', 'latin1')]),
    );
    const path = join(folder, 'b.jsonl');
    const sources = await read(['b.jsonl']);
    assert.deepEqual(
      sources.map((source) => ('name' in source ? source.name : source.skipped)),
      [`${path}#1`, ...[2, 3, 4, 5, 6, 7, 8].map((line) => `${path}:${line}`), `${path}#9`, `${path}:10`, `${path}:11`],
    );
    const reasons = [
      /not JSON/,
      /not a JSON object/,
      /field "text" is not a text; it has the fields body, n/,
      /no text in/,
    ];
    reasons.push(/"id" is neither text nor number/, /"title" is not a text/, /half a surrogate pair/);
    for (const [index, reason] of reasons.entries()) assert.match(reasonOf(sources[index + 1] as Source), reason);
    assert.match(reasonOf(sources[9] as Source), /"id" has half a surrogate pair/);
    assert.match(reasonOf(sources[10] as Source), /not valid UTF-8: byte 0xff at position 1/);
  });
});
