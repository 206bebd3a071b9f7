import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import { z } from 'zod';
import { type TemporaryFolder, temporaryFolder } from '../test/support/temporary.ts';
import { LongLine, linesOf, readJsonLines, readLines, streamJsonLines } from './json-lines.ts';

const schema = z.object({ n: z.number() });
let folder: TemporaryFolder;
before(() => {
  folder = temporaryFolder();
});
after(() => folder[Symbol.dispose]());

const read = (content: string | Uint8Array) =>
  Array.fromAsync(streamJsonLines(folder.write('x.jsonl', content), schema));

describe('JSON Lines', () => {
  it('are read plain and as gzip of several members, empty lines passed over but counted', async () => {
    const expected = [
      { value: { n: 1 }, number: 1 },
      { value: { n: 2 }, number: 3 },
    ];
    assert.deepEqual(await read('{"n":1}\r\n\n{"n":2}'), expected);
    assert.deepEqual(await read(Buffer.concat([gzipSync('{"n":1}\n'), gzipSync('\n{"n":2}\n')])), expected);
    assert.deepEqual(await read('\ufeff{"n":1}\n').then((lines) => lines.length), 1);
    assert.deepEqual(await read(''), []);
  });

  it('are cut rightly wherever the stream is cut', async () => {
    const text = 'eins\n\nzwölf\n数\n';
    // "zwölf" has six bytes.
    for (const longest of [6, 5, 3, 0]) await cutEverywhere(text, longest);
  });

  async function cutEverywhere(text: string, longest: number): Promise<void> {
    const bytes = new TextEncoder().encode(text);
    for (let size = 1; size <= bytes.length; size++) {
      const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
        bytes.slice(i * size, (i + 1) * size),
      );
      const lines = await Array.fromAsync(
        linesOf(
          (async function* () {
            yield* pieces;
          })(),
          longest,
        ),
      );
      assert.deepEqual(
        lines.map((line) => (line instanceof LongLine ? line.message : new TextDecoder().decode(line))),
        text
          .split('\n')
          .map((line) => (Buffer.byteLength(line) <= longest ? line : `it is longer than ${longest} bytes`)),
      );
    }
  }

  it('name the file and the line that is wrong', async () => {
    await assert.rejects(read('{"n":1}\n{"n":'), { code: 'damaged', message: /x\.jsonl, line 2: it is not JSON/ });
    await assert.rejects(read('{"n":1}\n\n{"m":1}'), { code: 'damaged', message: /x\.jsonl, line 3: .*number/s });
    const notUtf8 = Buffer.concat([Buffer.from('{"n":1}\n'), Buffer.of(0xff, 0x0a)]);
    await assert.rejects(read(notUtf8), { code: 'damaged', message: /x\.jsonl, line 2: it is not valid UTF-8/ });
    const cut = gzipSync(Array.from({ length: 9 }, (_, n) => `{"n":${n}}\n`).join('')).subarray(0, -9);
    await assert.rejects(read(cut), { code: 'damaged', message: /x\.jsonl, line \d+: its gzip data ends here/ });
    await assert.rejects(Array.fromAsync(readLines('/no/such')), { code: 'not-found', message: /\/no\/such/ });
    await assert.rejects(Array.fromAsync(readLines(folder.path)), {
      code: 'disk',
      message: `${folder.path} is a folder, where a file is expected.\nName a file in it.`,
    });
  });

  it('are read at once in the same way', () => {
    const readAtOnce = (content: string | Uint8Array) => readJsonLines(folder.write('x.jsonl', content), schema);
    assert.deepEqual(readAtOnce('{"n":1}\r\n\n{"n":2}'), [{ n: 1 }, { n: 2 }]);
    assert.deepEqual(readAtOnce(gzipSync('{"n":1}\n')), [{ n: 1 }]);
    assert.throws(() => readAtOnce('{"n":1}\n\n{"m":1}'), { code: 'damaged', message: /x\.jsonl, line 3: .*number/s });
    assert.throws(() => readAtOnce(gzipSync('{"n":1}').subarray(0, -9)), { code: 'damaged', message: /x\.jsonl/ });
    assert.throws(() => readAtOnce(Buffer.of(0xff)), { code: 'damaged', message: /x\.jsonl/ });
    const growing = folder.write('x.jsonl', Buffer.from('{"n":1}\n{"n":"é').subarray(0, -1));
    assert.deepEqual(readJsonLines(growing, schema, { growing: true }), [{ n: 1 }], 'a line that is being written');
    assert.throws(() => readJsonLines('/no/such', schema), { code: 'not-found', message: /\/no\/such/ });
  });

  it('stop reading when their reader stops', async () => {
    const file = folder.write('long.jsonl', gzipSync('{"n":1}\n'.repeat(20_000)));
    for await (const { number } of streamJsonLines(file, schema)) if (number === 3) break;
    assert.equal((await Array.fromAsync(readLines(file))).length, 20_001);
  });
});
