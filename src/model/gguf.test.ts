import assert from 'node:assert/strict';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gguf as readByHuggingFace } from '@huggingface/gguf';
import {
  arrayField,
  concat,
  type GgufParts,
  ggufBytes,
  integerField,
  string,
  type TensorEntry,
  textField,
  u32,
  u64,
  valueType,
} from '../../test/support/gguf-bytes.ts';
import { temporaryFolder } from '../../test/support/temporary.ts';
import { type ErrorCode, Memory3Error } from '../errors.ts';
import { openGguf } from './gguf.ts';

const families = join(dirname(fileURLToPath(import.meta.url)), '../../test/golden/families');

const first: TensorEntry = { name: 'a', shape: [2, 8], type: 0, offset: 0 };
const second: TensorEntry = { name: 'b', shape: [4], type: 0, offset: 64 };
const sound = {
  fields: [
    textField('general.architecture', 'llama'),
    integerField('llama.block_count', 2),
    arrayField('tokens', valueType.string, 2, concat(string('é'), string(''))),
    arrayField(
      'nested',
      valueType.array,
      2,
      concat(u32(0), u64(2), Uint8Array.of(7, 8), u32(7), u64(1), Uint8Array.of(1)),
    ),
    { key: 'big', type: valueType.u64, bytes: u64(2n ** 60n) },
  ],
  tensors: [first, second],
  data: Uint8Array.from({ length: 80 }, (_, i) => i),
} satisfies GgufParts;

test('a header is read with its values, shapes and bytes', () => {
  using folder = temporaryFolder();
  using file = openGguf(folder.write('sound.gguf', ggufBytes(sound)));
  assert.deepEqual(
    [...file.metadata],
    [
      ['general.architecture', 'llama'],
      ['llama.block_count', 2],
      ['tokens', ['é', '']],
      ['nested', [[7, 8], [true]]],
      ['big', 2n ** 60n],
    ],
  );
  const b = file.tensors.get('b');
  assert.ok(b);
  assert.deepEqual(b.shape, [4]);
  assert.deepEqual([...file.readTensor(b)], [...sound.data.subarray(64, 80)]);
});

test('agrees with @huggingface/gguf on a file of the gguf package', async () => {
  const path = join(families, 'qwen3-yarn/model.gguf');
  using file = openGguf(path);
  const other = await readByHuggingFace(path, { allowLocalFile: true });
  const metadata = new Map(Object.entries(other.metadata));
  for (const [key, value] of file.metadata) assert.deepEqual(value, plain(metadata.get(key)), key);
  assert.equal(file.metadata.size + 3, metadata.size, 'the other adds version, tensor count and key count');
  const dataStart = Number(other.tensorDataOffset);
  assert.deepEqual(
    [...file.tensors.values()].map(({ name, shape, position }) => ({ name, shape, position })),
    other.tensorInfos.map(({ name, shape, offset }) => ({
      name,
      shape: shape.map(Number).reverse(),
      position: dataStart + Number(offset),
    })),
  );
});

/** 64-bit integers that fit a number are numbers here, bigint there. */
function plain(value: unknown): unknown {
  return typeof value === 'bigint' ? Number(value) : value;
}

test('a file cut at any byte is damaged, and says where', () => {
  using folder = temporaryFolder();
  const bytes = ggufBytes(sound);
  for (let length = 0; length < bytes.length; length++) {
    const path = folder.write('cut.gguf', bytes.subarray(0, length));
    assert.throws(() => openGguf(path), isError('damaged', /byte \d+/), `cut at ${length}`);
  }
});

function isError(code: ErrorCode, message: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof Memory3Error, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  };
}

