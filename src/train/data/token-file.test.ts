import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { type TemporaryFolder, temporaryFolder } from '../../../test/support/temporary.ts';
import { TokenFile, TokenFileWriter } from './token-file.ts';

let folder: TemporaryFolder;
before(() => {
  folder = temporaryFolder();
});
after(() => folder[Symbol.dispose]());

const write = (
  path: string,
  documents: readonly (readonly number[])[],
  sequenceLength: number,
  vocabularySize: number,
) => {
  using writer = new TokenFileWriter(path, { sequenceLength, vocabularySize, documentStart: 1 });
  for (const document of documents) writer.add(document);
  return writer.finish();
};

describe('token files', () => {
  it('hold documents one behind another, cut into sequences, for small and large vocabularies', () => {
    const path = join(folder.path, 'any.tokens');
    const sizes = fc.constantFrom(9, 2 ** 16, 2 ** 16 + 1, 150_000);
    const cases = sizes.chain((size) =>
      fc.tuple(fc.constant(size), fc.array(fc.array(fc.nat({ max: size - 1 }), { maxLength: 9 }), { maxLength: 9 })),
    );
    fc.assert(
      fc.property(cases, fc.integer({ min: 1, max: 8 }), ([vocabularySize, documents], sequenceLength) => {
        const { sequences, tailTokens } = write(path, documents, sequenceLength, vocabularySize);
        const packed = documents.flatMap((document) => [1, ...document]);
        using file = new TokenFile(path);
        assert.equal(file.count, sequences);
        assert.equal(sequences * sequenceLength + tailTokens, packed.length);
        assert.ok(tailTokens < sequenceLength);
        assert.deepEqual(
          [file.sequenceLength, file.vocabularySize, file.documentStart],
          [sequenceLength, vocabularySize, 1],
        );
        const read = Array.from({ length: file.count }, (_, n) => [...file.sequence(file.count - 1 - n)]).toReversed();
        assert.deepEqual(read.flat(), packed.slice(0, packed.length - tailTokens));
        file.verify();
      }),
      { numRuns: 60 },
    );
  });

  it('are the same when they are more than what is written at once', () => {
    const path = join(folder.path, 'large.tokens');
    const document = Array.from({ length: 700_001 }, (_, n) => n % 50_000);
    assert.deepEqual(write(path, [document, [5]], 1000, 50_000), { sequences: 700, tailTokens: 4 });
    using file = new TokenFile(path);
    assert.deepEqual([...file.sequence(699)], [...document.slice(698_999, 699_999)]);
    file.verify();
  });

  it('appear whole or not at all', () => {
    const path = join(folder.path, 'kept.tokens');
    write(path, [[2, 3]], 3, 9);
    const before = readFileSync(path);
    {
      using writer = new TokenFileWriter(path, { sequenceLength: 2, vocabularySize: 9, documentStart: 0 });
      writer.add([4, 5]);
      assert.throws(() => writer.add([9]), { code: 'usage', message: /9 is no token/ });
    }
    assert.deepEqual(readFileSync(path), before);
    assert.deepEqual(
      readdirSync(folder.path).filter((name) => name.endsWith('.unfinished')),
      [],
    );
    const nowhere = join(folder.path, 'missing', 'x.tokens');
    assert.throws(() => new TokenFileWriter(nowhere, { sequenceLength: 2, vocabularySize: 9, documentStart: 0 }), {
      code: 'disk',
    });
  });

  it('that are damaged are refused', () => {
    const path = join(folder.path, 'sound.tokens');
    write(path, [[2, 3, 4, 5, 6]], 3, 9);
    const sound = readFileSync(path);
    const open = (bytes: Uint8Array) => new TokenFile(folder.write('damaged.tokens', bytes));
    assert.throws(() => open(sound.subarray(0, 20)), { code: 'damaged', message: /damaged\.tokens/ });
    assert.throws(() => open(sound.subarray(0, -1)), { code: 'damaged', message: /promises 52 bytes, it has 51/ });
    assert.throws(() => open(Buffer.from('no token file, whatever its name, though it is long enough')), {
      code: 'damaged',
    });
    const foreign = Buffer.from(sound);
    foreign.writeUInt16LE(9, 46);
    using file = open(foreign);
    assert.deepEqual([...file.sequence(0)], [1, 2, 3]);
    assert.throws(() => file.sequence(1), { code: 'damaged', message: /sequence 1 has the token 9/ });
    assert.throws(() => file.verify(), { code: 'damaged', message: /checksum/ });
    assert.throws(() => file.sequence(2), { code: 'usage', message: /2 sequences/ });
    assert.throws(() => new TokenFile(join(folder.path, 'none')), { code: 'not-found' });
  });
});