const string300M = string('', 300_000_000);
const faults: readonly (readonly [what: string, parts: GgufParts, message: RegExp, code?: ErrorCode])[] = [
  ['no magic number', { ...sound, magic: 'GGML' }, /does not begin with "GGUF"/],
  ['version 1', { ...sound, version: 1 }, /GGUF version 1; versions 2 and 3/, 'unsupported'],
  ['big-endian', { ...sound, version: 0x03000000 }, /big-endian/, 'unsupported'],
  ['absurd key count', { ...sound, keyCount: 2n ** 63n }, /key count is 9223372036854775808/],
  ['key count beyond the file', { ...sound, keyCount: 60000 }, /key count is 60000, more than the rest/],
  ['absurd tensor count', { ...sound, tensorCount: 2n ** 52n }, /tensor count is 4503599627370496/],
  ['a key too many', { ...sound, keyCount: sound.fields.length + 1 }, /damaged/],
  [
    'a key twice',
    { ...sound, fields: [integerField('llama.block_count', 3), ...sound.fields] },
    /"llama.block_count" stands there twice \(at byte \d+\)/,
  ],
  ['__proto__ as a key', { fields: [integerField('__proto__', 1)] }, /a key is named "__proto__" \(at byte 24\)/],
  [
    '__proto__ as a tensor',
    { tensors: [{ ...first, name: '__proto__' }], data: sound.data },
    /a tensor is named "__proto__"/,
  ],
  ['an empty key', { fields: [integerField('', 1)] }, /a key is named ""/],
  [
    'a value type that does not exist',
    { fields: [{ key: 'x', type: 13, bytes: u64(0) }] },
    /key "x" has the value type 13/,
  ],
  [
    'a boolean of 2',
    { fields: [{ key: 'x', type: valueType.bool, bytes: Uint8Array.of(2) }] },
    /key "x" is a boolean with the value 2/,
  ],
  [
    'a string beyond the file',
    { fields: [{ key: 'x', type: 8, bytes: string('abc', 1e6) }] },
    /key "x" .*the file ends at byte/,
  ],
  [
    'an absurd string',
    { fields: [{ key: 'x', type: 8, bytes: string300M }] },
    /key "x" claims a string of 300000000 bytes/,
  ],
  [
    'a string that is not UTF-8',
    { fields: [{ key: 'x', type: 8, bytes: string(Uint8Array.of(0xc3, 0x28)) }] },
    /key "x" is not valid UTF-8 \(at byte \d+\)/,
  ],
  [
    'an absurd array',
    { fields: [arrayField('x', 0, 2n ** 62n, u64(0))] },
    /array length of key "x" is 4611686018427387904/,
  ],
  ['an array beyond the file', { fields: [arrayField('x', 4, 1000, u64(0))] }, /key "x" is 1000, more than the rest/],
  ['an array of nothing', { fields: [arrayField('x', 99, 1, u64(0))] }, /key "x": the array's element type 99/],
  [
    'deep arrays',
    { fields: [arrayField('x', 9, 1, concat(...Array.from({ length: 9 }, () => concat(u32(9), u64(1)))))] },
    /nested more than 4 deep/,
  ],
  ['an alignment of 24', { ...sound, fields: [integerField('general.alignment', 24)] }, /"general.alignment" is 24/],
  ['an alignment of 0', { ...sound, fields: [integerField('general.alignment', 0)] }, /"general.alignment" is 0/],
  ['a tensor twice', { ...sound, tensors: [first, { ...second, name: 'a' }] }, /tensor "a" stands there twice/],
  [
    'a misaligned tensor',
    { ...sound, tensors: [first, { ...second, offset: 65 }] },
    /tensor "b" is misaligned: its offset 65/,
  ],
  ['overlapping tensors', { ...sound, tensors: [first, { ...second, offset: 32 }] }, /"a" and "b" overlap at byte \d+/],
  [
    'a tensor out of the file',
    { ...sound, tensors: [first, { ...second, offset: 96 }] },
    /tensor "b" needs bytes \d+ to \d+, but the file ends/,
  ],
  [
    'an absurd offset',
    { ...sound, tensors: [{ ...first, offset: 2n ** 63n }] },
    /offset of tensor "a" is 9223372036854775808/,
  ],
  [
    'an absurd dimension',
    { ...sound, tensors: [{ ...first, shape: [2n ** 40n, 2n ** 40n] }] },
    /tensor "a" has a dimension of/,
  ],
  ['an empty dimension', { ...sound, tensors: [{ ...first, shape: [0, 8] }] }, /tensor "a" has a dimension of 0/],
  ['no dimensions', { ...sound, tensors: [{ ...first, shape: [] }] }, /tensor "a" has 0 dimensions/],
  ['five dimensions', { ...sound, tensors: [{ ...first, shape: [1, 1, 1, 1, 1] }] }, /tensor "a" has 5 dimensions/],
  [
    'an unknown tensor type',
    { ...sound, tensors: [{ ...first, type: 99 }] },
    /tensor "a" has the type number 99/,
    'unsupported',
  ],
  [
    'rows that blocks do not divide',
    { ...sound, tensors: [{ ...first, type: 12 }] },
    /tensor "a" has rows of 8 elements, which Q4_K/,
  ],
];

for (const [what, parts, message, code = 'damaged'] of faults) {
  test(`refuses ${what}`, () => {
    using folder = temporaryFolder();
    const path = folder.write('model.gguf', ggufBytes(parts));
    assert.throws(() => openGguf(path), isError(code, message));
  });
}

test('a file that is not there, a folder, a closed file', () => {
  using folder = temporaryFolder();
  assert.throws(() => openGguf(join(folder.path, 'none.gguf')), isError('not-found', /none\.gguf/));
  assert.throws(() => openGguf(folder.path), isError('usage', /not a regular file/));
  const file = openGguf(folder.write('sound.gguf', ggufBytes(sound)));
  file[Symbol.dispose]();
  assert.throws(() => file.readTensor([...file.tensors.values()][0] as never), isError('usage', /is closed/));
});
